"""Following: bulletins handed over as they arrive, at least once, each until it is taken or has failed too often.

A bulletin is verified and kept before it is handed over, and what became of it with each consumer is kept too: a crash
anywhere hands it over again, under the same id. Words that are owed to senders are gathered for up to a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator

from clients.acknowledging import GATHER_SECONDS, URGENT
from clients.agenda import Agenda, Event
from clients.client import Client
from clients.clock import now_ms
from clients.errors import Declined, Tampering, Unreachable, UsageError
from clients.progress import Book, Progress
from clients.promises import may_go_back
from clients.screen import say, warn
from clients.state import Held
from clients.turn import Turn

TRIES_MAX = 5
BACKOFF_SECONDS_MAX = 30.0
_CHUNK = 64
_RETRY_SECONDS = 0.1  # and twice as long each time
_PAUSE_SECONDS = 0.01
_LOOK_SECONDS = 1.0  # for what another terminal of this home fetched, and for what became late


class HandOverFailed(Exception):
    """A consumer did not take a bulletin; why."""


Hand = Callable[[Progress], Awaitable[None]]  # raises HandOverFailed
Tell = Callable[[Event], None]
Alarm = tuple[int, str, str, int | None, str]  # time, check, origin, index, detail


class Follower:
    """One consumer of a home, ``print`` or ``exec``. ``count`` stops it after so many; ``exercises`` lets them in."""

    def __init__(
        self,
        client: Client,
        consumer: str,
        hand: Hand,
        tell: Tell,
        warn_of: Callable[[Alarm], None],
        *,
        exercises: bool = True,
        count: int = 0,
    ) -> None:
        self._client, self._state, self._consumer = client, client.state, consumer
        self._agenda = Agenda(client.state, client.agency)
        self._warn_of, self._alarms = warn_of, client.alarms_at_start
        self._hand, self._tell, self._exercises, self._left = hand, tell, exercises, count or None
        self._arrival = 0  # up to which everything is handed over, or not for this consumer
        self._news = asyncio.Event()
        self._reachable = True
        self._owed_since: float | None = None
        self._warned = ""

    async def run(self) -> None:
        """Until enough is handed over, or for ever. Raises UsageError where another such consumer runs already."""
        turn = Turn(self._client.home.folder / f"follow-{self._consumer}.lock")
        if not turn.take():
            raise UsageError("another follow of this kind runs in this home", "stop it, or use that one")
        receiving = asyncio.create_task(self._receive(), name="receive")
        try:
            while not await self._hand_over_all():
                self._tell_events()
                self._tell_alarms()
                await self._send_owed()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._patience()):
                        await self._news.wait()
                self._news.clear()
                if receiving.done():
                    receiving.result()  # raises what ended it
            self._tell_alarms()
            self._owed_since = 0.0
            await self._send_owed()
        finally:
            receiving.cancel()
            turn.leave()
            await asyncio.gather(receiving, return_exceptions=True)

    def _patience(self) -> float:
        """How long to wait for news: no longer than words may be gathered."""
        if self._owed_since is None:
            return _LOOK_SECONDS
        return min(_LOOK_SECONDS, max(_PAUSE_SECONDS, self._owed_since + GATHER_SECONDS - time.monotonic()))

    async def _receive(self) -> None:
        """Verify and keep what comes; through restarts of the node, and however long the link is down."""
        failures = 0
        while True:
            try:
                async with contextlib.aclosing(self._client.listen()) as pages:
                    async for _ in pages:
                        if failures:
                            say(f"{self._client.wire.url} answers again")
                        self._reachable, failures = True, 0
                        self._news.set()
                        await self._client.flush_waiting()
                        await self._client.promises.check(set())
            except Unreachable as error:
                if not failures:
                    warn(f"{error.detail}; trying again")
                self._reachable = False
            except (Declined, Tampering) as error:
                if failures or not may_go_back(error):
                    raise  # else the sync that the next stream begins with goes back
            failures += 1
            self._news.set()
            await asyncio.sleep(min(BACKOFF_SECONDS_MAX, 0.1 * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311

    # Handing over

    async def _hand_over_all(self) -> bool:
        """Everything that is kept and not taken yet, in its order; whether that is enough."""
        self._note_received()
        for held in self._waiting():
            progress = self._book().of(held)
            if not self._exercises and held.header.status != "actual":
                continue
            await self._hand_over(progress)
            self._note_received()
            await self._send_owed()
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    return True
        return False

    def _waiting(self) -> Iterator[Held]:
        for sender, number in self._state.handed_in(self._consumer, "again"):
            held = self._state.bulletin_by_id(sender, number)
            if held is not None:
                yield held
        newest = self._state.newest_arrival()
        if newest <= self._arrival:
            return
        while chunk := self._state.to_hand_over(self._consumer, self._arrival, _CHUNK):
            for held in chunk:
                _, state = self._state.handed(self._consumer, held.header.sender, held.header.id)
                if state not in {"done", "failed", "again"}:  # the same id may stand in two ledgers
                    yield held
                self._arrival = held.arrival
        self._arrival = max(self._arrival, newest)  # nor is what was sent from here

    async def _hand_over(self, progress: Progress) -> None:
        """Try until it is taken; set it aside after the fifth failure, so that the next goes on."""
        header = progress.held.header
        tries, state = self._state.handed(self._consumer, header.sender, header.id)
        tries = tries if state == "trying" else 0
        while tries < TRIES_MAX:
            tries += 1
            self._note(progress, tries, "trying")  # before the attempt: one that kills this process counts too
            try:
                await self._hand(progress)
            except HandOverFailed as failed:
                warn(f"{header.name}: try {tries} of {TRIES_MAX} failed: {failed}")
                if tries < TRIES_MAX:
                    await asyncio.sleep(_RETRY_SECONDS * 2**tries)
                continue
            self._note(progress, tries, "done")  # commit point: it is not handed over again
            return
        self._note(progress, tries, "failed")
        warn(f"{header.name} is set aside: khunjerab follow --failed")

    def _note(self, progress: Progress, tries: int, state: str) -> None:
        header = progress.held.header
        with self._state.transaction():
            self._state.hand(self._consumer, header.sender, header.id, tries, state)

    def _book(self) -> Book:
        return Book(self._state, self._client.agency, self._client.exchange.in_force.policy)

    # Words and events

    def _note_received(self) -> None:
        received = self._client.acknowledger.note_received()
        if any(held.header.precedence in URGENT for held in received):
            self._owed_since = 0.0
        elif received and self._owed_since is None:
            self._owed_since = time.monotonic()
        if self._owed_since is None and self._state.owed():  # from before this process
            self._owed_since = 0.0

    async def _send_owed(self) -> None:
        if self._owed_since is None or not self._reachable or time.monotonic() - self._owed_since < GATHER_SECONDS:
            return
        try:
            await self._client.send_owed()
            self._owed_since = None
        except (Unreachable, Declined) as error:
            self._owed_since = time.monotonic()  # they stay owed
            if error.detail != self._warned:
                warn(f"{error.detail}; acknowledgements are sent later")
                self._warned = error.detail

    def _tell_alarms(self) -> None:
        alarms = self._state.alarms()
        for found in alarms[self._alarms :]:
            self._warn_of(found)
        self._alarms = len(alarms)

    def _tell_events(self) -> None:
        exchange = self._client.exchange
        if exchange.directory is not None:
            for event in self._agenda.passed(exchange.in_force.policy, now_ms()):
                self._tell(event)
