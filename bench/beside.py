"""Publisher to subscriber through our node, beside NATS JetStream and Redis Streams in the same round."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.carried import READER, SENDER, Carried, Plan, carry
from bench.carriers import redis
from bench.carriers.contract import Carrier
from bench.carriers.khunjerab import Khunjerab
from bench.carriers.nats import Nats
from bench.messages import bench_world
from bench.table import Figure

IN_FLIGHT = 64
OURS, ALWAYS, DEFAULT, REDIS = Khunjerab.name, "NATS always", "NATS default", redis.Redis.name
TARGETS = {ALWAYS: (1.6, 2.5), DEFAULT: (0.6, 1.0), REDIS: (0.8, 1.2)}  # share of the peer's rate: must, aim
ALONE_MUST, ALONE_AIM = 1.6, 1.1  # of the latency of NATS always, 1 in flight
ALONE_SHARE = 8  # one in so many bulletins, for the runs with 1 in flight
Runs = dict[str, list[Carried]]


def beside(suite: int, rounds: int, count: int) -> tuple[list[Figure], Runs]:
    """Rows, and the runs of 64 in flight by carrier."""
    world = bench_world()
    carriers: list[Carrier] = [Khunjerab(world, SENDER, READER), Nats(always=True), Nats(always=False)]
    carriers += [redis.Redis()] if redis.SERVER else []
    many, alone = ({carrier.name: list[Carried]() for carrier in carriers} for _ in range(2))
    for _ in range(rounds):
        for carrier in carriers:
            for runs, in_flight, of in ((many, IN_FLIGHT, count), (alone, 1, count // ALONE_SHARE)):
                with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as folder:
                    runs[carrier.name].append(carry(carrier, Plan(world, of, in_flight, suite), Path(folder)))
    told = f"end to end, suite {suite}"
    rows = [rate(f"{told}, {IN_FLIGHT} in flight", peer, many, suite) for peer in TARGETS]
    return [*rows, _alone(f"{told}, 1 in flight: p50", alone, suite)], many


def rate(told: str, peer: str, runs: Runs, suite: int) -> Figure:
    """Ours against a peer's, where the peer ran."""
    must, aim = TARGETS[peer] if suite == 1 else (None, None)
    name = f"{told}: of the rate of {peer}"
    if peer not in runs:
        return Figure(name, [], must, aim, absent="not installed")
    return Figure(
        name,
        [ours.rate / theirs.rate for ours, theirs in zip(runs[OURS], runs[peer], strict=True)],
        must,
        aim,
        detail={f"{who}/s": _median(run.rate for run in runs[who]) for who in (OURS, peer)}
        | {f"p50 ms, {who}": _median(run.p50 * 1e3 for run in runs[who]) for who in (OURS, peer)},
    )


def _alone(told: str, runs: Runs, suite: int) -> Figure:
    return Figure(
        f"{told}, of that of {ALWAYS}",
        [ours.p50 / theirs.p50 for ours, theirs in zip(runs[OURS], runs[ALWAYS], strict=True)],
        ALONE_MUST if suite == 1 else None,
        ALONE_AIM if suite == 1 else None,
        at_most=True,
        detail={f"ms, {who}": _median(run.p50 * 1e3 for run in runs[who]) for who in runs},
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)
