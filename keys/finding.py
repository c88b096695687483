"""What an audit says: a verdict, the ledgers it is about, and findings that name a check, a place and both sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

OK, FAILED, INCOMPLETE = "ok", "failed", "incomplete"


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that does not hold. What concerns a tree of n entries as a whole stands at its last, n - 1."""

    origin: str
    index: int | None
    check: str
    expected: str
    found: str

    def __str__(self) -> str:
        at = self.origin if self.index is None else f"{self.origin} at {self.index}"
        return f"{at}: {self.check}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class AuditedLedger:
    """Size and root that the entries themselves come to."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """The end of an audit. ``missing`` says what could not be looked at; with nothing worse it makes it incomplete."""

    entries: int = 0
    ledgers: tuple[AuditedLedger, ...] = ()
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``failed`` where there is a finding, else ``incomplete`` or ``ok``."""
        if self.findings:
            return FAILED
        return INCOMPLETE if self.missing else OK

    def to_json(self) -> dict[str, Any]:
        """SPEC §14.1: the object that `audit verify --json` ends with."""
        ledgers = [{"origin": one.origin, "size": one.size, "root": one.root.hex()} for one in self.ledgers]
        return {
            "verdict": self.verdict,
            "entries": self.entries,
            "ledgers": ledgers,
            "findings": [asdict(finding) for finding in self.findings],
            "warnings": [*self.missing, *self.warnings],
        }


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By index; what is about no entry first."""
    return tuple(sorted(findings, key=lambda finding: -1 if finding.index is None else finding.index))


def joined(reports: Iterable[Report]) -> Report:
    """One report over several ledgers."""
    all_ = tuple(reports)
    return Report(
        sum(report.entries for report in all_),
        tuple(ledger for report in all_ for ledger in report.ledgers),
        tuple(finding for report in all_ for finding in report.findings),
        tuple(warning for report in all_ for warning in report.warnings),
        tuple(missing for report in all_ for missing in report.missing),
    )
