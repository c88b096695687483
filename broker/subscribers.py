"""Streams of deliveries (SPEC §11.6): pages pushed as entries are committed, as far as each reader gives credit.

A subscriber holds one page at a time and a cursor: what it has not taken stays in the ledger. So memory is bounded, a
slow one makes nobody wait, and one that went away resumes from its cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from broker.metrics import Metrics
from broker.news import News
from broker.pages import UNTOLD, Page, Pages, Told
from broker.sessions import Session, Sessions, reader_of
from broker.standing import Standing
from protocol import limits
from protocol.page import Cursor
from protocol.problem import Problem

SEND_SECONDS_MAX = 30
PAGE_ENTRIES = 64  # what is made in one turn of the loop: a few milliseconds, in which everyone else waits
MIRRORED_ENTRIES = 128  # of what needs no paths and is read at once
Send = Callable[[bytes], Awaitable[None]]


class Subscriber:
    """One reader's stream, with a position for each ledger."""

    def __init__(self, session: Session, after: Cursor, known: Cursor, feed: str | None) -> None:
        self.session = session
        self.woken = asyncio.Event()
        self.credit = 0
        self.caught_up = False  # whether all that credit allows was looked through
        self.sent: dict[str, int] = {}  # the sizes that checkpoints must have to cover what was sent
        self.lines: dict[str, int] = {}  # how many lines the newest ones have that were sent and cover it
        self.told: dict[str, Told] = {}  # the newest checkpoints and evidence that were sent
        self.after, self.known, self.feed = dict(after), dict(known), feed
        if session.speaker.mirrors:  # what came on pages may be cosigned only now, and nothing more may come
            self.sent = dict(after)

    def grant(self, entries: int) -> None:
        """Let ``entries`` more come. Raises Problem for more than may wait unused."""
        if self.credit + entries > limits.CREDIT_ENTRIES_MAX:
            raise Problem("malformed", f"more than {limits.CREDIT_ENTRIES_MAX} entries of credit")
        self.credit += entries
        self.woken.set()

    def next_page(self, pages: Pages) -> Page | None:
        """What to send now, if there is anything and credit for it; the cursor then stands behind it."""
        self.caught_up = True
        if self.credit:
            most = MIRRORED_ENTRIES if self.session.speaker.mirrors else PAGE_ENTRIES
            page = self._page(pages, min(self.credit, most))
            self.after |= page.places
            self.caught_up = page.whole
            if page.entries:
                self.credit -= page.entries
                return self._sent(page)
        if self.lacks(pages) or self._is_unwarned(pages):
            return self._sent(self._page(pages, 0))
        return None

    def _page(self, pages: Pages, limit: int) -> Page:
        return pages.page(self.session, self.after, self.known, limit, self.feed, self.told)

    def lacks(self, pages: Pages) -> bool:
        """Whether a checkpoint covers what was sent that the reader does not have, or that more have signed now."""
        for origin, size in self.sent.items():
            one = pages.of(origin)
            if one is None or self._is_ahead(origin, one.checkpoint_size):
                continue
            if size <= one.checkpoint_size and one.checkpoint_lines > self.lines.get(origin, 0):
                return True
        return False

    def _is_ahead(self, origin: str, size: int) -> bool:
        """Whether a mirror, which keeps no checkpoint over what it has not, lacks entries of one of this size yet."""
        return self.session.speaker.mirrors and self.after.get(origin, 0) < size

    def _is_unwarned(self, pages: Pages) -> bool:
        """Whether there is evidence against a log that the reader was not told of."""
        shown = pages.for_reader(self.session, self.after, self.known)
        return any(one.newest.evidence != self.told.get(one.shown.origin, UNTOLD)[1] for one in shown)

    def _sent(self, page: Page) -> Page:
        """The reader knows these heads from now on."""
        for part in page.parts:
            origin = part.head.origin
            self.known[origin] = part.head.size
            self.told[origin] = part.checkpoint or self.told.get(origin, UNTOLD)[0], part.evidence
            if part.items:
                self.sent[origin], self.lines[origin] = part.head.size, 0
            size, lines = page.checkpoints[origin]
            if origin in self.sent and size >= self.sent[origin] and not self._is_ahead(origin, size):
                self.lines[origin] = lines
        return page


class Subscribers:
    """All streams of a node."""

    def __init__(self, pages: Pages, sessions: Sessions, news: News, standing: Standing, metrics: Metrics) -> None:
        self._pages, self._sessions, self._news, self._standing = pages, sessions, news, standing
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
                    page = subscriber.next_page(self._pages)
                    if page is not None:
                        await send_in_time(send, page.data)
                        self._metrics.entries_sent.inc(page.entries)
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
            if subscriber.lacks(self._pages):
                subscriber.woken.set()

    def wake_all(self) -> None:
        """When the node stops."""
        for subscriber in self._open:
            subscriber.woken.set()


async def send_in_time(send: Send, data: bytes) -> None:
    """What a reader does not take in time ends its stream: that is the Problem which this raises."""
    try:
        async with asyncio.timeout(SEND_SECONDS_MAX):
            await send(data)
    except TimeoutError:
        raise Problem("request-timeout", f"the reader did not take a message in {SEND_SECONDS_MAX} s") from None
