"""Streams of deliveries (SPEC §11.6): pages pushed as entries are committed, as far as each reader gives credit.

A subscriber holds one page at a time and a cursor: what it has not taken stays in the ledger. So memory is bounded, a
slow one makes nobody wait, and one that went away resumes from its cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from broker.deliveries import Deliveries, Page
from broker.metrics import Metrics
from broker.news import News
from broker.sessions import Session, Sessions, reader_of
from broker.standing import Standing
from protocol import limits
from protocol.problem import Problem

SEND_SECONDS_MAX = 30
PAGE_ENTRIES = 64  # what is made in one turn of the loop: a few milliseconds, in which everyone else waits
Send = Callable[[bytes], Awaitable[None]]


class Subscriber:
    """One reader's stream. Made by ``Subscribers.open``."""

    def __init__(self, session: Session, after: int, known: int, feed: str | None) -> None:
        self.session = session
        self.woken = asyncio.Event()
        self.credit = 0
        self.caught_up = False  # whether all that credit allows was looked through
        self.sent = 0  # the size that a checkpoint must have to cover what was sent
        self.lines = 0  # how many lines the newest checkpoint has that was sent and covers it; 0 while none does
        self.after, self.known, self.feed = after, known, feed

    def grant(self, entries: int) -> None:
        """Let ``entries`` more come. Raises Problem for more than may wait unused."""
        if self.credit + entries > limits.CREDIT_ENTRIES_MAX:
            raise Problem("malformed", f"more than {limits.CREDIT_ENTRIES_MAX} entries of credit")
        self.credit += entries
        self.woken.set()

    def next_page(self, deliveries: Deliveries) -> Page | None:
        """What to send now, if there is anything and credit for it; the cursor then stands behind it."""
        self.caught_up = True
        if self.credit:
            limit = min(self.credit, PAGE_ENTRIES)
            page = deliveries.page(self.session, self.after, self.known, limit, self.feed)
            part = page.part
            self.after, self.caught_up = part.next, part.next == part.head.size
            if part.items:
                self.credit -= len(part.items)
                return self._sent(page)
        if self.lacks(deliveries):
            return self._sent(deliveries.page(self.session, self.after, self.known, 0, self.feed))
        return None

    def lacks(self, deliveries: Deliveries) -> bool:
        """Whether a checkpoint covers what was sent that the reader does not have, or that more have signed now."""
        return 0 < self.sent <= deliveries.checkpoint_size and deliveries.checkpoint_lines > self.lines

    def _sent(self, page: Page) -> Page:
        """The reader knows this head from now on."""
        self.known = page.part.head.size
        if page.part.items:
            self.sent, self.lines = self.known, 0
        if page.checkpoint_size >= self.sent:
            self.lines = page.checkpoint_lines
        return page


class Subscribers:
    """All streams of a node."""

    def __init__(
        self, deliveries: Deliveries, sessions: Sessions, news: News, standing: Standing, metrics: Metrics
    ) -> None:
        self._deliveries, self._sessions, self._news, self._standing = deliveries, sessions, news, standing
        self._metrics = metrics
        self._open = set[Subscriber]()

    def __len__(self) -> int:
        """How many streams are open."""
        return len(self._open)

    async def run(self, subscriber: Subscriber, send: Send) -> None:
        """Push pages until something ends the stream, which is the Problem that this raises."""
        session, reader = subscriber.session, reader_of(subscriber.session)
        self._open.add(subscriber)
        try:
            with session.wait(), self._news.listening(reader, subscriber.woken):
                while True:
                    subscriber.woken.clear()
                    self._standing.require_running()
                    self._sessions.recheck(session)
                    if reader_of(session) != reader:
                        raise Problem("not-logged-in", "what this session may read has changed")
                    page = subscriber.next_page(self._deliveries)
                    if page is not None:
                        await _send_in_time(send, page.data)
                        self._metrics.entries_sent.inc(len(page.part.items))
                    if page is None and subscriber.caught_up:
                        await subscriber.woken.wait()
                    else:
                        await asyncio.sleep(0)  # a page is a turn: whoever else waits comes before the next
        finally:
            self._open.discard(subscriber)

    def wake_ended(self) -> None:
        """Wake the streams whose session has come to its end: called every second, as nothing else tells them."""
        for subscriber in self._open:
            try:
                self._sessions.recheck(subscriber.session)
            except Problem:
                subscriber.woken.set()

    def wake_uncovered(self) -> None:
        """A new checkpoint, or more under it: wake those who were sent entries that it covers and do not have it."""
        for subscriber in self._open:
            if subscriber.lacks(self._deliveries):
                subscriber.woken.set()

    def wake_all(self) -> None:
        """When the node stops."""
        for subscriber in self._open:
            subscriber.woken.set()


async def _send_in_time(send: Send, data: bytes) -> None:
    try:
        async with asyncio.timeout(SEND_SECONDS_MAX):
            await send(data)
    except TimeoutError:
        raise Problem("request-timeout", f"the reader did not take a page in {SEND_SECONDS_MAX} s") from None
