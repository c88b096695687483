"""``khunjerab join``: a home becomes part of an exchange."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients import joining
from clients.clock import now_ms
from clients.commands.context import open_home, run
from clients.endorsing import read_signatures
from clients.errors import UsageError
from clients.screen import say
from protocol.directory import Directory
from protocol.errors import ProtocolError
from protocol.strictjson import unhex

PIN_BYTES = 32


@run
async def join(
    ctx: typer.Context,
    *,
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY.json", help="Any version of the directory.")],
    signatures: Annotated[list[Path], typer.Argument(metavar="SIG…", help="Its signature files.")],
    pin: Annotated[str, typer.Option(help="SHA-256 of version 1, from the signing table.")],
    agency: Annotated[str, typer.Option(help="This is a seat of that agency.")] = "",
    custodian: Annotated[bool, typer.Option("--custodian", help="This is a custodian's home.")] = False,
    seat: Annotated[str, typer.Option(help="The seat's name in its agency's bundles.")] = "",
    node: Annotated[str, typer.Option(help="The node's URL, where it is not the one in the directory.")] = "",
) -> None:
    """Verify a directory from its pin on, and settle this home in the exchange."""
    if bool(agency) == custodian:
        raise UsageError("say what this home is", "--agency ID for a seat, or --custodian")
    home = open_home(ctx)
    expected = _pin(pin)
    if home.profile.pin and home.profile.pin != pin:
        raise UsageError("this home has joined another exchange", "make a new home for this one")
    try:
        given = Directory.decode(directory.read_bytes())
        found = read_signatures(given, signatures)
    except ProtocolError as error:
        raise UsageError(f"{directory}: {error.detail}", "take the files as they came from the signing table") from None
    if home.profile.agency not in {"", agency} and home.state.ledgers():
        raise UsageError(
            f"this home is a seat of {home.profile.agency}, and has its bulletins", "a seat of another has its own home"
        )
    if custodian:
        place = joining.place_of_custodian(given, home)
    else:
        place = joining.place_of_seat(given, agency, seat or home.profile.seat or agency)
    versions = await joining.walk(given, found, expected, node or place.node.url, now_ms())
    joining.save(home, place, expected, versions, node)
    who = f"{place.agency}/{place.seat}" if place.agency else f"a custodian of {place.nation}"
    say(f"joined as {who} at {place.node.origin}, directory version {given.version}")


def _pin(value: str) -> bytes:
    try:
        return unhex(value, PIN_BYTES, "the pin")
    except ProtocolError as error:
        raise UsageError(error.detail, "it is printed by `directory sign` and `directory check`") from None
