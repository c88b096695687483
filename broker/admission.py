"""What comes before an append (SPEC §12.2, steps 1 to 9): judging, signatures and quota, of all that waits at once.

What is admitted is under way until the writer says that it landed, on the disk or nowhere. Everything is judged by the
state before that, so what hangs on something that is under way waits for it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from broker.errors import BrokerError
from broker.ledger import Firsts, Ledger, Staged
from broker.quota import Budget
from broker.storage.contract import StoredWrap
from keys.errors import BadSignature
from keys.judge import Refused
from keys.signing import verify_all
from protocol.entry import Submission
from protocol.problem import Problem
from protocol.record import Record
from protocol.statements import GOVERNANCE, Bulletin
from protocol.treehead import Receipt

INLINE_CHECKS_MAX = 15  # a call to another thread costs more than this many verifications are worth
VERIFY_THREADS = 2

log = structlog.get_logger()


class Waiting(Record):
    """A submission on its way, and who waits for its receipt."""

    submission: Submission
    receipt: asyncio.Future[Receipt]

    def resolve(self, receipt: Receipt) -> None:
        """Give it its receipt, if anyone still waits."""
        if not self.receipt.done():
            self.receipt.set_result(receipt)

    def refuse(self, problem: Problem) -> None:
        """Tell whoever still waits."""
        if not self.receipt.done():
            self.receipt.set_exception(problem)


Admitted = tuple[Waiting, Staged]


class Admission:
    """The way in. ``repeats`` are bulletins seen before whose wraps and body this ledger lacks."""

    def __init__(self, ledger: Ledger, clock: Callable[[], int]) -> None:
        self._ledger, self._clock = ledger, clock
        self.bulletins = Budget(3600, lambda: clock() / 1000)
        self.repeats: list[tuple[Waiting, int, tuple[StoredWrap, ...]]] = []
        self._under_way = set[object]()
        self._alone = False  # governance is under way
        self._threads = ThreadPoolExecutor(VERIFY_THREADS, thread_name_prefix="verify")

    def close(self) -> None:
        """No more is admitted."""
        self._threads.shutdown(wait=False)

    async def admit(self, pending: deque[Waiting], at_most: int) -> list[Admitted]:
        """Take from what waits what may be appended next. Everyone else is told why not, or waits on."""
        group = self._stage_group(pending, at_most)
        group = await self._drop_badly_signed(group)
        return self._drop_over_quota(group)

    def land(self, group: Sequence[Admitted]) -> None:
        """It stands, or it never will: what hangs on it can be judged."""
        self._under_way -= {_name(staged) for _, staged in group}
        self._alone = self._alone and bool(self._under_way)

    def give_back(self, group: Sequence[Admitted], problem: Problem) -> None:
        """It will not stand: tell everyone, and give the quota back."""
        limit = self._ledger.exchange.in_force.policy.bulletins_per_hour
        for waiting, staged in group:
            sender = _sender(staged)
            if sender is not None:
                self.bulletins.spend(sender, limit, -1)
            waiting.refuse(problem)
        self.land(group)

    def _stage_group(self, pending: deque[Waiting], at_most: int) -> list[Admitted]:
        """Judge what waits, up to what has to wait longer.

        Governance is under way alone, as it changes what the next is judged by. So is the first of two submissions of
        one thing, as it may yet fail.
        """
        group: list[Admitted] = []
        now = self._clock()
        firsts = self._firsts(pending, at_most)
        while pending and len(group) < at_most and not self._alone:
            waiting = pending[0]
            alone = waiting.submission.kind in GOVERNANCE
            if alone and self._under_way:
                break
            staged = self._stage(waiting, now, firsts)
            if staged is not None:
                name = _name(staged)
                if name in self._under_way:
                    break
                self._under_way.add(name)
                self._alone = alone
                group.append((waiting, staged))
            pending.popleft()
        return group

    def _firsts(self, pending: deque[Waiting], at_most: int) -> Firsts | None:
        """What the store knows of them all. None where that fails: then each asks for itself, and is told why not."""
        try:
            return self._ledger.firsts(waiting.submission for waiting in itertools.islice(pending, at_most))
        except Exception:  # noqa: BLE001 - a defect that one of them finds stops nobody else
            return None

    def _stage(self, waiting: Waiting, now: int, firsts: Firsts | None) -> Staged | None:
        """Judge one; a refusal is told at once, a repeat gets the receipt of the first.

        A defect that one submission finds is told to whoever sent it, and stops nobody else: nothing was changed yet.
        """
        if waiting.receipt.done():  # its client went away
            return None
        try:
            return self._judge(waiting, now, firsts)
        except BrokerError as error:
            waiting.refuse(Problem("storage-unavailable", f"the store cannot be read: {error}"))
        except Exception:
            log.exception("unexpected", while_judging=waiting.submission.kind.word)
            waiting.refuse(Problem("internal-error", "something unexpected; the node's log has it"))
        return None

    def _judge(self, waiting: Waiting, now: int, firsts: Firsts | None) -> Staged | None:
        try:
            return self._ledger.stage(waiting.submission, now, firsts)
        except Refused as refused:
            if refused.code == "seen-before" and refused.index is not None:
                wraps = self._ledger.wraps_to_put_back(refused.index, waiting.submission, now)
                if wraps:
                    self.repeats.append((waiting, refused.index, wraps))
                else:
                    waiting.resolve(self._ledger.receipt_of(refused.index))
            else:
                waiting.refuse(problem_of(refused))
        return None

    async def _drop_badly_signed(self, group: list[Admitted]) -> list[Admitted]:
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
        broken = [pair for pair, held in zip(group, holds, strict=True) if not held]
        for waiting, _ in broken:
            waiting.refuse(Problem("bad-signature", "a signature does not verify", {"step": 8}))
        self.land(broken)
        return [pair for pair, held in zip(group, holds, strict=True) if held]

    def _drop_over_quota(self, group: list[Admitted]) -> list[Admitted]:
        """(9) The agency's bulletins of this hour. Only what is admitted counts, and a repeat was answered before."""
        within = []
        limit = self._ledger.exchange.in_force.policy.bulletins_per_hour
        for waiting, staged in group:
            sender = _sender(staged)
            if sender is None or self.bulletins.spend(sender, limit):
                within.append((waiting, staged))
            else:
                detail = f"{sender} has used its {limit} bulletins of this hour"
                waiting.refuse(Problem("quota-exceeded", detail, {"step": 9}))
                self.land([(waiting, staged)])
        return within


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
