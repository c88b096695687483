"""What the people on both sides hold: receipts, what was handed over to them, who received what; and the oracle.

It is kept outside the nodes, by those who use them. Whatever happened to nodes and links, in the end

(1) nothing that had a receipt is missing, in the ledger or in the peer's mirror of it;
(2) each reader was handed over everything that was sent to it, each (sender, id) once, and its sender's nation knows;
(3) every cosignature that ever left a node is over a tree that the final entries derive, and so is every checkpoint;
(4) ledgers and mirrors hold the same bytes, nothing is flagged, and nobody is accused of anything;
(5) `fsck` and the audit of both nodes, with all receipts and checkpoints at hand, find nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import aiohttp

from broker.mirrors import FOLDER, digest_of
from broker.node import Node
from broker.storage.mirrored import MirrorStorage
from broker.storage.sqlite import SqliteStorage
from clients.agenda import Event
from clients.asked import Asked
from clients.auditor import Auditor, archive_of, site_of
from clients.client import Client
from clients.errors import ClientError
from clients.following import Alarm, Follower, Hand
from clients.progress import Progress
from clients.transport import Wire, error_of
from keys.finding import AuditedLedger, Report
from keys.lognote import cosignatures_of, open_checkpoint
from keys.signing import SignatureCheck
from protocol.checkpoint import Checkpoint
from protocol.entry import Entry, Submission
from protocol.merkle import Frontier, leaf_hash
from protocol.names import format_id
from protocol.note import Note, SignatureLine
from protocol.problem import Problem
from protocol.statements import Bulletin
from protocol.treehead import Receipt
from tests.support.checks import check_ledger
from tests.support.live import now_ms, seat, seat_home
from tests.support.relay import Relay
from tests.support.world import ORIGINS, World, node_keys, signing_key

PEER = {"PK": "CN", "CN": "PK"}
READERS = {"PK": "pk-liaison", "CN": "cn-liaison"}
_LATER = {"not-signing", "stopping"}  # nothing is wrong with what was posted
AGREE_SECONDS_MAX = 200
AUDITORS = {"PK": "pk-auditor", "CN": "cn-auditor"}


@dataclass
class Desk:
    """A seat that posts at home: what has no receipt yet goes again, the same bytes, until it has one."""

    record: Record
    nation: str
    url: str
    clock: Callable[[], int] = now_ms
    waiting: list[Submission] = field(default_factory=list)

    def seal(self, count: int) -> None:
        """So many bulletins more for the other nation's liaison."""
        sender, to = READERS[self.nation], (READERS[PEER[self.nation]],)
        self.waiting += [self.record.world.bulletin(sender, to, created=self.clock()) for _ in range(count)]

    async def send(self, wire: Wire, most: int = 64) -> int:
        """One batch; how many were answered. Raises ClientError where that is unknown."""
        batch = self.waiting[:most]
        for submission, answer in zip(batch, await wire.post(batch), strict=True):
            if isinstance(answer, Problem) and answer.code in _LATER:
                raise error_of(answer)
            assert isinstance(answer, Receipt), answer
            self.record.take(ORIGINS[self.nation], submission, answer)
            self.waiting.remove(submission)
        return len(batch)

    def wire(self) -> Wire:
        """Still to be entered."""
        wire = Wire(self.url, clock=self.clock)
        wire.log_in_as(signing_key(f"{READERS[self.nation]}/desk"), self.record.world.pin, ORIGINS[self.nation])
        return wire

    async def drain(self, most: int = 64) -> None:
        """Everything that waits, however often it takes."""
        async with self.wire() as wire:
            while self.waiting:
                try:
                    await self.send(wire, most)
                except ClientError:
                    await asyncio.sleep(0.05)

    async def work(self, over: asyncio.Event, pause_s: float) -> None:
        """A few at a time, until it is over and nothing waits."""
        while not over.is_set() or self.waiting:
            if not over.is_set():
                self.seal(3)
            await self.drain(3)
            await asyncio.sleep(pause_s)


@dataclass
class Record:
    """Of everyone who takes part."""

    world: World
    receipts: dict[str, dict[int, tuple[Submission, Receipt]]] = field(
        default_factory=lambda: {origin: {} for origin in ORIGINS.values()}
    )
    handed: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in READERS.values()})
    readers: dict[str, Client] = field(default_factory=dict)  # by nation
    alarms: list[Alarm] = field(default_factory=list)
    notes: dict[str, set[str]] = field(default_factory=lambda: {origin: set() for origin in ORIGINS.values()})
    lines: list[tuple[str, Checkpoint, tuple[SignatureLine, ...]]] = field(default_factory=list)  # by whom

    def take(self, origin: str, submission: Submission, receipt: Receipt) -> None:
        """Keep a receipt, which must be signed by the node and lead to its head."""
        nation = next(nation for nation in ORIGINS if ORIGINS[nation] == origin)
        entry = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
        receipt.leaf_of(entry)
        assert receipt.head.origin == origin
        assert receipt.head.signature is not None
        SignatureCheck(node_keys(nation).receipt.public, receipt.head.message(), receipt.head.signature, 1).verify()
        before = self.receipts[origin].setdefault(receipt.index, (submission, receipt))
        assert before[0].statement == submission.statement, "two statements have a receipt for one index"

    # Readers

    @contextlib.asynccontextmanager
    async def reader(self, folder: Path, nation: str, url: str) -> AsyncIterator[None]:
        """The liaison of a nation follows at its own node, as ``khunjerab follow`` does, and tells senders."""
        with seat(folder, self.world, READERS[nation], url=url) as client:
            async with client:
                self.readers[nation] = client
                follower = Follower(client, "print", self._hand_to(READERS[nation]), _ignore, self.alarms.append)
                task = asyncio.create_task(follower.run(), name=f"reader {nation}")
                try:
                    yield
                finally:
                    task.cancel()
                    results = await asyncio.gather(task, return_exceptions=True)
                    assert isinstance(results[0], asyncio.CancelledError), results

    def _hand_to(self, reader: str) -> Hand:
        async def hand(progress: Progress) -> None:
            self.handed[reader][progress.held.header.name] += 1

        return hand

    def is_served(self, nation: str) -> bool:
        """Whether its liaison has been handed all that was sent to it, and its sender is told, or on the way to be."""
        reader = READERS[nation]
        return self.handed[reader].keys() >= self.sent_to(reader) and not self.readers[nation].state.owed()

    def came(self) -> int:
        """How far everything has come: what was handed over, and what is not owed any more."""
        owed = sum(len(client.state.owed()) for client in self.readers.values())
        return sum(handed.total() for handed in self.handed.values()) * 2 - owed

    def sent_to(self, reader: str) -> set[str]:
        """The ids of all bulletins to a reader that have a receipt."""
        peer = ORIGINS[PEER[reader[:2].upper()]]
        headers = [Bulletin.decode(submission.statement).header for submission, _ in self.receipts[peer].values()]
        return {format_id(header.sender, header.id) for header in headers}

    # Monitors

    def see(self, note: str) -> None:
        """A checkpoint that somebody was shown."""
        if note:
            self.notes[Checkpoint.parse(Note.parse(note).text).origin].add(note)

    async def watch(self, urls: Sequence[str], every_s: float = 0.2) -> None:
        """A monitor: every checkpoint that either node shows, of its own ledger and of its peer's. Until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while True:
                for url in urls:
                    for path in ("/checkpoint", *(f"/mirror/{digest_of(origin)}/checkpoint" for origin in self.notes)):
                        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                            async with http.get(url + path) as answer:
                                self.see(await answer.text() if answer.status == 200 else "")
                await asyncio.sleep(every_s)

    def see_asked(self, relays: dict[str, Relay]) -> None:
        """What went over the links: by the nation that asks, who is answered by the other one's node."""
        for nation, relay in relays.items():
            for asked in relay.asked:
                if asked.status == 200:
                    self.lines.append((PEER[nation], *asked.cosignatures()))

    # The oracle

    def check_everything(self, kept: dict[str, Kept]) -> None:
        """All but the audit, in the files of both nodes; nothing is on its way any more."""
        entries = {nation: _entries(kept[nation].ledger) for nation in kept}
        for nation, (ledger, home) in kept.items():
            origin, held = ORIGINS[nation], self.receipts[ORIGINS[nation]]
            tree = _Tree(entries[nation])
            for index, (submission, receipt) in held.items():  # (1)
                tree.check_receipt(index, submission, receipt)
            self._check_signed(nation, tree)  # (3)
            mirror = kept[PEER[nation]].home / FOLDER / f"{digest_of(origin)}.db"
            assert _entries(mirror) == entries[nation], "(4) the mirror is not the ledger"
            assert _flags(mirror) == []
            check_ledger(mirror, self.world, nation, now_ms())  # (5)
            assert list((home / "evidence").glob("*")) == []
            report = check_ledger(ledger, self.world, nation, now_ms())  # (5)
            assert report.entries == len(entries[nation])
            self._check_handed_over(nation, ledger)  # (2)
        assert self.alarms == []

    def _check_handed_over(self, nation: str, ledger: Path) -> None:
        """Once each; and its own nation's ledger, which the peer mirrors, says so about this very entry."""
        reader, peer = READERS[nation], ORIGINS[PEER[nation]]
        handed = self.handed[reader]
        assert set(handed) == self.sent_to(reader)
        assert set(handed.values()) <= {1}, f"{reader} was handed {handed.most_common(1)[0][0]} over twice"
        with contextlib.closing(SqliteStorage(ledger)) as storage:
            for index, (submission, receipt) in self.receipts[peer].items():
                entry = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
                (word,) = storage.acknowledged(peer, index)
                assert (word.agency, word.state, word.leaf) == (reader, "received", entry.leaf())

    def _check_signed(self, nation: str, tree: _Tree) -> None:
        """Every line of the log and of its witness, ever seen by anyone, is over a state of this tree."""
        log, cosigner = node_keys(nation).log.vkeys(), node_keys(PEER[nation]).cosigner.vkeys()
        for note in self.notes[ORIGINS[nation]]:
            opened = open_checkpoint(note, log, cosigner)  # raises for a line that does not hold
            tree.check_checkpoint(opened.checkpoint)
        for by, checkpoint, lines in self.lines:
            if checkpoint.origin == ORIGINS[nation]:
                assert by == PEER[nation]
                assert len(cosignatures_of(checkpoint, lines, cosigner)) == len(lines) == len(cosigner)
                tree.check_checkpoint(checkpoint)

    async def audit(self, folder: Path, urls: dict[str, str]) -> None:
        """(5) Each nation's auditor at its own node, with everything that anybody holds; in the end they agree."""
        told: list[tuple[str, frozenset[AuditedLedger]]] = []
        try:
            async with asyncio.timeout(AGREE_SECONDS_MAX):
                while not told or told[0][0] != "ok" or told[0] != told[1]:  # a checkpoint is on its way
                    told = [await self._audited(folder, nation, url) for nation, url in urls.items()]
        except TimeoutError:
            raise AssertionError(f"the auditors do not agree: {told}") from None

    async def _audited(self, folder: Path, nation: str, url: str) -> tuple[str, frozenset[AuditedLedger]]:
        """The verdict; size and root of both ledgers, as one node shows them."""
        notes = tuple(sorted(note for seen in self.notes.values() for note in seen))
        receipts = tuple(receipt for held in self.receipts.values() for _, receipt in held.values())
        asked = Asked(self.world.pin, checkpoints=notes, receipts=receipts)
        report = await audited(folder, self.world, nation, url, asked)
        assert report.findings == ()
        assert len(report.ledgers) == len(ORIGINS)
        return report.verdict, frozenset(report.ledgers)


async def audited(
    folder: Path, world: World, nation: str, url: str, asked: Asked | None = None, *, abroad: bool = False
) -> Report:
    """What a nation's auditor finds in all that one node shows; its own nation's, or ``abroad``."""
    auditor = Auditor(asked or Asked(world.pin), lambda *_: None)
    with contextlib.closing(seat_home(folder, world, AUDITORS[nation], url="" if abroad else url)) as home:
        site = await site_of(home, url)
        async with site.wire:
            await auditor.audit_nodes(
                [site], lambda origin: archive_of(home, origin), lambda _: contextlib.nullcontext()
            )
    return auditor.report()


async def require_clean(folder: Path, world: World, nodes: Mapping[str, Node]) -> None:
    """Of nodes in this process that follow each other: `fsck` finds nothing, and both auditors nothing and the same."""
    await Record(world).audit(folder, {nation: node.config.url for nation, node in nodes.items()})
    for nation, node in nodes.items():
        check_ledger(folder / f"{nation.lower()}-ledger.db", world, nation, now_ms())
        check_ledger(node.mirrors.path_of(ORIGINS[PEER[nation]]), world, PEER[nation], now_ms())


class Kept(NamedTuple):
    """Where a node keeps what it has."""

    ledger: Path
    home: Path  # where its mirrors and its evidence are


class _Tree:
    """Every state of a ledger, derived from its entries."""

    def __init__(self, entries: Iterable[bytes]) -> None:
        self.leaves = [leaf_hash(data) for data in entries]
        frontier = Frontier()
        self._roots = [frontier.root()]
        for leaf in self.leaves:
            frontier.append(leaf)
            self._roots.append(frontier.root())

    def check_receipt(self, index: int, submission: Submission, receipt: Receipt) -> None:
        assert index < len(self.leaves), f"entry {index} had a receipt and is missing"
        entry = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
        assert self.leaves[index] == receipt.leaf_of(entry), f"entry {index} is another one than its receipt says"
        assert self._roots[receipt.head.size] == receipt.head.root

    def check_checkpoint(self, checkpoint: Checkpoint) -> None:
        assert checkpoint.size < len(self._roots), f"{checkpoint.size} entries were signed for"
        assert self._roots[checkpoint.size] == checkpoint.root, f"another tree of {checkpoint.size} entries was signed"


def _entries(path: Path) -> list[bytes]:
    with contextlib.closing(SqliteStorage(path)) as storage:
        return storage.entry_bytes(0, storage.size())


def _flags(path: Path) -> list[object]:
    with contextlib.closing(MirrorStorage(path)) as storage:
        return list(storage.flags())


def _ignore(event: Event) -> None:
    """Lateness is no fault here."""
