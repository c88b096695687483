"""What a reader is given: its entries of a ledger, with the proofs that let it believe them (SPEC §11.2)."""

from __future__ import annotations

from broker.ledger import Ledger
from broker.publisher import Publisher
from broker.sessions import Session
from keys.judge import why_not_recipient
from protocol import limits
from protocol.entry import Entry
from protocol.header import Header
from protocol.page import Consistency, Item, Part
from protocol.problem import Problem
from protocol.statements import Bulletin, Kind

BODY_INLINE_BYTES_MAX = 64 * 1024


class Deliveries:
    """Pages of one ledger. Nothing here waits; who waits is ``broker/news.py``'s business."""

    def __init__(self, ledger: Ledger, publisher: Publisher) -> None:
        self._ledger, self._publisher = ledger, publisher

    def has_news(self, session: Session, after: int) -> bool:
        """Whether anything for this reader stands at ``after`` or beyond."""
        head = self._ledger.head
        return bool(self._ledger.storage.deliveries(_reader(session), after, head.size, 1))

    def part(self, session: Session, after: int, known: int, limit: int, feed: str | None = None) -> Part:
        """The entries for this reader from index ``after``; ``known`` is the tree size that it has verified before."""
        ledger, head = self._ledger, self._ledger.head
        if after > head.size or known > head.size:
            raise Problem("bad-cursor", f"this ledger has {head.size} entries: yours has seen {max(after, known)}")
        limit = min(limit, limits.PAGE_ENTRIES_MAX)
        indexes = ledger.storage.deliveries(_reader(session), after, head.size, limit)
        items, used, following = [], 0, head.size if len(indexes) < limit else indexes[-1] + 1
        for index in indexes:
            item = self._item(session, index, feed)
            if item is None:
                continue
            used += len(item.entry) + len(item.body or b"") + 2048
            if items and used > limits.PAGE_BYTES_MAX:
                following = index
                break
            items.append(item)
        published = self._publisher.newest
        note = published.note if published else ""
        sizes = sorted({known, published.size if published else 0, head.size} - {0})
        joints = tuple(
            Consistency(old, new, ledger.tree.consistency(old, new)) for old, new in zip(sizes, sizes[1:], strict=False)
        )
        return Part(head, tuple(items), note, joints, following)

    def _item(self, session: Session, index: int, feed: str | None) -> Item | None:
        ledger, speaker = self._ledger, session.speaker
        (data,) = ledger.storage.entry_bytes(index, index + 1)
        path = ledger.tree.inclusion(index, ledger.head.size)
        entry = Entry.decode(data)
        if entry.kind is Kind.DIRECTORY:
            return Item(index, data, path, None, ledger.storage.body(index))
        if entry.kind is not Kind.BULLETIN:
            return Item(index, data, path)
        header = Bulletin.decode(entry.statement).header
        if feed is not None and header.feed != feed:
            return None
        withheld = self.why_withheld(session, header)
        if withheld is not None:
            return Item(index, data, path, withheld=withheld)
        wrap = None if speaker.audits else ledger.storage.wrap(index, session.key_id)
        body = ledger.storage.body(index)
        if body is None:
            return Item(index, data, path, wrap, withheld="expunged")
        return Item(index, data, path, wrap, body if len(body) <= BODY_INLINE_BYTES_MAX else None)

    def why_withheld(self, session: Session, header: Header) -> str | None:
        """Why a body is not served to this reader by the newest state; None if it is. Auditors get ciphertext alone."""
        speaker = session.speaker
        if speaker.audits or speaker.agency == header.sender:
            return None
        if speaker.kind != "seat" or speaker.agency is None or not header.is_sent_to(speaker.agency):
            return "not-a-recipient"
        return why_not_recipient(self._ledger.exchange, header, speaker.agency)


def _reader(session: Session) -> str | None:
    """The name that deliveries are found by: an authority key reads what is for everyone."""
    speaker = session.speaker
    if speaker.audits:
        return None
    return speaker.agency if speaker.kind == "seat" and speaker.agency else "-"
