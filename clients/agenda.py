"""An agenda: what becomes late or overdue by time alone, looked at when its time has passed and not before.

A home holds many bulletins and few of them come due in a second: each is read once as it arrives, and again when its
own time is over.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from clients.progress import Book, Progress
from clients.state import State
from protocol.policy import Policy

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Event:
    """What became true of a bulletin by time alone: ``late`` or ``overdue``, and with whom."""

    name: str
    progress: Progress
    agency: str
    due: int


class Agenda:
    """Of everything in one home that has not expired. Each event is told once, whatever restarts."""

    def __init__(self, state: State, agency: str) -> None:
        self._state, self._agency = state, agency
        self._policy: Policy | None = None
        self._arrival = 0  # up to which everything has been read
        self._ahead: list[tuple[int, str, int]] = []  # a heap: due time in ms, origin and index

    def passed(self, policy: Policy, now: int) -> Iterator[Event]:
        """What became late or overdue since it was last asked for. ``now`` is in ms, as every time here."""
        if policy != self._policy:  # it sets the deadlines
            self._policy, self._arrival, self._ahead = policy, 0, []
        book = Book(self._state, self._agency, policy)
        self._read_arrivals(book, now)
        while self._ahead and self._ahead[0][0] < now:
            _, origin, index = heapq.heappop(self._ahead)
            held = self._state.bulletin_at(origin, index)
            if held is None or held.header.expires <= now:  # a ledger may have lost it
                continue
            for event in _events(book.of(held)):
                with self._state.transaction():
                    new = self._state.tell(event.name, origin, index, event.agency)
                if new:
                    yield event

    def _read_arrivals(self, book: Book, now: int) -> None:
        newest = self._state.newest_arrival()
        if newest <= self._arrival:
            return
        while chunk := self._state.arrived(self._arrival, now, _CHUNK):
            for held in chunk:
                for due in book.deadlines(held):
                    heapq.heappush(self._ahead, (due, held.origin, held.index))
                self._arrival = held.arrival
        self._arrival = max(self._arrival, newest)  # what has expired is not looked through again


def _events(progress: Progress) -> Iterator[Event]:
    """All that are true of it now."""
    for reader in progress.readers:
        if reader.late:
            yield Event("late", progress, reader.agency, reader.due)
    request = progress.request
    if request is not None and request.state == "overdue":
        for agency in request.waiting:
            yield Event("overdue", progress, agency, request.due)
