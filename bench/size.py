"""Does an entry cost more where many stand before it? And a node over them: its start, and its memory.

An entry's cost here is all that the writer does for it but the signature check: judge, build, commit, promise.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.growing import GROUP, Grower
from bench.load import drive, request_of
from bench.messages import bench_world, sealed
from bench.table import Figure
from broker.storage.sqlite import copy_ledger
from clients.transport import Wire
from protocol.entry import Submission, encode_batch
from tests.support.process import NodeProcess, make_home
from tests.support.world import ORIGINS, World, signing_key

SMALL = 10_000
COST_MUST, COST_AIM = 1.5, 1.1
START_MUST, START_AIM = 2.0, 0.5
IDLE_MUST, IDLE_AIM, LOADED_MUST, LOADED_AIM = 80, 50, 150, 100  # MiB
CONNECTIONS = 64
MIB = 1 << 20


class Started(NamedTuple):
    """A node over a ledger: seconds until it answers, and what it takes then and after the posts."""

    seconds: float
    idle_bytes: int
    loaded_bytes: int


def size(rounds: int, large: int, largest: int, groups: int, posts: int) -> tuple[list[Figure], dict[int, list[float]]]:
    """Rows, and for each size of ledger what an entry cost in each round, in seconds.

    A node is started on ``large`` entries; on ``largest`` too, where that is more.
    """
    world = bench_world()
    sizes = [1000 * 10**step for step in range(7) if 1000 * 10**step <= largest]
    with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as name:
        homes = _grown(Path(name), world, sizes)
        costs = _costs(homes, world, rounds, groups)
        started = _starts(homes[large], world, rounds, posts)
        beyond = [size for size in sizes if size > large]
        later = {size: _starts(homes[size], world, 2, posts) for size in beyond}
    return [
        *(_cost(size, costs) for size in (large, *beyond)),
        Figure(
            f"start on {large:,} entries", [one.seconds for one in started], START_MUST, START_AIM, at_most=True,
            unit=" s",
        ),
        *(Figure(f"start on {size:,} entries", [one.seconds for one in of], unit=" s") for size, of in later.items()),
        Figure(
            "resident memory, idle", [one.idle_bytes / MIB for one in started], IDLE_MUST, IDLE_AIM, at_most=True,
            unit=" MiB",
        ),
        Figure(
            f"resident memory, under load of {CONNECTIONS} connections", [one.loaded_bytes / MIB for one in started],
            LOADED_MUST, LOADED_AIM, at_most=True, unit=" MiB",
        ),
    ], costs  # fmt: skip


def _cost(size: int, costs: dict[int, list[float]]) -> Figure:
    ratios = [more / less for more, less in zip(costs[size], costs[SMALL], strict=True)]
    return Figure(
        f"cost an entry at {size:,} entries, of that at {SMALL:,}", ratios, COST_MUST, COST_AIM, at_most=True,
        detail={f"µs at {size:,}": statistics.median(cost) * 1e6 for size, cost in costs.items()},
    )  # fmt: skip


def _starts(home: Path, world: World, rounds: int, posts: int) -> list[Started]:
    return [asyncio.run(_start(home, world, sealed(world, posts))) for _ in range(rounds)]


def _grown(folder: Path, world: World, sizes: list[int]) -> dict[int, Path]:
    """A node's home for each size, all cut from one ledger as it grew; the last is that ledger, as it takes 50 GB."""
    homes = {}
    growing = make_home(folder / "growing", world)
    grower = Grower(growing / "ledger.db", world)
    for size in sizes:
        grower.grow_to(size)
        grower.settle()
        if size == sizes[-1]:
            homes[size] = growing
            break
        home = folder / str(size)
        home.mkdir()
        for name in ("node.toml", "keyring", "passphrase"):
            shutil.copy(growing / name, home)
        copy_ledger(growing / "ledger.db", home / "ledger.db")
        homes[size] = home
    grower.close()
    return homes


def _costs(homes: dict[int, Path], world: World, rounds: int, groups: int) -> dict[int, list[float]]:
    growers = {size: Grower(home / "ledger.db", world) for size, home in homes.items()}
    costs: dict[int, list[float]] = {size: [] for size in growers}
    for turn in range(rounds + 1):
        for size, grower in growers.items():
            batches = [grower.submissions(GROUP) for _ in range(groups)]
            began = time.perf_counter()
            for batch in batches:
                grower.append(batch)
            if turn:  # the first warms caches
                costs[size].append((time.perf_counter() - began) / (groups * GROUP))
    for grower in growers.values():
        grower.close()
    return costs


async def _start(home: Path, world: World, posts: list[Submission]) -> Started:
    began = time.perf_counter()
    async with NodeProcess(home) as node:
        seconds = time.perf_counter() - began
        await asyncio.sleep(1.5)  # its first checkpoint is signed
        idle = node.resident_bytes()
        async with Wire(node.url) as wire:
            wire.log_in_as(signing_key("pk-liaison/desk"), world.pin, ORIGINS["PK"])
            token, _ = await wire.session()
        host, _, port = node.config.listen.rpartition(":")
        run = await drive(
            host, int(port), [request_of("/v1/entries", encode_batch([one]), token) for one in posts], CONNECTIONS
        )
        assert not run.failures
        return Started(seconds, idle, node.resident_bytes())
