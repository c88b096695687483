"""How a server logs, as every command that runs one is told."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

LogJson = Annotated[
    bool | None, typer.Option("--log-json/--log-text", help="How to log; text on a terminal, else JSON.")
]


def logs_json(asked: bool | None) -> bool:
    """As it was asked for; else by where the log goes."""
    return not sys.stderr.isatty() if asked is None else asked
