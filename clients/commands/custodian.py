"""``khunjerab keys``: make, show, hand out and keep keys; and, from its neighbours, bundles, rotation, revocation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from clients import keymaking, recovery
from clients.cardfiles import seat_cards
from clients.commands import bundle, ending, rotation
from clients.commands.context import AsJson, context_of, open_home
from clients.errors import UsageError
from clients.holdings import card_of, holdings
from clients.home import Home, Profile
from clients.passphrase import find_passphrase, read_passphrase
from clients.screen import emit, out, say
from keys.keyring import Keyring, write_private
from protocol import limits, names
from protocol.errors import ProtocolError

keys = typer.Typer(help="Make, show, hand out, rotate and end keys.", no_args_is_help=True)
KINDS = ("agency", "seat", "authority")
Output = Annotated[Path, typer.Option("-o", "--output", help="Write it to this file.")]
RecoveryFile = Annotated[
    Path | None, typer.Option("--recovery-file", help="Read the recovery passphrase from this file.")
]


@keys.command()
def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Of the agency, the seat, or the authority's custodian.")],
    kind: Annotated[str, typer.Option(help=" | ".join(KINDS))],
) -> None:
    """Make keys: of a seat in a home of its own; an agency's identity or an authority in a custodian's home."""
    if kind not in KINDS:
        raise UsageError(f"there are no keys of kind {kind!r}", f"--kind {' | '.join(KINDS)}")
    _check_name(name)
    context = context_of(ctx)
    if (context.home / "profile.toml").exists():
        _add_to_home(open_home(ctx), kind, name)
    else:
        passphrase = find_passphrase(context.passphrase_file, new=True)
        Home.create(context.home, _profile(Profile(), kind, name), _with_keys(Keyring(), kind, name), passphrase)
    say(f"the {kind} keys of {name} are in {context.home}; hand out the card: khunjerab keys card -o {name}.json")


def _check_name(name: str) -> None:
    try:
        names.agency(name)
    except ProtocolError:
        raise UsageError(
            f"{name!r} is no name for keys",
            f"lower-case letters, digits and single hyphens, at most {limits.NAME_CHARS_MAX}, as in pk-liaison",
        ) from None


def _add_to_home(home: Home, kind: str, name: str) -> None:
    """A custodian may hold several keys; a seat has a home of its own, so that one thief has one seat."""
    if kind == "seat" or home.profile.seat:
        raise UsageError(f"{home.folder} holds a home already", "a seat has a home of its own: name it with --home")
    home.save_keyring(_with_keys(home.keyring, kind, name))
    home.save_profile(_profile(home.profile, kind, name))


def _with_keys(keyring: Keyring, kind: str, name: str) -> Keyring:
    if kind == "seat":
        return keymaking.seat_keyring()
    if kind == "agency":
        return keymaking.with_identity(keyring, name)
    return keymaking.with_authority(keyring)


def _profile(profile: Profile, kind: str, name: str) -> Profile:
    if kind == "seat":
        return replace(profile, seat=name)
    return replace(profile, custodian=name) if kind == "authority" else profile


@keys.command()
def show(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the keys in this home by kind, name and key id; never a secret."""
    home = open_home(ctx)
    for kind, name, key_id in holdings(home):
        if as_json:
            emit({"kind": kind, "name": name, "key_id": key_id})
        else:
            out.print(f"{kind:<15} {name:<23} {key_id}", markup=False)
    for agency in home.keyring.names("identity"):
        for card in seat_cards(home.folder, agency):
            if as_json:
                emit({"kind": "card", "name": f"{agency}/{card.name}", "key_id": card.key.key_id.hex()})
            else:
                out.print(f"{'card':<15} {agency + '/' + card.name:<23} {card.key.key_id.hex()}", markup=False)


@keys.command()
def card(
    ctx: typer.Context,
    output: Output,
    agency: Annotated[str, typer.Option(help="The identity of this agency, not the authority.")] = "",
    following: Annotated[bool, typer.Option("--next", help="The card of the key that waits to be used.")] = False,
) -> None:
    """Write the card of this home's key: a seat's, an authority's, or an agency's identity."""
    home = open_home(ctx)
    data = card_of(home, agency, "next/" if following else "")
    output.write_bytes(data)
    say(f"{output}: a public key with proof that it is held here")


@keys.command()
def passwd(
    ctx: typer.Context,
    new_file: Annotated[Path | None, typer.Option("--new-file", help="Read the new passphrase from this file.")] = None,
) -> None:
    """Seal the keyring under a new passphrase."""
    home = open_home(ctx)
    keyring = home.keyring
    home.save_keyring(keyring, read_passphrase(new_file, "New passphrase", "use --new-file", twice=True))
    say("the keyring opens with the new passphrase from now on; copies made before still open with the old one")


@keys.command(name="export")
def export_(
    ctx: typer.Context,
    output: Output,
    recovery_file: RecoveryFile = None,
) -> None:
    """Copy this home's keys into a file sealed under a recovery passphrase, to be kept elsewhere."""
    home = open_home(ctx)
    keyring = home.keyring
    passphrase = read_passphrase(recovery_file, "Recovery passphrase", "use --recovery-file", twice=True)
    try:
        write_private(output, recovery.seal(keyring, home.profile, passphrase))
    except FileExistsError:
        raise UsageError(f"{output} is there already", "an export never overwrites one: name another with -o") from None
    say(f"{output}: keep it and its passphrase in two places; khunjerab keys import brings it back")


@keys.command(name="import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="What `keys export` wrote.")],
    recovery_file: RecoveryFile = None,
) -> None:
    """Make this home anew from an exported file, under a passphrase of its own."""
    context = context_of(ctx)
    passphrase = read_passphrase(recovery_file, "Recovery passphrase", "use --recovery-file", twice=False)
    keyring, profile = recovery.open_sealed(file.read_bytes(), passphrase)
    Home.create(context.home, profile, keyring, find_passphrase(context.passphrase_file, new=True))
    say(f"the keys are in {context.home}; what was received is not in them: join again, and inbox fetches it")


keys.command()(bundle.bundle)
keys.add_typer(bundle.seat, name="seat")
keys.command()(rotation.rotate)
keys.command()(ending.revoke)
keys.command()(ending.suspend)
