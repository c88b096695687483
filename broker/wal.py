"""The write-ahead log of a store, moved into its file now and then, and begun anew before it has grown long.

SQLite begins a log anew once all of it is in the file and somebody writes. While much is written that never comes:
whenever the end is reached there is more. So a log that has grown long is moved until little is left, and the rest of
it between two writes, which waits for milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from broker.completion import finished
from broker.storage.contract import Storage

PASSES = 2  # each takes as long as what was written during the one before

Write = Callable[[Callable[[], object]], Awaitable[None]]


async def checkpoint(storage: Storage, write: Write) -> None:
    """On a thread of its own; ``write`` runs what it is given on the one that writes, between two groups."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(RuntimeError):  # this node is stopping: the threads take nothing more
        for _ in range(1 + PASSES):
            moving = loop.run_in_executor(None, storage.checkpoint_wal)
            await finished(moving)
            if not moving.result():
                return
        await write(storage.checkpoint_wal)
