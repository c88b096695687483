"""What a home promises of what it sends: nothing lost, nothing twice, no false alarm, and no promise forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.deliveries import Deliveries, Room
from broker.node import Node
from broker.sessions import Session
from clients.client import Client
from clients.contradictions import files
from clients.errors import Declined, Tampering, Unreachable
from clients.http import Answer, Connections, NotPinned, Request
from clients.seeds import KEPT_MS, destroy_old_seeds
from clients.state import Held
from keys.fork import Fork
from keys.fork import check as check_fork
from khunjerab.demo.ports import free_port
from protocol.entry import Submission
from protocol.page import Part
from protocol.treehead import Receipt
from tests.faults.test_clock import Clock, StoppedClock
from tests.integration.test_path import draft, post
from tests.support.altering import replace
from tests.support.live import live_node, now_ms, seat, world_of_today
from tests.support.world import BUNDLE_MS, World, admit, kem_key, open_ledger
from tests.support.world import node as node_of


@asynccontextmanager
async def clients(folder: Path, world: World, url: str, *names: str) -> AsyncIterator[list[Client]]:
    """Seats, as AGENCY or AGENCY/SEAT, connected and synced."""
    async with AsyncExitStack() as stack:
        found = []
        for name in names:
            agency, _, at = name.partition("/")
            client = stack.enter_context(seat(folder, world, agency, at or "desk", url))
            found.append(await stack.enter_async_context(client))
        for client in found:
            await client.sync()
        yield found


@asynccontextmanager
async def exchange(
    folder: Path, *names: str, world: World | None = None, clock: Callable[[], int] = now_ms
) -> AsyncIterator[tuple[Node, list[Client]]]:
    """A node that publishes only when it is told to, and seats."""
    world = world or world_of_today(nodes=(node_of("PK"),))
    async with live_node(folder, world, clock=clock) as node:
        node.publisher.is_due = lambda now_s: False  # type: ignore[method-assign]
        async with clients(folder, world, node.config.url, *names) as found:
            yield node, found


def publish(node: Node) -> None:
    """A checkpoint, now."""
    node.publisher.publish(node.publisher.derive(), node.clock() // 1000)


def received(client: Client) -> list[str]:
    """Titles, in order of their index."""
    held = sorted(client.state.bulletins("own = 0"), key=lambda one: one.index)
    return [one.content.versions[0].title for one in held if one.content]


def keep(client: Client, title: str, **fields: object) -> bytes:
    """A draft in the outbox; its id."""
    one = draft(client, title, **fields)
    with client.state.transaction():
        client.state.add_draft(one)
    return one.id


def restore(backup: Path, ledger: Path) -> None:
    """Yesterday's file in the place of today's."""
    for ending in ("-wal", "-shm"):
        Path(f"{ledger}{ending}").unlink(missing_ok=True)
    shutil.copy(backup, ledger)


class Link:
    """The way to the node: ``lost`` is what does not get through, ``request`` or ``answer``."""

    def __init__(self, client: Client) -> None:
        self._post, self.lost, self.posted, self.posts = client.wire.post, "", list[bytes](), 0
        client.wire.post = self.post  # type: ignore[assignment, method-assign]

    async def post(self, submissions: list[Submission]) -> object:
        self.posted += [submission.encode() for submission in submissions]
        self.posts += 1
        if self.lost == "request":
            raise Unreachable("the link is cut")
        answers = await self._post(submissions)
        if self.lost == "answer":
            raise Unreachable("the link is cut")
        return answers


class Strangers(Connections):
    """Somebody else has the node's address."""

    async def request(self, request: Request) -> Answer:
        raise NotPinned


async def test_a_lost_answer_is_asked_for_again_with_the_same_bytes(tmp_path: Path) -> None:
    """And the receipt is the first one; so it is after a restart of the client."""
    world = world_of_today(nodes=(node_of("PK"),))
    async with exchange(tmp_path, "pk-liaison", "cn-liaison", world=world) as (node, (pk, cn)):
        link = Link(pk)
        link.lost = "answer"
        number = keep(pk, "once")
        with pytest.raises(Unreachable):
            await pk.sender.send(number)
        index = node.ledger.head.size - 1
        async with clients(tmp_path, world, node.config.url, "pk-liaison") as (again,):
            second = Link(again)
            logged = await again.sender.send(number)
            assert (logged.index, second.posted) == (index, link.posted)
        await cn.sync()
        assert received(cn) == ["once"]


@pytest.mark.parametrize("shut", ["refused", "not pinned", "no login"])
async def test_what_never_left_is_a_draft_again(tmp_path: Path, shut: str) -> None:
    """By itself and among others; what was tried before that may be logged, and stays so."""
    world = world_of_today(nodes=(node_of("PK"),))
    async with exchange(tmp_path, "pk-liaison", world=world) as (node, (pk,)):
        link = Link(pk)
        link.lost = "answer"
        tried = keep(pk, "tried")
        with pytest.raises(Unreachable):
            await pk.sender.send(tried)
        link.lost = ""
        pk.wire._token = None
        numbers = [keep(pk, title) for title in ("one", "two")]
        real = pk.wire._http
        if shut == "refused":
            pk.wire._http = Connections(f"http://127.0.0.1:{free_port()}")
        elif shut == "not pinned":
            pk.wire._http = Strangers(node.config.url)
        else:
            pk.wire.log_in_as(pk.key, bytes(32), node.ledger.origin)
        with contextlib.suppress(Declined):
            await pk.flush()
        assert link.posts > 1
        drafts = pk.state.outbox("draft")
        assert [(one.draft.id, one.envelope) for one in drafts] == [(number, None) for number in numbers]
        assert [one.draft.id for one in pk.state.outbox("tried")] == [tried]
        pk.state.drop_outgoing(tried)
        with pytest.raises((Declined, Unreachable)):
            await pk.sender.send(numbers[1])
        assert [one.draft.id for one in pk.state.outbox("draft")] == numbers
        pk.wire._http = real
        pk.wire.log_in_as(pk.key, pk.pin, node.ledger.origin)
        assert await pk.flush() == []


async def test_a_crash_on_the_way_leaves_it_tried(tmp_path: Path) -> None:
    """Between the envelope and the answer nobody knows what the node has."""
    async with exchange(tmp_path, "pk-liaison") as (_, (pk,)):

        async def crash(submissions: object) -> list[Receipt]:
            raise KeyboardInterrupt

        pk.wire.post = crash  # type: ignore[assignment, method-assign]
        number = keep(pk, "which?")
        with pytest.raises(KeyboardInterrupt):
            await pk.sender.send(number)
        assert [one.envelope is not None for one in pk.state.outbox("tried")] == [True]


async def test_stale_keys_are_sealed_anew_under_the_same_id(tmp_path: Path) -> None:
    """What never arrived is refused when a seat it was sealed to has ended, and goes again without that seat."""
    world = world_of_today(nodes=(node_of("PK"),))
    async with exchange(tmp_path, "pk-liaison", "cn-liaison", world=world) as (node, (pk, cn)):
        link = Link(pk)
        link.lost = "request"
        number = keep(pk, "late")
        with pytest.raises(Unreachable):
            await pk.sender.send(number)
        link.lost = ""
        await node.writer.submit(world.revocation("cn-liaison/duty"))
        assert (await pk.sender.send(number)).receipt is not None
        assert len(link.posted) == 3
        assert link.posted[0] == link.posted[1] != link.posted[2]
        await cn.sync()
        assert received(cn) == ["late"]


async def test_what_expires_unsent_is_told_and_never_sent(tmp_path: Path) -> None:
    async with exchange(tmp_path, "pk-liaison") as (_, (pk,)):
        one = replace(draft(pk, "old"), created=now_ms() - 2000, expires=now_ms() - 1)
        with pk.state.transaction():
            pk.state.add_draft(one)
        with pytest.raises(Declined, match="expired unsent"):
            await pk.sender.send(one.id)
        assert [expired.id for expired in pk.sender.expire()] == [one.id]


async def test_what_was_tried_and_expired_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the node can tell whether it was logged: it was, so it did not expire unsent."""
    clock = Clock()
    monkeypatch.setattr("clients.sending.now_ms", clock)
    async with exchange(tmp_path, "pk-liaison", clock=clock) as (_, (pk,)):
        link = Link(pk)
        link.lost = "answer"
        one = replace(draft(pk, "short"), expires=now_ms() + 60_000)
        with pk.state.transaction():
            pk.state.add_draft(one)
        with pytest.raises(Unreachable):
            await pk.sender.send(one.id)
        link.lost = ""
        clock.wrong_by_ms = 61_000
        assert (await pk.sender.send(one.id)).receipt is not None
        assert pk.sender.expire() == []


async def test_two_terminals_flush_at_once(tmp_path: Path) -> None:
    """Each bulletin is posted once, in order."""
    async with exchange(tmp_path, "pk-liaison", "pk-liaison", "cn-liaison") as (_, (one, other, cn)):
        links = Link(one), Link(other)
        for number in range(5):
            keep(one, str(number))
        await asyncio.gather(one.flush(), other.flush())
        assert sum(len(link.posted) for link in links) == 5
        await cn.sync()
        assert received(cn) == ["0", "1", "2", "3", "4"]


async def test_two_terminals_fetch_at_once(tmp_path: Path) -> None:
    """Each entry is kept once, and both terminals go on from there."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison", "cn-liaison") as (_, (pk, one, other)):
        for round_ in range(3):
            for number in range(3):
                await post(pk, f"{round_}.{number}")
            await asyncio.gather(one.sync(), other.sync())
        assert received(one) == received(other) == [f"{a}.{b}" for a in range(3) for b in range(3)]
        assert one.state.alarms() == []
        await post(pk, "last")
        await other.sync()
        assert received(other)[-1] == "last"


async def test_two_seats_of_one_agency_send_and_read(tmp_path: Path) -> None:
    """Each reads what the other sent, and no count goes wrong between them."""
    async with exchange(tmp_path, "pk-liaison", "pk-liaison/duty", "cn-liaison") as (_, (desk, duty, cn)):
        for client in (desk, duty, desk, duty):
            await post(client)
        for client in (desk, duty, cn):
            await client.sync()
            assert client.state.alarms() == []
        assert len(desk.state.bulletins("own = 1")) == len(duty.state.bulletins("own = 1")) == 4


@pytest.mark.parametrize("copied", ["draft", "tried", "receipted"])
async def test_a_home_restored_from_yesterday(tmp_path: Path, copied: str) -> None:
    """What it believes unsent was sent since: found again, not sent twice, nothing lost, no alarm on either side."""
    world = world_of_today(nodes=(node_of("PK"),))
    async with exchange(tmp_path, "cn-liaison", world=world) as (node, (cn,)):
        url = node.config.url
        yesterday = tmp_path / "yesterday"
        async with clients(tmp_path, world, url, "pk-liaison") as (pk,):
            link = Link(pk)
            await post(pk, "before")
            number = keep(pk, "sent since")
            if copied == "tried":
                link.lost = "request"
                with pytest.raises(Unreachable):
                    await pk.sender.send(number)
                link.lost = ""
            if copied == "receipted":
                await pk.flush()
        shutil.copytree(tmp_path / "pk-liaison-desk", yesterday)
        async with clients(tmp_path, world, url, "pk-liaison") as (pk,):
            await pk.flush()
            await post(pk, "and another")
        shutil.rmtree(tmp_path / "pk-liaison-desk")
        shutil.move(yesterday, tmp_path / "pk-liaison-desk")
        async with clients(tmp_path, world, url, "pk-liaison") as (pk,):
            assert await pk.flush() == []
            await post(pk, "today")
            publish(node)
            await pk.sync()
            assert pk.state.outbox("draft", "tried", "receipted", "refused", "expired") == []
            assert pk.state.alarms() == []
        await cn.sync()
        assert received(cn) == ["before", "sent since", "and another", "today"]
        assert cn.state.alarms() == []


async def test_an_id_that_stands_already_is_found(tmp_path: Path) -> None:
    """A draft whose other sealing is logged is that bulletin, even where this home has not seen it yet."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        one = draft(pk, "twice")
        other = pk.sender.seal(one)
        await pk.post(other)
        with pk.state.transaction():
            pk.state.add_draft(one)
        logged = await pk.sender.send(one.id)
        assert logged.receipt is None
        await cn.sync()
        assert received(cn) == ["twice"]
        with pk.state.transaction():
            pk.state.add_draft(replace(one, feed="sites"))
        with pytest.raises(Declined, match="id-reused"):
            await pk.sender.send(one.id)


async def test_a_refusal_at_the_door_keeps_it_waiting(tmp_path: Path) -> None:
    """A quota is about this hour, which does not go by here; what the judge refuses never goes."""
    async with exchange(tmp_path, "pk-liaison", clock=StoppedClock()) as (node, (pk,)):
        number = keep(pk, "patience")
        node.writer.bulletins.spend("pk-liaison", 20_000, 20_000)
        with pytest.raises(Declined, match="quota-exceeded"):
            await pk.sender.send(number)
        (kept,) = pk.state.outbox("draft", "tried", "refused")
        assert (kept.state, kept.envelope, kept.problem[:14]) == ("draft", None, "quota-exceeded")
        node.writer.bulletins.spend("pk-liaison", 20_000, -20_000)
        assert await pk.flush() == []


async def test_what_a_spent_quota_refused_is_in_no_ledger_though_an_answer_was_lost_before(tmp_path: Path) -> None:
    """The judge looks for it first. What there was a receipt for somebody may have: its bytes stay."""
    async with exchange(tmp_path, "pk-liaison", clock=StoppedClock()) as (node, (pk,)):
        numbers = [keep(pk, title) for title in ("never came", "had a receipt")]
        link = Link(pk)
        link.lost = "request"
        await pk.flush()
        assert [one.state for one in pk.state.outbox("tried")] == ["tried", "tried"]
        with pk.state.transaction():
            pk.state.set_outgoing(numbers[1], "tried", receipt=b"broken")
        link.lost = ""
        node.writer.bulletins.spend("pk-liaison", 20_000, 20_000)
        await pk.flush()
        assert {one.draft.id: one.state for one in pk.state.outbox("draft", "tried")} == dict(
            zip(numbers, ("draft", "tried"), strict=True)
        )


async def test_a_spent_budget_is_not_asked_again_for_each_that_waits(tmp_path: Path) -> None:
    """Each attempt takes from what all seats of the agency have; one that is sent by name is tried all the same."""
    async with exchange(tmp_path, "pk-liaison", clock=StoppedClock()) as (node, (pk,)):
        numbers = [keep(pk, str(number)) for number in range(5)]
        node.writer.bulletins.spend("pk-liaison", 20_000, 20_000)
        link = Link(pk)
        assert len(await pk.flush()) == len(numbers)
        assert len(link.posted) == len(numbers) + 1  # all in one batch, and then the oldest
        assert [one.state for one in pk.state.outbox("draft", "tried")] == ["draft"] * len(numbers)
        await pk.flush_waiting()
        assert len(link.posted) == len(numbers) + 1
        with pytest.raises(Declined, match="quota-exceeded"):
            await pk.sender.send(numbers[-1])
        assert len(link.posted) == len(numbers) + 3
        node.writer.bulletins.spend("pk-liaison", 20_000, -20_000)
        pk.sender.spent_until = 0
        await pk.flush_waiting()
        assert pk.state.outbox("draft", "tried") == []


async def test_an_envelope_is_kept_until_a_checkpoint_has_it(tmp_path: Path) -> None:
    async with exchange(tmp_path, "pk-liaison") as (node, (pk,)):
        await post(pk)
        await pk.sync()
        assert [one.envelope is not None for one in pk.state.outbox("receipted")] == [True]
        publish(node)
        await pk.sync()
        assert pk.state.outbox("receipted") == []
        assert pk.state.alarms() == []


async def test_a_promise_under_the_head_that_is_verified_costs_no_request(tmp_path: Path) -> None:
    """Where nothing came after an acknowledgement, the page that shows its checkpoint shows all."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (node, (pk, cn)):
        await post(pk, "read")
        await cn.sync()
        assert cn.acknowledger.note_received()
        await cn.send_owed()
        publish(node)
        asked: list[str] = []
        request = cn.wire.request

        async def counted(method: str, path: str, **options: Any) -> bytes:
            asked.append(path)
            return await request(method, path, **options)

        cn.wire.request = counted  # type: ignore[method-assign]
        await cn.sync()
        assert (asked, cn.state.promised()) == (["/v1/deliveries"], {})


# A node that does not hold to what it promised


async def test_what_a_node_lost_is_posted_again(tmp_path: Path) -> None:
    """In order, before anything new; the receipts are kept as evidence; its reader gets it once more, not twice."""
    world, port = world_of_today(nodes=(node_of("PK"),)), free_port()
    ledger, backup = tmp_path / "pk-ledger.db", tmp_path / "backup.db"
    async with live_node(tmp_path, world, port) as node:
        url = node.config.url
        async with clients(tmp_path, world, url, "pk-liaison", "cn-liaison") as (pk, cn):
            await post(pk, "kept")
    shutil.copy(ledger, backup)
    async with live_node(tmp_path, world, port) as node:
        node.publisher.is_due = lambda now_s: False  # type: ignore[method-assign]
        async with clients(tmp_path, world, url, "pk-liaison", "cn-liaison") as (pk, cn):
            for title in ("lost 1", "lost 2"):
                await post(pk, title)
            await cn.sync()
            for held in cn.state.bulletins("own = 0"):
                await cn.acknowledge(held.index, "read")
            await cn.send_owed()
            await pk.sync()
            promised = node.ledger.head.size
    restore(backup, ledger)
    async with live_node(tmp_path, world, port) as node:
        assert node.ledger.head.size < promised
        async with clients(tmp_path, world, url, "pk-liaison") as (pk,):
            assert "broken-promise" in {name for _, name, *_ in pk.state.alarms()}
            assert [kind for *_, kind, _ in pk.state.evidence()].count("receipt") == 2
            await post(pk, "new")
            async with clients(tmp_path, world, url, "cn-liaison") as (cn,):
                assert received(cn) == ["kept", "lost 1", "lost 2", "new"]
                assert "denied" not in {name for _, name, *_ in cn.state.alarms()}
                for held in cn.state.bulletins("own = 0"):
                    await cn.acknowledge(held.index, "read")
                await cn.send_owed()
            await pk.sync()
            first = pk.state.bulletins("own = 1")[0]
            assert pk.state.state_with("cn-liaison", first) == "read"


async def test_a_receipt_of_another_history_is_found(tmp_path: Path) -> None:
    """The head in a receipt must be one that the ledger extends, even where the entry stands as promised.

    The node's own hash tiles make evidence of it that anybody can check.
    """
    world = world_of_today(nodes=(node_of("PK"),))
    async with exchange(tmp_path, "pk-liaison", world=world) as (node, (pk,)):
        fork_folder = tmp_path / "fork"
        fork_folder.mkdir()
        node.storage.checkpoint_wal()
        shutil.copy(tmp_path / "pk-ledger.db", fork_folder / "pk-ledger.db")
        await post(pk, "in both places, elsewhere")
        number = keep(pk, "in both")
        logged = await pk.sender.send(number)
        assert logged.receipt is not None
        outgoing = pk.state.outgoing(number)
        assert outgoing is not None
        assert outgoing.envelope is not None
        fork = open_ledger(fork_folder, world)
        other = pk.sender.seal(draft(pk, "only there"))
        admit(fork, other, logged.time)
        receipt = admit(fork, Submission.decode(outgoing.envelope), logged.time)
        fork.storage.close()
        assert (receipt.index, receipt.time) == (logged.index, logged.time)
        with pk.state.transaction():
            pk.state.set_outgoing(number, "receipted", receipt=receipt.encode())
        publish(node)
        await pk.sync()
        assert [name for _, name, *_ in pk.state.alarms()] == ["broken-promise", "fork"]
        assert Receipt.decode(pk.state.evidence()[0][-1]) == receipt
        ((_, origin, file),) = files(pk.state)
        assert origin == node.ledger.origin
        assert check_fork(Fork.decode(file), world.pin).fork.old == receipt.head


async def test_a_page_that_proves_nothing_changes_nothing(tmp_path: Path) -> None:
    """A broken proof is refused; what was verified before stays, and so does every bulletin."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (node, (pk, cn)):
        await post(pk)
        publish(node)
        await cn.sync()
        before = cn.state.verified(cn.replica.origin)
        await post(pk)
        real = node.ledger.tree.consistency
        node.ledger.tree.consistency = lambda old, new: (bytes(32),) * len(real(old, new))  # type: ignore[method-assign]
        with pytest.raises(Tampering):
            await cn.sync()
        assert cn.state.verified(cn.replica.origin) == before
        assert len(cn.state.bulletins()) == 1
        node.ledger.tree.consistency = real  # type: ignore[method-assign]
        node.pages.own._joints.clear()
        node.pages.forget()
        await cn.sync()
        assert len(cn.state.bulletins()) == 2


class Withholding(Deliveries):
    """A node that keeps some entries from one agency."""

    hidden: frozenset[tuple[str, int]] = frozenset()

    def part(
        self, session: Session, after: int, known: int, room: Room, feed: str | None = None, told: str = ""
    ) -> Part:
        part, agency = super().part(session, after, known, room, feed, told), session.speaker.agency
        return replace(part, items=tuple(item for item in part.items if (agency, item.index) not in self.hidden))


async def test_what_was_withheld_shows_with_the_next(tmp_path: Path) -> None:
    """The reader is told who had receipts for more than ever came; nobody else is alarmed."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison", "cn-liaison/duty", "cn-embassy") as (node, found):
        pk, cn, duty, embassy = found
        node.pages.own = deliveries = Withholding(node.ledger, node.ledger, node.standing, node.evidence.against)
        both = ["cn-embassy", "cn-liaison"]
        await post(pk, "one", to=both)
        hidden = await post(pk, "two", to=both)
        deliveries.hidden = frozenset({("cn-liaison", hidden)})
        for client in (cn, duty, embassy):
            await client.sync()
            assert client.state.alarms() == []
        await post(pk, "three", to=both)
        for client in (cn, duty, embassy):
            await client.sync()
        assert [name for _, name, *_ in cn.state.alarms()] == ["denied"]
        assert [name for _, name, *_ in duty.state.alarms()] == ["denied"]
        assert embassy.state.alarms() == []
        assert received(cn) == ["one", "three"]


async def test_refusals_and_lost_answers_raise_no_false_alarm(tmp_path: Path) -> None:
    """The count is of receipts held: a lower bound, whatever went wrong on the way."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        link = Link(pk)
        for lost in ("", "request", "answer", "", "answer", "request", ""):
            link.lost = lost
            keep(pk, lost or "straight")
            await pk.flush()
        refused = keep(pk, "refused", feed="sites")
        with pk.state.transaction():
            pk.state.set_outgoing(refused, "refused")
        link.lost = ""
        assert await pk.flush() == []
        await post(pk)
        await cn.sync()
        assert len(received(cn)) == 8
        assert cn.state.alarms() == pk.state.alarms() == []


# Acknowledgements and seeds


async def test_many_acknowledgements_go_in_few_statements(tmp_path: Path) -> None:
    """Up to 256 lines each; a word is said once, also after the home was restored."""
    world = world_of_today(nodes=(node_of("PK"),))
    async with exchange(tmp_path, "pk-liaison", "cn-liaison", world=world) as (node, (pk, cn)):
        sealed = [pk.sender.seal(draft(pk, str(number))) for number in range(260)]
        for start in range(0, 260, 64):
            await pk.wire.post(sealed[start : start + 64])
        await cn.sync()
        shutil.copytree(tmp_path / "cn-liaison-desk", tmp_path / "yesterday")
        assert len(cn.acknowledger.note_received()) == 260
        assert cn.acknowledger.note_received() == []
        before = node.ledger.head.size
        assert await cn.send_owed() == 260
        assert node.ledger.head.size == before + 2
        await pk.sync()
        assert all(_word(pk, held) == "received" for held in pk.state.bulletins())
        shutil.rmtree(tmp_path / "cn-liaison-desk")
        shutil.move(tmp_path / "yesterday", tmp_path / "cn-liaison-desk")
        async with clients(tmp_path, world, node.config.url, "cn-liaison") as (restored,):
            assert restored.acknowledger.note_received() == []
            assert await restored.send_owed() == 0


def _word(client: Client, held: Held) -> str:
    return client.state.state_with("cn-liaison", held)


async def test_kem_seeds_end_with_their_time(tmp_path: Path) -> None:
    """At the bundle's end, 30 days for the last bulletin and a week: not before, and on the disk too."""
    world = world_of_today(nodes=(node_of("PK"),))
    async with live_node(tmp_path, world) as node, clients(tmp_path, world, node.config.url, "cn-liaison") as (cn,):
        name = f"kem/{kem_key('cn-liaison/desk/1').key_id.hex()}"
        ends = world.bundles["cn-liaison"].starts + BUNDLE_MS
        assert destroy_old_seeds(cn.home, ends + KEPT_MS) == 0
        assert cn.home.keyring.get(name) is not None
        assert destroy_old_seeds(cn.home, ends + KEPT_MS + 1) == 1
        assert cn.home.read_keyring_anew().get(name) is None
        assert cn.home.keyring.get("signing") is not None
