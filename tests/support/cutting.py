"""A link that loses answers: it passes a request on and closes before the answer has come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Link:
    """Between a client and a node. While ``cut`` is set every answer to ``lost`` is lost, after the node gave it."""

    def __init__(self, target: str, lost: bytes = b"POST /v1/entries") -> None:
        self._target = urlsplit(target)
        self._lost = lost
        self.cut = False
        self.answers_lost = 0
        self.url = ""

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        asked = bytearray()

        async def up() -> None:
            while data := await reader.read(65536):
                asked.extend(data)
                back.write(data)
            back.close()

        async def down() -> None:
            while data := await there.read(65536):
                if self.cut and self._lost in asked:
                    self.answers_lost += 1
                    break
                asked.clear()
                writer.write(data)
            writer.close()

        ways = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ways:
                task.cancel()
            writer.close()
            back.close()
            await asyncio.gather(*ways, return_exceptions=True)


@asynccontextmanager
async def link_to(target: str) -> AsyncIterator[Link]:
    """On a loopback port of its own."""
    link = Link(target)
    server = await asyncio.start_server(link.carry, "127.0.0.1", 0)
    link.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield link
