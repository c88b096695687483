"""Asking again for bodies that were not served: a suspension was lifted, a restored node has them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.clock import now_ms
from clients.errors import Declined
from protocol.entry import Entry
from protocol.statements import Bulletin

if TYPE_CHECKING:
    from clients.client import Client

ASKED_AGAIN_MAX = 32  # at a time, the newest first


async def reopen(client: Client) -> int:
    """How many bulletins that stand here unread, and still matter, could be opened after all."""
    opened = 0
    for held in client.state.unopened(now_ms(), ASKED_AGAIN_MAX):
        bulletin = Bulletin.decode(Entry.decode(held.entry).statement)
        try:
            body, wrap = await client.wire.body(bulletin.body)
        except Declined:
            continue
        with client.state.transaction():
            opened += client.keeper.open_again(held, bulletin, body, wrap)
    return opened
