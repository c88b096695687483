"""``keys bundle`` and ``keys seat``: which machines speak for an agency, and until when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients import cardfiles
from clients.bundles import RENEW_DAYS, Plan, sign_ahead, why_not_now
from clients.client import Client
from clients.clock import now_ms
from clients.commands.context import open_home, run
from clients.errors import Declined, Unreachable, UsageError
from clients.governing import agency_in_force, governing, identity_of, plan
from clients.holdings import only_agency
from clients.home import Home
from clients.screen import out, say, warn
from clients.signed import Handed, chain_of, still_to_come
from clients.waiting import keep, overtaken, waiting
from keys.keyring import write_private
from protocol import limits
from protocol.entry import Submission
from protocol.statements import NO_HASH, KeyBundle
from protocol.times import format_time

seat = typer.Typer(help="The seats that the next bundle of an agency will list.", no_args_is_help=True)
OfAgency = Annotated[str, typer.Option("--agency", help="Of which agency, where this home holds several.")]


@seat.command()
def add(
    ctx: typer.Context,
    card: Annotated[Path, typer.Argument(help="What `keys card` wrote at the seat.")],
    agency: OfAgency = "",
    replace: Annotated[bool, typer.Option("--replace", help="The seat has a new signing key.")] = False,
) -> None:
    """Keep a seat's card, verified; the next `keys bundle` lists it."""
    home = open_home(ctx)
    agency = agency or only_agency(home)
    identity_of(home, agency)
    kept = cardfiles.keep_seat_card(home.folder, agency, card, replace=replace)
    say(f"{agency}/{kept.name}: signing key {kept.key.key_id.hex()}, {len(kept.kem)} KEM keys")
    say(f"compare the key id with the seat's own `keys show`, then: khunjerab keys bundle {agency}")


@seat.command()
def remove(
    ctx: typer.Context, name: Annotated[str, typer.Argument(help="The seat's name.")], agency: OfAgency = ""
) -> None:
    """Leave a seat out of the next bundle. That revokes nothing: `keys revoke` does."""
    home = open_home(ctx)
    agency = agency or only_agency(home)
    cardfiles.drop_seat_card(home.folder, agency, name)
    say(f"{agency}/{name} is in no bundle issued from here on; to end its keys at once: khunjerab keys revoke")


@run
async def bundle(
    ctx: typer.Context,
    *,
    agency: Annotated[str, typer.Argument(help="Whose bundle, where this home holds several identities.")] = "",
    ahead: Annotated[int, typer.Option(help=f"Sign this many, up to {limits.BUNDLES_AHEAD_MAX}; post none.")] = 0,
    every: Annotated[int, typer.Option(help="Days between the starts of bundles signed ahead.")] = RENEW_DAYS,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for what is signed ahead.")] = None,
    post: Annotated[list[Path] | None, typer.Option(help="At a seat: take and post what was signed ahead.")] = None,
    now: Annotated[bool, typer.Option("--now", help="Renew before it is due.")] = False,
) -> None:
    """Issue the next key bundle of an agency and post it; or sign some ahead, for a seat to post."""
    home = open_home(ctx)
    if home.profile.seat:
        await post_waiting(home, post or [])
        return
    agency = agency or only_agency(home)
    if (ahead > 0) != (output is not None):
        raise UsageError("--ahead and -o go together", "khunjerab keys bundle --ahead 12 -o DIR")
    if not 1 <= every <= limits.BUNDLE_LIFE_DAYS_MAX:
        raise UsageError(f"a bundle lasts {limits.BUNDLE_LIFE_DAYS_MAX} days: --every is 1 to that many")
    identity = identity_of(home, agency)
    async with governing(home, identity, _home_of(home, agency)) as client:
        await _sync(client, needed=output is None)
        planned = plan(client, agency_in_force(client, agency))
        if output is not None:
            _sign_ahead(planned, agency, home, output, ahead, every)
            return
        reason = why_not_now(planned, now_ms())
        if reason and not now:
            raise Declined(reason, "nothing was issued; --now issues it all the same")
        starts = planned.starts(now_ms(), 1, 0 if reason else every)
        (submission,), after = sign_ahead(planned, identity, starts)
        left = _ahead(home, planned)
        receipt = await client.post_governance(submission)
        _tell(submission)
        say(f"posted: {receipt.head.origin}#{receipt.index}")
        if left:
            warn(f"{_in_words(left, agency)} can be posted no more: sign them anew, and give them to the seats")
        _warn_low(after)


def _home_of(home: Home, agency: str) -> str:
    """The origin of the agency's home ledger by the newest directory known here."""
    found = Client(home, identity_of(home, agency)).exchange.agency(agency)
    return found.home if found else ""


async def _sync(client: Client, *, needed: bool) -> None:
    try:
        await client.sync()
    except Unreachable as error:
        if needed or client.exchange.directory is None:
            raise
        warn(f"{error.detail}; signing on what is known here")


def _sign_ahead(planned: Plan, agency: str, home: Home, output: Path, count: int, every: int) -> None:
    submissions, after = sign_ahead(planned, identity_of(home, agency), planned.starts(now_ms(), count, every))
    handed = [Handed.of_bundle(KeyBundle.decode(submission.statement)) for submission in submissions]
    same = {one.digest for one in handed}
    before = [one for one in _ahead(home, planned) if one.digest not in same]
    with home.state.transaction():
        for one in handed:
            home.state.add_signed(one, now_ms())
    for submission in submissions:
        sequence = KeyBundle.decode(submission.statement).sequence
        path = output / f"{agency}-{sequence:04}.bundle"
        write_private(path, submission.encode(), replace=True)
        out.print(str(path), markup=False)
        _tell(submission)
    say("give these to a seat of the agency: khunjerab keys bundle --post FILE")
    say("a bundle issued before they are used up, as for a new seat or key, ends those that are left: sign them anew")
    if {one.number for one in before} & {one.number for one in handed}:
        warn(f"{_in_words(before, agency)} may still be posted instead: of one number the first stands")
        warn("have those destroyed; a seat that they list and these do not is out for sure only by keys revoke")
    _warn_low(after)


def _ahead(home: Home, planned: Plan) -> list[Handed]:
    """What this home signed ahead and could still be posted."""
    chain = chain_of(planned.agency.id, planned.agency.identity.key_id)
    return still_to_come(home.state.signed(chain), planned.last.hash if planned.last else NO_HASH)


def _in_words(ahead: list[Handed], agency: str) -> str:
    first, last = ahead[0], ahead[-1]
    numbers = f"bundle {first.number}" if first.number == last.number else f"bundles {first.number} to {last.number}"
    return f"{numbers} of {agency}, signed ahead before, last on {format_time(max(one.time for one in ahead))},"


def _tell(submission: Submission) -> None:
    issued = KeyBundle.decode(submission.statement)
    seats = ", ".join(seat.name for seat in issued.seats)
    span = f"{format_time(issued.starts)} to {format_time(issued.ends)}"
    say(f"bundle {issued.sequence} of {issued.agency}, {span}, seats {seats}")


def _warn_low(after: Plan) -> None:
    for line in after.running_low():
        warn(line)


# At a seat


async def post_waiting(home: Home, files: list[Path]) -> None:
    """Keep what was signed ahead, and post what is due of it: one posted early would hold up every other."""
    for file in files:
        keep(home, file)
    async with Client(home) as client:
        await client.sync()
        agency = agency_in_force(client, home.profile.agency)
        kept = waiting(home)
        stale = overtaken(client.exchange.chain(agency), agency, kept)
        for path, bundle in kept:
            chain = client.exchange.chain(agency)
            if path in stale:
                path.unlink()
                warn(
                    f"bundle {bundle.sequence}, signed ahead, is dropped: another bundle or identity key came before it"
                )
                continue
            if chain and bundle.sequence <= chain[-1].bundle.sequence:
                path.unlink()  # it stands in the ledger
                continue
            if bundle.starts > now_ms():
                say(f"bundle {bundle.sequence} waits here until {format_time(bundle.starts)}")
                continue
            await client.post_governance(Submission.decode(path.read_bytes()))
            path.unlink()
            say(f"bundle {bundle.sequence} of {bundle.agency} is posted; it runs until {format_time(bundle.ends)}")
        if stale:
            say(f"ask the custodian of {agency.id} for new ones: khunjerab keys bundle --ahead")
