"""NATS JetStream: a file stream on one server, published with acknowledgements, pushed to a consumer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StorageType, StreamConfig

from bench.carriers.contract import Arrived, Publish, Served, arrived, end
from khunjerab.demo.ports import free_port
from protocol.entry import Submission

STREAM = "bulletins"
_CONFIG = StreamConfig(STREAM, subjects=[STREAM], storage=StorageType.FILE)
SERVER = Path(sys.executable).with_name("nats-server")


class Nats:
    """``always`` fsyncs before it acknowledges; without, the server does so every two minutes."""

    batch = 1

    def __init__(self, *, always: bool) -> None:
        self.name = f"NATS {'always' if always else 'default'}"
        self._sync = "sync_interval: always\n" if always else ""

    @contextlib.contextmanager
    def serving(self, folder: Path) -> Iterator[Served]:
        """A server of our own on a free port, its store below ``folder``."""
        port = free_port()
        settings = folder / "nats.conf"
        settings.write_text(
            f'host: 127.0.0.1\nport: {port}\njetstream {{\nstore_dir: "{folder / "jetstream"}"\n{self._sync}}}\n'
        )
        with (folder / "nats.log").open("wb") as log:
            process = subprocess.Popen([SERVER, "-c", settings], stdout=log, stderr=log)
        try:
            wait_for(port)
            yield Served(f"nats://127.0.0.1:{port}", process.pid)
        finally:
            end(process)

    @contextlib.asynccontextmanager
    async def publishing(self, served: Served) -> AsyncIterator[Publish]:
        """Each is published with its acknowledgement awaited."""
        async with await nats.connect(served.url) as connection:
            stream = connection.jetstream()

            async def publish(submissions: Sequence[Submission]) -> None:
                acknowledged = [await stream.publish_async(STREAM, one.encode()) for one in submissions]
                await asyncio.gather(*acknowledged)

            yield publish

    async def make_stream(self, served: Served) -> None:
        """The stream, without anyone who reads it."""
        async with await nats.connect(served.url) as connection:
            await connection.jetstream().add_stream(_CONFIG)

    async def arriving(self, served: Served) -> AsyncGenerator[list[Arrived], None]:
        """A push consumer from the first on. It acknowledges nothing, as a reader of ours keeps its own cursor."""
        async with await nats.connect(served.url) as connection:
            stream = connection.jetstream()
            await stream.add_stream(_CONFIG)
            config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
            pushed = await stream.subscribe(STREAM, config=config)
            yield []
            while True:
                message = await pushed.next_msg(timeout=60)
                yield [arrived(message.data)]


def wait_for(port: int, seconds: float = 60) -> None:
    """Return when somebody listens on a loopback port."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody listens on port {port}")
        time.sleep(0.02)
