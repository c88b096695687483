"""How an audit ends on the screen: warnings, findings, the verdict, and the exit status that goes with it."""

from __future__ import annotations

import sys

from clients.errors import ClientError, Declined, Tampering
from clients.screen import alarm, emit, out, warn
from keys.finding import FAILED, INCOMPLETE, OK, Report


def tell(report: Report, *, as_json: bool, hindered: ClientError | None = None) -> None:
    """0 for ok, 5 for failed; an incomplete audit is 4 where a node did not answer, 3 where it or a policy refused."""
    verdict = INCOMPLETE if hindered and report.verdict == OK else report.verdict
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
        sys.exit(hindered.status if hindered else Declined.status)
