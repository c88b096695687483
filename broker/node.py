"""A running node: ledger, writer, publisher, sessions and deliveries, put together and kept going."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from broker import retention, wal
from broker.deliveries import Deliveries
from broker.door import Door
from broker.errors import BrokerError, LedgerBroken, NodeHomeError
from broker.evidence import Evidence
from broker.home import EVIDENCE, NodeConfig, NodeKeys
from broker.ledger import Ledger, now_ms
from broker.metrics import Metrics, days_left
from broker.mirrors import Mirrors
from broker.moves import Moves
from broker.news import News
from broker.pages import Pages
from broker.peer import Reach
from broker.peers import Peers
from broker.promises import Promises
from broker.publisher import Publisher
from broker.sessions import Sessions
from broker.standing import Standing
from broker.storage.contract import Storage
from broker.submitters import Submitters
from broker.subscribers import Subscribers
from broker.witness.asking import AWAITED_SECONDS_MAX, Asking, Connect
from broker.witness.logs import PeersLogs
from broker.witness.store import Kept, WitnessStore
from broker.witness.witness import Witness
from broker.writer import Writer
from protocol.addcheckpoint import AddCheckpoint
from protocol.checkpoint import Checkpoint
from protocol.note import SignatureLine
from protocol.tlogpolicy import Policy

PUBLISH_SECONDS = 1.0
SWEEP_SECONDS = 1.0
WAL_SECONDS = 2.0
DAY_SECONDS = 86_400.0
DIRECTORY_WARNING_DAYS = 60

log = structlog.get_logger()


class Node:
    """Everything that ``node serve`` serves. A ledger that must sign nothing is served all the same, for reading.

    Made where a loop runs. Without ``cosigned``, what it has cosigned, it cosigns nothing.
    """

    def __init__(
        self,
        config: NodeConfig,
        keys: NodeKeys,
        storage: Storage,
        clock: Callable[[], int] = now_ms,
        cosigned: WitnessStore | None = None,
        *,
        home: Path,
        reach: Reach,
    ) -> None:
        """``home`` is the node's folder, with its mirrors and evidence; ``reach`` is how it gets at its peers."""
        self.config, self.keys, self.storage, self.clock = config, keys, storage, clock
        self.ledger = Ledger(storage, config.origin, bytes.fromhex(config.pin), keys.receipt)
        if self.ledger.exchange.directory is None:
            raise NodeHomeError("the ledger has no directory yet: `khunjerab node init --directory D.json SIG…`")
        self.standing = Standing()
        if self.ledger.broken is not None:
            self.standing.stop_signing(self.ledger.broken)
        self.metrics = Metrics()
        self.news = News()
        self.writer = Writer(self.ledger, self.news, self.standing, self.metrics, clock)
        self.publisher = Publisher(self.ledger, keys.log)
        self.sessions = Sessions(self.ledger, clock)
        self.evidence = Evidence(home / EVIDENCE, self.ledger, clock)
        self.pages = Pages(Deliveries(self.ledger, self.ledger, self.standing, self.evidence.against, clock))
        self.subscribers = Subscribers(self.pages, self.sessions, self.news, self.standing, self.metrics)
        self.promises = Promises(self.ledger, keys.log, self.standing, self.writer)
        self.writer.on_put_back = self.pages.forget
        self.writer.on_written = self.pages.own.remember
        self.mirrors = Mirrors(home, config.origin, self.ledger.pin, clock, lambda: self.ledger.exchange.versions)
        self.ledger.elsewhere = self.mirrors.accepted
        self.door = Door(self.ledger, self.writer, Moves(self.ledger, self.mirrors), self.standing, clock)
        self.submitters = Submitters(self.sessions, self.standing)
        self.peers = Peers(self, home, reach)
        self.evidence.on_kept = self._warn_readers
        self.evidence.readers = [self.peers.read_tile, self.peers.read_mirrored_tile]
        self.witness = self._make_witness(cosigned) if cosigned is not None else None
        self.asking: Asking | None = None
        self.metrics.watch(self)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._publish_failure: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def _make_witness(self, cosigned: WitnessStore) -> Witness:
        logs = PeersLogs(self.ledger)
        witness = Witness(self.keys.cosigner, cosigned, logs, self.peers.holds, lambda: self.clock() // 1000)
        witness.disputed = self._suspect
        return witness

    def _suspect(self, kept: Kept, request: AddCheckpoint) -> None:
        """A tree that does not extend the one that was cosigned: a wrong proof, or a log that broke its word."""
        self.evidence.suspect(kept.origin, kept.note, request.note.encode())

    def ask_witnesses(self, connect: Connect, policy: Policy | None) -> None:
        """From the start on, have every checkpoint cosigned: by the peers, and by those whom the policy names."""
        self.asking = Asking(self, connect, policy)

    async def keep_cosignatures(self, checkpoint: Checkpoint, lines: list[SignatureLine]) -> None:
        """Show verified lines under the checkpoint, where it is still the newest, to whoever follows it."""
        await self.write(lambda: self.publisher.cosign(checkpoint, lines))
        self.subscribers.wake_uncovered()

    @property
    def not_signing(self) -> str | None:
        """Why this node signs nothing; None if it does."""
        return self.standing.not_signing

    def _warn_readers(self) -> None:
        """Whoever waits is told of the evidence at once."""
        self.news.wake_all()
        self.subscribers.wake_all()

    def resume(self) -> None:
        """Sign again, over a ledger that has become whole (``broker/recovery.py``)."""
        self.ledger.reopen()
        if self.ledger.broken is None:
            self.standing.resume()
        self.pages.forget()
        self.news.wake_all()

    async def start(self) -> None:
        """Publish once, then run everything that goes on by itself. If one of it dies, ``failed`` says so."""
        await self.publish()
        self._tasks = [
            asyncio.create_task(self.writer.run(), name="writer"),
            asyncio.create_task(_every(PUBLISH_SECONDS, self._publish_in_turn), name="publisher"),
            asyncio.create_task(_every(SWEEP_SECONDS, self._sweep), name="sweeper"),
            asyncio.create_task(_every(WAL_SECONDS, self._checkpoint_wal), name="wal"),
            asyncio.create_task(_every(DAY_SECONDS, self.once_a_day, at_once=True), name="daily"),
            asyncio.create_task(self.peers.run(), name="peers"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._watch)
        if self.asking is not None:
            self.asking.begin()

    def _watch(self, task: asyncio.Task[None]) -> None:
        """A task that ended by itself took a part of the node with it: better none than half a node."""
        if task.cancelled() or self.standing.stopping or self.failed.done():
            return
        error = task.exception()
        log.critical("task-died", task=task.get_name(), error=repr(error), exc_info=error)
        self.failed.set_exception(error or RuntimeError(f"the {task.get_name()} ended"))

    def begin_stop(self) -> None:
        """Refuse what is new, and end what waits: long polls and streams."""
        self.standing.stopping = True
        self.news.wake_all()
        self.subscribers.wake_all()
        self.submitters.end_ended()

    async def stop(self) -> None:
        """Finish what was taken, sign a last checkpoint, close the store."""
        self.begin_stop()
        if self.asking is not None:
            await self.asking.close()
            self.asking = None
        if self._tasks:
            writer, *others = self._tasks
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self.writer.close()
            await asyncio.gather(writer, return_exceptions=True)
        if self.writer.failure is None:
            await self.publish()
        self.writer.disk.shutdown()
        if self.failed.done():
            self.failed.exception()  # looked at, or asyncio complains
        self.evidence.close()
        if self.witness is not None:
            self.witness.close()
        self.mirrors.close()
        self.storage.close()

    async def _publish_in_turn(self) -> None:
        """The next checkpoint, once the newest is cosigned by all who answer; see ``Asking.is_awaited``."""
        age_s = self.publisher.age_s(self.clock() // 1000)
        awaited = self.asking is not None and 0 <= age_s < AWAITED_SECONDS_MAX and self.asking.is_awaited()
        if not awaited or self.writer.failure is not None:
            await self.publish()

    async def publish(self) -> None:
        """A checkpoint if one is due. What the ledger's own roots contradict is never signed over.

        After an append failed, a checkpoint is written every second: it shows when the store is well again.
        """
        failing = self.writer.failure is not None
        if self.not_signing is not None or not (failing or self.publisher.is_due(self.clock() // 1000)):
            return
        if failing and not self.writer.recover():
            return
        try:
            head = await asyncio.get_running_loop().run_in_executor(None, self.publisher.derive)
            await self.write(lambda: self.publisher.publish(head, self.clock() // 1000))
        except LedgerBroken as error:
            self.standing.stop_signing(str(error))
        except BrokerError as error:
            if self._publish_failure is None:
                log.error("checkpoint-failed", error=str(error))  # noqa: TRY400 - no trace in the log
            self._publish_failure = str(error)
        else:
            if failing or self._publish_failure is not None:
                log.info("storage-recovered")
            self._publish_failure = self.writer.failure = None
            self.subscribers.wake_uncovered()
            if self.asking is not None:
                self.asking.wake()

    async def write(self, act: Callable[[], object]) -> None:
        """Run ``act`` on the one thread that writes, between two groups."""
        async with self.writer.lock:
            await asyncio.get_running_loop().run_in_executor(self.writer.disk, act)

    async def _sweep(self) -> None:
        self.subscribers.wake_ended()
        self.submitters.end_ended()

    async def _checkpoint_wal(self) -> None:
        """Of the own ledger and every mirror: none does it inline."""
        await wal.checkpoint(self.storage, self.write)
        for mirror in self.mirrors:
            await wal.checkpoint(mirror.storage, mirror.write)

    async def once_a_day(self) -> None:
        """Expunge what has had its time, and say when the directory runs out."""
        self._warn_of_directory()
        expunged = 0
        try:
            while indexes := retention.expirable(self.ledger, self.storage, self.clock()):
                await self.write(lambda indexes=indexes: self.storage.expunge(indexes))  # type: ignore[misc]
                expunged += len(indexes)
            for mirror in self.mirrors:
                while indexes := retention.expirable(self.ledger, mirror.storage, self.clock()):
                    await mirror.expunge(indexes)
                    expunged += len(indexes)
        except BrokerError as error:
            log.error("expunge-failed", error=str(error))  # noqa: TRY400 - the same
        if expunged:
            self.pages.forget()
            log.info("expunged", bodies=expunged)

    def _warn_of_directory(self) -> None:
        exchange, now = self.ledger.exchange, self.clock()
        version, left = exchange.in_force.version, days_left(exchange.in_force.expires, now)
        grace = days_left(exchange.grace_ends(), now)
        if grace <= 0:
            log.error("directory-ended", version=version, hint="no bulletin is admitted before the next version")
        elif left <= 0:
            log.error("directory-in-grace", version=version, days_left=round(grace, 1))
        elif left <= DIRECTORY_WARNING_DAYS:
            log.warning("directory-ends-soon", version=version, days_left=round(left, 1))

    @property
    def registry(self) -> CollectorRegistry:
        """Its metrics."""
        return self.metrics.registry

    def state(self) -> dict[str, Any]:
        """What ``/readyz`` and ``node status`` show."""
        exchange, published, now = self.ledger.exchange, self.publisher.newest, self.clock()
        return {
            "ready": self.not_signing is None and self.writer.failure is None and not self.standing.stopping,
            "not_signing": self.not_signing,
            "recovery": self.peers.recovery.waiting if self.not_signing is not None else "",
            "storage": self.writer.failure,
            "stopping": self.standing.stopping,
            "entries": self.ledger.tree.size,
            "head": self.ledger.head.size,
            "checkpoint": {"size": published.size, "age_s": self.publisher.age_s(now // 1000)} if published else None,
            "directory": {
                "version": exchange.in_force.version,
                "days_left": round(days_left(exchange.in_force.expires, now), 1),
                "grace_days_left": round(days_left(exchange.grace_ends(), now), 1),
            },
            "sessions": len(self.sessions),
            "streams": len(self.subscribers),
            "submitters": len(self.submitters),
            "evidence": [held.to_json() for held in self.evidence.all()],
            "witnesses": self.asking.state() if self.asking is not None else [],
            "cosigns": self.witness is not None,
            "cosigned": [
                {"origin": kept.origin, "size": kept.size, "time": kept.time_s}
                for kept in (self.witness.store.all() if self.witness is not None else ())
            ],
            "peers": self.peers.state(),
        }


async def _every(seconds: float, act: Callable[[], Awaitable[None]], *, at_once: bool = False) -> None:
    while True:
        if not at_once:
            await asyncio.sleep(seconds)
        at_once = False
        await act()
