"""Times as milliseconds since 1970, UTC, and as RFC 3339 text where people read them (SPEC §4.6)."""

import datetime

from protocol.errors import Malformed

DAY_MS = 86_400_000


def format_time(time_ms: int) -> str:
    """RFC 3339 in UTC, whole seconds, ``Z``."""
    return datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(value: str) -> int:
    """Milliseconds of the one form that ``format_time`` prints."""
    try:
        moment = datetime.datetime.fromisoformat(value.removesuffix("Z")).replace(tzinfo=datetime.UTC)
    except ValueError:
        raise Malformed(f"{value[:40]!r} is not a time such as 2026-11-24T08:00:00Z") from None
    time_ms = int(moment.timestamp()) * 1000
    if time_ms < 0 or format_time(time_ms) != value:
        raise Malformed(f"{value[:40]!r} is not a time such as 2026-11-24T08:00:00Z")
    return time_ms
