"""Publishing alone, sealed beforehand: 64 in flight, each acknowledged when it is durable, beside NATS always."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from bench.carried import READER, SENDER, Sealer
from bench.carriers.contract import Served
from bench.carriers.khunjerab import Khunjerab
from bench.carriers.nats import Nats
from bench.load import drive, request_of
from bench.messages import bench_world
from bench.table import Figure
from protocol.entry import Submission, encode_batch

IN_FLIGHT, BATCH = 64, 16
MUST, AIM = 2.0, 3.5


def publishing(rounds: int, count: int) -> list[Figure]:
    """One row: our side in posts of 16, four at a time."""
    world = bench_world()
    ours, theirs = [], []
    carrier, peer = Khunjerab(world, SENDER, READER), Nats(always=True)
    for _ in range(rounds):
        sealer = Sealer(world, 1)
        messages = [sealer.seal()[1] for _ in range(count)]
        with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as folder, carrier.serving(Path(folder)) as served:
            ours.append(uvloop.run(_to_node(carrier, served, messages)))
        with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as folder, peer.serving(Path(folder)) as served:
            theirs.append(uvloop.run(_to_nats(peer, served, messages)))
    return [
        Figure(
            f"publishing alone, {IN_FLIGHT} in flight: of the rate of {peer.name}",
            [mine / other for mine, other in zip(ours, theirs, strict=True)], MUST, AIM,
            detail={"khunjerab/s": statistics.median(ours), f"{peer.name}/s": statistics.median(theirs)},
        )
    ]  # fmt: skip


async def _to_node(carrier: Khunjerab, served: Served, messages: list[Submission]) -> float:
    async with carrier.logged_in(served, SENDER) as wire:
        token, _ = await wire.session()
    host, _, port = served.url.partition("//")[2].rpartition(":")
    groups = range(0, len(messages), BATCH)
    posts = [request_of("/v1/entries", encode_batch(messages[at : at + BATCH]), token) for at in groups]
    run = await drive(host, int(port), posts, IN_FLIGHT // BATCH)
    assert not run.failures
    return len(messages) / run.seconds


async def _to_nats(peer: Nats, served: Served, messages: list[Submission]) -> float:
    left = iter(messages)
    async with peer.publishing(served) as publish:
        await peer.make_stream(served)

        async def work() -> None:
            for message in left:
                await publish([message])

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return len(messages) / (time.perf_counter() - began)
