"""The door of a live node: a wire logged in with any key of the world, and posting by it; no home, no client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from broker.node import Node
from clients.errors import ClientError
from clients.transport import Wire
from protocol.entry import Submission
from protocol.problem import Problem
from protocol.treehead import Receipt
from tests.support.world import signing_key

SECONDS_MAX = 120  # for what takes a second or two, on a machine that has other things to do


@contextlib.asynccontextmanager
async def logged_in(node: Node, who: str, checkpoint: str = "") -> AsyncIterator[Wire]:
    """As the seat, identity key or authority key of this name; ``checkpoint`` is what it has seen."""
    async with Wire(node.config.url) as wire:
        wire.log_in_as(signing_key(who), node.ledger.pin, node.ledger.origin, checkpoint)
        yield wire


async def answer_of(wire: Wire, submission: Submission) -> Receipt | Problem:
    """What the node says to one submission, whatever a client would make of it."""
    try:
        (answer,) = await wire.post([submission])
    except ClientError as error:
        if not isinstance(error.__cause__, Problem):
            raise
        return error.__cause__
    return answer


async def post(wire: Wire, submission: Submission) -> Receipt:
    """The receipt; raises the Problem that came instead."""
    answer = await answer_of(wire, submission)
    if isinstance(answer, Problem):
        raise answer
    return answer


async def refusal(wire: Wire, submission: Submission) -> Problem:
    """The problem; AssertionError where it was let in."""
    answer = await answer_of(wire, submission)
    assert isinstance(answer, Problem), "it was let in"
    return answer


async def until(condition: Callable[[], bool], seconds: float = SECONDS_MAX) -> None:
    """Wait until something holds that nothing announces; fail if it does not come to."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a condition of the program, not of this test
            await asyncio.sleep(0.01)
