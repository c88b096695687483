"""What a reader is given of one ledger: its entries, with the proofs that let it believe them (SPEC §11.2).

Nothing here waits. What several readers ask for is read and proved once: entries and paths are kept for the head at
hand. ``broker/pages.py`` puts the parts of all ledgers together.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from broker.ledger import Ledger, now_ms
from broker.sessions import Session, reader_of
from broker.standing import Standing
from broker.storage.contract import NewEntry, Published, Storage, StoredWrap
from broker.tree import Tree
from keys.judge import why_not_recipient
from protocol import limits
from protocol.entry import Entry
from protocol.errors import ProtocolError
from protocol.header import Header
from protocol.note import SIGNATURE_LINE_START
from protocol.page import Consistency, Item, Part
from protocol.problem import Problem
from protocol.statements import Bulletin, Kind
from protocol.times import DAY_MS
from protocol.treehead import TreeHead

BODY_INLINE_BYTES_MAX = 64 * 1024
READ_AHEAD_MIN = 4  # entries not at hand
KEPT_BYTES_MAX = 16 * 1024 * 1024
PATHS_KEPT_MAX = 8192  # what a reader of everything would have kept while the head stands still: 1.5 KiB each
JOINTS_KEPT_MAX = 512  # anybody may claim to know any size
_ITEM_BYTES = 2048  # what path, wrap and framing of an item come to, about


@dataclass(frozen=True, slots=True)
class Served:
    """An entry as it is served to anyone, read and decoded once; ``body`` is what goes inline.

    ``wraps`` are here of what was just written: nearly every reader has it within a moment.
    """

    data: bytes
    header: Header | None
    body: bytes | None
    gone: bool  # a bulletin whose body is not here any more
    apart: int = 0  # bytes of a body that is too long to go inline
    wraps: tuple[StoredWrap, ...] | None = None

    @property
    def length(self) -> int:
        """What it takes on a page."""
        return len(self.data) + len(self.body or b"") + _ITEM_BYTES

    @property
    def kept(self) -> int:
        """What it takes in memory."""
        return self.length + sum(len(wrap.data) for wrap in self.wraps or ())


@dataclass(slots=True)
class Room:
    """What is left of a page for so many parts, shared evenly where all have much. One item may be longer than that."""

    entries: int
    length: int = field(default_factory=lambda: limits.PAGE_BYTES_MAX)
    parts: int = 1

    def share(self) -> tuple[int, int]:
        """Of the next part: entries, and bytes, of which its first item need take no heed."""
        entries = min(self.entries, limits.PAGE_ENTRIES_MAX) if self.length > 0 else 0
        return -(-entries // self.parts), self.length // self.parts

    def take(self, entries: int, length: int) -> None:
        """What a part took."""
        self.entries, self.length, self.parts = self.entries - entries, self.length - length, self.parts - 1


class Shown(Protocol):
    """A ledger that is shown to readers: this node's own, or a mirror."""

    origin: str
    tree: Tree

    @property
    def storage(self) -> Storage:
        """Where its entries are, and what lies beside them."""

    @property
    def head(self) -> TreeHead:
        """The newest signed head; every entry below it is here."""

    @property
    def published(self) -> Published | None:
        """The newest signed checkpoint that the head covers, with its cosignatures."""


class Newest(NamedTuple):
    """What a page is made for, read once: another thread signs checkpoints. Where a part differs, a page would."""

    size: int
    checkpoint_size: int
    note: str
    evidence: bytes | None


class Deliveries:
    """Parts of pages: one ledger, as the newest state of this node lets each reader have it."""

    def __init__(
        self,
        shown: Shown,
        own: Ledger,
        standing: Standing,
        evidence: Callable[[str], bytes | None],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """``evidence`` names what this node holds against a log, which every part of it tells."""
        self.shown, self._own, self._standing, self._evidence, self._clock = shown, own, standing, evidence, clock
        self._storage, self._tree = shown.storage, shown.tree
        self._served: OrderedDict[int, Served] = OrderedDict()
        self._served_bytes = 0
        self._paths: dict[int, tuple[bytes, ...]] = {}
        self._joints: dict[tuple[int, int], Consistency] = {}
        self._kept_for = Newest(0, 0, "", None)  # what paths lead to

    @property
    def checkpoint_size(self) -> int:
        """The size of the newest signed checkpoint."""
        published = self.shown.published
        return published.size if published else 0

    @property
    def checkpoint_lines(self) -> int:
        """How many signature lines it has: more than the log's own where it is cosigned."""
        published = self.shown.published
        return published.note.count(SIGNATURE_LINE_START) if published else 0

    @property
    def told(self) -> tuple[int, int]:
        """Size and lines of the checkpoint that the last part was made for."""
        return self._kept_for.checkpoint_size, self._kept_for.note.count(SIGNATURE_LINE_START)

    @property
    def newest(self) -> Newest:
        """The head, the newest checkpoint that it covers, and the evidence."""
        size, published = self.shown.head.size, self.shown.published
        checkpoint = (published.size, published.note) if published else (0, "")
        return Newest(size, *checkpoint, self._evidence(self.shown.origin))

    def has_news(self, session: Session, after: int) -> bool:
        """Whether anything for this reader stands at ``after`` or beyond."""
        return bool(self._storage.deliveries(reader_of(session), after, self.shown.head.size, 1))

    def delivers(self, session: Session, index: int) -> bool:
        """Whether the entry there is one for this reader; what a mirror flagged is for nobody."""
        return bool(self._storage.deliveries(reader_of(session), index, index + 1, 1))

    def forget(self) -> None:
        """Keep nothing, after bodies were expunged."""
        self._served.clear()
        self._served_bytes = 0

    def serves(self, after: int, known: int) -> bool:
        """Whether a cursor can be served: a mirror may be behind what its reader has seen elsewhere."""
        head = self.shown.head
        return head.signature is not None and max(after, known) <= head.size

    def require_served(self, after: int, known: int) -> None:
        """Raise Problem for a cursor that cannot be served."""
        head = self.shown.head
        if head.signature is None:
            raise Problem("not-signing", f"this node has no signed head to show: {self._standing.not_signing}")
        if after <= head.size and known <= head.size:
            return
        if self._standing.not_signing is not None:
            raise Problem("not-signing", f"this node has lost what you have seen: {self._standing.not_signing}")
        detail = f"{self.shown.origin} has {head.size} entries here: yours has seen {max(after, known)}"
        raise Problem("bad-cursor", detail)

    def part(
        self, session: Session, after: int, known: int, room: Room, feed: str | None = None, told: str = ""
    ) -> Part:
        """The entries for this reader from index ``after``; ``known`` is the tree size that it has verified before.

        Where it has been ``told`` the newest checkpoint that is not said again; nor is it to a mirror before all that
        it covers, as a mirror keeps none that is ahead. What is taken of ``room`` is the caller's no more.
        """
        self._forget_older_heads()
        head = self.shown.head
        limit, bytes_max = room.share()
        indexes = self._storage.deliveries(reader_of(session), after, head.size, limit)
        items: list[Item] = []
        used, following = 0, head.size if len(indexes) < limit else indexes[-1] + 1 if indexes else after
        if session.speaker.mirrors:
            self._read_ahead(indexes)
        for index in indexes:
            served = self._serve(index)
            if feed is not None and served.header is not None and served.header.feed != feed:
                continue
            item = self._item(session, index, served)
            length = served.length + len(item.wrap or b"") + (0 if item.withheld else served.apart)
            if items and used + length > bytes_max:
                following = index
                break
            items.append(item)
            used += length
        room.take(len(items), used)
        _, checkpoint_size, note, evidence = self._kept_for
        note = "" if note == told or (session.speaker.mirrors and following < checkpoint_size) else note
        between = following if session.speaker.mirrors else checkpoint_size if note else 0
        joints = self._join(0 if session.speaker.mirrors else known, between, head.size)
        return Part(head, tuple(items), note, joints, following, evidence)

    def _join(self, *trees: int) -> tuple[Consistency, ...]:
        """What joins the trees that a reader knows or is shown. A mirror holds every entry before those to come."""
        sizes = sorted(set(trees))
        return tuple(self._joint(old, new) for old, new in itertools.pairwise(size for size in sizes if size))

    def _forget_older_heads(self) -> None:
        newest = self.newest
        if newest != self._kept_for:
            self._kept_for = newest
            self._paths.clear()
            self._joints.clear()

    def _joint(self, old: int, new: int) -> Consistency:
        joint = self._joints.get((old, new))
        if joint is None:
            _make_room(self._joints, JOINTS_KEPT_MAX)
            joint = self._joints[old, new] = Consistency(old, new, self._tree.consistency(old, new))
        return joint

    def _path(self, index: int) -> tuple[bytes, ...]:
        path = self._paths.get(index)
        if path is None:
            _make_room(self._paths, PATHS_KEPT_MAX)
            path = self._paths[index] = self._tree.inclusion(index, self.shown.head.size)
        return path

    def _serve(self, index: int) -> Served:
        served = self._served.get(index)
        if served is not None:
            self._served.move_to_end(index)
            return served
        storage = self._storage
        (data,) = storage.entry_bytes(index, index + 1)
        header, body = _header_in(data), storage.body(index)
        served = Served(data, header, *_beside(header, body, len(body or b"")))
        self._keep(index, served)
        return served

    def _read_ahead(self, indexes: Sequence[int]) -> None:
        """A mirror takes all that comes, with everything beside it: what is not at hand is read at once."""
        missing = [index for index in indexes if index not in self._served]
        if len(missing) < READ_AHEAD_MIN:
            return
        for read in self._storage.together(missing[0], missing[-1] + 1, BODY_INLINE_BYTES_MAX):
            if read.index not in self._served:
                header = _header_in(read.data)
                beside = _beside(header, read.body, read.body_bytes)
                self._keep(read.index, Served(read.data, header, *beside, read.wraps))

    def remember(self, entry: NewEntry, header: Header | None) -> None:
        """What was just made durable, as it will be asked for at once."""
        beside = _beside(header, entry.body, len(entry.body or b""))
        self._keep(entry.index, Served(entry.data, header, *beside, entry.wraps))

    def _keep(self, index: int, served: Served) -> None:
        self._served[index] = served
        self._served_bytes += served.kept
        while self._served_bytes > KEPT_BYTES_MAX:
            self._served_bytes -= self._served.popitem(last=False)[1].kept

    def _item(self, session: Session, index: int, served: Served) -> Item:
        path = () if session.speaker.mirrors else self._path(index)  # a mirror derives the tree itself
        if served.header is None:
            return Item(index, served.data, path, None, served.body)
        withheld = self.why_withheld(session, served.header)
        if withheld is not None:
            return Item(index, served.data, path, withheld=withheld)
        wrap = self.wrap_for(session, index, served.header)
        if served.gone:
            return Item(index, served.data, path, wrap, withheld=self.why_gone(served.header))
        return Item(index, served.data, path, wrap, served.body)

    def why_withheld(self, session: Session, header: Header) -> str | None:
        """Why a body is not served to this reader by the newest state; None if it is. Auditors get ciphertext alone.

        A peer's node gets what an agency at home there is sent, and all of its own ledger, which it may have lost.
        """
        speaker = session.speaker
        if speaker.audits:
            return None
        if speaker.mirrors:
            return None if self._concerns(speaker.origin, header) else "not-a-recipient"
        if speaker.kind != "seat" or speaker.agency is None:
            return "not-a-recipient"
        if speaker.agency == header.sender:
            return None
        if not header.is_sent_to(speaker.agency):
            return "not-a-recipient"
        return why_not_recipient(self._own.exchange, header, speaker.agency)

    def _concerns(self, origin: str, header: Header) -> bool:
        agencies = [self._own.exchange.agency(recipient.agency) for recipient in header.recipients]
        return header.origin == origin or any(agency is not None and agency.home == origin for agency in agencies)

    def wrap_for(self, session: Session, index: int, header: Header) -> bytes | None:
        """The reader's own wrap. An auditor has one where it is a recipient too, and step (5) still admits it.

        A peer's node has every wrap, joined: it hands each reader its own.
        """
        speaker = session.speaker
        served = self._served.get(index)
        kept = served.wraps if served else None
        if speaker.mirrors:
            return b"".join(wrap.data for wrap in (self._storage.wraps(index) if kept is None else kept)) or None
        if speaker.audits and speaker.agency != header.sender:
            agency = speaker.agency or ""
            if not header.is_sent_to(agency) or why_not_recipient(self._own.exchange, header, agency) is not None:
                return None
        if kept is not None:
            return next((wrap.data for wrap in kept if wrap.seat_key_id == session.key_id), None)
        return self._storage.wrap(index, session.key_id)

    def why_gone(self, header: Header) -> str:
        """``expunged`` at the end of its retention; ``missing`` where a restored ledger still lacks it."""
        kept_ms = self._own.exchange.in_force.policy.retention_days * DAY_MS
        return "expunged" if header.expires + kept_ms <= self._clock() else "missing"


def _make_room(kept: dict[Any, Any], most: int) -> None:
    """Begin anew rather than keep more: what is asked for again and again is soon there again."""
    if len(kept) >= most:
        kept.clear()


def _beside(header: Header | None, body: bytes | None, length: int) -> tuple[bytes | None, bool, int]:
    """What goes inline: a body that is short, and a directory's JSON; whether there is none, and what is fetched."""
    if header is None or length <= BODY_INLINE_BYTES_MAX:
        return body, header is not None and not length, 0
    return None, False, length


def _header_in(data: bytes) -> Header | None:
    """The header of a bulletin; None of all else. In a mirror there may be what is no entry at all."""
    try:
        entry = Entry.decode(data)
        return Bulletin.decode(entry.statement).header if entry.kind is Kind.BULLETIN else None
    except ProtocolError:
        return None
