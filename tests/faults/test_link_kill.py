"""Either nation's node killed at any instant, or away while the other goes on: nothing is lost, nothing stands twice.

Both nodes are real processes. The oracle is what those who posted and read hold (``tests/support/record.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from pathlib import Path

import pytest

from clients.errors import ClientError
from tests.support.border import Border, border
from tests.support.record import PEER, Desk

LAST_STRAW = 32  # what is sent at once just before a kill


def require_soak() -> None:
    assert os.environ.get("KHUNJERAB_SOAK") == "1", "make soak"


async def _kill(both: Border, nation: str, dice: random.Random) -> None:
    """In the middle of a batch that has no answer then; its sender sends it again."""
    straw, node = Desk(both.record, nation, both.urls[nation]), both.processes[nation]
    while not straw.waiting:  # a kill that fell behind the answer counts for nothing
        straw.seal(LAST_STRAW)
        async with straw.wire() as wire:
            await wire.session()
            sending = asyncio.create_task(straw.send(wire))
            await asyncio.sleep(dice.choice([0.0, 0.001, 0.002, 0.003]))  # when it falls is what is drawn here
            node.kill()
            with contextlib.suppress(ClientError):
                await sending
        await node.start()
    await straw.drain()


async def _kill_often(folder: Path, times: int) -> None:
    dice = random.Random(times)
    async with border(folder, times) as both, both.at_work():
        for nation in dice.sample(sorted(PEER), times, counts=[times, times]):
            await _kill(both, nation, dice)


async def test_either_node_killed_under_load(tmp_path: Path) -> None:
    await _kill_often(tmp_path, 6)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_either_node_killed_a_hundred_times_under_load(tmp_path: Path) -> None:
    require_soak()
    await _kill_often(tmp_path, 100)


async def _catch_up(folder: Path, entries: int, kills: int) -> None:
    """What was posted while the peer was away, in bulk; it may be killed in the middle of it, too."""
    async with border(folder, entries) as both:
        away, desk = both.processes["CN"], both.desks["PK"]
        away.kill()
        for at in range(0, entries, 64):
            desk.seal(min(64, entries - at))
            await desk.drain()
        for _ in range(kills):
            await away.start()
            await asyncio.sleep(0.3)  # it is on its way
            away.kill()
        await away.start()
        await both.finish()


async def test_a_peer_that_was_down_catches_up(tmp_path: Path) -> None:
    await _catch_up(tmp_path, 500, 1)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_a_peer_that_was_down_for_ten_thousand_entries_catches_up(tmp_path: Path) -> None:
    require_soak()
    await _catch_up(tmp_path, 10_000, 5)
