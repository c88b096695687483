"""keys/finding.py: what an audit says."""

from keys.finding import AuditedLedger, Finding, Report, joined

FINDING = Finding("pk.khunjerab.test/ledger", 7, "time-order", "a time of at least 5", "4")
LEDGER = AuditedLedger("pk.khunjerab.test/ledger", 9, bytes(32))


def test_a_report_is_one_object() -> None:
    """SPEC 14.1.1."""
    assert Report(9, (LEDGER,), (FINDING,), ("late",)).to_json() == {
        "verdict": "failed",
        "entries": 9,
        "ledgers": [{"origin": "pk.khunjerab.test/ledger", "size": 9, "root": "00" * 32}],
        "findings": [
            {
                "origin": "pk.khunjerab.test/ledger",
                "index": 7,
                "check": "time-order",
                "expected": "a time of at least 5",
                "found": "4",
            }
        ],
        "warnings": ["late"],
    }


def test_a_finding_fails_what_is_missing_leaves_open_and_a_warning_does_neither() -> None:
    """In one ledger, and in several together. SPEC 14.1.1."""
    ok, failed, open_ = Report(warnings=("late",)), Report(findings=(FINDING,)), Report(missing=("a body",))
    assert [report.verdict for report in (ok, failed, open_)] == ["ok", "failed", "incomplete"]
    assert joined([ok, open_]).verdict == "incomplete"
    assert joined([open_, failed, ok]).verdict == "failed"
    assert joined([ok, open_]).to_json()["warnings"] == ["a body", "late"]
