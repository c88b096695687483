"""protocol/times.py: a time has one spelling."""

import pytest

from protocol.errors import Malformed
from protocol.times import format_time, parse_time


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
