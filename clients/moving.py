"""After a move: what was tried at the old home is looked for there, before it is sealed anew elsewhere.

An unknown outcome must not become two bulletins. The old ledger answers by itself once it is read up to the directory
that let the agency go: it takes nothing more of it. Until then its node is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.drafts import Draft
from clients.errors import Declined, Unreachable
from clients.state import Held
from protocol.names import format_id

if TYPE_CHECKING:
    from clients.client import Client


async def find_at_old_home(client: Client, draft: Draft, origin: str) -> Held | None:
    """What stands under a draft's id in the ledger it was tried at; None where it is not there and never will be.

    Raises Declined where neither is known yet: the draft waits.
    """
    if client.exchange.directory is None:  # joined anew, and never read
        await client.sync()
    held = client.state.bulletin_by_id(client.agency, draft.id)
    if held is not None or _has_let_go(client, origin):
        return held
    name = format_id(client.agency, draft.id)
    waits = f"{name} may stand in {origin}, where this agency was at home"
    try:
        stands = await _ask(client, name, origin)
    except (Unreachable, Declined) as error:
        raise Declined(
            f"{waits}: {error.detail}", "it waits until that ledger answers, or no directory lists it"
        ) from None
    if stands:
        raise Declined(f"{waits}, as its node says", "it waits until that ledger is read here")
    return None


def _has_let_go(client: Client, origin: str) -> bool:
    """Whether an old home takes nothing of this agency any more, and all it took is verified here; or is closed."""
    if not client.ledgers.lists(origin):
        return True
    agency = client.ledgers.of(origin).exchange.agency(client.agency)
    verified = client.ledgers.of(origin).verified
    return verified.size > 0 and (agency is None or agency.home != origin)


async def _ask(client: Client, name: str, origin: str) -> bool:
    """What the node of another ledger says of an id; not verified, so that "no" may cost a repeat and "yes" a wait."""
    node = client.exchange.in_force.by_origin[origin]
    async with client.wire_to(node) as wire:
        wire.log_in_as(client.key, client.pin, origin, client.ledgers.of(origin).verified.checkpoint)
        try:
            await wire.json("GET", f"/v1/bulletins/{name}")
        except Declined as declined:
            if declined.code == "not-found":
                return False
            raise
    return True
