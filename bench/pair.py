"""Two sovereign nodes beside one: what the border costs a bulletin, and a mirror its peer; how fast it catches up.

Both nodes, the publisher and the reader share this machine: what one of them takes the others lack.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench import floors
from bench.admission import BATCH
from bench.audit import CORES
from bench.carried import READER, SENDER, Carried, Plan, carry
from bench.carriers.khunjerab import Khunjerab
from bench.carriers.pair import Pair, two_homes
from bench.environment import processor_seconds
from bench.load import drive, request_of
from bench.messages import PLENTY, bench_world, sealed
from bench.table import Figure
from broker.ledger import Ledger
from broker.storage import sqlite
from clients.transport import Wire
from protocol.entry import Submission, encode_batch
from protocol.policy import Policy
from tests.support.live import now_ms
from tests.support.pair import world_of_two
from tests.support.process import NodeProcess
from tests.support.world import ORIGINS, World, signing_key

IN_FLIGHT, ALONE_SHARE, GROUP = 64, 8, 64
RATE_MUST, ALONE_MUST, CATCH_UP_MUST, BESIDE_MUST = 0.6, 2.5, 0.6, 0.7
_LOOK_SECONDS = 0.02


def pair(rounds: int, count: int, entries: int) -> list[Figure]:
    """Rows; ``count`` bulletins are carried a run, ``entries`` caught up with."""
    one, two = bench_world(), world_of_two(policy=Policy(attempts_per_minute=PLENTY, bulletins_per_hour=PLENTY))
    many: list[tuple[Carried, Carried]] = []
    alone: list[tuple[Carried, Carried]] = []
    for _ in range(rounds):
        for runs, in_flight, of in ((many, IN_FLIGHT, count), (alone, 1, count // ALONE_SHARE)):
            runs.append((_carry(Khunjerab, one, of, in_flight), _carry(Pair, two, of, in_flight)))
    submissions = sealed(two, max(count, entries))
    return [
        Figure(
            f"two nodes, {IN_FLIGHT} in flight: of the rate of one", [b.rate / a.rate for a, b in many], RATE_MUST,
            detail={"one": statistics.median(a.rate for a, _ in many)},
        ),
        Figure(
            "two nodes, 1 in flight: p50, as a multiple of one's", [b.p50 / a.p50 for a, b in alone], ALONE_MUST,
            at_most=True, detail={"one ms": statistics.median(a.p50 for a, _ in alone) * 1e3},
        ),
        *_beside(rounds, two, submissions[:count]),
        _catch_up(rounds, two, submissions[:entries]),
    ]  # fmt: skip


def _carry(carrier: type[Khunjerab], world: World, count: int, in_flight: int) -> Carried:
    with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as folder:
        return carry(carrier(world, SENDER, READER), Plan(world, count, in_flight, 1), Path(folder))


def _beside(rounds: int, world: World, submissions: Sequence[Submission]) -> list[Figure]:
    """Batches at a node that is being mirrored, beside one that is not: its rate, and its own processor time.

    The rate suffers from the peer too, which verifies and stores each bulletin on the same two cores.
    """
    measured = [
        [uvloop.run(_accepted(world, submissions, mirrored=mirrored)) for mirrored in (False, True)]
        for _ in range(rounds)
    ]
    told = f"batches of {BATCH} while being mirrored"
    return [
        Figure(
            f"{told}: of the rate without", [b.rate / a.rate for a, b in measured], BESIDE_MUST,
            detail={"without": statistics.median(a.rate for a, _ in measured)},
        ),
        Figure(
            f"{told}: the node's own processor time, of that without", [b.cpu / a.cpu for a, b in measured],
            1 / BESIDE_MUST, at_most=True,
            detail={"µs without": statistics.median(a.cpu for a, _ in measured) * 1e6},
        ),
    ]  # fmt: skip


class Accepted(NamedTuple):
    """Bulletins a second, and the seconds of processor that each took of the node."""

    rate: float
    cpu: float


async def _accepted(world: World, submissions: Sequence[Submission], *, mirrored: bool) -> Accepted:
    with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as name:
        homes = await asyncio.to_thread(two_homes, Path(name), world)
        async with NodeProcess(homes["PK"]) as pk, NodeProcess(homes["CN"]) as cn:
            if not mirrored:
                cn.kill()
            async with Wire(pk.url) as wire:
                wire.log_in_as(signing_key("pk-liaison/desk"), world.pin, ORIGINS["PK"])
                token, _ = await wire.session()
            host, _, port = pk.config.listen.rpartition(":")
            full = range(0, len(submissions) - BATCH + 1, BATCH)
            bodies = [encode_batch(list(submissions[at : at + BATCH])) for at in full]
            before = processor_seconds(pk.pid)
            run = await drive(host, int(port), [request_of("/v1/entries", body, token) for body in bodies], 4)
            if mirrored:
                await _until_mirrored(cn.config.admin, len(bodies) * BATCH)
            cpu = processor_seconds(pk.pid) - before
            if run.failures:
                raise RuntimeError(f"{run.failures} batches were refused")
            if not mirrored:
                await cn.start()  # to be ended like the other
            return Accepted(run.rate * BATCH, cpu / (len(bodies) * BATCH))


async def _until_mirrored(admin: str, count: int) -> None:
    while True:
        if await asyncio.to_thread(_mirrored, admin) >= count:
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _catch_up(rounds: int, world: World, submissions: Sequence[Submission]) -> Figure:
    """From an empty mirror to the last entry: each judged, verified, and stored with body and wraps."""
    rates, signatures = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as name:
            homes = two_homes(Path(name), world)
            _fill(homes["PK"], world, submissions)
            signatures.append(floors.verify_rate(threads=CORES))
            rates.append(uvloop.run(_caught_up(homes, len(submissions))))
    return Figure(
        f"catch-up of {len(submissions):,} entries: share of two cores' Ed25519 verification",
        [rate / floor for rate, floor in zip(rates, signatures, strict=True)],
        CATCH_UP_MUST,
        detail={"entries/s": statistics.median(rates), "signatures/s": statistics.median(signatures)},
    )


def _fill(home: Path, world: World, submissions: Sequence[Submission]) -> None:
    """Sealed and signed for true; admitted past the door, as nobody measures that here."""
    ledger = Ledger(sqlite.SqliteStorage(home / "ledger.db"), ORIGINS["PK"], world.pin, signing_key("PK"))
    for at in range(0, len(submissions), GROUP):
        built = ledger.build([ledger.stage(one, now_ms()) for one in submissions[at : at + GROUP]])
        ledger.commit(built)
        ledger.promise(built)
    ledger.storage.close()


async def _caught_up(homes: dict[str, Path], count: int) -> float:
    async with NodeProcess(homes["PK"]), NodeProcess(homes["CN"]) as cn:
        began, first = time.perf_counter(), 0
        while True:
            mirrored = await asyncio.to_thread(_mirrored, cn.config.admin)
            if mirrored and not first:  # from the first page on: finding each other is not what is measured
                began, first = time.perf_counter(), mirrored
            if mirrored >= count:
                return (mirrored - first) / (time.perf_counter() - began)
            await asyncio.sleep(_LOOK_SECONDS)


def _mirrored(admin: str) -> int:
    with urllib.request.urlopen(f"http://{admin}/readyz") as answer:
        return max((int(peer["entries"]) for peer in json.load(answer)["peers"]), default=0)
