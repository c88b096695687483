"""Streams of submissions (SPEC §11.7): what a client has in flight, answered in its order, a window of it at most.

A submission is in flight until its answer has gone out. So a client that sends and never reads comes to the end of its
window, holds no more than that, and makes nobody wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

from broker.door import Door
from broker.sessions import Session, Sessions
from broker.standing import Standing
from protocol import limits
from protocol.problem import Problem
from protocol.treehead import Receipt

SUBMITTERS_MAX = 64  # each may have a message half sent
SUBMITTERS_PER_SPEAKER_MAX = 4


class _InFlight(NamedTuple):
    receipt: asyncio.Future[Receipt]
    length: int

    def outcome(self) -> Receipt | BaseException:
        return self.receipt.exception() or self.receipt.result()


class Submitter:
    """One client's stream."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.why: Problem | None = None  # why it ended, where the client did not end it
        self.ended = False
        self._left = False
        self._in_flight: deque[_InFlight] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()

    def take(self, door: Door, envelopes: Sequence[bytes]) -> None:
        """Let them through the door, in order. Raises Problem at the first that is beyond the window."""
        for envelope in envelopes:
            self._bytes += len(envelope)
            if len(self._in_flight) >= limits.WINDOW_SUBMISSIONS_MAX or self._bytes > limits.WINDOW_BYTES_MAX:
                raise Problem("too-large", "more is in flight than the window of a stream lets")
            self._in_flight.append(_InFlight(door.post_among(self.session, envelope), len(envelope)))
        self._woken.set()

    def end(self, why: Problem) -> None:
        """Take nothing more; what was taken is answered first."""
        if not self.ended:
            self.ended, self.why = True, why
            self._woken.set()

    def leave(self) -> None:
        """The client is gone: nobody waits for an answer, and what the writer has not begun need not be done."""
        if self._left:
            return
        self.ended = self._left = True
        for receipt, _ in self._in_flight:
            if not receipt.cancel():
                receipt.exception()  # looked at, or asyncio complains
        self._woken.set()

    async def answers(self) -> AsyncIterator[list[Receipt | BaseException]]:
        """What is answered, in order, all that is there at a time, until the stream has ended and nothing is in flight.

        It counts as in flight until the next is asked for.
        """
        while not self._left and (self._in_flight or not self.ended):
            if not self._in_flight:
                self._woken.clear()
                await self._woken.wait()
                continue
            await asyncio.wait([self._in_flight[0].receipt])
            there = list(itertools.takewhile(lambda one: one.receipt.done(), self._in_flight))
            if not self._left:
                yield [one.outcome() for one in there]
            for one in there:
                self._in_flight.popleft()
                self._bytes -= one.length


class Submitters:
    """All such streams of a node."""

    def __init__(self, sessions: Sessions, standing: Standing) -> None:
        self._sessions, self._standing = sessions, standing
        self._open = set[Submitter]()
        self._speakers = Counter[str]()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @contextlib.contextmanager
    def opened(self, session: Session) -> Iterator[Submitter]:
        """One more. Raises Problem where there are too many."""
        self._standing.require_running()
        who = session.speaker.agency or session.speaker.key.key_id.hex()
        if len(self._open) >= SUBMITTERS_MAX or self._speakers[who] >= SUBMITTERS_PER_SPEAKER_MAX:
            raise Problem("too-many-attempts", f"{self._speakers[who]} streams of {who} are open: post instead")
        submitter = Submitter(session)
        self._open.add(submitter)
        self._speakers[who] += 1
        try:
            yield submitter
        finally:
            submitter.leave()
            self._open.discard(submitter)
            self._speakers[who] -= 1
            self._speakers += Counter()  # without those who have none

    def end_ended(self) -> None:
        """End the streams whose session has come to its end, or the node's: called every second, and when it stops."""
        for submitter in self._open:
            try:
                self._standing.require_running()
                self._sessions.recheck(submitter.session)
            except Problem as why:
                submitter.end(why)
