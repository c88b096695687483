"""Bodies on their way in: together they take a bounded part of memory, whoever sends them and however slowly.

Beyond the bound room is made where most is held: of whoever has the most on its way, the oldest body is given up. It is
the slowest too, so a flood of bodies that never end costs those who flood.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class _Body:
    who: str
    length: int
    patience: asyncio.Timeout


class Intake:
    """What is being read now, in order of arrival."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bodies: dict[_Body, None] = {}
        self._held = Counter[str]()

    @contextlib.contextmanager
    def reading(self, who: str, length: int, patience: asyncio.Timeout) -> Iterator[None]:
        """Held while a body of ``length`` is read; ``patience``, which stands around it, ends early to make room."""
        body = _Body(who, length, patience)
        self._bodies[body] = None
        self._held[who] += length
        try:
            while self._held.total() > self._bytes_max:
                self._give_up_one()
            yield
        finally:
            self._forget(body)

    def _give_up_one(self) -> None:
        (most, _), *_ = self._held.most_common(1)
        oldest = next(body for body in self._bodies if body.who == most)
        self._forget(oldest)
        oldest.patience.reschedule(0)

    def _forget(self, body: _Body) -> None:
        if body in self._bodies:
            del self._bodies[body]
            self._held[body.who] -= body.length
            self._held += Counter()  # without those who hold nothing
