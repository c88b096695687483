"""A stream of submissions (SPEC §11.7): much on its way at once, answered in its order.

    async with submitting(client.wire) as stream:
        while stream.has_room:
            await stream.send(submissions)
        answers = await stream.answers()

Whatever ends it, what is still in flight may or may not have been taken: the same bytes go again, on any way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from clients.errors import Unreachable
from protocol import canonical, limits
from protocol.entry import Submission
from protocol.errors import ProtocolError
from protocol.problem import Problem
from protocol.stream import decode_answers
from protocol.treehead import Receipt

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

    from clients.transport import Wire

ANSWER_SECONDS = 30
Answered = tuple[Submission, Receipt | Problem]


class Submitting:
    """The stream. One task sends and one takes answers; they may be the same one."""

    def __init__(self, wire: Wire, socket: ClientWebSocketResponse) -> None:
        self._wire, self._socket = wire, socket
        self._in_flight: deque[tuple[Submission, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """How many have no answer yet."""
        return len(self._in_flight)

    @property
    def has_room(self) -> bool:
        """Whether the window takes another message, whatever is in it."""
        return (
            len(self._in_flight) + limits.BATCH_SUBMISSIONS_MAX <= limits.WINDOW_SUBMISSIONS_MAX
            and self._bytes + limits.MESSAGE_BYTES_MAX <= limits.WINDOW_BYTES_MAX
        )

    async def send(self, submissions: Sequence[Submission]) -> None:
        """One message: up to ``BATCH_SUBMISSIONS_MAX``, and ``MESSAGE_BYTES_MAX``. Raises Unreachable."""
        envelopes = [submission.encode() for submission in submissions]
        for submission, envelope in zip(submissions, envelopes, strict=True):
            self._in_flight.append((submission, len(envelope)))
            self._bytes += len(envelope)
        await self._socket.send_bytes(canonical.encode(envelopes))

    async def answers(self) -> list[Answered]:
        """What the node says next, unverified, to the oldest in flight. Raises Unreachable, Declined."""
        async with asyncio.timeout(ANSWER_SECONDS):
            message = self._wire.message_of(await self._socket.receive())
        try:
            answers = decode_answers(message)
        except ProtocolError as error:
            raise Unreachable(f"{self._wire.url} answers what is no receipt: {error.detail}") from error
        if len(answers) > len(self._in_flight):
            raise Unreachable(f"{self._wire.url} answers more than it was asked")
        return [(self._next(), answer) for answer in answers]

    def _next(self) -> Submission:
        submission, length = self._in_flight.popleft()
        self._bytes -= length
        return submission


@asynccontextmanager
async def submitting(wire: Wire) -> AsyncIterator[Submitting]:
    """Raises Unreachable, UpgradeRefused where only posts pass, and Declined where the session has ended."""
    async with wire.socket("/v1/entries", limits.MESSAGE_BYTES_MAX) as socket:
        yield Submitting(wire, socket)
