"""Waiting for what a thread does: once begun it is finished, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any


async def finished(work: asyncio.Future[Any]) -> None:
    """Return when it is done, raise what it raised; a cancellation takes effect after it."""
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
