"""Publishing alone, sealed beforehand: 64 in flight, each acknowledged when it is durable, beside NATS always."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.carried import READER, SENDER, Sealer
from bench.carriers.contract import Carrier, Served
from bench.carriers.khunjerab import Khunjerab
from bench.carriers.nats import Nats
from bench.environment import processor_seconds
from bench.load import drive, request_of
from bench.messages import bench_world
from bench.table import Figure
from clients.submitting import submitting
from protocol.entry import Submission, encode_batch
from protocol.treehead import Receipt

IN_FLIGHT, BATCH = 64, 16
MUST, AIM = 2.0, 3.5
Way = Callable[[Served, list[Submission]], Coroutine[Any, Any, float]]  # the seconds that it took


class Published(NamedTuple):
    """What one run came to."""

    rate: float
    processor_us: float  # of the broker, for each

    @classmethod
    def over(cls, way: Way, carrier: Carrier, messages: list[Submission]) -> Published:
        """All of them, to a broker that begins with nothing."""
        with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as folder, carrier.serving(Path(folder)) as served:
            before = processor_seconds(served.pid)
            seconds = uvloop.run(way(served, messages))
            used = processor_seconds(served.pid) - before
        return cls(len(messages) / seconds, used / len(messages) * 1e6)


def publishing(suite: int, rounds: int, count: int) -> list[Figure]:
    """Two rows: our side on a stream, and in posts of 16, four at a time."""
    world = bench_world()
    ours, peer = Khunjerab(world, SENDER, READER), Nats(always=True)
    ways: dict[str, tuple[Carrier, Way]] = {
        "over a stream": (ours, lambda served, messages: _on_a_stream(ours, served, messages)),
        f"in posts of {BATCH}": (ours, lambda served, messages: _in_posts(ours, served, messages)),
        peer.name: (peer, lambda served, messages: _to_nats(peer, served, messages)),
    }
    runs = defaultdict[str, list[Published]](list)
    for _ in range(rounds):
        sealer = Sealer(world, suite)
        messages = [sealer.seal()[1] for _ in range(count)]
        for name, (carrier, way) in ways.items():
            runs[name].append(Published.over(way, carrier, messages))
    theirs = runs.pop(peer.name)
    return [
        _figure(f"{name}, suite {suite}", runs[name], peer.name, theirs, aimed=name == "over a stream") for name in runs
    ]


def _figure(name: str, ours: list[Published], peer: str, theirs: list[Published], *, aimed: bool) -> Figure:
    return Figure(
        f"publishing alone {name}, {IN_FLIGHT} in flight: of the rate of {peer}",
        [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)],
        MUST if aimed else None,
        AIM if aimed else None,
        detail={
            "khunjerab/s": statistics.median(one.rate for one in ours),
            f"{peer}/s": statistics.median(one.rate for one in theirs),
            "processor µs each": statistics.median(one.processor_us for one in ours),
            f"µs, {peer}": statistics.median(one.processor_us for one in theirs),
        },
    )


async def _on_a_stream(carrier: Khunjerab, served: Served, messages: list[Submission]) -> float:
    """The client sends as many again as were answered; what it does costs a core what it costs."""
    at = 0
    async with carrier.logged_in(served, SENDER) as wire, submitting(wire) as stream:
        began = time.perf_counter()
        while at < len(messages) or len(stream):
            if batch := messages[at : at + IN_FLIGHT - len(stream)]:
                await stream.send(batch)
                at += len(batch)
            answers = [answer for _, answer in await stream.answers()]
            assert all(isinstance(answer, Receipt) for answer in answers)
        return time.perf_counter() - began


async def _in_posts(carrier: Khunjerab, served: Served, messages: list[Submission]) -> float:
    async with carrier.logged_in(served, SENDER) as wire:
        token, _ = await wire.session()
    host, _, port = served.url.partition("//")[2].rpartition(":")
    groups = range(0, len(messages), BATCH)
    posts = [request_of("/v1/entries", encode_batch(messages[at : at + BATCH]), token) for at in groups]
    run = await drive(host, int(port), posts, IN_FLIGHT // BATCH)
    assert not run.failures
    return run.seconds


async def _to_nats(peer: Nats, served: Served, messages: list[Submission]) -> float:
    left = iter(messages)
    async with peer.publishing(served) as publish:
        await peer.make_stream(served)

        async def work() -> None:
            for message in left:
                await publish([message])

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - began
