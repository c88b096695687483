"""``unlock``, ``lock``, ``session`` and ``doctor``: this home at work, and whether all is well with it."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from clients import agent
from clients.checkup import examine
from clients.client import Client
from clients.commands.context import AsJson, context_of, open_home, run
from clients.errors import UsageError
from clients.screen import emit, err, format_moment, out, say

HOURS_MAX = 24


def unlock(
    ctx: typer.Context,
    span: Annotated[str, typer.Option("--for", help=f"How long: 90s, 15m or 8h, at most {HOURS_MAX}h.")] = "15m",
) -> None:
    """Hold the opened keyring in a process of its own, so that commands do not ask for the passphrase."""
    seconds = _seconds(span)
    home = open_home(ctx)
    agent.start(home.folder, home.keyring, seconds)
    say(f"unlocked for {span}; khunjerab lock ends it")


def _seconds(value: str) -> int:
    found = re.fullmatch(r"([0-9]{1,5})([smh])", value)
    seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else 0
    if not 0 < seconds <= HOURS_MAX * 3600:
        raise UsageError(f"{value!r} is no span up to {HOURS_MAX}h", "as in 90s, 15m, 8h")
    return seconds


def lock(ctx: typer.Context) -> None:
    """End what `unlock` began."""
    say("locked" if agent.lock(context_of(ctx).home) else "it was locked already")


@run
async def session(ctx: typer.Context) -> None:
    """Log in and print the token, for curl: Authorization: Bearer TOKEN. The one secret that is ever printed."""
    home = open_home(ctx)
    async with Client(home) as client:
        token, expires = await client.wire.session()
    out.print(token, markup=False)
    say(f"for {client.wire.url}, until {format_moment(int(expires * 1000))}")


@run
async def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Examine home, keys, clock, node, directory and bundle, a line each; the status is that of the worst."""
    colours = {"ok": "green", "warning": "bold yellow", "failed": "bold red"}
    worst = 0
    async for finding in examine(open_home(ctx)):
        worst = max(worst, finding.status)
        if as_json:
            emit({"check": finding.check, "verdict": finding.verdict, "detail": finding.detail})
            continue
        out.print(f"{finding.verdict:<9}", style=colours[finding.verdict], end="", markup=False)
        out.print(f"{finding.check:<12}{finding.detail}", markup=False)
    if worst:
        err.print("not all is well", markup=False)
        raise typer.Exit(worst)
