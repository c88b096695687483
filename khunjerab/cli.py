"""The command: its groups, the options before them, and how every error becomes one line and an exit status."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from clients.commands import audit, custodian, directory, joining, officer
from clients.commands.context import Context
from clients.errors import ClientError
from clients.home import default_folder
from clients.screen import show_error
from khunjerab import node
from khunjerab.demo.command import demo
from khunjerab.errors import as_client_error

app = typer.Typer(
    name="khunjerab",
    help="A secure bilateral broker for threat bulletins.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def options(
    ctx: typer.Context,
    home: Annotated[Path | None, typer.Option("--home", help="The role's folder.", show_default=False)] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="Read the passphrase from this file.", show_default=False)
    ] = None,
) -> None:
    """Options that stand before the command."""
    ctx.obj = Context(home or default_folder(), passphrase_file)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(importlib.metadata.version("khunjerab"))


officer.register(app)
app.command()(demo)
joining.register(app)
app.add_typer(custodian.keys, name="keys")
app.add_typer(directory.app, name="directory")
app.add_typer(audit.app, name="audit")
app.add_typer(node.app, name="node")


def main() -> None:
    """The entry point. Exit statuses are those of DESIGN §8; a closed pipe ends quietly."""
    try:
        app(standalone_mode=False)
    except ClientError as error:
        show_error(error)
        sys.exit(error.status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the boundary: a user never sees a trace
        found = as_client_error(error)
        show_error(found)
        sys.exit(found.status)
