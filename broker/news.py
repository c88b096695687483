"""Who waits for what: readers sleep until an entry for them is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from broker.storage.contract import EVERYONE

ALL = None  # the reader of every entry: role audit


class News:
    """One event for each agency that has somebody waiting."""

    def __init__(self) -> None:
        self._waiting: dict[str | None, set[asyncio.Future[None]]] = {}

    async def wait(self, reader: str | None, seconds: float) -> None:
        """Return when something for ``reader`` may be there, or the time is up."""
        waiting = self._waiting.setdefault(reader, set())
        future = asyncio.get_running_loop().create_future()
        waiting.add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            pass
        finally:
            waiting.discard(future)

    def announce(self, readers: Iterable[str]) -> None:
        """Wake those for whom something was committed."""
        wanted = set(readers)
        for name in list(self._waiting) if EVERYONE in wanted else [*wanted, ALL]:
            for future in self._waiting.get(name, ()):
                if not future.done():
                    future.set_result(None)

    def wake_all(self) -> None:
        """When the node stops."""
        self.announce([EVERYONE])
