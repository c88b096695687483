"""What a reader is given: its entries of a ledger, with the proofs that let it believe them (SPEC §11.2).

Nothing here waits. What several readers ask for is read, proved and encoded once: entries and paths are kept for the
head at hand, and whole pages where key and cursor are the same.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from broker.ledger import Ledger, now_ms
from broker.publisher import Publisher
from broker.sessions import Session, reader_of
from broker.standing import Standing
from keys.judge import why_not_recipient
from protocol import limits
from protocol.entry import Entry
from protocol.header import Header
from protocol.page import Consistency, Item, Part, encode_page
from protocol.problem import Problem
from protocol.statements import Bulletin, Kind
from protocol.times import DAY_MS

BODY_INLINE_BYTES_MAX = 64 * 1024
KEPT_BYTES_MAX = 32 * 1024 * 1024
PAGES_KEPT_MAX = 64
_ITEM_BYTES = 2048  # what path, wrap and framing of an item come to, about


@dataclass(frozen=True, slots=True)
class Served:
    """An entry as it is served to anyone, read and decoded once; ``body`` is what goes inline."""

    data: bytes
    kind: Kind
    header: Header | None
    body: bytes | None
    gone: bool  # a bulletin whose body is not here any more

    @property
    def length(self) -> int:
        """What it takes in memory and on a page."""
        return len(self.data) + len(self.body or b"") + _ITEM_BYTES


@dataclass(frozen=True, slots=True)
class Page:
    """A part, the size and the signature lines of its checkpoint, and its encoding as a page."""

    part: Part
    checkpoint_size: int
    checkpoint_lines: int
    data: bytes


class Deliveries:
    """Pages of one ledger."""

    def __init__(
        self, ledger: Ledger, publisher: Publisher, standing: Standing, clock: Callable[[], int] = now_ms
    ) -> None:
        self._ledger, self._publisher, self._standing, self._clock = ledger, publisher, standing, clock
        self._served: OrderedDict[int, Served] = OrderedDict()
        self._served_bytes = 0
        self._paths: dict[int, tuple[bytes, ...]] = {}
        self._joints: dict[tuple[int, int], Consistency] = {}
        self._pages: dict[tuple[object, ...], Page] = {}
        self._kept_for: tuple[int, str] = (0, "")  # the head's size and the checkpoint that paths and pages lead to

    @property
    def checkpoint_size(self) -> int:
        """The size of the newest signed checkpoint."""
        published = self._publisher.newest
        return published.size if published else 0

    @property
    def checkpoint_lines(self) -> int:
        """How many signature lines it has: more than the log's own where it is cosigned."""
        return self._publisher.lines

    def has_news(self, session: Session, after: int) -> bool:
        """Whether anything for this reader stands at ``after`` or beyond."""
        head = self._ledger.head
        return bool(self._ledger.storage.deliveries(reader_of(session), after, head.size, 1))

    def page(self, session: Session, after: int, known: int, limit: int, feed: str | None = None) -> Page:
        """The entries for this reader from index ``after``; ``known`` is the tree size that it has verified before."""
        self._require_served(after, known)
        self._forget_older_heads()
        name = (session.key_id, after, known, limit, feed)
        page = self._pages.get(name)
        if page is None:
            part = self._part(session, after, known, limit, feed)
            page = Page(part, self.checkpoint_size, self.checkpoint_lines, encode_page((part,)))
            if len(self._pages) < PAGES_KEPT_MAX and len(page.data) <= BODY_INLINE_BYTES_MAX:
                self._pages[name] = page
        return page

    def forget(self) -> None:
        """Keep nothing, after bodies were expunged."""
        self._served.clear()
        self._served_bytes = 0
        self._pages.clear()

    def _require_served(self, after: int, known: int) -> None:
        head = self._ledger.head
        if head.signature is None:
            raise Problem("not-signing", f"this node has no signed head to show: {self._standing.not_signing}")
        if after <= head.size and known <= head.size:
            return
        if self._standing.not_signing is not None:
            raise Problem("not-signing", f"this node has lost what you have seen: {self._standing.not_signing}")
        raise Problem("bad-cursor", f"this ledger has {head.size} entries: yours has seen {max(after, known)}")

    def _forget_older_heads(self) -> None:
        published = self._publisher.newest
        now = (self._ledger.head.size, published.note if published else "")
        if now != self._kept_for:
            self._kept_for = now
            self._paths.clear()
            self._joints.clear()
            self._pages.clear()

    def _part(self, session: Session, after: int, known: int, limit: int, feed: str | None) -> Part:
        ledger, head = self._ledger, self._ledger.head
        limit = min(limit, limits.PAGE_ENTRIES_MAX)
        indexes = ledger.storage.deliveries(reader_of(session), after, head.size, limit)
        items: list[Item] = []
        used, following = 0, head.size if len(indexes) < limit else indexes[-1] + 1 if indexes else after
        for index in indexes:
            served = self._serve(index)
            if feed is not None and served.header is not None and served.header.feed != feed:
                continue
            used += served.length
            if items and used > limits.PAGE_BYTES_MAX:
                following = index
                break
            items.append(self._item(session, index, served))
        sizes = sorted({known, self.checkpoint_size, head.size} - {0})
        joints = tuple(self._joint(old, new) for old, new in itertools.pairwise(sizes))
        return Part(head, tuple(items), self._kept_for[1], joints, following)

    def _joint(self, old: int, new: int) -> Consistency:
        joint = self._joints.get((old, new))
        if joint is None:
            joint = self._joints[old, new] = Consistency(old, new, self._ledger.tree.consistency(old, new))
        return joint

    def _path(self, index: int) -> tuple[bytes, ...]:
        path = self._paths.get(index)
        if path is None:
            path = self._paths[index] = self._ledger.tree.inclusion(index, self._ledger.head.size)
        return path

    def _serve(self, index: int) -> Served:
        served = self._served.get(index)
        if served is not None:
            self._served.move_to_end(index)
            return served
        storage = self._ledger.storage
        (data,) = storage.entry_bytes(index, index + 1)
        entry = Entry.decode(data)
        if entry.kind is Kind.BULLETIN:
            body = storage.body(index)
            inline = body if body is not None and len(body) <= BODY_INLINE_BYTES_MAX else None
            header = Bulletin.decode(entry.statement).header
            served = Served(data, entry.kind, header, inline, body is None)
        else:
            body = storage.body(index) if entry.kind is Kind.DIRECTORY else None
            served = Served(data, entry.kind, None, body, gone=False)
        self._served[index] = served
        self._served_bytes += served.length
        while self._served_bytes > KEPT_BYTES_MAX:
            self._served_bytes -= self._served.popitem(last=False)[1].length
        return served

    def _item(self, session: Session, index: int, served: Served) -> Item:
        path = self._path(index)
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
        """Why a body is not served to this reader by the newest state; None if it is. Auditors get ciphertext alone."""
        speaker = session.speaker
        if speaker.audits:
            return None
        if speaker.kind != "seat" or speaker.agency is None:
            return "not-a-recipient"
        if speaker.agency == header.sender:
            return None
        if not header.is_sent_to(speaker.agency):
            return "not-a-recipient"
        return why_not_recipient(self._ledger.exchange, header, speaker.agency)

    def wrap_for(self, session: Session, index: int, header: Header) -> bytes | None:
        """The reader's own wrap. An auditor has one where it is a recipient too, and step (5) still admits it."""
        speaker = session.speaker
        if speaker.audits and speaker.agency != header.sender:
            agency = speaker.agency or ""
            if not header.is_sent_to(agency) or why_not_recipient(self._ledger.exchange, header, agency) is not None:
                return None
        return self._ledger.storage.wrap(index, session.key_id)

    def why_gone(self, header: Header) -> str:
        """``expunged`` at the end of its retention; ``missing`` where a restored ledger still lacks it."""
        kept_ms = self._ledger.exchange.in_force.policy.retention_days * DAY_MS
        return "expunged" if header.expires + kept_ms <= self._clock() else "missing"
