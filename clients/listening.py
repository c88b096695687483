"""Listening (SPEC §11.6): entries are kept as the node pushes them; where no stream passes, they are polled for.

The stream only carries pages. What is believed, kept and alarmed about is what ``Client.sync`` does with any page, and
the cursor is the home's: whatever ends a stream, the next begins where the last page was kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from clients.errors import Declined, UpgradeRefused
from protocol import limits

if TYPE_CHECKING:
    from clients.client import Client


async def listen(client: Client) -> AsyncGenerator[int, None]:
    """How many entries came, after each page that was kept; 0 where only a newer checkpoint did. It ends by raising.

    Raises Unreachable when the link breaks: whoever listens decides how soon to try again.
    """
    async with contextlib.aclosing(client.catch_up()) as pages:  # and with it whatever a sync makes good
        async for came in pages:
            yield came
    refused = False
    while True:
        try:
            async with contextlib.aclosing(_kept(client)) as kept:
                async for came in kept:
                    refused = False
                    yield came
        except UpgradeRefused:
            yield await client.sync(wait=limits.WAIT_SECONDS_MAX)
        except Declined as declined:  # the session ended: the next request opens another
            if declined.code != "not-logged-in" or refused:
                raise
            refused = True


async def _kept(client: Client) -> AsyncGenerator[int, None]:
    """Keep what one stream brings. Ends where a cursor is not where the page leaves it: another terminal moved it."""
    receiver = client.receiver
    receiver.begin()
    async with contextlib.aclosing(client.wire.stream(*client.ledgers.cursor())) as pages:
        async for parts in pages:
            taken = await receiver.take_page(parts)
            yield taken.entries
            if taken.moved:
                return
