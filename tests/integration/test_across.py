"""Words, relations and moves across ledgers: whoever holds the target checks the rule before anything has an effect."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.client import Client
from clients.commands.show import Desk, state_to_json, to_json
from clients.errors import Declined, Unreachable, UsageError
from clients.expiry import warnings_of
from clients.finding import each_once
from clients.home import Home
from clients.state import Held
from keys.judge import Refused
from keys.witnessing import policy_of
from protocol.entry import Entry
from protocol.header import Header, Relation
from protocol.page import Part
from protocol.statements import AcknowledgementLine, Bulletin
from protocol.tlogpolicy import NONE, Policy
from tests.integration.test_path import draft, post
from tests.support.altering import replace
from tests.support.live import now_ms
from tests.support.twoledgers import TwoLedgers, node_of
from tests.support.world import CONTENT, ORIGINS

PK, CN = ORIGINS["PK"], ORIGINS["CN"]
DEADLINE_MS = 5 * 60_000  # flash


@pytest.fixture
def two(tmp_path: Path) -> TwoLedgers:
    return TwoLedgers(tmp_path)


@pytest.fixture
def pk(two: TwoLedgers) -> Iterator[Client]:
    with two.seat("pk-liaison") as client:
        yield client


@pytest.fixture
def cn(two: TwoLedgers) -> Iterator[Client]:
    with two.seat("cn-liaison") as client:
        yield client


def _held(client: Client, index: int, origin: str = PK) -> Held:
    held = client.state.bulletin_at(origin, index)
    assert held is not None
    return held


def _state(client: Client, index: int) -> dict[str, Any]:
    """As `status --json` prints it."""
    desk = Desk.of(client)
    return state_to_json(desk.book.of(_held(client, index)), desk)


def _entry(two: TwoLedgers, index: int, origin: str = PK) -> Entry:
    entry = two.ledgers[origin].storage.entry(index)
    assert entry is not None
    return entry


def _line(two: TwoLedgers, index: int, **changes: Any) -> AcknowledgementLine:
    fields: dict[str, Any] = {
        "origin": PK,
        "index": index,
        "leaf": _entry(two, index).leaf(),
        "state": "read",
        "time": now_ms(),
    }
    return AcknowledgementLine(**fields | changes)


# How far it came


async def test_a_sender_sees_its_bulletin_witnessed_received_and_read_across_the_border(
    two: TwoLedgers, pk: Client, cn: Client
) -> None:
    """The word is posted at the recipient's home, and comes back with that ledger. SPEC 9.6.2, 11.3.5."""
    two.cosigned = False
    await pk.sync()
    index = await post(pk)
    await pk.sync()
    assert (_state(pk, index)["witnessed"], _state(pk, index)["witnessed_by"]) == (False, [])
    two.cosigned = True
    await cn.sync()
    assert [held.header.name for held in cn.acknowledger.note_received()] == [_held(pk, index).header.name]
    await cn.acknowledge(index, "read", PK)
    assert await cn.send_owed() == 2
    await pk.sync()
    state = _state(pk, index)
    assert (state["witnessed"], state["witnessed_by"]) == (True, [CN])
    (recipient,) = state["recipients"]
    assert (recipient["agency"], recipient["state"], recipient["late"]) == ("cn-liaison", "read", False)
    assert recipient["received"] <= recipient["read"] <= now_ms()
    assert two.ledgers[PK].storage.acknowledged(PK, index) == []
    desk = Desk.of(cn)
    assert to_json(desk.book.of(_held(cn, index)), desk)["witnessed_by"] == [CN]


async def test_an_entry_beyond_the_witnessed_checkpoint_is_not_witnessed_yet(two: TwoLedgers, pk: Client) -> None:
    """What an older one covers still is, though the newest is not cosigned. SPEC 9.6.2."""
    await pk.sync()
    first = await post(pk)
    await pk.sync()
    two.cosigned = False
    second = await post(pk)
    await pk.sync()
    assert [_state(pk, index)["witnessed"] for index in (first, second)] == [True, False]
    assert _state(pk, first)["witnessed_by"] == [CN]


@pytest.mark.parametrize("how", ["another leaf", "another addressee", "of no recipient"])
async def test_a_word_from_another_ledger_counts_only_where_its_rule_holds(
    two: TwoLedgers, pk: Client, cn: Client, how: str
) -> None:
    """The judge of the other ledger saw its form alone; it does not stand in the way of the true one. SPEC 11.3.5."""
    await pk.sync()
    index = await post(pk)
    sender, to, line = "cn-liaison", "pk-liaison", _line(two, index)
    if how == "another leaf":
        line = line.replace(leaf=bytes(32))
    elif how == "another addressee":
        to = "pk-site-security"
    else:
        sender = "cn-embassy"
    two.admit("CN", two.world.acknowledgement(sender, to, [line], created=now_ms()))
    for client in (pk, cn):
        await client.sync()
        assert [one["state"] for one in _state(client, index)["recipients"]] == ["pending"]
    assert cn.state.unacknowledged("cn-liaison") == [_held(cn, index)]
    two.admit("CN", two.world.acknowledgement("cn-liaison", "pk-liaison", [_line(two, index)], created=now_ms() + 1))
    for client in (pk, cn):
        await client.sync()
        assert [one["state"] for one in _state(client, index)["recipients"]] == ["read"]


async def test_a_word_that_came_too_late_is_marked_for_both_sides(two: TwoLedgers, pk: Client, cn: Client) -> None:
    """By the deadline of its precedence. SPEC 11.5.1."""
    await pk.sync()
    index = await post(pk, precedence="flash")
    logged = _entry(two, index).time
    due = logged + two.world.directory.policy.deadline_ms("flash")
    line = _line(two, index, time=due + 1, state="received")
    two.admit("CN", two.world.acknowledgement("cn-liaison", "pk-liaison", [line], created=now_ms()))
    for client in (pk, cn):
        await client.sync()
        (recipient,) = _state(client, index)["recipients"]
        assert (recipient["due"], recipient["late"]) == (due, True)


async def test_a_cancel_is_owed_an_acknowledgement_from_across_the_border(
    two: TwoLedgers, pk: Client, cn: Client
) -> None:
    """By a person: `received` is not enough. SPEC 11.3.5."""
    await pk.sync()
    index = await post(pk)
    await pk.sync()
    one = draft(pk, "No convoy")
    one = replace(one, relations=(Relation("cancels", PK, index, _held(pk, index).leaf),))
    with pk.state.transaction():
        pk.state.add_draft(one)
    cancel = (await pk.sender.send(one.id)).index
    await cn.sync()
    cn.acknowledger.note_received()
    await cn.send_owed()
    await pk.sync()
    assert Desk.of(cn).book.of(_held(cn, cancel)).must_confirm
    assert Desk.of(pk).book.of(_held(pk, index)).unconfirmed == ("cn-liaison",)
    await cn.acknowledge(cancel, "read", PK)
    await cn.send_owed()
    await pk.sync()
    assert not Desk.of(cn).book.of(_held(cn, cancel)).must_confirm
    assert Desk.of(pk).book.of(_held(pk, index)).unconfirmed == ()


# Relations


@pytest.mark.parametrize("kind", ["cancels", "supersedes", "answers"])
async def test_what_another_says_it_does_to_a_bulletin_in_another_ledger_has_no_effect(
    two: TwoLedgers, cn: Client, kind: str
) -> None:
    """Only its sender ends it, only who was asked answers it: here neither. SPEC 11.3.5."""
    request = replace(CONTENT, answer_due=now_ms() + 60_000)
    (first,) = two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms(), content=request))
    relation = Relation(kind, PK, first.index, _entry(two, first.index).leaf())
    foreign = two.world.bulletin("cn-embassy", ("cn-liaison",), feed="sites", relations=(relation,), created=now_ms())
    (second,) = two.admit("CN", foreign)
    await cn.sync()
    book = Desk.of(cn).book
    target, claim = book.of(_held(cn, first.index)), book.of(_held(cn, second.index, CN))
    assert (target.cancelled_by, target.superseded_by, target.is_over) == (None, None, False)
    assert target.request is not None
    assert (target.request.state, target.request.answered_by) == ("open", ())
    assert (claim.cancels, claim.must_confirm) == ((), False)
    assert cn.state.related(_held(cn, first.index)) != []


async def test_its_sender_ends_a_bulletin_from_its_new_home_by_hash_and_of_one_status_only(
    two: TwoLedgers, cn: Client
) -> None:
    """After a move its target lies in the old ledger, so that only its readers can check the rule. SPEC 11.3.5."""
    (first,) = two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms()))
    _move(two)
    leaf = _entry(two, first.index).leaf()
    for status, named in (("exercise", leaf), ("actual", bytes(32))):
        relation = Relation("cancels", PK, first.index, named)
        two.admit("CN", _from_new_home(two, status=status, relations=(relation,)))
        await cn.sync()
        assert Desk.of(cn).book.of(_held(cn, first.index)).cancelled_by is None
    (cancel,) = two.admit("CN", _from_new_home(two, relations=(Relation("cancels", PK, first.index, leaf),)))
    await cn.sync()
    ended = Desk.of(cn).book.of(_held(cn, first.index)).cancelled_by
    assert ended is not None
    assert (ended.origin, ended.index) == (CN, cancel.index)


async def test_a_cancel_from_a_new_home_that_leaves_one_out_is_seen_before_it_goes_and_after(
    two: TwoLedgers, pk: Client, cn: Client
) -> None:
    """The sender's home asks for all who had the first, and shows who was missed. SPEC 11.3.5 and 11.3.8."""
    had = ("cn-embassy", "cn-liaison")
    (first,) = two.admit("PK", two.world.bulletin("pk-liaison", had, created=now_ms()))
    _move(two)
    await pk.sync()
    relations = (Relation("cancels", PK, first.index, _entry(two, first.index).leaf()),)
    one = replace(draft(pk, "No convoy"), relations=relations)
    assert pk.sender.who_is_left_out(one) == {"cn-embassy": None}
    assert pk.sender.who_is_left_out(replace(one, recipients=had)) == {}
    assert pk.sender.who_is_left_out(draft(pk, "Another")) == {}

    (partial,) = two.admit("CN", _from_new_home(two, relations=relations))
    for client in (pk, cn):
        await client.sync()
    ended = _state(pk, first.index)
    assert ended["cancelled_by"] == _held(pk, partial.index, CN).header.name
    assert (ended["unconfirmed"], ended["left_out"]) == (["cn-liaison"], ["cn-embassy"])
    assert (_state(cn, first.index)["cancelled_by"], _state(cn, first.index)["left_out"]) == (ended["cancelled_by"], [])

    await cn.acknowledge(partial.index, "read", CN)
    await cn.send_owed()
    await pk.sync()
    assert not Desk.of(pk).book.of(_held(pk, first.index)).is_over
    two.admit("CN", two.world.bulletin("pk-liaison", had, created=now_ms(), relations=relations))
    await pk.sync()
    assert (_state(pk, first.index)["unconfirmed"], _state(pk, first.index)["left_out"]) == (["cn-embassy"], [])


BOTH, FOREIGN = ("cn-embassy", "cn-liaison"), {"sender": "cn-embassy", "feed": "sites"}


@pytest.mark.parametrize(
    "had, kind, changes, code",
    [
        (BOTH, "cancels", {}, "recipient-left-out"),
        (BOTH, "supersedes", {}, "recipient-left-out"),
        (BOTH, "cancels", {"to": BOTH, "status": "exercise"}, "status-differs"),
        (BOTH, "cancels", FOREIGN, "not-yours"),
        (BOTH, "answers", {}, "not-asked"),
        (("cn-liaison",), "replies", FOREIGN, "not-yours"),
    ],
)
def test_what_the_mirror_knows_of_a_target_is_judged_before_it_is_admitted(
    two: TwoLedgers, had: tuple[str, ...], kind: str, changes: dict[str, Any], code: str
) -> None:
    """What it does not know, or knows under another hash, is left to the readers; and so is a replay. SPEC 11.3.8."""
    (first,) = two.admit("PK", two.world.bulletin("pk-liaison", had, created=now_ms()))
    _move(two)
    cn, pk, leaf = two.ledgers[CN], two.ledgers[PK], _entry(two, first.index).leaf()

    def relating(index: int, named: bytes) -> Any:
        return _from_new_home(two, **changes, relations=(Relation(kind, PK, index, named),))

    cn.elsewhere = lambda origin, index: pk.storage.entry(index) if origin == PK else None
    with pytest.raises(Refused) as caught:
        two.admit("CN", relating(first.index, leaf))
    assert (caught.value.step, caught.value.code) == (7, code)
    two.admit("CN", relating(first.index, bytes(32)), relating(first.index + 1, leaf))
    cn.elsewhere = lambda _origin, _index: None
    two.admit("CN", relating(first.index, leaf))


async def test_an_update_from_a_new_home_that_leaves_one_out_is_shown_to_its_sender(
    two: TwoLedgers, pk: Client
) -> None:
    """As a cancel is; nobody has to confirm it. SPEC 11.3.5."""
    (first,) = two.admit("PK", two.world.bulletin("pk-liaison", ("cn-embassy", "cn-liaison"), created=now_ms()))
    _move(two)
    relations = (Relation("supersedes", PK, first.index, _entry(two, first.index).leaf()),)
    two.admit("CN", _from_new_home(two, relations=relations))
    await pk.sync()
    assert (_state(pk, first.index)["unconfirmed"], _state(pk, first.index)["left_out"]) == ([], ["cn-embassy"])


# Policies, and the outbox


async def test_an_envelope_is_kept_until_its_bulletin_is_witnessed(two: TwoLedgers, pk: Client) -> None:
    """To be published is not enough where another nation's node is to cosign. SPEC 9.6.1."""
    two.cosigned = False
    await pk.sync()
    await post(pk)
    await pk.sync()
    (kept,) = pk.state.outbox("published")
    assert kept.envelope is not None
    two.cosigned = True
    await pk.sync()
    assert pk.state.outbox("receipted", "published") == []
    assert pk.state.alarms() == []


async def test_a_home_may_keep_a_policy_of_its_own(two: TwoLedgers) -> None:
    """`policies/<sha256 of the origin>.policy`; the log lines may be left to the directory. SPEC 9.6.1."""
    two.cosigned = False
    with two.seat("pk-liaison") as pk:
        path = _policy_file(pk.home, PK)
        path.write_text("quorum none\n")
    with two.seat("pk-liaison") as pk:
        await pk.sync()
        index = await post(pk)
        await pk.sync()
        assert _state(pk, index)["witnessed"]
        assert pk.state.outbox("published") == []
        asks = policy_of(two.world.directory, PK)
        assert pk.witnesses.policy(PK) == Policy(asks.logs, (), NONE)
        assert pk.witnesses.policy(CN) == policy_of(two.world.directory, CN)


async def test_a_policy_file_that_is_none_stops_every_command(two: TwoLedgers) -> None:
    """Rather than that the default is taken for it; the line that is wrong is named. SPEC 9.6.1."""
    with two.seat("pk-liaison") as pk:
        _policy_file(pk.home, PK).write_text("quorum everybody\n")
    with pytest.raises(UsageError) as caught, two.seat("pk-liaison"):
        pass
    assert "line 1" in caught.value.detail


def _policy_file(home: Home, origin: str) -> Path:
    path = home.folder / "policies" / f"{hashlib.sha256(origin.encode()).hexdigest()}.policy"
    path.parent.mkdir()
    return path


# What one ledger has heard, and the other not yet


async def test_a_key_revoked_in_any_ledger_is_shown_with_what_it_signed(two: TwoLedgers, cn: Client) -> None:
    """Valid when logged: the verdict stays, the reader is warned. SPEC 11.3.6."""
    (first,) = two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms()))
    two.admit("PK", two.world.revocation("pk-liaison/desk"))
    await cn.sync()
    held = _held(cn, first.index)
    assert held.content is not None
    assert not cn.exchange.is_revoked("pk-liaison", held.header.key_id)
    assert "since revoked" in Desk.of(cn).suspicion(held)
    assert "since revoked" in to_json(Desk.of(cn).book.of(held), Desk.of(cn))["warning"]


async def test_a_seat_is_told_what_another_ledger_says_of_it(two: TwoLedgers, pk: Client) -> None:
    """Before the home ledger has heard of it. SPEC 11.3.6."""
    two.admit("CN", two.world.revocation("pk-liaison/desk"), two.world.suspension("pk-liaison"))
    two.admit("CN", two.world.with_directory().publication())
    await pk.sync()
    others = pk.ledgers.other_exchanges()
    told = warnings_of(pk.exchange, pk.home, now_ms(), others)
    assert [word in line for word, line in zip(("suspended", "revoked", "version 2"), told, strict=True)] == [True] * 3
    assert all(CN in line for line in told)


# Moves


def _move(two: TwoLedgers) -> None:
    """pk-liaison is at home at CN's node from now on, as both ledgers have heard."""
    two.world = two.world.with_agency("pk-liaison", home=CN)
    two.govern(two.world.publication())


def _from_new_home(two: TwoLedgers, **changes: Any) -> Any:
    fields: dict[str, Any] = {"sender": "pk-liaison", "to": ("cn-liaison",), "created": now_ms()}
    return two.world.bulletin(**fields | changes)


def _joined_anew(two: TwoLedgers, pk: Client) -> None:
    pk.home.save_profile(replace(pk.home.profile, origin=CN))


async def _tried(two: TwoLedgers, pk: Client, *, logged: bool) -> bytes:
    """A bulletin that was posted at the old home, whatever came of it; its id."""
    await pk.sync()
    one = draft(pk)
    with pk.state.transaction():
        pk.state.add_draft(one)
    true_post = pk.wire.post

    async def lost(submissions: Any) -> Any:
        if logged:
            await true_post(submissions)
        raise Unreachable("the answer was lost")

    pk.wire.post = lost  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        await pk.sender.send(one.id)
    return one.id


async def test_what_is_logged_at_the_old_home_is_not_sealed_anew(two: TwoLedgers) -> None:
    """The old ledger shows it: there is one bulletin. SPEC 11.3.7."""
    with two.seat("pk-liaison") as pk:
        number = await _tried(two, pk, logged=True)
        _joined_anew(two, pk)
    _move(two)
    with two.seat("pk-liaison") as pk:
        await pk.sync()
        logged = await pk.sender.send(number)
        assert (logged.origin, pk.state.outbox("draft", "tried", "refused")) == (PK, [])
        assert two.ledgers[CN].storage.first("pk-liaison", number) is None


async def test_what_the_old_home_never_took_is_sealed_anew_at_the_new_one_under_its_id(two: TwoLedgers) -> None:
    """Once the old ledger is read up to the version that let the agency go. SPEC 11.3.7."""
    with two.seat("pk-liaison") as pk:
        number = await _tried(two, pk, logged=False)
        _joined_anew(two, pk)
    _move(two)
    with two.seat("pk-liaison") as pk, two.seat("cn-liaison") as cn:
        await pk.sync()
        assert (await pk.sender.send(number)).origin == CN
        await cn.sync()
        (held,) = cn.state.bulletins()
        assert (held.origin, held.header.id, held.content is not None) == (CN, number, True)


async def test_what_may_stand_at_an_old_home_that_does_not_answer_waits_and_stops_nothing_else(
    two: TwoLedgers,
) -> None:
    """Nor is it closed: it may go out yet. SPEC 11.3.7."""
    with two.seat("pk-liaison") as pk:
        number = await _tried(two, pk, logged=True)
        _joined_anew(two, pk)
    _move(two)
    with two.seat("pk-liaison") as pk:
        node_of(pk).mirrors = set()
        await pk.sync()
        with pytest.raises(Declined):
            await pk.sender.send(number)
        other = await post(pk, "another")
        assert two.ledgers[CN].storage.entry(other) is not None
        assert [one.draft.id for one in pk.state.outbox("tried")] == [number]
        node_of(pk).mirrors = {PK}
        await pk.sync()
        await pk.flush()
        assert pk.state.outbox("tried", "draft", "refused") == []
        assert two.ledgers[CN].storage.first("pk-liaison", number) is None


async def test_one_bulletin_in_two_ledgers_is_handed_over_and_listed_once(two: TwoLedgers, cn: Client) -> None:
    """By sender and id. SPEC 11.3.7."""
    (first,) = two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms()))
    _move(two)
    number = _header(two, first.index).id
    (second,) = two.admit("CN", _from_new_home(two, id=number))
    await cn.sync()
    one, other = cn.state.bulletins()
    assert {one.origin, other.origin} == {PK, CN}
    assert (one.header.name, second.head.origin) == (other.header.name, CN)
    assert each_once([one, other]) == [one]
    assert len(cn.state.to_hand_over("print", 0, 10)) == 2
    with cn.state.transaction():
        cn.state.hand("print", "pk-liaison", number, 1, "done")
    assert cn.state.to_hand_over("print", 0, 10) == []


async def test_what_is_said_of_one_of_two_copies_is_said_of_the_bulletin(
    two: TwoLedgers, pk: Client, cn: Client
) -> None:
    """The reader could open the later one alone: it is the one that is found. SPEC 11.3.7."""
    (first,) = two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms()))
    _move(two)
    number = _header(two, first.index).id
    two.admit("CN", _from_new_home(two, id=number))
    node_of(cn).spoil[PK] = _without_bodies
    node_of(cn).withheld = {Bulletin.decode(_entry(two, first.index).statement).body}
    for client in (pk, cn):
        await client.sync()
    shown = cn.state.bulletin_by_id("pk-liaison", number)
    assert shown is not None
    assert (shown.origin, shown.content is not None) == (CN, True)
    assert [held.origin for held in each_once(cn.state.bulletins())] == [CN]
    await cn.acknowledge(shown.index, "read", CN)
    await cn.send_owed()
    cancelled = pk.state.bulletin_by_id("pk-liaison", number)
    assert cancelled is not None
    assert cancelled.origin == PK
    relation = Relation("cancels", PK, first.index, cancelled.leaf)
    two.admit("CN", _from_new_home(two, relations=(relation,)))
    for client in (pk, cn):
        await client.sync()
    assert [one["state"] for one in _state(pk, first.index)["recipients"]] == ["read"]
    assert Desk.of(cn).book.of(shown).cancelled_by is not None


def _without_bodies(part: Part) -> Part:
    """As from the mirror of a node that is gone."""
    items = tuple(
        item.replace(wrap=None, body=None, withheld="missing") if item.wrap is not None else item for item in part.items
    )
    return part.replace(items=items)


def _header(two: TwoLedgers, index: int) -> Header:
    return Bulletin.decode(_entry(two, index).statement).header
