"""A custodian at work: logged in at a node with the key that signs, governance in sync, cards at hand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from clients.bundles import Plan, plan_of
from clients.cardfiles import seat_cards
from clients.client import Client
from clients.clock import now_ms
from clients.errors import UsageError
from clients.expiry import warnings_of
from clients.holdings import held_key
from clients.home import Home
from clients.screen import warn
from keys.signing import SigningKey
from protocol.parties import Agency


@contextlib.asynccontextmanager
async def governing(home: Home, key: SigningKey, origin: str = "") -> AsyncIterator[Client]:
    """A client that logs in with ``key`` at the node of this home, or of the ledger ``origin``."""
    if origin and origin != home.profile.origin:
        home.profile = replace(home.profile, origin=origin, node="")  # for this command: nothing is saved
    async with Client(home, key) as client:
        yield client
        for line in warnings_of(client.exchange, home, now_ms()):
            warn(line)


def identity_of(home: Home, agency: str) -> SigningKey:
    """The identity key of an agency that this home holds. Raises UsageError."""
    return held_key(home, f"identity/{agency}")


def agency_in_force(client: Client, name: str) -> Agency:
    """An agency by the directory in force as it is known here. Raises UsageError."""
    agency = client.exchange.agency(name)
    if agency is None:
        raise UsageError(f"{name} is no agency of the directory in force", "khunjerab directory show")
    return agency


def plan(client: Client, agency: Agency) -> Plan:
    """The next bundle of an agency by what is verified here. Raises UsageError where its home ledger is another."""
    if agency.home != client.replica.origin:
        raise UsageError(f"{agency.id} is at home in {agency.home}, and this is {client.replica.origin}")
    entries = [entry for _, entry in client.state.governance(agency.home)]
    return plan_of(client.exchange, agency, seat_cards(client.home.folder, agency.id), entries)
