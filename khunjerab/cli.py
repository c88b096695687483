"""The command: its groups, the options before them, and how every error becomes one line and an exit status.

Help answers before a person notices: what is imported here at the top is all that it waits for
(``tests/integration/test_cold_start.py``).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, NoReturn

import typer

from clients.errors import ClientError, UsageError
from khunjerab.lazy import LazyGroup, Place

OFFICER = "clients.commands.officer"
SESSION = "clients.commands.session"
INTERRUPTED = 130


class Commands(LazyGroup):
    """Every command, in the order of the day: officers first, then custodians, auditors, operators."""

    places: ClassVar[Mapping[str, Place]] = {
        "post": Place("clients.commands.post", "post", "Write, mark and send a bulletin.", opens=True),
        "inbox": Place(OFFICER, "inbox", "Fetch and list what was sent to this agency.", opens=True),
        "show": Place(OFFICER, "show", "Show one bulletin as it is held here.", opens=True),
        "ack": Place(OFFICER, "ack", "Tell the sender that a person has read it, or acted on it.", opens=True),
        "status": Place(OFFICER, "status", "How far a bulletin came with each recipient.", opens=True),
        "follow": Place("clients.commands.follow", "follow", "Hand over bulletins as they arrive.", opens=True),
        "outbox": Place("clients.commands.outbox", "app", "What waits to be sent; with `send` it goes.", opens=True),
        "search": Place(OFFICER, "search", "Search what is kept here, in every language.", opens=True),
        "join": Place("clients.commands.joining", "join", "Settle a home in an exchange."),
        "unlock": Place(SESSION, "unlock", "Hold the opened keyring for a while."),
        "lock": Place(SESSION, "lock", "End what unlock began."),
        "doctor": Place(SESSION, "doctor", "Examine home, keys, clock, node, directory and bundle."),
        "session": Place(SESSION, "session", "Log in and print the token, for curl."),
        "keys": Place("clients.commands.custodian", "keys", "Make, show, hand out, rotate and end keys."),
        "directory": Place("clients.commands.directory", "app", "Draft, sign, check and publish the directory."),
        "audit": Place("clients.commands.audit", "app", "Verify ledgers, prove entries, hand over evidence."),
        "node": Place("khunjerab.node", "app", "Make, run and look at a node."),
        "witness": Place("khunjerab.witness", "app", "Make, run and look at a witness of other people's logs."),
        "demo": Place("khunjerab.demo.command", "demo", "Tell the story of an exchange on real nodes."),
    }


app = typer.Typer(
    name="khunjerab",
    cls=Commands,
    help="A secure bilateral broker for threat bulletins.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain: the boxes of a command's own help take longer to import than to read
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("khunjerab"))
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    home: Annotated[Path | None, typer.Option("--home", help="The role's folder.", show_default=False)] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="Read the passphrase from this file.", show_default=False)
    ] = None,
    tell_version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before the command; without a command, help."""
    del tell_version
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(UsageError.status)
    from clients.commands.context import Context
    from clients.home import default_folder

    ctx.obj = Context(home or default_folder(), passphrase_file)


def main() -> None:
    """The entry point. Exit statuses are those of docs/errors.md; a closed pipe ends quietly."""
    _open_what_is_closed()
    gc.disable()  # until the command is imported: classes and functions by the ten thousand, and none of it garbage
    try:
        status = app(standalone_mode=False)  # what typer.Exit said, where a command ended so
        sys.stdout.flush()
    except ClientError as error:
        _fail(error)
    except BrokenPipeError:
        _let_go_of_stdout()
        sys.exit(0)
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # which the command line's own library takes for an error
            raise
        _let_go_of_stdout()
        sys.exit(0)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary: a user never sees a trace
        from khunjerab.errors import as_client_error  # it knows every package's errors

        _fail(as_client_error(error))
    if status == INTERRUPTED and sys.stderr.isatty():
        typer.echo(err=True)  # so that the shell's prompt begins a line
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0)  # all is closed; to take the interpreter apart takes longer


def _open_what_is_closed() -> None:
    """Of the three standard files: the next file that is opened would take its place, and be read or written as it."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            file = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lasts
            os.dup2(file.fileno(), number)
            setattr(sys, name, file)


def _fail(error: ClientError) -> NoReturn:
    from clients.screen import show_error

    if error.detail:  # a group without a command has printed its help already
        show_error(error)
    try:
        sys.stdout.flush()
    except OSError:
        _let_go_of_stdout()
    sys.exit(error.status)


def _let_go_of_stdout() -> None:
    """What could not be written would be tried again, and told in a trace, when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
