"""How an audit ends on the screen: warnings, findings, the verdict, and the exit status that goes with it."""

from __future__ import annotations

import sys

from clients.errors import ClientError, Declined, Tampering, Unreachable
from clients.screen import alarm, emit, out, warn
from keys.finding import FAILED, INCOMPLETE, OK, Report


def tell(report: Report, *, as_json: bool, unreachable: ClientError | None = None) -> None:
    """0 for ok, 5 for failed; an incomplete audit is 4 where something did not answer, else 3."""
    verdict = INCOMPLETE if unreachable and report.verdict == OK else report.verdict
    for warning in report.warnings:
        warn(warning)
    for missing in report.missing:
        warn(f"missing: {missing}")
    for finding in report.findings:
        alarm(str(finding))
    if as_json:
        emit({**report.to_json(), "verdict": verdict})
    else:
        for ledger in report.ledgers:
            out.print(f"{ledger.origin}  {ledger.size} entries  root {ledger.root.hex()}")
        counts = f"{len(report.findings)} findings, {len(report.warnings) + len(report.missing)} warnings"
        out.print(f"{verdict}: {report.entries} entries, {counts}")
    if verdict == FAILED:
        sys.exit(Tampering.status)
    if verdict == INCOMPLETE:
        sys.exit(Unreachable.status if unreachable else Declined.status)
