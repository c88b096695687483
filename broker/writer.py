"""The one writer: submissions become entries in groups, one durable append for each group (SPEC §12.5).

It wakes once a turn of the loop, takes all that waits, and while a group is on its way to the disk the next gathers.
There is no gathering delay: a lone submission pays only for itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from broker.errors import BrokerError, LedgerBroken
from broker.ledger import Built, Ledger, Staged, now_ms
from broker.metrics import Metrics
from broker.news import News
from broker.quota import Budget
from broker.standing import Standing
from broker.storage.contract import StoredWrap
from keys.errors import BadSignature
from keys.judge import Refused
from keys.signing import verify_all
from protocol.entry import Submission
from protocol.problem import Problem
from protocol.statements import GOVERNANCE, Bulletin
from protocol.treehead import Receipt

GROUP_ENTRIES_MAX = 256
PENDING_MAX = 4096
INLINE_CHECKS_MAX = 15  # a call to another thread costs more than this many verifications are worth
VERIFY_THREADS = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A submission on its way, and who waits for its receipt."""

    submission: Submission
    receipt: asyncio.Future[Receipt]


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
        self._news, self._standing, self._metrics, self._clock = news, standing, metrics, clock
        self.bulletins = Budget(3600, lambda: clock() / 1000)
        self._pending: deque[Waiting] = deque()
        self._put_back: list[tuple[Waiting, int, tuple[StoredWrap, ...]]] = []
        self.on_put_back: Callable[[], None] = lambda: None
        self._wake = asyncio.Event()
        self._threads = ThreadPoolExecutor(VERIFY_THREADS, thread_name_prefix="verify")
        self.disk = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._closing = False
        self._appending = False
        self._stale = False  # what is in memory is not what is durable: nothing is built before it is
        self.failure: str | None = None  # why the last append failed; None when it did not

    async def submit(self, submission: Submission) -> Receipt:
        """The receipt of a submission, new or seen before. Raises Problem; after one nothing is half done."""
        if self._closing:
            raise Problem("stopping", "this node is stopping")
        if len(self._pending) >= PENDING_MAX:
            raise Problem("storage-unavailable", f"{PENDING_MAX} submissions wait already")
        waiting = Waiting(submission, asyncio.get_running_loop().create_future())
        self._pending.append(waiting)
        self._wake.set()
        return await waiting.receipt

    async def run(self) -> None:
        """Write until ``close``; what was taken is finished first. If this raises, the node must go down."""
        try:
            while not self._closing or self._pending:
                await self._wake.wait()
                self._wake.clear()
                while self._pending:
                    await self._write_group()
        finally:
            self._closing = True
            while self._pending:
                _refuse(self._pending.popleft(), Problem("stopping", "this node is going down"))
            self._threads.shutdown(wait=False)

    def close(self) -> None:
        """Take nothing more, and let ``run`` end."""
        self._closing = True
        self._wake.set()

    async def _write_group(self) -> None:
        if self._standing.not_signing is not None or (self._stale and not self._reload()):
            self._refuse_all()
            return
        group = self._stage_group()
        await self._put_back_bodies()
        group = await self._drop_badly_signed(group)
        group = self._drop_over_quota(group)
        if not group:
            return
        try:
            receipts, built = await self._append(group)
        except BrokerError as error:
            self._fail(group, error)
            return
        except BaseException:  # a defect: whether anything is durable is unknown, so nobody is told it is not
            for waiting, _ in group:
                _refuse(waiting, Problem("internal-error", "something unexpected; the node's log has it"))
            raise
        self.failure = None
        self._metrics.receipts.inc(len(receipts))
        for (waiting, _), receipt in zip(group, receipts, strict=True):
            _resolve(waiting, receipt)
        self._announce(built)

    async def _append(self, group: list[tuple[Waiting, Staged]]) -> tuple[list[Receipt], Built]:
        """Build, commit, promise: the three steps that make entries."""
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
        while self._put_back:
            waiting, index, wraps = self._put_back.pop()
            body = waiting.submission.body
            try:
                async with self.lock:
                    loop = asyncio.get_running_loop()
                    await loop.run_in_executor(self.disk, self.ledger.storage.fill, index, wraps, body)
                _resolve(waiting, self.ledger.receipt_of(index))
                self.on_put_back()
            except BrokerError as error:
                _refuse(waiting, Problem("storage-unavailable", f"the node could not write it: {error}"))

    def _refuse_all(self) -> None:
        """Nothing can be written now: tell everyone, rather than let them wait."""
        reason = self._standing.not_signing
        problem = (
            Problem("not-signing", f"this node takes nothing: {reason}")
            if reason is not None
            else Problem("storage-unavailable", f"the node could not write it: {self.failure}")
        )
        while self._pending:
            _refuse(self._pending.popleft(), problem)

    def _announce(self, built: Built) -> None:
        self._news.announce(reader for new in built.entries for reader in new.readers)

    def _stage_group(self) -> list[tuple[Waiting, Staged]]:
        """Judge what waits.

        Governance stands alone in its group, as it changes what the next is judged by; so does the second of two
        submissions of one thing, as the first may yet fail.
        """
        group: list[tuple[Waiting, Staged]] = []
        names = set[object]()
        now = self._clock()
        while self._pending and len(group) < GROUP_ENTRIES_MAX:
            waiting = self._pending[0]
            alone = waiting.submission.kind in GOVERNANCE
            if alone and group:
                break
            staged = self._stage(waiting, now)
            if staged is not None:
                name = _name(staged)
                if name in names:
                    break
                names.add(name)
                group.append((waiting, staged))
            self._pending.popleft()
            if alone and staged is not None:
                break
        return group

    def _stage(self, waiting: Waiting, now: int) -> Staged | None:
        """Judge one; a refusal is told at once, a repeat gets the receipt of the first.

        A defect that one submission finds is told to whoever sent it, and stops nobody else: nothing was changed yet.
        """
        if waiting.receipt.done():  # its client went away
            return None
        try:
            return self._judge(waiting, now)
        except BrokerError as error:
            _refuse(waiting, Problem("storage-unavailable", f"the store cannot be read: {error}"))
        except Exception:
            log.exception("unexpected", while_judging=waiting.submission.kind.word)
            _refuse(waiting, Problem("internal-error", "something unexpected; the node's log has it"))
        return None

    def _judge(self, waiting: Waiting, now: int) -> Staged | None:
        try:
            return self.ledger.stage(waiting.submission, now)
        except Refused as refused:
            if refused.code == "seen-before" and refused.index is not None:
                wraps = self.ledger.wraps_to_put_back(refused.index, waiting.submission, now)
                if wraps:
                    self._put_back.append((waiting, refused.index, wraps))
                else:
                    _resolve(waiting, self.ledger.receipt_of(refused.index))
            else:
                _refuse(waiting, problem_of(refused))
        return None

    async def _drop_badly_signed(self, group: list[tuple[Waiting, Staged]]) -> list[tuple[Waiting, Staged]]:
        """(8) The signatures owed: inline when few, else in two halves on threads, as PyNaCl releases the GIL."""
        stageds = [staged for _, staged in group]
        if len(group) <= INLINE_CHECKS_MAX:
            holds = _which_hold(stageds)
        else:
            half = (len(group) + 1) // VERIFY_THREADS
            loop = asyncio.get_running_loop()
            halves = await asyncio.gather(
                *(loop.run_in_executor(self._threads, _which_hold, part) for part in (stageds[:half], stageds[half:]))
            )
            holds = [held for part in halves for held in part]
        for (waiting, _), held in zip(group, holds, strict=True):
            if not held:
                _refuse(waiting, Problem("bad-signature", "a signature does not verify", {"step": 8}))
        return [pair for pair, held in zip(group, holds, strict=True) if held]

    def _drop_over_quota(self, group: list[tuple[Waiting, Staged]]) -> list[tuple[Waiting, Staged]]:
        """(9) The agency's bulletins of this hour. Only what is admitted counts, and a repeat was answered before."""
        within = []
        limit = self.ledger.exchange.in_force.policy.bulletins_per_hour
        for waiting, staged in group:
            sender = _sender(staged)
            if sender is None or self.bulletins.spend(sender, limit):
                within.append((waiting, staged))
            else:
                detail = f"{sender} has used its {limit} bulletins of this hour"
                _refuse(waiting, Problem("quota-exceeded", detail, {"step": 9}))
        return within

    def _fail(self, group: list[tuple[Waiting, Staged]], error: BrokerError) -> None:
        """An append failed: forget what was built, tell everyone, go on with what is durable."""
        if self.failure is None:
            log.error("append-failed", error=str(error), entries=len(group))
        self.failure = str(error)
        self._metrics.append_failures.inc()
        limit = self.ledger.exchange.in_force.policy.bulletins_per_hour
        for waiting, staged in group:
            sender = _sender(staged)
            if sender is not None:
                self.bulletins.spend(sender, limit, -1)
            _refuse(waiting, Problem("storage-unavailable", f"the node could not write it: {error}"))
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


def _sender(staged: Staged) -> str | None:
    """The agency whose quota a bulletin takes from."""
    statement = staged.accepted.statement
    return statement.header.sender if isinstance(statement, Bulletin) else None


def _name(staged: Staged) -> object:
    statement = staged.accepted.statement
    if isinstance(statement, Bulletin):
        return statement.header.sender, statement.header.id
    return staged.accepted.digest


def _which_hold(group: Sequence[Staged]) -> list[bool]:
    holds = []
    for staged in group:
        try:
            verify_all(staged.checks)
        except BadSignature:
            holds.append(False)
        except Exception:
            log.exception("unexpected", while_verifying=staged.submission.kind.word)
            holds.append(False)
        else:
            holds.append(True)
    return holds


def problem_of(refused: Refused) -> Problem:
    """What a refusal looks like from outside: its step and code, where the first stands, whom it concerns."""
    extra: dict[str, object] = {"step": refused.step}
    if refused.index is not None:
        extra["index"] = refused.index
    if refused.names:
        extra["agencies"] = list(refused.names)
    return Problem(refused.code, refused.detail, extra)


def _resolve(waiting: Waiting, receipt: Receipt) -> None:
    if not waiting.receipt.done():
        waiting.receipt.set_result(receipt)


def _refuse(waiting: Waiting, problem: Problem) -> None:
    if not waiting.receipt.done():
        waiting.receipt.set_exception(problem)
