"""The line between two nodes, as one that can be cut: bytes in, bytes out, and nobody looks at them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
READ_BYTES = 65_536


class Relay:
    """Carries each connection to a port of this machine, in a thread of its own. TLS goes through it as it is."""

    def __init__(self, port: int) -> None:
        """``port`` is where the node listens; ``self.port`` where its peer reaches it."""
        self._target, self._whole = port, True
        self._carried: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="relay", daemon=True).start()
        self.port = self._do(self._listen())

    def cut(self) -> None:
        """Every connection ends at once, and none begins."""
        self._do(self._set(whole=False))

    def join(self) -> None:
        """It carries again."""
        self._do(self._set(whole=True))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _set(self, *, whole: bool) -> None:
        self._whole = whole
        for writer in self._carried if not whole else ():
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._carried.add(writer)
        try:
            if self._whole:
                with contextlib.suppress(OSError):
                    there, back = await asyncio.open_connection("127.0.0.1", self._target)
                    self._carried.add(back)
                    try:
                        await asyncio.gather(_pour(reader, back), _pour(there, writer))
                    finally:
                        self._carried.discard(back)
                        back.transport.abort()
        finally:
            self._carried.discard(writer)
            writer.transport.abort()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until it ends; then the other is told."""
    while data := await reader.read(READ_BYTES):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
