"""Pages: what a reader is given of every ledger that this node serves, its own and its mirrors (SPEC §11.2).

A reader need not know where a bulletin was posted. Whole pages are kept where key and cursor are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.deliveries import Deliveries, Newest, Room
from broker.sessions import Session
from protocol.page import Cursor, Part, encode_page

KEPT_BYTES_MAX = 16 * 1024 * 1024


Told = tuple[str, bytes | None]  # a ledger's newest checkpoint, and the evidence against it
UNTOLD: Told = ("", None)


@dataclass(frozen=True, slots=True)
class Page:
    """Parts, by origin the size and the signature lines of their checkpoints, and their encoding."""

    parts: tuple[Part, ...]
    checkpoints: dict[str, tuple[int, int]]
    places: dict[str, int]  # where each ledger goes on, also those that a stream is told nothing of
    whole: bool  # whether nothing is left beyond these
    data: bytes

    @property
    def entries(self) -> int:
        """In all its parts."""
        return sum(len(part.items) for part in self.parts)


class Pages:
    """The own ledger's deliveries, and those of each mirror that has anything to show."""

    def __init__(self, own: Deliveries) -> None:
        self.own = own
        self._mirrored: dict[str, Deliveries] = {}
        self._kept: dict[tuple[object, ...], Page] = {}
        self._kept_bytes = 0
        self._kept_for: list[Newest] = []

    def serve(self, deliveries: Deliveries) -> None:
        """From now on a mirror is served too."""
        self._mirrored[deliveries.shown.origin] = deliveries

    def of(self, origin: str) -> Deliveries | None:
        """The deliveries of one ledger."""
        return self.own if origin == self.own.shown.origin else self._mirrored.get(origin)

    def all(self) -> list[Deliveries]:
        """The own ledger's first."""
        return [self.own, *self._mirrored.values()]

    def for_reader(self, session: Session, after: Cursor, known: Cursor) -> list[Deliveries]:
        """Which ledgers a reader is given. A peer's node gets this node's; or, if it asks for that, its own alone."""
        speaker, mirrored = session.speaker, self._mirrored.values()
        served = [one for one in mirrored if one.serves(*_place(one, after, known))]
        if not speaker.mirrors:
            return [self.own, *served]
        return [one for one in served if one.shown.origin == speaker.origin] if speaker.origin in after else [self.own]

    def require_served(self, after: Cursor, known: Cursor) -> None:
        """Raise Problem for a cursor that cannot be served."""
        self.own.require_served(*_place(self.own, after, known))

    def has_news(self, session: Session, after: Cursor) -> bool:
        """Whether anything for this reader stands at ``after`` or beyond, in any ledger."""
        return any(one.has_news(session, after.get(one.shown.origin, 0)) for one in self.for_reader(session, after, {}))

    def page(
        self,
        session: Session,
        after: Cursor,
        known: Cursor,
        limit: int,
        feed: str | None = None,
        told: Mapping[str, Told] | None = None,
    ) -> Page:
        """A part for each ledger; ``limit`` entries in all of them together, shared evenly where all have many.

        ``told`` is what a stream has said of each ledger: nothing is said twice, and no part is sent without news.
        """
        self.require_served(after, known)
        self._forget_older_heads()
        notes = None if told is None else tuple(sorted(told.items()))
        name = (session.key_id, tuple(sorted(after.items())), tuple(sorted(known.items())), limit, feed, notes)
        page = self._kept.get(name)
        if page is None:
            page = self._make(session, after, known, limit, feed, told)
            if self._kept_bytes + len(page.data) <= KEPT_BYTES_MAX:
                self._kept[name] = page
                self._kept_bytes += len(page.data)
        return page

    def _make(
        self,
        session: Session,
        after: Cursor,
        known: Cursor,
        limit: int,
        feed: str | None,
        told: Mapping[str, Told] | None,
    ) -> Page:
        ledgers = self.for_reader(session, after, known)
        parts: list[Part] = []
        room = Room(limit, parts=len(ledgers))
        for one in ledgers:
            note, _ = told.get(one.shown.origin, UNTOLD) if told else UNTOLD
            parts.append(one.part(session, *_place(one, after, known), room, feed, note))
        checkpoints = {one.shown.origin: one.told for one in ledgers}
        places = {part.head.origin: part.next for part in parts}
        whole = all(part.next == part.head.size for part in parts)
        shown = tuple(part for part in parts if told is None or _is_news(part, told))
        return Page(shown, checkpoints, places, whole, encode_page(shown))

    def forget(self) -> None:
        """Keep nothing, after bodies were expunged."""
        self._forget_pages()
        for one in self.all():
            one.forget()

    def _forget_older_heads(self) -> None:
        newest = [one.newest for one in self.all()]
        if newest != self._kept_for:
            self._kept_for = newest
            self._forget_pages()

    def _forget_pages(self) -> None:
        self._kept.clear()
        self._kept_bytes = 0


def _is_news(part: Part, told: Mapping[str, Told]) -> bool:
    _, evidence = told.get(part.head.origin, UNTOLD)
    return bool(part.items or part.checkpoint or part.evidence != evidence)


def _place(one: Deliveries, after: Cursor, known: Cursor) -> tuple[int, int]:
    return after.get(one.shown.origin, 0), known.get(one.shown.origin, 0)
