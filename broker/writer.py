"""The one writer: submissions become entries in groups, one durable append for each group (SPEC §12.5).

It wakes once a turn of the loop and admits all that waits. While a group is on its way to the disk the next gathers,
judged and verified; it is sent when the one before has landed. There is no gathering delay: a lone submission pays only
for itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from broker.admission import Admission, Admitted, Waiting
from broker.errors import BrokerError, LedgerBroken
from broker.ledger import Built, Ledger, now_ms
from broker.metrics import Metrics
from broker.news import News
from broker.standing import Standing
from broker.storage.contract import NewEntry
from protocol.entry import Submission
from protocol.header import Header
from protocol.problem import Problem
from protocol.treehead import Receipt

GROUP_ENTRIES_MAX = 256
PENDING_MAX = 4096

log = structlog.get_logger()


class Writer:
    """Runs as one task; ``submit`` is for everyone else. ``lock`` is held over every durable write."""

    def __init__(
        self,
        ledger: Ledger,
        news: News,
        standing: Standing,
        metrics: Metrics,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.ledger = ledger
        self.lock = asyncio.Lock()
        self._news, self._standing, self._metrics = news, standing, metrics
        self._admission = Admission(ledger, clock)
        self.bulletins = self._admission.bulletins
        self._pending: deque[Waiting] = deque()
        self._admitted: list[Admitted] = []
        self._flight: asyncio.Task[None] | None = None  # the group on its way to the disk
        self.on_put_back: Callable[[], None] = lambda: None
        self.on_written: Callable[[NewEntry, Header | None], None] = lambda _entry, _header: None
        self._wake = asyncio.Event()
        self.disk = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._closing = False
        self._appending = False
        self._stale = False  # what is in memory is not what is durable: nothing is built before it is
        self.failure: str | None = None  # why the last append failed; None when it did not

    def submit(self, submission: Submission) -> asyncio.Future[Receipt]:
        """The receipt of a submission, new or seen before. Raises Problem, now or later; then nothing is half done."""
        if self._closing:
            raise Problem("stopping", "this node is stopping")
        if len(self._pending) >= PENDING_MAX:
            raise Problem("storage-unavailable", f"{PENDING_MAX} submissions wait already")
        waiting = Waiting(submission, asyncio.get_running_loop().create_future())
        self._pending.append(waiting)
        self._wake.set()
        return waiting.receipt

    async def run(self) -> None:
        """Write until ``close``; what was taken is finished first. If this raises, the node must go down."""
        try:
            while not self._closing or self._pending or self._admitted or self._flight:
                await self._wake.wait()
                self._wake.clear()
                await self._turn()
        finally:
            self._closing = True
            if self._flight is not None:
                self._flight.cancel()
            self._refuse_all(Problem("stopping", "this node is going down"))
            self._admission.close()

    def close(self) -> None:
        """Take nothing more, and let ``run`` end."""
        self._closing = True
        self._wake.set()

    async def _turn(self) -> None:
        """Admit what waits, and send it off if nothing is on its way to the disk."""
        if self._flight is not None and self._flight.done():
            flight, self._flight = self._flight, None
            flight.result()  # a defect ends the writer
        if not self._may_write():
            self._refuse_all(self._why_not())
            return
        self._admitted += await self._admission.admit(self._pending, GROUP_ENTRIES_MAX - len(self._admitted))
        await self._put_back_bodies()
        if self._flight is None:
            self._send()

    def _send(self) -> None:
        group, self._admitted = self._admitted, []
        if group:
            self._flight = asyncio.create_task(self._append(group))
            self._flight.add_done_callback(lambda _: self._wake.set())
        elif self._pending:  # what these waited for has been refused
            self._wake.set()

    async def _append(self, group: list[Admitted]) -> None:
        """Make a group entries, or tell everyone why not."""
        try:
            receipts, built = await self._make_entries(group)
        except BrokerError as error:
            self._fail(group, error)
            return
        except BaseException:  # a defect: whether anything is durable is unknown, so nobody is told it is not
            for waiting, _ in group:
                waiting.refuse(Problem("internal-error", "something unexpected; the node's log has it"))
            raise
        self.failure = None
        self._metrics.receipts.inc(len(receipts))
        self._admission.land(group)
        for (waiting, _), receipt in zip(group, receipts, strict=True):
            waiting.resolve(receipt)
        for new, (_, staged) in zip(built.entries, group, strict=True):
            self.on_written(new, staged.header)
        self._news.announce(reader for new in built.entries for reader in new.readers)

    async def _make_entries(self, group: list[Admitted]) -> tuple[list[Receipt], Built]:
        """Build, commit, promise: the three steps."""
        self._appending = self._stale = True
        try:
            built = self.ledger.build([staged for _, staged in group])
            async with self.lock:
                with self._metrics.append_seconds.time():
                    await asyncio.get_running_loop().run_in_executor(self.disk, self.ledger.commit, built)
            receipts = self.ledger.promise(built)
            self._stale = False
        finally:
            self._appending = False
        return receipts, built

    async def _put_back_bodies(self) -> None:
        """What a restored ledger lacks and a sender posts again: durable before its receipt is given again."""
        while self._admission.repeats:
            waiting, index, wraps = self._admission.repeats.pop()
            body = waiting.submission.body
            try:
                async with self.lock:
                    loop = asyncio.get_running_loop()
                    await loop.run_in_executor(self.disk, self.ledger.storage.fill, index, wraps, body)
                waiting.resolve(self.ledger.receipt_of(index))
                self.on_put_back()
            except BrokerError as error:
                waiting.refuse(Problem("storage-unavailable", f"the node could not write it: {error}"))

    def _may_write(self) -> bool:
        """Nothing follows what is not known to be durable, but a group on its way may yet be."""
        known = self._flight is not None or not self._stale or self._reload()
        return known and self._standing.not_signing is None

    def _why_not(self) -> Problem:
        reason = self._standing.not_signing
        if reason is not None:
            return Problem("not-signing", f"this node takes nothing: {reason}")
        return Problem("storage-unavailable", f"the node could not write it: {self.failure}")

    def _refuse_all(self, problem: Problem) -> None:
        """Nothing can be written now: tell everyone, rather than let them wait."""
        group, self._admitted = self._admitted, []
        self._admission.give_back(group, problem)
        while self._pending:
            self._pending.popleft().refuse(problem)

    def _fail(self, group: list[Admitted], error: BrokerError) -> None:
        """An append failed: forget what was built, tell everyone, go on with what is durable."""
        if self.failure is None:
            log.error("append-failed", error=str(error), entries=len(group))
        self.failure = str(error)
        self._metrics.append_failures.inc()
        self._admission.give_back(group, Problem("storage-unavailable", f"the node could not write it: {error}"))
        self._reload()

    def recover(self) -> bool:
        """Whether the ledger can be read and signed again, asked from time to time after a failure."""
        return not self._appending and (not self._stale or self._reload())

    def _reload(self) -> bool:
        """Whether memory is again what is durable. While it cannot be read, every submission is refused."""
        try:
            self.ledger.abandon()
        except LedgerBroken as error:
            self._standing.stop_signing(str(error))
        except BrokerError as error:
            self.failure = str(error)
            return False
        if self.ledger.broken is not None:
            self._standing.stop_signing(self.ledger.broken)
        self._stale = False
        self._news.wake_all()  # what failed and yet happened is there for its readers
        return self._standing.not_signing is None
