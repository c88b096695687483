"""The one checker that derives the world again from storage: `node fsck`, for tests to call after every step."""

from __future__ import annotations

from pathlib import Path

from broker import fsck
from keys.finding import Report
from tests.support.world import NOW, ORIGINS, World


def check_ledger(path: Path, world: World, nation: str = "PK", now: int = NOW) -> Report:
    """Everything in a ledger's file agrees with what its entries say; the report, for what a test asks beyond that."""
    report = fsck.check(path, ORIGINS[nation], world.pin, now)
    assert (report.verdict, report.findings) == ("ok", ()), report.findings
    return report
