"""protocol/times.py: a time has one spelling."""

from typing import Any

import pytest

from protocol.errors import Malformed
from protocol.limits import TIME_MS_MAX
from protocol.statements import AcknowledgementLine, Kind
from protocol.times import format_time, parse_time
from tests.support.altering import replace
from tests.unit.protocol import test_content, test_entry, test_header, test_login, test_statements, test_treehead

STATEMENTS = test_statements.STATEMENTS
WORD = STATEMENTS[Kind.ACKNOWLEDGEMENT]
TIMED = [
    (test_header.HEADER, "created"),
    (test_header.HEADER, "expires"),
    (WORD, "created"),
    (AcknowledgementLine(test_statements.ORIGIN, 7, bytes(32), "read", 5), "time"),
    (STATEMENTS[Kind.KEY_BUNDLE], "starts"),
    (STATEMENTS[Kind.KEY_BUNDLE], "ends"),
    (STATEMENTS[Kind.REVOCATION], "created"),
    (STATEMENTS[Kind.SUSPENSION], "created"),
    (test_entry.ENTRY, "time"),
    (test_treehead.HEAD, "time"),
    (test_treehead.RECEIPT, "time"),
    (test_treehead.RECEIPT.bare, "time"),
    (test_login.LOGIN, "time"),
    (test_content.CONTENT, "valid_from"),
    (test_content.CONTENT, "valid_until"),
    (test_content.CONTENT, "answer_due"),
]


def test_a_time_prints_and_reads_in_whole_seconds_utc() -> None:
    """SPEC 4.6.1."""
    assert parse_time("2026-11-24T08:00:00Z") == 1_795_507_200_000
    assert format_time(1_795_507_200_999) == "2026-11-24T08:00:00Z"
    assert format_time(parse_time("1970-01-01T00:00:00Z")) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "2026-11-24",
        "2026-11-24T08:00:00",
        "2026-11-24T08:00:00+00:00",
        "2026-11-24T08:00:00.0Z",
        "2026-11-24t08:00:00z",
        "2026-11-24T8:00:00Z",
        "2026-2-30T08:00:00Z",
        "2026-11-24T08:00:60Z",
        "1969-12-31T23:59:59Z",
        "٢٠٢٦-11-24T08:00:00Z",
    ],
)
def test_any_other_spelling_is_refused(bad: str) -> None:
    """Offsets, fractions, dates that do not exist, times before 1970. SPEC 4.6.1."""
    with pytest.raises(Malformed):
        parse_time(bad)


@pytest.mark.parametrize("value, name", TIMED, ids=[f"{type(value).__name__}.{name}" for value, name in TIMED])
def test_a_time_that_could_be_shown_to_nobody_is_refused(value: Any, name: str) -> None:
    """In every format: one such bulletin would break the screens of all who have it. SPEC 2.1.1, 4.6.1."""
    last = replace(value, **{name: TIME_MS_MAX})
    assert type(value).decode(last.encode()) == last
    assert format_time(TIME_MS_MAX) == "9999-12-31T23:59:59Z"
    with pytest.raises(Malformed):
        type(value).decode(replace(value, **{name: TIME_MS_MAX + 1}).encode())
