"""What no mirror has of a restored node's promises comes back from those who hold the receipts (SPEC §11.10)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import broker.promised
import broker.recovery
import clients.promises
from broker.errors import LedgerBroken
from broker.ledger import Ledger
from broker.peer import PeerConfig
from broker.storage.contract import Storage
from clients.client import Client
from clients.errors import Declined, Unreachable
from protocol.merkle import Frontier, inclusion_path, leaf_hash
from protocol.problem import Problem
from protocol.promise import Promise, Word
from protocol.treehead import Receipt
from tests.integration.test_path import post as post_draft
from tests.support.checks import check_ledger
from tests.support.door import logged_in, refusal, until
from tests.support.faulty import FaultyStorage
from tests.support.live import now_ms
from tests.support.past import Past
from tests.support.record import require_clean
from tests.support.world import ORIGINS

PK, CN = ORIGINS["PK"], ORIGINS["CN"]


@pytest.fixture
async def past(tmp_path: Path) -> Past:
    """Before the backup one bulletin, which the peer has; after it three and an acknowledgement, which it has not."""
    past = Past.of(tmp_path)
    async with past.running("PK") as pk, past.client("pk-liaison") as sender:
        async with past.running("CN") as cn:
            await _post(sender, "kept")
            await until(lambda: bool(cn.mirrors.get(PK)) and cn.mirrors.get(PK).head.size == pk.ledger.head.size)  # type: ignore[union-attr]
        await pk.publish()
        past.back_up()
        pk.publisher.is_due = lambda now_s: False  # type: ignore[method-assign]
        await _post(sender, "promised 1")
        await _post(sender, "promised 2", to=("cn-liaison", "pk-site-security"))
        async with past.client("pk-site-security") as reader:
            await reader.sync()
            assert reader.acknowledger.note_received()
            assert await reader.send_owed() == 1
        await _post(sender, "promised 3")
        past.remember(pk)
    past.put_back()
    return past


async def _post(client: Client, title: str, to: tuple[str, ...] = ("cn-liaison",)) -> None:
    await client.sync()
    await post_draft(client, title, to=list(to))


async def _try_to_sync(client: Client) -> None:
    """The node may have less than this client has seen."""
    with contextlib.suppress(Unreachable):
        await client.sync()


async def test_what_only_the_senders_have_is_taken_back_as_it_was_promised(past: Past) -> None:
    """At the same index, byte by byte, with its body; nobody is alarmed, nobody is accused. SPEC 11.10.1, 11.10.3."""
    async with past.running("PK") as pk, past.client("pk-liaison") as sender, past.client("pk-site-security") as reader:
        await _try_to_sync(sender)
        await _try_to_sync(reader)
        assert pk.not_signing is not None
        async with past.running("CN") as cn:
            await until(lambda: pk.not_signing is None)
            assert pk.storage.entry_bytes(0, 999) == past.entries
            posted = [promise.receipt.index for promise in _promises(sender)]
            assert [pk.storage.body(index) is not None for index in posted] == [True] * 4
            await sender.sync()
            await reader.sync()
            assert [*sender.state.alarms(), *reader.state.alarms()] == []
            mirror = cn.mirrors.get(PK)
            assert mirror is not None
            await until(lambda: mirror.head.size == len(past.entries))
            assert [*cn.evidence.all(), *mirror.storage.flags()] == []
            async with past.client("cn-liaison", "CN") as other:
                await other.sync()
                titles = {held.content.versions[0].title for held in other.state.bulletins() if held.content}
                assert titles == {"kept", "promised 1", "promised 2", "promised 3"}
            await require_clean(past.folder, past.world, {"PK": pk, "CN": cn})


async def test_nothing_is_signed_while_senders_may_still_come(past: Past) -> None:
    """The peers were heard, and what was shown is back; a bulletin waits all the same. SPEC 11.10.2."""
    async with past.running("CN"), past.running("PK", "3600") as pk, past.client("pk-liaison") as sender:
        await until(lambda: "s more" in pk.peers.recovery.waiting)
        head = pk.ledger.head
        await _try_to_sync(sender)
        async with past.client("pk-site-security") as reader:
            await _try_to_sync(reader)
        await until(lambda: pk.storage.size() == len(past.entries))
        await pk.publish()
        assert (pk.ledger.head, pk.not_signing) == (head, "restored from a backup")
        assert "receipts" in pk.state()["recovery"]
        async with logged_in(pk, "pk-liaison/desk") as wire:
            answer = await refusal(wire, past.world.bulletin(created=now_ms()))
        assert answer.code == "not-signing"
        assert sender.state.alarms() == []


async def test_a_tree_that_was_signed_must_be_reached(past: Past) -> None:
    """One sender's entry is missing between two of another's: the node waits for it, and says for which."""
    async with past.running("PK") as pk:
        missing = len(past.entries) - 2  # the acknowledgement
        async with past.client("pk-liaison") as sender:
            await _try_to_sync(sender)  # before the peer is there to be heard
        async with past.running("CN"):
            await until(lambda: f"has shown entry {missing}" in pk.peers.recovery.told)
            assert pk.not_signing is not None
            async with past.client("pk-site-security") as reader:
                await _try_to_sync(reader)
                await until(lambda: pk.not_signing is None)
            assert pk.storage.entry_bytes(0, 999) == past.entries


async def test_what_a_node_signed_on_without_is_lost(past: Past) -> None:
    """Whoever comes too late is told so: the receipt is evidence, and what it was for is posted again."""
    async with past.running("CN"), past.running("PK") as pk:
        await until(lambda: pk.not_signing is None)
        async with past.client("pk-site-security") as reader, past.client("pk-liaison") as sender:
            for client in (reader, sender):
                await client.sync()
                assert {name for _, name, *_ in client.state.alarms()} == {"broken-promise"}
                assert client.state.evidence()
            assert await sender.flush() == []
            await reader.sync()
            assert reader.acknowledger.note_received()
            assert await reader.send_owed() == 1
            assert len(pk.storage.entry_bytes(0, 999)) == len(past.entries)


def _promises(client: Client) -> list[Promise]:
    return [posted.promise for posted in client.state.posted()]


async def test_what_is_no_receipt_of_this_log_is_foreign(past: Past) -> None:
    """Another's signature, another log, another place or statement: nothing is kept of it. SPEC 11.10.1."""
    async with past.running("PK") as pk, past.client("pk-liaison") as sender:
        good = _promises(sender)[-1]
        receipt, head = good.receipt, good.receipt.head
        assert head.signature is not None
        bad: list[Receipt] = [
            receipt.replace(index=receipt.index - 1),
            receipt.replace(time=receipt.time + 1),
            receipt.replace(head=head.replace(origin=CN)),
            receipt.replace(head=head.replace(exchange=bytes(32))),
            receipt.replace(head=head.replace(root=bytes(32))),
            receipt.replace(head=head.replace(signature=head.signature.replace(ed25519=bytes(64)))),
            receipt.replace(head=head.replace(signature=head.signature.replace(key_id=bytes(32)))),
        ]
        other = past.world.bulletin(created=now_ms())
        async with logged_in(pk, "pk-liaison/desk") as wire:
            words = await wire.show([*(good.replace(receipt=one) for one in bad), good.replace(submission=other)])
            assert set(words) == {Word.FOREIGN}
            assert await wire.show([good]) == [Word.KEPT]
            assert await wire.show([good]) == [Word.KEPT]
            assert len(pk.peers.recovery.promised._kept) == 1


async def test_one_that_cannot_be_read_spoils_no_other(past: Past) -> None:
    """Nor is a batch of none, or of no pairs, taken for one. SPEC 11.10.1."""
    async with past.running("PK") as pk, past.client("pk-liaison") as sender, logged_in(pk, "pk-liaison/desk") as wire:
        good = _promises(sender)[-1]
        assert await wire.show([good.replace(submission=_Unreadable()), good]) == [Word.FOREIGN, Word.KEPT]
        with pytest.raises(Declined) as refused:
            await wire.show([])
        assert refused.value.code == "malformed"


class _Unreadable:
    def encode(self) -> bytes:
        return b"\x90"


async def test_there_is_room_for_a_tail_and_not_for_everything(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender is told to come again, and nothing is lost."""
    monkeypatch.setattr(broker.promised, "KEPT_BYTES_MAX", 10_000)
    async with past.running("PK") as pk, past.client("pk-liaison") as sender, logged_in(pk, "pk-liaison/desk") as wire:
        first, *others = _promises(sender)[-3:]
        assert await wire.show([first]) == [Word.KEPT]
        with pytest.raises(Unreachable, match="storage-unavailable"):
            await wire.show(others)
        await _try_to_sync(sender)
        assert sender.state.alarms() == []


async def test_showing_counts_as_an_attempt(past: Past) -> None:
    """Each costs a signature: a budget of the minute bounds them. SPEC 11.10.1."""
    async with past.running("PK") as pk, past.client("pk-liaison") as sender, logged_in(pk, "pk-liaison/desk") as wire:
        good = _promises(sender)[-1]
        limit = pk.ledger.exchange.in_force.policy.attempts_per_minute

        async def show_often() -> None:
            for _ in range(4 * limit // 64):  # as some come back meanwhile
                await wire.show([good] * 64)

        with pytest.raises(Declined) as refused:
            await show_often()
        assert refused.value.code == "too-many-attempts"


async def test_a_statement_is_kept_until_it_is_published(past: Past) -> None:
    """An acknowledgement is no bulletin of the outbox; its receipt is held all the same. SPEC 11.10.3."""
    async with past.running("PK") as pk, past.client("pk-site-security") as reader:
        assert len(reader.state.promised()) == 1
        async with past.client("pk-liaison") as sender:
            await _try_to_sync(reader)
            await _try_to_sync(sender)
        async with past.running("CN"):
            await until(lambda: pk.not_signing is None)
            async with asyncio.timeout(120):
                while reader.state.promised():  # until its checkpoint is witnessed
                    await reader.sync()
        assert reader.state.alarms() == []


async def test_a_body_that_was_not_signed_is_in_nobodys_way(past: Past) -> None:
    """Whoever shows an entry first, with something else beside it, keeps it from nobody. SPEC 11.10.1."""
    async with (
        past.running("CN"),
        past.running("PK", "3600") as pk,
        past.client("pk-liaison") as sender,
        logged_in(pk, "pk-liaison/desk") as wire,
    ):
        first = _promises(sender)[-3]
        for other in (first.submission.replace(body=b"else"), first.submission.replace(body=b"", wraps=())):
            assert await wire.show([first.replace(submission=other)]) == [Word.FOREIGN]
        assert await wire.show([first]) == [Word.KEPT]
        await until(lambda: pk.storage.body(first.receipt.index) == first.submission.body)


async def test_what_is_far_behind_makes_room_for_what_comes_next(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a tail that does not fit would be waited for without end; its trees must be reached all the same."""
    monkeypatch.setattr(broker.promised, "KEPT_BYTES_MAX", 10_000)
    async with past.running("PK") as pk, past.client("pk-liaison") as sender, logged_in(pk, "pk-liaison/desk") as wire:
        first, *_, last = _promises(sender)[-3:]
        promised = pk.peers.recovery.promised
        assert await wire.show([last, first]) == [Word.KEPT] * 2
        assert list(promised._kept) == [first.receipt.index]
        assert promised._kept_bytes <= 10_000
        promised.drop([first.receipt.index, last.receipt.index])
        assert promised._kept_bytes == 0
        with pytest.raises(LedgerBroken, match=f"a tree of {first.receipt.head.size} entries"):
            promised.require_reached()
        assert {last.receipt.head.size, first.receipt.head.size} == {size for size, _ in promised._trees}


async def test_every_receipt_for_an_entry_counts(past: Past) -> None:
    """Two of one entry are under two heads: the larger tree must be reached too. SPEC 11.10.2."""
    async with past.running("PK") as pk, past.client("pk-liaison") as sender, logged_in(pk, "pk-liaison/desk") as wire:
        first, *_, last = _promises(sender)[-3:]
        head, index = last.receipt.head, first.receipt.index
        path = tuple(inclusion_path(index, head.size, lambda level, at: _node(past.entries, level, at)))
        later = first.replace(receipt=first.receipt.replace(path=path, head=head))
        assert await wire.show([first, later]) == [Word.KEPT] * 2
        assert head.size in {size for size, _ in pk.peers.recovery.promised._trees}


def _node(entries: list[bytes], level: int, at: int) -> bytes:
    frontier = Frontier()
    for entry in entries[at << level : (at + 1) << level]:
        frontier.append(leaf_hash(entry))
    return frontier.root()


async def test_nothing_is_promised_while_signing_is_decided(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown between the last look at what was kept and the first signature comes once more. SPEC 11.10.2."""
    lifting, lifted = threading.Event(), threading.Event()

    def slowly(ledger: Ledger, lift: Callable[[Ledger], None] = broker.recovery._lift) -> None:
        lifting.set()
        assert lifted.wait(120)
        lift(ledger)

    monkeypatch.setattr(broker.recovery, "_lift", slowly)
    async with (
        past.running("CN"),
        past.running("PK") as pk,
        past.client("pk-liaison") as sender,
        logged_in(pk, "pk-liaison/desk") as wire,
    ):
        await until(lifting.is_set)
        try:
            with pytest.raises(Unreachable, match="storage-unavailable"):
                await wire.show(_promises(sender)[-1:])
        finally:
            lifted.set()
        await until(lambda: pk.not_signing is None)
        assert await wire.show(_promises(sender)[-1:]) == [Word.LOST]


async def test_a_peer_that_is_added_meanwhile_is_heard_too(past: Past) -> None:
    """Before anything is signed: its mirror may have what no other has. SPEC 11.10.2."""
    async with past.running("PK", "3600") as pk:
        recovery, heard = pk.peers.recovery, list[str]()

        async def hear(wire: str) -> None:
            heard.append(wire)

        recovery._hear = hear  # type: ignore[method-assign, assignment]
        for lanes in (["CN"], ["CN", "TJ"], ["CN", "TJ"]):
            await recovery.run([_Lane(name) for name in lanes])  # type: ignore[misc]
        assert heard == ["CN", "TJ"]
        assert pk.not_signing is not None


class _Lane:
    def __init__(self, name: str) -> None:
        self.config = PeerConfig(origin=name, url="")
        self._name = name

    @contextlib.asynccontextmanager
    async def reach(self) -> AsyncIterator[str]:
        yield self._name


async def test_what_is_refused_for_the_moment_is_still_held(past: Past) -> None:
    """A lost statement that the door keeps out now is posted again another time. SPEC 11.10.3."""
    async with past.running("CN"), past.running("PK") as pk, past.client("pk-site-security") as reader:
        await until(lambda: pk.not_signing is None)
        held = reader.state.promised()

        async def refused(submission: object) -> Receipt:
            raise Declined("too-many-attempts: later", "", "too-many-attempts")

        reader.post = refused  # type: ignore[method-assign]
        await reader.sync()
        assert reader.state.promised() == held


@pytest.mark.parametrize("word", [Word.STANDS, Word.KEPT, None])
async def test_a_node_that_only_says_so_is_not_believed_in_silence(
    past: Past, capsys: pytest.CaptureFixture[str], word: Word | None
) -> None:
    """It signs on without what it promised and denies it, or does not say: nobody is accused yet, but it is told."""

    def hear(promise: Promise) -> Word:
        if word is None:
            raise Problem("storage-unavailable", "not now")
        return word

    async with past.running("CN"), past.running("PK") as pk, past.client("pk-liaison") as sender:
        await until(lambda: pk.not_signing is None)
        pk.peers.recovery.promised.hear = hear  # type: ignore[method-assign]
        for _ in range(2):  # the first time it is found to have gone back
            capsys.readouterr()
            await sender.sync()
            assert "warning: the node gave 3 receipts for what it does not show now" in capsys.readouterr().err


async def test_where_not_all_can_be_shown_at_once_all_are_in_time(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of attempts that lasts for one must not be spent on the same one for ever. SPEC 11.10.3."""
    monkeypatch.setattr(clients.promises, "_SHOWN_MAX", 1)
    turns = itertools.count()
    monkeypatch.setattr(secrets, "randbelow", lambda most: next(turns) % most)
    shown: list[int] = []

    async def show_one(promises: list[Promise]) -> list[Word]:
        if len(shown) % 2:
            shown.append(-1)
            raise Declined("too-many-attempts: later", "", "too-many-attempts")
        shown.extend(promise.receipt.index for promise in promises)
        return [Word.KEPT]

    async with past.client("pk-liaison") as sender:
        held = {posted.id: posted.promise for posted in sender.state.posted()}
        sender.wire.show = show_one  # type: ignore[method-assign, assignment]
        for _ in held:
            await sender.promises.show(held)
        assert {index for index in shown if index >= 0} == {promise.receipt.index for promise in held.values()}


async def test_what_does_not_go_on_from_what_is_here_is_not_entered(past: Past) -> None:
    """A receipt of another history that this node signed: it stays halted, as it is. SPEC 11.10.2."""
    async with (
        past.running("CN"),
        past.running("PK", "3600") as pk,
        past.client("pk-liaison") as sender,
        logged_in(pk, "pk-liaison/desk") as wire,
    ):
        await until(lambda: "s more" in pk.peers.recovery.waiting)
        first, size = _promises(sender)[-3], pk.ledger.tree.size
        assert first.receipt.index == size
        entries = [b"another", *past.entries[1 : size + 1]]
        path = tuple(inclusion_path(size, size + 1, lambda level, at: _node(entries, level, at)))
        head = first.receipt.head.replace(size=size + 1, root=_node(entries, 8, 0))
        head = head.replace(signature=pk.keys.receipt.sign(head.message(), 1))
        assert await wire.show([first.replace(receipt=first.receipt.replace(path=path, head=head))]) == [Word.KEPT]
        await until(lambda: f"another tree of {size} entries" in pk.peers.recovery.told)
        assert (pk.storage.size(), pk.not_signing) == (size, "restored from a backup")


@pytest.mark.parametrize("happened", [False, True], ids=["failed", "failed but happened"])
async def test_a_disk_that_fails_while_entries_are_taken_back(past: Past, happened: bool) -> None:
    """What is in memory is what is durable again, and it goes on from there; nothing is there twice."""
    disks: list[FaultyStorage] = []

    def fail_first(storage: Storage) -> Storage:
        disks.append(FaultyStorage(storage))
        disks[0].fail("append", happened=happened)
        return disks[0]

    async with past.running("PK", wrap=fail_first) as pk, past.client("pk-liaison") as sender:
        await _try_to_sync(sender)
        async with past.client("pk-site-security") as reader:
            await _try_to_sync(reader)
        async with past.running("CN"):
            await until(lambda: pk.not_signing is None)
        assert disks[0].fired["append"] == 1
        assert pk.storage.entry_bytes(0, 999) == past.entries
        assert disks[0].violations == []
    check_ledger(past.ledger, past.world, now=now_ms())
