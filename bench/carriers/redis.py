"""Redis Streams with appendfsync always, where ``redis-server`` is installed. Its protocol takes a few lines."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.carriers.contract import Arrived, Publish, Served, arrived, end
from bench.carriers.nats import wait_for
from khunjerab.demo.ports import free_port
from protocol.entry import Submission

SERVER = shutil.which("redis-server")
STREAM = b"bulletins"
_READ_MAX = b"256"


class Redis:
    """One stream, added to with commands in a pipeline, read with blocking reads."""

    name = "Redis always"
    batch = 1

    @contextlib.contextmanager
    def serving(self, folder: Path) -> Iterator[Served]:
        """A server of our own on a free port, its log below ``folder``."""
        assert SERVER is not None
        port = free_port()
        options = f"--bind 127.0.0.1 --port {port} --appendonly yes --appendfsync always --dir {folder} --save"
        with (folder / "redis.log").open("wb") as log:
            process = subprocess.Popen([SERVER, *options.split(), ""], stdout=log, stderr=log)
        try:
            wait_for(port)
            yield Served(f"127.0.0.1:{port}", process.pid)
        finally:
            end(process)

    @contextlib.asynccontextmanager
    async def publishing(self, served: Served) -> AsyncIterator[Publish]:
        """XADD answers when the log is on the disk."""
        async with _connected(served) as connection:

            async def publish(submissions: Sequence[Submission]) -> None:
                await asyncio.gather(
                    *(connection.ask(b"XADD", STREAM, b"*", b"m", one.encode()) for one in submissions)
                )

            yield publish

    async def arriving(self, served: Served) -> AsyncGenerator[list[Arrived], None]:
        """XREAD from the last one seen."""
        last = b"0"
        async with _connected(served) as connection:
            yield []
            while True:
                answer = await connection.ask(
                    b"XREAD", b"COUNT", _READ_MAX, b"BLOCK", b"60000", b"STREAMS", STREAM, last
                )
                ((_, entries),) = answer
                last = entries[-1][0]
                yield [arrived(fields[1]) for _, fields in entries]


class _Connection:
    """Commands out, answers in, in the same order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._asked = deque[asyncio.Future[Any]]()

    def ask(self, *words: bytes) -> asyncio.Future[Any]:
        """The answer to one command, when it comes."""
        self._writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
        answer = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        return answer

    async def read(self) -> None:
        """Until the connection ends."""
        while True:
            answer = await self._value()
            self._asked.popleft().set_result(answer)

    async def _value(self) -> Any:
        line = await self._reader.readuntil(b"\r\n")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"*":
            return [await self._value() for _ in range(int(rest))]
        if kind == b"$":
            return (await self._reader.readexactly(int(rest) + 2))[:-2]
        return rest


@contextlib.asynccontextmanager
async def _connected(served: Served) -> AsyncIterator[_Connection]:
    host, _, port = served.url.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
    connection = _Connection(reader, writer)
    reading = asyncio.create_task(connection.read())
    try:
        yield connection
    finally:
        reading.cancel()
        writer.close()
