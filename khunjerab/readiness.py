"""What a node's admin listener says of it."""

from __future__ import annotations

from typing import Any

import aiohttp

from broker.home import NodeHome
from clients.errors import Unreachable


async def readiness(home: NodeHome) -> dict[str, Any]:
    """What ``/readyz`` says, whatever its status. Raises Unreachable, also where another home's node answers."""
    admin = home.config.admin
    try:
        async with aiohttp.ClientSession() as http, http.get(f"http://{admin}/readyz") as answer:
            state: dict[str, Any] = await answer.json()
            must_be_served(home, admin)
            return state
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"the admin listener at {admin} does not answer: {error}") from None


def must_be_served(home: NodeHome, address: str) -> None:
    """Raise Unreachable where something answers at the address of a home that nobody serves, as at that of a copy."""
    if not home.is_served():
        raise Unreachable(
            f"what answers at {address} is not of {home.folder}: nobody serves that", "khunjerab node serve"
        )
