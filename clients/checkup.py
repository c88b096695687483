"""What ``doctor`` looks at: each check gives one finding, and none stops the others unless they rest on it."""

from __future__ import annotations

import stat
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from clients.client import Client
from clients.clock import now_ms
from clients.errors import ClientError, Declined, Tampering, UsageError
from clients.expiry import directory_warnings, renew_at, seat_ends, warnings_of
from clients.holdings import holdings
from clients.home import Home
from protocol import limits
from protocol.errors import ProtocolError
from protocol.times import DAY_MS, format_time
from protocol.tlogpolicy import NONE

OK, WARNING, FAILED = "ok", "warning", "failed"
_PRIVATE = stat.S_IRWXG | stat.S_IRWXO
_SKEW_MS = limits.CLOCK_SKEW_SECONDS_MAX * 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One line; ``status`` is the exit status that it asks for, 0 where nothing failed."""

    check: str
    verdict: str
    detail: str
    status: int = 0


async def examine(home: Home) -> AsyncIterator[Finding]:
    """Home, keyring, node, clock, TLS, ledger, directory, bundle, alarms."""
    for finding in _at_home(home):
        yield finding
    if not home.profile.pin:
        return
    try:
        client = Client(home)
    except ClientError as error:
        yield _failed("exchange", error)
        return
    async with client:
        async for finding in _at_node(client):
            yield finding
    for finding in _by_the_directory(client):
        yield finding


def _at_home(home: Home) -> Iterator[Finding]:
    open_to_others = [
        path.name or str(path)
        for path in (home.folder, home.folder / "keyring", home.folder / "state.db")
        if path.exists() and path.stat().st_mode & _PRIVATE
    ]
    if open_to_others:
        names = ", ".join(open_to_others)
        yield Finding("home", WARNING, f"others on this machine may read {names} in {home.folder}: chmod go= ")
    else:
        yield Finding("home", OK, f"{home.folder}, private to this user")
    try:
        kinds = [kind for kind, _, _ in holdings(home)]
        told = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        yield Finding("keyring", OK, f"opens; {told} keys")
    except ClientError as error:
        yield _failed("keyring", error)
    if not home.profile.pin:
        yield Finding("exchange", WARNING, "this home has not joined one: khunjerab join")


async def _at_node(client: Client) -> AsyncIterator[Finding]:
    begun = time.time_ns() // 1_000_000
    try:
        about = await client.wire.json("GET", "/v1/node", login=False)
    except ClientError as error:
        yield _failed("node", error)
        return
    yield _check_node(client, about)
    yield _check_clock(about, (begun + now_ms()) // 2)
    yield _check_tls(about)
    try:
        await client.sync()
    except ClientError as error:
        yield _failed("ledger", error)
        return
    for origin in client.ledgers.origins():
        yield _check_ledger(client, origin)


def _check_ledger(client: Client, origin: str) -> Finding:
    """How far it is verified and witnessed, and by which policy."""
    verified, witnesses = client.ledgers.of(origin).verified, client.witnesses
    told = f"{origin}, verified up to {verified.size} entries, witnessed up to {witnesses.size(verified)}"
    own = witnesses.own_policy(origin) is not None
    try:
        policy = witnesses.policy(origin)
    except ProtocolError as error:
        return Finding("ledger", WARNING, f"{told}: {error.detail}")
    of = "this home's own policy" if own else "the directory's default policy"
    asked = dict.fromkeys(key.name for key in policy.witness_keys())
    if policy.quorum == NONE:
        return Finding("ledger", OK, f"{told}, by {of}: nobody is asked, to be published is enough")
    return Finding("ledger", OK, f"{told}, by {of}: {', '.join(asked)}")


def _check_node(client: Client, about: dict[str, Any]) -> Finding:
    if about.get("exchange") != client.pin.hex() or about.get("origin") != client.replica.origin:
        found = f"{client.wire.url} serves {about.get('origin')} of exchange {str(about.get('exchange'))[:16]}"
        return Finding("node", FAILED, f"{found}: not the one that this home joined", Tampering.status)
    return Finding("node", OK, f"{client.wire.url} answers, version {about.get('version')}")


def _check_clock(about: dict[str, Any], now: int) -> Finding:
    theirs = about.get("time")
    skew = now - theirs if isinstance(theirs, int) else 0
    told = f"{abs(skew) / 1000:.1f} s {'ahead of' if skew > 0 else 'behind'} the node's"
    if abs(skew) > _SKEW_MS:
        return Finding("clock", FAILED, f"{told}: set this machine's clock", Declined.status)
    return Finding("clock", WARNING if abs(skew) > _SKEW_MS // 4 else OK, told)


def _check_tls(about: dict[str, Any]) -> Finding:
    tls = about.get("tls")
    if not isinstance(tls, dict):
        return Finding("tls", WARNING, "none: for a node on this machine only")
    hybrid = tls.get("post_quantum") is True
    told = f"{tls.get('version')}, certificate pinned by the directory, key exchange "
    if hybrid:
        return Finding("tls", OK, f"{told}post-quantum where this side offers it too")
    return Finding("tls", WARNING, f"{told}not post-quantum: a recorder may one day read who wrote to whom, not what")


def _by_the_directory(client: Client) -> Iterator[Finding]:
    exchange, home, now = client.exchange, client.home, now_ms()
    if exchange.directory is None:
        return
    soon = directory_warnings(exchange, now)
    told = (
        soon[0] if soon else f"version {exchange.directory.version}, expires {format_time(exchange.directory.expires)}"
    )
    over = now > exchange.grace_ends()
    yield Finding("directory", FAILED if over else WARNING if soon else OK, told, Declined.status if over else 0)
    if home.profile.seat:
        yield _check_bundle(client, now)
    for line in warnings_of(exchange, home, now, client.ledgers.other_exchanges()):
        if line not in soon:
            yield Finding("soon", WARNING, line)
    alarms = client.state.alarms()
    for _, check, origin, index, detail in alarms:
        yield Finding("alarm", FAILED, f"{check} at {origin}#{index}: {detail}", Tampering.status)
    if not alarms:
        yield Finding("alarms", OK, "none")


def _check_bundle(client: Client, now: int) -> Finding:
    exchange, agency = client.exchange, client.exchange.agency(client.home.profile.agency)
    ends = seat_ends(exchange, agency, client.key.public.key_id, now) if agency else None
    if agency is None or ends is None:
        return Finding("bundle", FAILED, "none that runs lists this seat", Declined.status)
    running = exchange.running(agency, now)[-1].bundle
    told = f"number {running.sequence} of {agency.id}, renewed from {format_time(renew_at(running.starts))}"
    return Finding("bundle", OK, f"{told}, ends {format_time(ends)}, in {(ends - now) // DAY_MS} days")


def _failed(check: str, error: ClientError) -> Finding:
    hint = f": {error.hint}" if error.hint else ""
    return Finding(check, FAILED, f"{error.detail}{hint}", error.status or UsageError.status)
