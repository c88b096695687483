"""clients/screen.py: whatever was signed can be shown."""

import time

import pytest

from clients.screen import format_moment


@pytest.mark.parametrize("zone", ["UTC", "UTC-5", "UTC-8", "UTC+5"])
@pytest.mark.parametrize("time_ms", [253_402_300_799_999, 2**53, 2**63 * 1000, -(2**63)])
def test_a_time_beyond_every_calendar_is_shown(monkeypatch: pytest.MonkeyPatch, zone: str, time_ms: int) -> None:
    """A cosignature may say any; and the end of 9999 is the year 10000 in the east."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        shown = format_moment(time_ms)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert shown == f"{time_ms} ms after 1970" or shown.startswith("9999-12-31 23:59:59Z")
