"""Durable admission with receipts: single posts on 64 connections and batches of 64, beside floors of one round."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench import floors
from bench.load import Run, drive, request_of
from bench.messages import bench_world, sealed
from bench.table import Figure
from clients.transport import Wire
from khunjerab.demo.ports import free_port
from protocol.entry import Submission, encode_batch
from tests.support.process import NodeProcess, make_home
from tests.support.world import ORIGINS, World, signing_key

CONNECTIONS, BATCH = 64, 64
SINGLE_MUST, SINGLE_AIM = 0.65, 0.9
BATCH_MUST, BATCH_AIM = 0.5, 0.85
TAIL_MUST, TAIL_AIM = 5.0, 2.0


def admission(suite: int, rounds: int, count: int) -> list[Figure]:
    """Rows for one suite; each round has a new ledger and its own floors."""
    world = bench_world()
    singles, batches = sealed(world, count, suite), sealed(world, count, suite)
    measured = [_round(world, singles, batches) for _ in range(rounds)]
    medians = {name: statistics.median(one[name] for one in measured) for name in measured[0]}
    share = [one["single"] / one["composite"] for one in measured]
    return [
        Figure(
            f"single POST, 64 connections, suite {suite}: share of 1/(1/http + 1/verify + 1/sqlite64)",
            share, SINGLE_MUST, SINGLE_AIM,
            detail={name: medians[name] for name in ("single", "composite", "http", "verify", "sqlite64")},
        ),
        Figure(
            f"single POST, 64 connections, suite {suite}: p99 / p50",
            [one["p99"] / one["p50"] for one in measured], TAIL_MUST, TAIL_AIM, at_most=True,
            detail={"p50 ms": medians["p50"] * 1e3, "p99 ms": medians["p99"] * 1e3},
        ),
        Figure(
            f"batches of 64, suite {suite}: share of one core's Ed25519 verification",
            [one["batch"] / one["verify"] for one in measured], BATCH_MUST, BATCH_AIM,
            detail={"batch": medians["batch"], "verify": medians["verify"]},
        ),
    ]  # fmt: skip


def _round(world: World, singles: Sequence[Submission], batches: Sequence[Submission]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as name:
        folder = Path(name)
        verify = floors.verify_rate()
        sqlite64 = floors.sqlite_rate(folder, len(singles[0].encode()))
        port = free_port()
        with floors.http_server(port):
            http = floors.http_run(port, encode_batch([singles[0]]), len(singles), CONNECTIONS).rate
        single, batch = uvloop.run(_node_runs(folder, world, singles, batches))
    return {
        "http": http,
        "verify": verify,
        "sqlite64": sqlite64,
        "composite": 1 / (1 / http + 1 / verify + 1 / sqlite64),
        "single": single.rate,
        "p50": single.quantile(0.5),
        "p99": single.quantile(0.99),
        "batch": batch.rate * BATCH,
    }


async def _node_runs(
    folder: Path, world: World, singles: Sequence[Submission], batches: Sequence[Submission]
) -> tuple[Run, Run]:
    async with NodeProcess(await asyncio.to_thread(make_home, folder / "node", world)) as node:
        async with Wire(node.url) as wire:
            wire.log_in_as(signing_key("pk-liaison/desk"), world.pin, ORIGINS["PK"])
            token, _ = await wire.session()
        host, _, port = node.config.listen.rpartition(":")
        one_by_one = [request_of("/v1/entries", encode_batch([one]), token) for one in singles]
        single = await drive(host, int(port), one_by_one, CONNECTIONS)
        full = range(0, len(batches) - BATCH + 1, BATCH)
        together = [request_of("/v1/entries", encode_batch(list(batches[at : at + BATCH])), token) for at in full]
        batch = await drive(host, int(port), together, 4)
    if single.failures or batch.failures:
        raise RuntimeError(f"{single.failures} posts and {batch.failures} batches were refused")
    return single, batch
