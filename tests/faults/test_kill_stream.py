"""A node killed at any instant while hundreds are in flight on a stream: nothing that had a receipt is missing.

As in tests/faults/test_kill.py the oracle is the client's own list of receipts, kept outside the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from clients.errors import Unreachable
from clients.submitting import Submitting, submitting
from clients.transport import Wire
from protocol.entry import Submission
from protocol.treehead import Receipt
from tests.faults.test_kill import ENDLESS, Oracle, check_what_is_there
from tests.support.checks import check_ledger
from tests.support.live import now_ms, world_of_today
from tests.support.process import NodeProcess, make_home
from tests.support.world import ORIGINS, signing_key

End = Callable[[NodeProcess], Awaitable[None]]


@contextlib.asynccontextmanager
async def _stream(node: NodeProcess, oracle: Oracle) -> AsyncIterator[Submitting]:
    async with Wire(node.url) as wire:
        wire.log_in_as(signing_key("pk-liaison/desk"), oracle.world.pin, ORIGINS["PK"])
        async with submitting(wire) as stream:
            yield stream


async def _take(stream: Submitting, oracle: Oracle) -> int:
    answered = await stream.answers()
    for submission, answer in answered:
        assert isinstance(answer, Receipt), answer
        oracle.take(submission, answer)
    return len(answered)


async def _kill(node: NodeProcess) -> None:
    node.kill()


async def _stop(node: NodeProcess) -> None:
    assert await node.stop() == 0


async def _send_and_end(node: NodeProcess, oracle: Oracle, dice: random.Random, end: End) -> list[Submission]:
    """What has no answer when the node is gone."""
    ending: asyncio.Task[None] | None = None
    wanted = dice.randrange(1, 150)

    async def end_it() -> None:
        await asyncio.sleep(dice.choice([0.0, 0.001, 0.003, 0.01]))  # when it falls is what is drawn here
        await end(node)

    stream: Submitting | None = None
    with contextlib.suppress(Unreachable):
        async with _stream(node, oracle) as stream:
            while True:
                while stream.has_room:
                    await stream.send(oracle.seal(dice.randrange(1, 65)))
                wanted -= await _take(stream, oracle)
                if wanted <= 0 and ending is None:
                    ending = asyncio.create_task(end_it())
    assert ending is not None
    await ending
    return [submission for submission, _ in stream._in_flight] if stream else []


async def _send_again(node: NodeProcess, oracle: Oracle, unanswered: list[Submission]) -> None:
    async with _stream(node, oracle) as stream:
        while unanswered or len(stream):
            if unanswered and stream.has_room:
                await stream.send(unanswered[:64])
                unanswered = unanswered[64:]
            else:
                await _take(stream, oracle)


async def _end_often(folder: Path, times: int, end: End) -> None:
    world = world_of_today(policy=ENDLESS)
    oracle, dice = Oracle(world), random.Random(times)
    async with NodeProcess(make_home(folder / "node", world)) as node:
        ends = 0
        while ends < times:
            unanswered = await _send_and_end(node, oracle, dice, end)
            ends += bool(unanswered)  # one that fell behind every answer counts for nothing
            await node.start()
            await check_what_is_there(node, oracle)
            await _send_again(node, oracle, unanswered)
        assert await node.stop() == 0
        await node.start()
        await check_what_is_there(node, oracle)
        oracle.check(0)
        assert await node.stop() == 0
    assert "Traceback" not in node.words()
    report = check_ledger(node.home / "ledger.db", world, now=now_ms())
    assert report.entries == len(oracle.leaves)
    sent = {submission.statement for submission, _ in oracle.held.values()}
    assert len(oracle.held) == len(sent) == report.entries - len(world.founding())


async def test_nothing_receipted_on_a_stream_is_lost_in_kills(tmp_path: Path) -> None:
    """And whatever was in flight goes again and stands once. SPEC 11.7.5."""
    await _end_often(tmp_path, 8, _kill)


async def test_a_node_that_is_stopped_under_a_stream_ends_well_and_keeps_its_word(tmp_path: Path) -> None:
    """It ends with 0, and what it had not taken goes to the next. SPEC 11.7.4, 11.7.5."""
    await _end_often(tmp_path, 3, _stop)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_nothing_receipted_on_a_stream_is_lost_in_two_hundred_kills(tmp_path: Path) -> None:
    assert os.environ.get("KHUNJERAB_SOAK") == "1", "make soak"
    await _end_often(tmp_path, 200, _kill)
