"""Bulletins a second that a node takes, one a request, against how many connections ask at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import uvloop

from bench.load import Run, drive, request_of
from bench.messages import bench_world, sealed
from clients.transport import Wire
from protocol.entry import Submission, encode_batch
from tests.support.process import NodeProcess, make_home
from tests.support.world import ORIGINS, World, signing_key

CONNECTIONS = (1, 4, 16, 64, 256)
ALONE_SHARE = 4  # one in so many bulletins where a connection is alone


def accepted(rounds: int, count: int) -> dict[int, list[Run]]:
    """Runs by the number of connections, on one node after another."""
    world = bench_world()
    runs: dict[int, list[Run]] = {connections: [] for connections in CONNECTIONS}
    counts = [count // ALONE_SHARE if connections == 1 else count for connections in CONNECTIONS]
    for _ in range(rounds):
        submissions = sealed(world, sum(counts) + 1)  # which come in pairs
        with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as folder:
            for connections, run in zip(
                CONNECTIONS, uvloop.run(_runs(Path(folder), world, submissions, counts)), strict=True
            ):
                runs[connections].append(run)
    return runs


async def _runs(folder: Path, world: World, submissions: list[Submission], counts: list[int]) -> list[Run]:
    runs, left = [], iter(submissions)
    async with NodeProcess(make_home(folder / "node", world)) as node:
        async with Wire(node.url) as wire:
            wire.log_in_as(signing_key("pk-liaison/desk"), world.pin, ORIGINS["PK"])
            token, _ = await wire.session()
        host, _, port = node.config.listen.rpartition(":")
        for connections, count in zip(CONNECTIONS, counts, strict=True):
            requests = [request_of("/v1/entries", encode_batch([next(left)]), token) for _ in range(count)]
            run = await drive(host, int(port), requests, connections)
            assert not run.failures
            runs.append(run)
    return runs
