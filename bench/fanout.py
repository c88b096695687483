"""One publisher, a thousand connections of 32 agencies: deliveries a second, memory a connection, one that is stuck.

Both brokers push to every connection whatever each has a right to, from a durable log with a cursor a reader: our
streams, and JetStream's push consumers. NATS carries what one reader of ours is given: what was signed, its own wrap,
the body. Readers count the sender's name as it comes by, in one process whoever sent it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import nats as nats_client
import uvloop
from nats.js.api import AckPolicy, ConsumerConfig

from bench.carriers.contract import Served
from bench.carriers.khunjerab import ORIGIN, Khunjerab
from bench.carriers.nats import STREAM, Nats
from bench.messages import PLENTY
from bench.table import Figure
from broker.sessions import WAITING_PER_SESSION_MAX
from clients.transport import Wire
from keys import sealing
from protocol import limits
from protocol.content import Content, Version
from protocol.entry import Submission
from protocol.label import Clearance
from protocol.names import new_bulletin_id
from protocol.page import format_cursor
from protocol.parties import Feed
from protocol.policy import Policy
from protocol.stream import format_credit
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.live import now_ms, world_of_today
from tests.support.world import CONTENT, ORIGINS, World, agency, label, seed, signing_key

CONNECTIONS, AGENCIES = 1000, 32
IN_FLIGHT, BATCH = 64, 16
MUST, AIM = 1.0, 2.5
MEMORY_MUST, MEMORY_AIM = 0.5, 0.3
STUCK_MUST, STUCK_AIM = 0.95, 1.0
SECONDS_MAX = 18  # below the streams' heartbeat, which these readers do not answer
STUCK_BUFFER_BYTES = 4096
BEFORE = 100  # long ones, whom only the stuck reader wants: more than the kernel takes off the node's hands
MADE_AT_ONCE = 50  # consumers
LONG = replace(CONTENT, versions=(Version("en", "Road closed", "A slide has closed the highway. " * 1700),))
SENDER = "pk-unit-00"
Post = Callable[[list[Submission]], Awaitable[object]]


class Fanned(NamedTuple):
    """One run: deliveries a second, and what a connection took of the broker's memory."""

    rate: float
    bytes_a_connection: float


def fanout(suite: int, rounds: int, count: int) -> list[Figure]:
    """Rows; in each round ours, ours with one more that reads nothing, and NATS."""
    world = _world()
    messages, before = _sealed(world, count, CONTENT, suite), _sealed(world, BEFORE, LONG, suite)
    ours, stuck, theirs = [], [], []
    for turn in range(rounds):
        for slow in (False, True) if turn % 2 else (True, False):
            (stuck if slow else ours).append(
                _run(Khunjerab(world, SENDER, SENDER), world, messages, before, stuck=slow)
            )
        theirs.append(_run(Nats(always=False), world, messages, [], stuck=False))
    return [
        Figure(
            f"{CONNECTIONS:,} connections of {AGENCIES} agencies, one publisher, suite {suite}: of NATS's deliveries",
            [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)], MUST, AIM,
            detail={
                "khunjerab/s": statistics.median(a.rate for a in ours),
                "NATS/s": statistics.median(b.rate for b in theirs),
            },
        ),
        Figure(
            "the same: memory a connection, of NATS's",
            [a.bytes_a_connection / b.bytes_a_connection for a, b in zip(ours, theirs, strict=True)],
            MEMORY_MUST, MEMORY_AIM, at_most=True,
            detail={
                "KiB, khunjerab": statistics.median(a.bytes_a_connection for a in ours) / 1024,
                "KiB, NATS": statistics.median(b.bytes_a_connection for b in theirs) / 1024,
            },
        ),
        Figure(
            "the same, and one subscriber that is stuck: of the others' rate without it",
            [b.rate / a.rate for a, b in zip(ours, stuck, strict=True)], STUCK_MUST, STUCK_AIM,
        ),
    ]  # fmt: skip


def _world() -> World:
    ids = [f"{nation}-unit-{number:02}" for nation in ("pk", "cn") for number in range(AGENCIES // 2)]
    clearances = {"pk": "Restricted", "cn": "秘密"}
    agencies = tuple(replace(agency(one, clearances[one[:2]]), home=ORIGINS["PK"]) for one in ids)
    feed = Feed("convoys", "Convoys", tuple(ids), Clearance("PK", "Restricted"), domestic=False)
    plenty = Policy(attempts_per_minute=PLENTY, bulletins_per_hour=PLENTY)
    return world_of_today(agencies=agencies, feeds=(feed,), policy=plenty)


def _sealed(world: World, count: int, content: Content, suite: int) -> list[Submission]:
    created = now_ms()
    readers = [one.id for one in world.directory.agencies if one.id != SENDER]
    until = created + DAY_MS
    header = world.header(SENDER, readers, suite=suite, label=label("Restricted"), created=created, expires=until)
    seats, key = world.seats(header), signing_key(f"{SENDER}/desk")
    ids = [new_bulletin_id(created + number, seed(f"fan/{created}/{number}", 10).reveal()) for number in range(count)]
    return [sealing.seal(header.replace(id=id_), content, seats, key) for id_ in ids]


# One run


def _run(
    carrier: Khunjerab | Nats, world: World, messages: list[Submission], before: list[Submission], *, stuck: bool
) -> Fanned:
    context: Any = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as folder, carrier.serving(Path(folder)) as served:
        uvloop.run(_publish(carrier, served, before))
        resident = _resident_bytes(served.pid)
        ours, theirs = context.Pipe()
        arguments = (theirs, isinstance(carrier, Khunjerab), served, world, len(messages), stuck)
        readers = context.Process(target=_read, args=arguments, daemon=True)
        readers.start()
        try:
            assert ours.poll(60), "the readers do not come up"
            ours.recv()
            taken = _resident_bytes(served.pid) - resident
            began = time.perf_counter()
            uvloop.run(_publish(carrier, served, messages))
            assert ours.poll(SECONDS_MAX), f"not all was delivered in {SECONDS_MAX} s"
            last = ours.recv()
        finally:
            readers.kill()
            readers.join()
    return Fanned(CONNECTIONS * len(messages) / (last - began), taken / CONNECTIONS)


def _resident_bytes(pid: int) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


async def _publish(carrier: Khunjerab | Nats, served: Served, messages: list[Submission]) -> None:
    """With 64 in flight; ours in posts, as a message has no room for many. To NATS goes what one reader takes."""
    if isinstance(carrier, Nats):
        messages = [one.replace(wraps=one.wraps[:1]) for one in messages]
    batch = BATCH if isinstance(carrier, Khunjerab) else 1
    groups = iter([messages[at : at + batch] for at in range(0, len(messages), batch)])

    async def work(publish: Post) -> None:
        for group in groups:
            await publish(group)

    async with _publishing(carrier, served) as publish:
        await asyncio.gather(*(work(publish) for _ in range(IN_FLIGHT // batch)))


@contextlib.asynccontextmanager
async def _publishing(carrier: Khunjerab | Nats, served: Served) -> AsyncIterator[Post]:
    if isinstance(carrier, Nats):
        async with carrier.publishing(served) as publish:
            yield publish
    else:
        async with carrier.logged_in(served, SENDER) as wire:
            yield wire.post


# The readers


class _Reader(asyncio.Protocol):
    """Says what it wants, and counts how often the sender's name comes by: once in each bulletin."""

    def __init__(self, hello: bytes, counted: Callable[[int], None]) -> None:
        self._hello, self._counted = hello, counted
        self._tail = b""
        self.welcomed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        if not self.welcomed.done():
            self.welcomed.set_result(None)
        data = self._tail + data
        self._counted(data.count(NAME))
        self._tail = data[1 - len(NAME) :]


NAME = SENDER.encode()


def _read(told: Any, is_ours: bool, served: Served, world: World, count: int, stuck: bool) -> None:  # noqa: FBT001
    uvloop.run(_reading(told, is_ours, served, world, count, stuck))


async def _reading(told: Any, is_ours: bool, served: Served, world: World, count: int, stuck: bool) -> None:  # noqa: FBT001
    place = urlsplit(served.url)
    total, done = 0, asyncio.Event()

    def counted(more: int) -> None:
        nonlocal total
        total += more
        if total == CONNECTIONS * count:
            told.send(time.perf_counter())
            done.set()

    async with contextlib.AsyncExitStack() as stack:
        hellos = await (_streams(served, world, count) if is_ours else _subscriptions(served, stack))
        from_the_first, *hellos = hellos if is_ours else [b"", *hellos]
        readers = []
        for hello in hellos:
            _, reader = await asyncio.get_running_loop().create_connection(
                lambda hello=hello: _Reader(hello, counted), place.hostname, place.port
            )
            await reader.welcomed
            readers.append(reader)
        with _one_stuck(from_the_first, str(place.hostname), place.port or 0) if stuck else contextlib.nullcontext():
            await asyncio.sleep(0.5)
            total = 0  # names in what came before: bundles of keys
            told.send("ready")
            await done.wait()
            await asyncio.sleep(SECONDS_MAX)  # until it is ended


async def _streams(served: Served, world: World, count: int) -> list[bytes]:
    """Requests for a stream, with their credit, for as many sessions as they need; one more wants it from the first."""
    tokens = []
    for one in world.directory.agencies:
        for _ in range(-(-CONNECTIONS // AGENCIES // WAITING_PER_SESSION_MAX) + 1):
            async with Wire(served.url) as wire:
                wire.log_in_as(signing_key(f"{one.id}/desk"), world.pin, ORIGIN)
                tokens.append((await wire.session())[0])
                size = (await wire.json("GET", "/v1/node", login=False))["size"]
    hellos = [_hello(token, size, count) for token in tokens]
    return [_hello(tokens[0], 0, limits.CREDIT_ENTRIES_MAX), *islice(cycle(hellos), CONNECTIONS)]


def _hello(token: str, after: int, credit: int) -> bytes:
    cursor, key = format_cursor({ORIGIN: after}), base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET /v1/deliveries?after={cursor}&known={cursor} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    text = format_credit(credit).encode()
    return head.encode() + bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text  # masked with zeros


async def _subscriptions(served: Served, stack: contextlib.AsyncExitStack) -> list[bytes]:
    """A push consumer for each connection, made beforehand."""
    connection = await stack.enter_async_context(await nats_client.connect(served.url))
    stream = connection.jetstream()
    await Nats(always=False).make_stream(served)
    configs = [
        ConsumerConfig(
            deliver_subject=f"reader.{number}", ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=60
        )
        for number in range(CONNECTIONS)
    ]
    for at in range(0, CONNECTIONS, MADE_AT_ONCE):
        await asyncio.gather(*(stream.add_consumer(STREAM, config) for config in configs[at : at + MADE_AT_ONCE]))
    options = json.dumps({"verbose": False, "pedantic": False, "headers": True, "lang": "bench", "version": "0"})
    return [f"CONNECT {options}\r\nSUB reader.{number} 1\r\nPING\r\n".encode() for number in range(CONNECTIONS)]


@contextlib.contextmanager
def _one_stuck(hello: bytes, host: str, port: int) -> Iterator[None]:
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STUCK_BUFFER_BYTES)
        stuck.connect((host, port))
        stuck.sendall(hello)
        yield
