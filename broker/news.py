"""Who waits for what: readers sleep until an entry for them is committed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from broker.storage.contract import EVERYONE

ALL = None  # the reader of every entry: role audit


class News:
    """One set of events for each agency that has somebody waiting."""

    def __init__(self) -> None:
        self._events: dict[str | None, set[asyncio.Event]] = {}

    @contextlib.contextmanager
    def listening(self, reader: str | None, event: asyncio.Event) -> Iterator[None]:
        """Set ``event`` when something for ``reader`` may be there; whoever clears it looks again before waiting."""
        events = self._events.setdefault(reader, set())
        events.add(event)
        try:
            yield
        finally:
            events.discard(event)
            if not events:
                self._events.pop(reader, None)

    async def wait(self, reader: str | None, seconds: float) -> None:
        """Return when something for ``reader`` may be there, or the time is up."""
        event = asyncio.Event()
        with self.listening(reader, event), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def announce(self, readers: Iterable[str]) -> None:
        """Wake those for whom something was committed."""
        wanted = set(readers)
        for name in self._events if EVERYONE in wanted else (*wanted, ALL):
            for event in self._events.get(name, ()):
                event.set()

    def wake_all(self) -> None:
        """When the node stops, or a checkpoint has news for everyone."""
        self.announce([EVERYONE])
