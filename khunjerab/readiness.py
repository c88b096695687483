"""What a node's admin listener says of it."""

from __future__ import annotations

from typing import Any

import aiohttp

from clients.errors import Unreachable


async def readiness(admin: str) -> dict[str, Any]:
    """What ``/readyz`` says, whatever its status."""
    try:
        async with aiohttp.ClientSession() as http, http.get(f"http://{admin}/readyz") as answer:
            state: dict[str, Any] = await answer.json()
            return state
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"the admin listener at {admin} does not answer: {error}") from None
