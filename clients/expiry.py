"""What will run out, told before it does: the directory, key bundles, KEM keys on cards; and keys that have ended."""

from __future__ import annotations

from collections.abc import Sequence

from clients.bundles import RENEW_DAYS, plan_of
from clients.cardfiles import seat_cards
from clients.home import Home
from clients.waiting import overtaken, waiting
from keys.exchange import Exchange
from keys.signing import SigningKey
from protocol.parties import Agency
from protocol.times import DAY_MS, format_time

DIRECTORY_DAYS = 60
BUNDLE_DAYS = 7  # a seat is told that late; its custodian from the day of renewal


def warnings_of(exchange: Exchange, home: Home, now: int, others: Sequence[Exchange] = ()) -> list[str]:
    """A line for everything that ends soon or has ended, for this home. Shown by every command.

    ``exchange`` is the home ledger's; ``others`` are those of the other ledgers, which may have heard more.
    """
    if exchange.directory is None:
        return []
    lines = directory_warnings(exchange, now)
    if home.profile.seat:
        lines += seat_warnings(exchange, home, now)
        return lines + [line for other in others for line in _ahead(other, exchange, home)]
    for folder in sorted((home.folder / "cards").glob("*/")):
        agency = exchange.agency(folder.name)
        if agency is not None:
            lines += agency_warnings(exchange, home, agency, now)
    return lines


def directory_warnings(exchange: Exchange, now: int) -> list[str]:
    """From 60 days before its end, and through the grace."""
    directory = exchange.in_force
    left = directory.expires - now
    what = f"directory version {directory.version}"
    todo = f"the custodians of every nation sign version {directory.version + 1}"
    if left > DIRECTORY_DAYS * DAY_MS:
        return []
    if left > 0:
        return [f"{what} expires in {_days(left)}, on {format_time(directory.expires)}: {todo}"]
    if now <= exchange.grace_ends():
        told = f"no bulletin is admitted after {format_time(exchange.grace_ends())}"
        return [f"{what} expired on {format_time(directory.expires)}; {told}: {todo} NOW"]
    return [f"{what} and its grace are over: no bulletin is admitted until {todo}"]


def seat_warnings(exchange: Exchange, home: Home, now: int) -> list[str]:
    """For the machine that speaks for an agency."""
    profile = home.profile
    agency = exchange.agency(profile.agency)
    if agency is None:
        return [f"{profile.agency} is no agency of the directory in force: nothing can be sent or received"]
    lines = [f"{agency.id} is suspended by its nation"] if exchange.is_suspended(agency.id) else []
    seed = home.keyring.get("signing")
    key_id = SigningKey(seed).public.key_id if seed else b""
    if agency.home != exchange.origin:
        lines.append(f"{agency.id} is at home in {agency.home} now: join again with the directory in force")
    if exchange.is_revoked(agency.id, key_id):
        return [*lines, "this seat's key is revoked: have a new seat made"]
    ends = seat_ends(exchange, agency, key_id, now)
    if ends is None:
        lines.append(f"no running key bundle of {agency.id} lists this seat: ask its custodian for `keys bundle`")
    elif ends - now <= BUNDLE_DAYS * DAY_MS:
        lines.append(f"this seat's key bundle ends in {_days(ends - now)}, on {format_time(ends)}: ask its custodian")
    kept = waiting(home)
    stale = overtaken(exchange.chain(agency), agency, kept)
    if stale:
        lines.append(
            f"{len(stale)} of the bundles signed ahead no longer follow the one in force: khunjerab keys bundle"
        )
    due = [bundle.sequence for path, bundle in kept if bundle.starts <= now and path not in stale]
    if due:
        lines.append(f"bundle {due[0]}, signed ahead, is due: khunjerab keys bundle")
    return lines


def _ahead(other: Exchange, exchange: Exchange, home: Home) -> list[str]:
    """What another ledger says of this seat, its agency and the directory that has not come to the home ledger yet."""
    agency, lines = home.profile.agency, []
    seed = home.keyring.get("signing")
    key_id = SigningKey(seed).public.key_id if seed else b""
    if other.is_suspended(agency) and not exchange.is_suspended(agency):
        lines.append(f"{agency} is suspended by its nation")
    if other.is_revoked(agency, key_id) and not exchange.is_revoked(agency, key_id):
        lines.append("this seat's key is revoked: have a new seat made")
    if other.directory is not None and other.directory.version > exchange.in_force.version:
        lines.append(f"version {other.directory.version} of the directory is in force")
    return [f"{line} (in {other.origin}; {exchange.origin} has not heard of it yet)" for line in lines]


def seat_ends(exchange: Exchange, agency: Agency, key_id: bytes, now: int) -> int | None:
    """Until when bundles list a seat's key without a gap, from now on; None if none runs that does."""
    ends = None
    for held in exchange.chain(agency):
        if any(seat.signing.key_id == key_id for seat in held.bundle.seats) and held.bundle.starts <= (ends or now):
            ends = max(ends or now, held.bundle.ends)
    return ends if ends and ends > now else None


def agency_warnings(exchange: Exchange, home: Home, agency: Agency, now: int) -> list[str]:
    """For its custodian: from the day of renewal on, and when a card runs low."""
    chain = exchange.chain(agency)
    lines = []
    if not chain or chain[-1].bundle.ends <= now:
        lines.append(f"{agency.id} has no running key bundle: khunjerab keys bundle {agency.id}")
    elif now >= renew_at(chain[-1].bundle.starts):
        ends = format_time(chain[-1].bundle.ends)
        lines.append(f"the key bundle of {agency.id} is to be renewed, and ends on {ends}: keys bundle {agency.id}")
    entries = [entry for _, entry in home.state.governance(agency.home)]
    return lines + plan_of(exchange, agency, seat_cards(home.folder, agency.id), entries).running_low()


def renew_at(starts: int) -> int:
    """From when a bundle is to be renewed."""
    return starts + RENEW_DAYS * DAY_MS


def _days(span_ms: int) -> str:
    days = span_ms // DAY_MS
    return f"{days} days" if days != 1 else "1 day"
