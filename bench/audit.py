"""The whole audit of a ledger of bulletins, against the rate at which two cores can check its signatures alone."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench import floors
from bench.messages import bench_world, sealed
from bench.table import Figure
from broker.fsck import Stored
from keys.auditing import Terms, audit_ledger
from keys.owed import verifying
from keys.signing import verify_all
from protocol.entry import Submission
from tests.support.live import now_ms
from tests.support.world import ORIGINS, World, open_ledger

GROUP, CORES = 256, 2
MUST, AIM = 0.75, 0.95


def audit(suite: int, rounds: int, entries: int) -> list[Figure]:
    """One ledger, audited in each round beside the floor of that round."""
    world = bench_world()
    with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as name:
        path = _build(Path(name), world, sealed(world, entries, suite))
        rates, signatures = [], []
        for _ in range(rounds):
            signatures.append(floors.verify_rate(threads=CORES))
            rates.append(_audit_rate(path, world))
    return [
        Figure(
            f"audit of {entries:,} entries, suite {suite}: share of two cores' Ed25519 verification",
            [rate / floor for rate, floor in zip(rates, signatures, strict=True)], MUST, AIM,
            detail={"entries/s": statistics.median(rates), "signatures/s": statistics.median(signatures)},
        )
    ]  # fmt: skip


def _build(folder: Path, world: World, submissions: list[Submission]) -> Path:
    ledger = open_ledger(folder, world, now=now_ms())
    for at in range(0, len(submissions), GROUP):
        staged = [ledger.stage(one, now_ms()) for one in submissions[at : at + GROUP]]
        for one in staged:
            verify_all(one.checks)
        built = ledger.build(staged)
        ledger.commit(built)
        ledger.promise(built)
    ledger.storage.close()
    return folder / "pk-ledger.db"


def _audit_rate(path: Path, world: World) -> float:
    began = time.perf_counter()
    with verifying() as verifiers:
        report = audit_ledger(ORIGINS["PK"], Stored(path), Terms(world.pin, now_ms()), verifiers)
    if report.findings:
        raise RuntimeError(str(report.findings[0]))
    return report.entries / (time.perf_counter() - began)
