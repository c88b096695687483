"""``keys revoke`` and ``keys suspend``: what ends a key for good, and what stops an agency for a time.

An agency's identity key ends its seats alone. For anything else the first custodian writes a file, the next ones sign
it, and whoever completes their nation's threshold posts it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients import cosigning
from clients.asking import confirm
from clients.client import Client
from clients.clock import now_ms
from clients.commands.context import open_home, run
from clients.errors import Declined, UsageError
from clients.governing import agency_in_force, governing
from clients.holdings import held_key
from clients.home import Home
from clients.screen import out, say
from keys.exchange import Exchange
from keys.keyring import write_private
from keys.signing import SigningKey
from protocol.entry import Submission
from protocol.errors import ProtocolError
from protocol.parties import Agency
from protocol.statements import Revocation, Suspect, Suspension, statement_hash
from protocol.strictjson import unhex

KEY_ID_BYTES = 32
Reason = Annotated[str, typer.Option(help="Why; everybody in the exchange reads it.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Where the file for the next custodian goes.")]
Cosign = Annotated[Path | None, typer.Option("--sign", help="Read and sign what another custodian wrote.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@run
async def revoke(
    ctx: typer.Context,
    agency: Annotated[str, typer.Argument(help="Whose keys.")] = "",
    *,
    seat: Annotated[list[str] | None, typer.Option(help="End the keys of this seat; repeat for more.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="End the key with this key id; repeat for more.")] = None,
    identity: Annotated[bool, typer.Option("--identity", help="End the agency's identity key.")] = False,
    reason: Reason = "",
    suspect_since: Annotated[str, typer.Option(help="ORIGIN#INDEX: shown to readers, changes no verdict.")] = "",
    sign: Cosign = None,
    output: Output = None,
    yes: Yes = False,
) -> None:
    """End keys, at once and for good: seats by the agency's identity key, any key by its nation's threshold."""
    home = open_home(ctx)
    if sign is not None:
        await _cosign(home, sign, yes=yes)
        return
    if not agency or not reason:
        raise UsageError("say whose keys, and --reason", "khunjerab keys revoke AGENCY --seat NAME --reason TEXT")
    own = home.keyring.get(f"identity/{agency}") is not None and not identity
    signer = held_key(home, f"identity/{agency}" if own else "authority")
    async with governing(home, signer) as client:
        await client.sync()
        found = agency_in_force(client, agency)
        ended = _key_ids(client.exchange, found, seat or [], key or [], identity=identity)
        if found.identity.key_id in ended and own:
            raise UsageError("an identity key is ended by its nation's threshold", "say --identity")
        if not own:
            _has_a_say(signer, client.exchange, agency)
        suspect = _suspect(suspect_since) if suspect_since else None
        if suspect is None:
            ended = _not_revoked(client.exchange, agency, ended)
        statement = Revocation(client.pin, agency, ended, now_ms(), reason, suspect)
        submission = cosigning.begin(statement, signer)
        _show(submission, client.exchange)
        confirm("This cannot be undone. End them?", yes=yes)
        await _post_or_pass_on(client, submission, output, own=own)


def _key_ids(
    exchange: Exchange, agency: Agency, seats: list[str], ids: list[str], *, identity: bool
) -> tuple[bytes, ...]:
    """Key ids of the seats named, in any bundle that is known, and those given. Raises UsageError."""
    try:
        found = [unhex(value, KEY_ID_BYTES, "a key id") for value in ids]
    except ProtocolError as error:
        raise UsageError(error.detail, "khunjerab keys show prints key ids") from None
    listed = [seat for held in exchange.chain(agency) for seat in held.bundle.seats]
    for name in seats:
        named = [seat.signing.key_id for seat in listed if seat.name == name]
        if not named:
            raise UsageError(f"no bundle of {agency.id} lists a seat {name}")
        found += named
    if identity:
        found.append(agency.identity.key_id)
    if not found:
        raise UsageError("say which keys", "--seat NAME, --key KEYID or --identity")
    return tuple(dict.fromkeys(found))


def _not_revoked(exchange: Exchange, agency: str, ids: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Those that there is something to end of. Raises UsageError where that is none."""
    left = tuple(key_id for key_id in ids if not exchange.is_revoked(agency, key_id))
    if not left:
        raise UsageError(f"revoked already: {', '.join(key_id.hex() for key_id in ids)}", "nothing was posted")
    return left


def _suspect(value: str) -> Suspect:
    origin, _, index = value.rpartition("#")
    if not origin or not index.isdecimal():
        raise UsageError(f"{value!r} is not ORIGIN#INDEX")
    return Suspect(origin, int(index))


@run
async def suspend(
    ctx: typer.Context,
    agency: Annotated[str, typer.Argument(help="Which agency.")] = "",
    *,
    reason: Reason = "",
    lift: Annotated[bool, typer.Option("--lift", help="Lift its suspension instead.")] = False,
    sign: Cosign = None,
    output: Output = None,
    yes: Yes = False,
) -> None:
    """Stop an agency of this nation by the threshold of its authority, or let it go on."""
    home = open_home(ctx)
    if sign is not None:
        await _cosign(home, sign, yes=yes)
        return
    if not agency or not reason:
        raise UsageError("say which agency, and --reason", "khunjerab keys suspend AGENCY --reason TEXT")
    signer = held_key(home, "authority")
    async with governing(home, signer) as client:
        await client.sync()
        agency_in_force(client, agency)
        _has_a_say(signer, client.exchange, agency)
        lifts = _standing(client.exchange, agency) if lift else None
        submission = cosigning.begin(Suspension(client.pin, agency, now_ms(), reason, lifts), signer)
        _show(submission, client.exchange)
        confirm("Lift it?" if lift else f"Suspend {agency}?", yes=yes)
        await _post_or_pass_on(client, submission, output, own=False)


def _standing(exchange: Exchange, agency: str) -> bytes:
    """The hash of the suspension that stands. Raises UsageError."""
    for digest, name in exchange.suspensions.items():
        if name == agency:
            return digest
    raise UsageError(f"{agency} is not suspended")


async def _cosign(home: Home, path: Path, *, yes: bool) -> None:
    """Show what another custodian wrote, sign it, and post it once it has enough signatures."""
    submission = cosigning.read(path)
    signer: SigningKey = held_key(home, "authority")
    async with governing(home, signer) as client:
        await client.sync()
        _has_a_say(signer, client.exchange, cosigning.statement_of(submission).agency)
        _show(submission, client.exchange)
        _lifts_what_stands(cosigning.statement_of(submission), client.exchange)
        confirm("Sign it?", yes=yes)
        await _post_or_pass_on(client, cosigning.cosign(submission, signer), path, own=False)


def _lifts_what_stands(statement: Revocation | Suspension, exchange: Exchange) -> None:
    """Refuse to lift what nobody here has seen: signed before the suspension is, it makes that one void."""
    if not isinstance(statement, Suspension) or statement.lifts is None:
        return
    if exchange.suspensions.get(statement.lifts) != statement.agency:
        raise Declined("no such suspension stands: lifted ahead it would be void before it is posted", "sign it later")


def _has_a_say(signer: SigningKey, exchange: Exchange, agency: str) -> None:
    """Refuse to sign for another nation: one signature too many spoils the file of those who may. Raises UsageError."""
    found = exchange.in_force.by_agency.get(agency)
    nation = exchange.in_force.by_nation[found.nation] if found else None
    if nation is not None and signer.public.key_id not in {authority.key.key_id for authority in nation.authorities}:
        raise UsageError(f"{agency} is of {nation.id}: this home's key has no say", "ask that nation's custodians")


def _show(submission: Submission, exchange: Exchange) -> None:
    for line in cosigning.in_words(submission, exchange):
        say(line)


async def _post_or_pass_on(client: Client, submission: Submission, path: Path | None, *, own: bool) -> None:
    """Post what has its signatures; write a file of what has not. ``own``: the identity key's word is enough."""
    statement = cosigning.statement_of(submission)
    agency = agency_in_force(client, statement.agency)
    left = 0 if own else cosigning.missing(submission, client.exchange.in_force.by_nation[agency.nation])
    if left > 0:
        digest = statement_hash(submission.kind, submission.statement).hex()
        path = path or Path(f"{submission.kind.word}-{statement.agency}-{digest[:8]}.sigs")
        write_private(path, submission.encode(), replace=True)
        out.print(str(path), markup=False)
        command = "revoke" if isinstance(statement, Revocation) else "suspend"
        say(f"{left} more signatures of {agency.nation} are needed: khunjerab keys {command} --sign {path}")
        return
    receipt = await client.post_governance(submission)
    say(f"in force from {receipt.head.origin}#{receipt.index} on, and elsewhere once it is entered there")
