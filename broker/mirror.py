"""A peer's ledger as this node holds it (SPEC §11.9): every entry in its place, judged here, whatever the peer thinks.

To take a part of the peer's page a mirror must find that

(1) its entries go on where the last one ended, without a gap, and the cursor stands behind them;
(2) each entry leads to one verdict of the one judge: what breaks a rule is kept, flagged and never delivered;
(3) the tree of all entries so far is that of the head, or is one that the head extends, by proof;
(4) the head is signed by the receipt key of the peer's node, and the checkpoint by both keys of its log;
(5) the checkpoint, once its entries are here, is over the root derived here;
(6) no entry was admitted ahead of this clock, or, where a checkpoint had been signed without it, before that.

A part that fails (1) or (3) to (5) leaves nothing behind. What breaks (2) or (6) is a flag. So whatever is in the file
was signed for by the peer: what it shows later must extend it, or is evidence (``broker/peering.py``).

A flag is for ever, and clocks are wrong at times, this one too: what is ahead of it by up to a day is left where it is
until its time has come. Nobody is harmed by that but a peer that lies about the time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from broker.completion import finished
from broker.errors import BrokerError
from broker.ledger import new_entry, readers_of
from broker.passage import VERIFY_THREADS, Arriving, Passage
from broker.sealed import by_seat, split_wraps, whole
from broker.storage.contract import EVERYONE, NewEntry, Published
from broker.storage.mirrored import Flag, Mirrored, MirrorStorage, is_withheld
from broker.tree import Tree
from keys.claims import SKEW_MS, check_head, open_signed
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.replay import Replay, Step
from protocol import canonical, limits
from protocol.directory import Directory
from protocol.entry import Entry, Link, Submission
from protocol.errors import ProofFailed, ProtocolError
from protocol.merkle import EMPTY_ROOT, leaf_hash, verify_consistency
from protocol.page import Item, Part
from protocol.statements import GOVERNANCE, LINKED, Bulletin, DirectoryVersion, Kind, decode
from protocol.times import DAY_MS, format_time
from protocol.treehead import TreeHead

AHEAD_MS_WAITED = DAY_MS
LACKING_MAX = 64  # bodies asked for again at a time
_Stepped = tuple[Step, Exchange]
Known = Callable[[], Mapping[bytes, Directory]]  # directory versions by hash
Fetch = Callable[[bytes], Awaitable[tuple[bytes, bytes] | None]]  # a body and its wraps, by the body's hash


class PartRefused(BrokerError):
    """A peer's part that does not hold; nothing of it was kept."""


class Contradicted(PartRefused):
    """What the peer signed is not one history with what it signed before. ``signed`` is a checkpoint or a head."""

    def __init__(self, detail: str, size: int, signed: str | TreeHead) -> None:
        super().__init__(detail)
        self.size, self.signed = size, signed


@dataclass(frozen=True, slots=True)
class Taken:
    """What a part brought: for whom, how many entries, and what was flagged."""

    readers: frozenset[str]
    entries: int
    flags: tuple[Flag, ...]
    checkpoint: bool  # a newer one, or one with more cosignatures


@dataclass(frozen=True, slots=True)
class _Floor:
    """A checkpoint that was signed at a time: no entry beyond its size was admitted before."""

    size: int = 0
    time: int = 0


class Mirror:
    """One peer's ledger: a part at a time is taken, everything else reads what is durable."""

    def __init__(
        self, storage: MirrorStorage, origin: str, pin: bytes, home: str, clock: Callable[[], int], known: Known = dict
    ) -> None:
        """``home`` is the origin of this node: bodies are kept for the agencies that are at home there.

        ``known`` are the directory versions of this node's own ledger. A peer whose keys have been rotated signs with
        the new ones before the version that lists them has come with its entries.
        """
        self.storage, self.origin, self.pin, self._home, self._clock = storage, origin, pin, home, clock
        self._known = known
        self.on_governance: Callable[[Mirror], Awaitable[None]] = _no_copies  # before what is behind it is shown
        self.filled = 0  # bodies that came after their entries
        self._asked = 0  # bodies that are lacking below it were asked for in this round
        self.tree = Tree(storage)
        self._turn = asyncio.Lock()  # a lane that was ended may still be writing
        self._grown = asyncio.Event()  # set, and replaced, whenever entries have become durable
        self._threads = ThreadPoolExecutor(VERIFY_THREADS, thread_name_prefix="mirror-verify")
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="mirror")
        self._restore()

    def close(self) -> None:
        """Let go of the file, once nothing is on its way to it."""
        self._disk.shutdown()
        self._threads.shutdown()
        self.storage.close()

    def _restore(self) -> None:
        """From the file: the same machine again, over governance alone; what was refused stays refused."""
        self._late = 0  # whatever stands below it and is backdated has been flagged
        self._refused = {flag.index for flag in self.storage.flags() if not flag.effect}
        self._lookup = Arriving(self.storage, self._refused)
        self._replay = Replay(Exchange(self.origin, self.pin))
        for index, data in self.storage.governance():
            if index in self._refused:
                entry = Entry.decode(data)
                self._replay.link = Link(entry.kind, index) if entry.kind in LINKED else self._replay.link
                continue
            self._lookup.begin(index, {})
            self._replay.step(index, data, self._lookup)
        self._passage = Passage(self._replay, self._lookup, self._threads)
        head, self._replay.time = self.storage.mirrored()
        self.exchange, self.time = self._replay.exchange, self._replay.time  # as far as it is durable
        self.size = self.tree.size
        self.head = (
            TreeHead.from_wire(canonical.decode(head, bytes_max=limits.NOTE_BYTES_MAX))
            if head
            else TreeHead(self.pin, self.origin, 0, EMPTY_ROOT, 0)
        )
        self._ahead: TreeHead | None = None  # signed, and not reached yet
        self.published = self.storage.newest_published()
        self._floor = self._floor_of(self.published)

    def _signers(self) -> Exchange:
        """Whose keys may have signed: of every version that is known, here or in this node's own ledger."""
        exchange = self._replay.exchange
        return replace(exchange, versions={**self._known(), **exchange.versions})

    def is_refused(self, index: int) -> bool:
        """Whether the entry there has no effect."""
        return index in self._refused

    async def take(self, part: Part, fetch: Fetch) -> Taken:
        """Verify and keep a part; see the module. Raises PartRefused, StorageError; then nothing has changed here."""
        async with self._turn:
            return await self._take(part, fetch)

    async def _take(self, part: Part, fetch: Fetch) -> Taken:
        _require_follows(part, self.size)  # (1)
        directories = {hashlib.sha256(item.body).digest(): item.body for item in part.items if item.body is not None}
        try:
            steps = await self._passage.step(part.items, directories) if part.items else []  # (2)
            for item in part.items:
                self.tree.append(leaf_hash(item.entry))
            self._require_extended(part)  # (3)
            self._require_signed(part.head)  # (4)
            published = self._checkpoint_of(part)  # (4) (5)
            self._require_come([step for step, _ in steps])  # (6)
            taken = await self._keep(part, steps, published, fetch)
        except BaseException:
            self.tree.reload()  # raises where the file cannot be read: the lane opens it again
            self._restore()
            raise
        return taken

    async def grown_to(self, size: int) -> None:
        """Return once so many entries are durable here."""
        while self.size < size:
            await self._grown.wait()

    async def expunge(self, indexes: Sequence[int]) -> None:
        """Forget bodies and wraps whose time is over, between two parts."""
        await self.write(lambda: self.storage.expunge(indexes))

    def _require_extended(self, part: Part) -> None:
        """(3) The tree as it is now, against every head that is known to be signed."""
        head = part.head
        for signed in (head, self._ahead):
            if signed is not None and signed.size <= self.tree.size and self.tree.root(signed.size) != signed.root:
                self._require_signed(signed)
                raise Contradicted(f"its head of {signed.size} entries is another tree", signed.size, signed)
        if self.tree.size and head.size > self.tree.size:
            joint = next((j for j in part.consistencies if (j.old, j.new) == (self.tree.size, head.size)), None)
            if joint is None:
                raise PartRefused(f"it does not join {self.tree.size} entries to the {head.size} of its head")
            try:
                verify_consistency(joint.old, joint.new, list(joint.path), self.tree.root(joint.old), head.root)
            except ProofFailed as error:
                raise PartRefused(f"its head of {head.size} does not extend the entries: {error.detail}") from error

    def _require_signed(self, head: TreeHead) -> None:
        try:
            if head.exchange != self.pin or head.origin != self.origin:
                raise ProofFailed("the head is of another ledger")
            check_head(head, self._signers())
        except (ProtocolError, BadSignature) as error:
            raise PartRefused(f"its head is not signed by its node: {error.detail}") from error

    def _checkpoint_of(self, part: Part) -> Published | None:
        """(4) (5) The part's checkpoint, if it says more than the one that is held; None too while it lies ahead."""
        note = part.checkpoint
        if not note or (self.published and note == self.published.note):
            return None
        try:
            checkpoint = open_signed(note, self._signers())[0].checkpoint
        except ProtocolError as error:
            raise PartRefused(f"its checkpoint is not signed by its log: {error.detail}") from error
        size = checkpoint.size
        if size <= self.tree.size and self.tree.root(size) != checkpoint.root:
            raise Contradicted(f"its checkpoint of {size} entries is another tree", size, note)
        held = self.published.size if self.published else 0
        shown = (self._reached(part.head) or self.head).size  # readers are given no checkpoint beyond their head
        return Published(size, checkpoint.root, note) if held <= size <= shown else None

    def _require_come(self, steps: Sequence[Step]) -> None:
        """(6) No entry is of a time that this clock will show within a day."""
        latest = self._clock() + SKEW_MS
        for step in steps:
            if step.entry is not None and latest < step.entry.time <= latest + AHEAD_MS_WAITED:
                raise PartRefused(
                    f"clock-skew: its entry {step.index} is dated {format_time(step.entry.time)}, which is ahead of "
                    "this node's clock: it is taken when its time has come"
                )

    async def _keep(self, part: Part, steps: Sequence[_Stepped], published: Published | None, fetch: Fetch) -> Taken:
        floor = self._floor_of(published) if published else self._floor
        new = [await self._new_entry(item, *step, fetch) for item, step in zip(part.items, steps, strict=True)]
        flags = [flag for step, _ in steps if (flag := self._flag_of(step, floor)) is not None]
        flagged = {flag.index for flag in flags}
        delivered, lacking = _without(flagged, new), [e.index for e in new if self._lacks(e) and e.index not in flagged]
        head = self._reached(part.head)
        late, withdrawn = self._late_flags(floor)
        encoded, tiles = canonical.encode(head.to_wire()) if head else b"", self.tree.take_new_tiles()
        group = Mirrored(delivered, tiles, [*flags, *late], encoded, self._replay.time, lacking, withdrawn)
        await self.write(lambda: self._write(group, published))
        self.size = self.tree.size
        self._grown.set()
        self._grown = asyncio.Event()
        self.exchange, self.time = self._replay.exchange, self._replay.time
        self._refused |= {flag.index for flag in flags if not flag.effect}
        if any(step.entry is not None and step.entry.kind in GOVERNANCE for step, _ in steps):
            await self.on_governance(self)
        self.head, self.published, self._floor = head or self.head, published or self.published, floor
        self._ahead = part.head if part.head.size > self.size and self._ahead is None else self._ahead
        if self._ahead is not None and self._ahead.size <= self.size:
            self._ahead = None
        readers = frozenset(reader for entry in delivered for reader in entry.readers)
        return Taken(readers, len(new), (*flags, *late), published is not None)

    def _write(self, group: Mirrored, published: Published | None) -> None:
        """Entries first: a checkpoint is kept only over what is here."""
        if group.entries or group.flags or group.head:
            self.storage.append_mirrored(group)  # commit point
        if published is not None:
            self.storage.record_root(published.size, published.root)
            self.storage.publish(published.size, published.note)

    def _reached(self, newest: TreeHead) -> TreeHead | None:
        """The largest signed head whose every entry is here now, where it is larger than the one that is shown."""
        signed = [head for head in (newest, self._ahead) if head and self.head.size < head.size <= self.tree.size]
        return max(signed, key=lambda head: head.size, default=None)

    def _floor_of(self, published: Published | None) -> _Floor:
        if published is None:
            return _Floor()
        _, signed_ms = open_signed(published.note, self._signers())
        return _Floor(published.size, signed_ms)

    def _flag_of(self, step: Step, floor: _Floor) -> Flag | None:
        """(2) (6) The first rule that an entry breaks."""
        for fault in step.faults:
            return Flag(step.index, fault.check, fault.step, fault.found)
        now = self._clock()
        if step.entry is not None and step.entry.time > now + SKEW_MS + AHEAD_MS_WAITED:
            return Flag(step.index, "time-ahead", None, f"{step.entry.time}, and it is {now}", effect=True)
        if step.entry is not None and step.index >= floor.size and step.entry.time < floor.time - SKEW_MS:
            return _backdated(step.index, step.entry, floor)
        return None

    def _late_flags(self, floor: _Floor) -> tuple[list[Flag], list[tuple[str, int]]]:
        """(6) A newer checkpoint may show that entries behind it, which were here before, are backdated.

        They come with their deliveries, which are withdrawn. As no entry that stands is older than one before it, the
        first that is not backdated ends them.
        """
        flags, withdrawn = list[Flag](), list[tuple[str, int]]()
        if floor == self._floor:
            return flags, withdrawn
        self._late = max(floor.size, self._late)
        while self._late < self.size:
            index = self._late
            entry = None if index in self._refused else self.storage.entry(index)
            if entry is not None and entry.time >= floor.time - SKEW_MS:
                break
            self._late += 1
            if entry is None:
                continue
            flags.append(_backdated(index, entry, floor))
            if is_withheld(entry.kind):
                withdrawn += [(reader, index) for reader in readers_of(decode(entry.kind, entry.statement))]
        return flags, withdrawn

    async def _new_entry(self, item: Item, step: Step, exchange: Exchange, fetch: Fetch) -> NewEntry:
        """An entry with what lies beside it: for agencies at home here the body and wraps, hashed and found right."""
        entry, accepted = step.entry, step.accepted
        if entry is None or accepted is None:
            return _refused_entry(item, entry)
        body, wraps = b"", tuple[bytes, ...]()
        if isinstance(accepted.statement, Bulletin):
            body, wraps = await self._beside(item, accepted.statement, exchange, fetch)
        elif accepted.directory is not None:
            body = item.body or b""
        submission = Submission(entry.kind, entry.statement, entry.signatures, wraps, body)
        return new_entry(item.index, entry, item.entry, submission, accepted, exchange)

    async def _beside(
        self, item: Item, bulletin: Bulletin, exchange: Exchange, fetch: Fetch
    ) -> tuple[bytes, tuple[bytes, ...]]:
        """Whole or not at all: what is not what was signed is as good as missing."""
        body, joined = item.body, item.wrap or b""
        if body is None and not item.withheld and self.is_wanted(bulletin, exchange):
            body, joined = await fetch(bulletin.body) or (None, b"")
        return whole(bulletin, body, split_wraps(joined))

    def _lacks(self, entry: NewEntry) -> bool:
        if entry.kind is not Kind.BULLETIN or entry.body is not None or not entry.digest:
            return False
        return self.is_wanted(Bulletin.decode(Entry.decode(entry.data).statement), self._replay.exchange)

    async def complete(self, fetch: Fetch) -> int:
        """Ask again for bodies that did not come; how many did now. Raises what ``fetch`` does, and StorageError.

        What came until then is kept, and asked for no more: a link may never last for all of them.
        """
        before = self.filled
        lacking = self.storage.lacking(self._asked, LACKING_MAX) or self.storage.lacking(0, LACKING_MAX)
        for index in lacking:
            self._asked = index + 1  # whatever becomes of it: what nobody has keeps nothing else from being asked for
            entry = self.storage.entry(index)
            bulletin = Bulletin.decode(entry.statement) if entry else None
            if bulletin is None or bulletin.header.expires <= self._clock():
                await self.write(lambda at=index: self.storage.no_longer_lacking(at))  # type: ignore[misc]
                continue
            body, joined = await fetch(bulletin.body) or (None, b"")
            body, wraps = whole(bulletin, body, split_wraps(joined))
            if wraps:
                placed = by_seat(self.exchange, bulletin, wraps)
                await self.write(lambda at=index, of=placed, data=body: self.storage.fill(at, of, data))  # type: ignore[misc]
                self.filled += 1
        return self.filled - before

    async def write(self, act: Callable[[], object]) -> None:
        """Run ``act`` on the one thread that writes here."""
        await finished(asyncio.get_running_loop().run_in_executor(self._disk, act))

    def is_wanted(self, bulletin: Bulletin, exchange: Exchange) -> bool:
        """Whether any recipient is at home at this node."""
        agencies = [exchange.agency(recipient.agency) for recipient in bulletin.header.recipients]
        return any(agency is not None and agency.home == self._home for agency in agencies)


async def _no_copies(mirror: Mirror) -> None:
    """Of a mirror that no node keeps its own ledger by."""


def _backdated(index: int, entry: Entry, floor: _Floor) -> Flag:
    return Flag(index, "backdated", None, f"{entry.time}, after {floor.time} was signed", effect=True)


def _require_follows(part: Part, size: int) -> None:
    """(1) Its entries are the next ones, and all of them up to its cursor."""
    indexes = [item.index for item in part.items]
    if indexes != list(range(size, size + len(indexes))) or part.next != size + len(indexes):
        raise PartRefused(f"it does not go on at entry {size}, where this mirror ends")


def _refused_entry(item: Item, entry: Entry | None) -> NewEntry:
    """Found again by its index alone. Governance goes to everyone all the same: the links of later entries name it."""
    if entry is None:
        return NewEntry(item.index, 0, item.entry, leaf_hash(item.entry), b"", ())  # type: ignore[arg-type]
    body, digest = None, b""
    statement = decode(entry.kind, entry.statement) if entry.kind in GOVERNANCE else None
    if isinstance(statement, DirectoryVersion) and item.body is not None:
        body, digest = item.body, hashlib.sha256(item.body).digest()
    readers = (EVERYONE,) if entry.kind in GOVERNANCE else ()
    return NewEntry(
        item.index, entry.kind, item.entry, leaf_hash(item.entry), b"", readers, body=body, body_hash=digest
    )


def _without(flagged: set[int], entries: Sequence[NewEntry]) -> list[NewEntry]:
    """What is flagged is not delivered, governance excepted."""
    return [e.replace(readers=()) if e.index in flagged and is_withheld(e.kind) else e for e in entries]
