"""The rules of output: data to stdout, talk to stderr; JSON an object a line; no secret, no trace, no colour in a pipe.

`status` (exercise, test) stands first on every screen. Every predictable mistake is one line with what to do.
"""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

from clients.errors import ClientError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def emit(value: dict[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Talk, to stderr."""
    err.print(escape(text))


def warn(text: str) -> None:
    """Talk that must not be missed."""
    err.print(f"[bold yellow]warning:[/] {escape(text)}")


def alarm(text: str) -> None:
    """What must never be: shown on every screen until somebody looked."""
    err.print(f"[bold white on red] ALARM [/] {escape(text)}")


def show_error(error: ClientError) -> None:
    """One line, and what to do."""
    err.print(f"[bold red]khunjerab:[/] {escape(error.detail)}")
    if error.hint:
        err.print(f"  {escape(error.hint)}")


def format_moment(time_ms: int | None) -> str:
    """A time in UTC and in the reader's zone."""
    if time_ms is None:
        return "-"
    moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
    local = moment.astimezone()
    if local.utcoffset() == datetime.timedelta(0):
        return f"{moment:%Y-%m-%d %H:%M:%S}Z"
    return f"{moment:%Y-%m-%d %H:%M:%S}Z ({local:%H:%M %Z})"
