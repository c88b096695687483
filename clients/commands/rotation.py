"""``keys rotate``: a new key beside the old one, its card, and the change once the exchange knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.client import Client
from clients.clock import now_ms
from clients.commands.context import open_home, run
from clients.errors import Declined, UsageError
from clients.governing import governing
from clients.holdings import card_of, held_key
from clients.home import Home
from clients.keymaking import promoted, with_next
from clients.screen import say
from keys.signing import SigningKey


@run
async def rotate(
    ctx: typer.Context,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the new key's card here.")] = None,
    agency: Annotated[str, typer.Option(help="The identity key of this agency, not the authority's.")] = "",
) -> None:
    """First with -o: make the next key and its card. Again, once bundle or directory lists it: begin to use it.

    For a key that was stolen, revoke it and make a new home instead.
    """
    home = open_home(ctx)
    name = _name(home, agency)
    if output is not None:
        if home.keyring.get(f"next/{name}") is None:
            home.save_keyring(with_next(home.keyring, name))
        output.write_bytes(card_of(home, agency, "next/"))
        say(f"{output}: the card of the next {name} key; {_how(name)}, then run `keys rotate` again")
        return
    if home.keyring.get(f"next/{name}") is None:
        raise UsageError(f"no {name} key waits to be used", "khunjerab keys rotate -o CARD makes one, and its card")
    following = held_key(home, f"next/{name}")
    async with governing(home, held_key(home, name)) as client:
        try:
            await client.sync()
        except Declined:
            client.wire.log_in_as(following, client.pin, client.replica.origin)  # the old key may have gone already
            await client.sync()
        if not _is_listed(client, home, name, following):
            raise Declined(f"the exchange does not know the next {name} key yet", _how(name))
    home.save_keyring(promoted(home.keyring, name))
    say(f"the {name} key is {following.public.key_id.hex()} from now on")


def _name(home: Home, agency: str) -> str:
    if home.profile.seat:
        return "signing"
    if agency:
        return f"identity/{agency}"
    if home.keyring.get("authority") is None:
        raise UsageError("say whose identity key", "--agency ID")
    return "authority"


def _how(name: str) -> str:
    if name == "signing":
        return "your custodian takes it with `keys seat add --replace` and issues a bundle"
    return "it goes into the next directory with `directory set`"


def _is_listed(client: Client, home: Home, name: str, key: SigningKey) -> bool:
    """Whether the newest bundle or the directory in force has the key."""
    exchange, key_id = client.exchange, key.public.key_id
    if name == "signing":
        return exchange.seat_key(home.profile.agency, key_id, now_ms()) is not None
    directory = exchange.in_force
    if name == "authority":
        return any(a.key.key_id == key_id for nation in directory.nations for a in nation.authorities)
    agency = directory.by_agency.get(name.removeprefix("identity/"))
    return agency is not None and agency.identity.key_id == key_id
