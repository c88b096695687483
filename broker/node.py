"""A running node: ledger, writer, publisher, sessions and deliveries, put together and kept going."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from broker.deliveries import Deliveries
from broker.errors import BrokerError, LedgerBroken
from broker.home import NodeConfig, NodeKeys
from broker.ledger import Ledger, now_ms
from broker.news import News
from broker.publisher import Publisher
from broker.quota import Budget
from broker.sessions import Session, Sessions
from broker.storage.contract import Storage
from broker.writer import Writer
from protocol.entry import Submission
from protocol.problem import Problem
from protocol.signing import decode_signatures
from protocol.statements import Acknowledgement, Bulletin, KeyBundle, Kind, decode
from protocol.treehead import Receipt

PUBLISH_SECONDS = 1.0
WAL_SECONDS = 2.0

log = structlog.get_logger()


class Node:
    """Everything that ``node serve`` serves. Raises LedgerBroken at the start where it must not sign."""

    def __init__(self, config: NodeConfig, keys: NodeKeys, storage: Storage, clock: Callable[[], int] = now_ms) -> None:
        self.config, self.keys, self.storage, self.clock = config, keys, storage, clock
        self.ledger = Ledger(storage, config.origin, bytes.fromhex(config.pin), keys.receipt)
        if self.ledger.exchange.directory is None:
            raise LedgerBroken("the ledger has no directory yet: `khunjerab node init --directory D.json SIG…`")
        self.news = News()
        self.writer = Writer(self.ledger, self.news, clock)
        self.publisher = Publisher(self.ledger, keys.log)
        self.sessions = Sessions(self.ledger, clock)
        self.deliveries = Deliveries(self.ledger, self.publisher)
        self.attempts = Budget(60, lambda: clock() / 1000)
        self.bulletins = Budget(3600, lambda: clock() / 1000)
        self.stopped = False
        self.not_signing: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Publish once, then run the writer, the publisher and the WAL's checkpoints."""
        await self.publish()
        self._tasks = [
            asyncio.create_task(self.writer.run(), name="writer"),
            asyncio.create_task(self._every(PUBLISH_SECONDS, self.publish), name="publisher"),
            asyncio.create_task(self._every(WAL_SECONDS, self._checkpoint_wal), name="wal"),
        ]

    async def stop(self) -> None:
        """Finish what was taken, sign a last checkpoint, close the store."""
        self.stopped = True
        self.news.wake_all()
        writer, *others = self._tasks
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self.writer.failure is None and self.not_signing is None:
            await self.publish()
        self.writer.close()
        await writer
        self.storage.close()

    async def _every(self, seconds: float, act: Callable[[], object]) -> None:
        while True:
            await asyncio.sleep(seconds)
            result = act()
            if asyncio.iscoroutine(result):
                await result

    async def publish(self) -> None:
        """A checkpoint if one is due. What the ledger's own roots contradict is never signed over."""
        if self.not_signing or not self.publisher.is_due(self.clock() // 1000):
            return
        loop = asyncio.get_running_loop()
        try:
            checkpoint = await loop.run_in_executor(None, self.publisher.derive)
            async with self.writer.lock:
                await loop.run_in_executor(self.writer.disk, self.publisher.publish, checkpoint, self.clock() // 1000)
        except LedgerBroken as error:
            self.not_signing = str(error)
            log.critical("ledger-broken", error=str(error))
        except BrokerError as error:
            log.error("checkpoint-failed", error=str(error))
        else:
            self.news.announce([])

    async def _checkpoint_wal(self) -> None:
        checkpoint_wal = getattr(self.storage, "checkpoint_wal", None)
        if checkpoint_wal is not None:
            with contextlib.suppress(RuntimeError):
                await asyncio.get_running_loop().run_in_executor(None, checkpoint_wal)

    async def post(self, session: Session, submission: Submission) -> Receipt:
        """Admit one submission of a session. Raises Problem.

        (0) The session's key speaks for it and its budget of attempts is not spent; (1) to (8) are the judge's; (9) the
        agency's quota of bulletins.
        """
        speaker, policy = session.speaker, self.ledger.exchange.in_force.policy
        who = speaker.agency or speaker.key.key_id.hex()
        if not self.attempts.spend(who, policy.attempts_per_minute):
            raise Problem("too-many-attempts", f"{who} has used its attempts of this minute", {"step": 0})
        if self.not_signing:
            raise Problem("not-signing", f"this node takes nothing: {self.not_signing}")
        self._require_speaks_for(session, submission)
        if submission.kind is not Kind.BULLETIN:
            return await self.writer.submit(submission)
        if not self.bulletins.spend(who, policy.bulletins_per_hour):
            raise Problem("quota-exceeded", f"{who} has used its bulletins of this hour", {"step": 9})
        try:
            return await self.writer.submit(submission)
        except Problem:
            self.bulletins.spend(who, policy.bulletins_per_hour, -1)  # only what is admitted counts
            raise

    def _require_speaks_for(self, session: Session, submission: Submission) -> None:
        """(0) A seat posts for its own agency; governance is posted by anyone it is signed by, or logged in."""
        speaker = session.speaker
        statement = decode(submission.kind, submission.statement)
        if isinstance(statement, Bulletin):
            named = (statement.header.sender, statement.header.key_id)
        elif isinstance(statement, Acknowledgement):
            named = (statement.sender, statement.key_id)
        else:
            self._require_may_post_governance(session, submission, statement)
            return
        if speaker.kind != "seat" or named != (speaker.agency, session.key_id):
            raise Problem("not-speaking-for", f"this session does not speak for {named[0]} with that key", {"step": 0})

    def _require_may_post_governance(self, session: Session, submission: Submission, statement: object) -> None:
        signers = {signature.key_id for signature in decode_signatures(submission.signatures)}
        own_bundle = isinstance(statement, KeyBundle) and statement.agency == session.speaker.agency
        if session.key_id not in signers and not own_bundle:
            raise Problem("not-speaking-for", "governance is posted by one of its signers", {"step": 0})
