"""What every command shares: the home it works in, its passphrase, and how errors become one line and a status."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from clients.errors import UsageError
from clients.home import Home, default_folder
from clients.passphrase import file_of, find_passphrase

P = ParamSpec("P")
T = TypeVar("T")

PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Read the passphrase from this file.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")]


@dataclass(slots=True)
class Context:
    """Options that stand before the command."""

    home: Path
    passphrase_file: Path | None = None
    ahead: Home | None = None

    def open(self) -> Home:
        """The home, with its passphrase at hand. Raises UsageError where there is none."""
        home, self.ahead = self.ahead or Home(self.home), None
        home.unlock_with(lambda: find_passphrase(self.passphrase_file))
        return home

    def open_ahead(self) -> None:
        """Begin to open the keyring, where nobody need be asked: what the command needs is imported meanwhile."""
        if file_of(self.passphrase_file):
            with contextlib.suppress(UsageError):  # the command says it, after what is wrong with its options
                home = self.open()
                home.open_ahead()
                self.ahead = home


def context_of(ctx: typer.Context) -> Context:
    """What the program's own options said; each command gets it through Typer's context."""
    found = ctx.find_object(Context)
    return found or Context(default_folder())


def open_home(ctx: typer.Context) -> Home:
    """The home, with its passphrase at hand; closed when the command ends. Raises UsageError where there is none."""
    home = context_of(ctx).open()
    ctx.call_on_close(home.close)
    return home


def open_seat(ctx: typer.Context) -> Home:
    """The home of a seat, as bulletins are an agency's. Raises UsageError where it is a custodian's."""
    home = open_home(ctx)
    if home.profile.pin and not home.profile.agency:
        raise UsageError(f"{home.folder} is a custodian's home: it has no bulletins", "name a seat's home with --home")
    return home


def run(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """An async command as the plain function that Typer wants."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        import asyncio  # while the keyring opens

        return asyncio.run(function(*args, **kwargs))

    return wrapper
