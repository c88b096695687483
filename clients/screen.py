"""The rules of output: data to stdout, talk to stderr; JSON an object a line; no secret, no trace, no colour in a pipe.

`status` (exercise, test) stands first on every screen. Every predictable mistake is one line with what to do.
"""

from __future__ import annotations

import datetime
import functools
import json
import sys
from typing import TYPE_CHECKING, Any, TextIO

from clients.errors import ClientError

if TYPE_CHECKING:
    from rich.console import Console


class Screen:
    """Stdout or stderr. Rich is imported when there is something to colour: most of what a command says is plain."""

    def __init__(self, *, stderr: bool) -> None:
        self._stderr = stderr

    @property
    def file(self) -> TextIO:
        """What it writes to."""
        return sys.stderr if self._stderr else sys.stdout

    @functools.cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(stderr=self._stderr, highlight=False, soft_wrap=True)

    def print(self, text: str = "", *, style: str = "", end: str = "\n", markup: bool = True) -> None:
        """A line, with Rich's markup in it unless that is denied."""
        if markup or (style and self.file.isatty()):
            self._console.print(text, style=style, end=end, markup=markup)
        else:
            self.file.write(text + end)
            self.file.flush()

    def mark(self, style: str, mark: str, text: str) -> None:
        """A line of plain text after a mark that is seen."""
        self.print(mark, style=style, end=" ", markup=False)
        self.print(text, markup=False)


out, err = Screen(stderr=False), Screen(stderr=True)


def escape(text: str) -> str:
    """Text that may stand within markup and is none."""
    from rich.markup import escape as escaped

    return escaped(text)


def emit(value: dict[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Talk, to stderr."""
    err.print(text, markup=False)


def warn(text: str) -> None:
    """Talk that must not be missed."""
    err.mark("bold yellow", "warning:", text)


def alarm(text: str) -> None:
    """What must never be: shown on every screen until somebody looked."""
    err.mark("bold white on red", " ALARM ", text)


def show_error(error: ClientError) -> None:
    """One line, and what to do."""
    err.mark("bold red", "khunjerab:", error.detail)
    if error.hint:
        err.print(f"  {error.hint}", markup=False)


def format_moment(time_ms: int | None) -> str:
    """A time in UTC and in the reader's zone; of a checkpoint or a cosignature it may be any at all."""
    if time_ms is None:
        return "-"
    try:
        moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
        local = moment.astimezone()
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms after 1970"
    if local.utcoffset() == datetime.timedelta(0):
        return f"{moment:%Y-%m-%d %H:%M:%S}Z"
    return f"{moment:%Y-%m-%d %H:%M:%S}Z ({local:%H:%M %Z})"
