"""Asking witnesses: after each checkpoint, whoever is to cosign it is sent it, and what verifies is shown under it.

Each witness has a lane of its own, which waits for it and for nothing else: no receipt and no delivery waits for any,
and a checkpoint for one that answered the last time, for a few seconds. What it answers is bounded, verified under the
keys that it is known by, and else thrown away. Between two checkpoints a lane asks once; it remembers in memory what
the witness has seen, and learns it anew from a conflict.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from broker.errors import BrokerError
from broker.witness.roster import AskedWitness, witnesses_of
from broker.witness.witness import Answer
from keys.lognote import cosignatures_of
from protocol.addcheckpoint import AddCheckpoint, decode_lines, decode_size
from protocol.checkpoint import Checkpoint
from protocol.errors import ProtocolError
from protocol.note import Note, SignatureLine
from protocol.tlogpolicy import Policy

if TYPE_CHECKING:
    from broker.node import Node

ASK_SECONDS = 0.5  # between two asks at least: checkpoints are a second apart, and none waits for the lane
BACKOFF_SECONDS_MAX = 5.0
AWAITED_SECONDS_MAX = 5  # that the next checkpoint comes later, so that over a long line any is shown cosigned
_REASON_CHARS_MAX = 200

log = structlog.get_logger()


class Away(Exception):
    """A witness that gave no answer, or one that is none; in a few words."""


class Submitter(Protocol):
    """One witness, over HTTP. Both raise Away, in bounded time and memory, whatever the other side does."""

    async def submit(self, body: bytes) -> Answer:
        """What it answers to add-checkpoint."""

    async def cosigned(self, origin: str) -> str:
        """The note that it cosigned last of this log, as it shows it to monitors."""

    async def close(self) -> None:
        """Let go of the connection."""


Connect = Callable[[AskedWitness], Submitter]


class Lane:
    """One witness. ``run`` goes on until it is cancelled, and raises nothing."""

    def __init__(self, witness: AskedWitness, submitter: Submitter, asking: Asking) -> None:
        self.witness, self._submitter, self._asking = witness, submitter, asking
        self.woken = asyncio.Event()
        self.woken.set()
        self.size, self.at_ms, self.failures, self.error = 0, 0, 0, ""
        self._old = 0  # what the witness has seen last, as far as is known here
        self._remember_shown()

    def _remember_shown(self) -> None:
        """What stands under the newest checkpoint since before this start."""
        shown = self._asking.node.publisher.newest
        if shown is not None:
            checkpoint = Checkpoint(self._asking.node.ledger.origin, shown.size, shown.root)
            if self._is_whole(cosignatures_of(checkpoint, Note.parse(shown.note).lines, self.witness.keys)):
                self.size = shown.size

    def _is_whole(self, lines: list[SignatureLine]) -> bool:
        return {line.key_id for line in lines} == {key.key_id for key in self.witness.keys}

    async def run(self) -> None:
        """Ask whenever there is something new; after a failure again, ever more seldom."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self.woken.wait()
                self.woken.clear()
                begun, tries = loop.time(), 0
                while not await self._ask():
                    tries += 1
                    await asyncio.sleep(min(BACKOFF_SECONDS_MAX, self._asking.pause_s * 2 ** min(tries, 10)))
                await asyncio.sleep(max(0.0, self._asking.pause_s - (loop.time() - begun)))
        finally:
            await self._submitter.close()

    async def _ask(self) -> bool:
        """Whether the newest checkpoint is cosigned now."""
        try:
            await self._submit_newest()
        except (Away, ProtocolError, BrokerError) as error:
            self._failed(str(error))
        except Exception as error:
            log.exception("unexpected", witness=self.witness.name)
            self._failed(repr(error))
        else:
            if self.error:
                log.info("witness-back", witness=self.witness.name)
            self.error = ""
            return True
        return False

    def _failed(self, reason: str) -> None:
        self.failures += 1
        if not self.error:  # said once, until it is back
            log.warning("witness-failed", witness=self.witness.name, reason=reason[:_REASON_CHARS_MAX])
        self.error = reason[:_REASON_CHARS_MAX] or "no answer"

    async def _submit_newest(self) -> None:
        shown, origin = self._asking.node.publisher.newest, self._asking.node.ledger.origin
        if shown is None:
            return
        checkpoint = Checkpoint(origin, shown.size, shown.root)
        note = self._asking.node.publisher.signed_by_log(shown)
        answer = await self._submit(note, checkpoint)
        if answer.status == 409:  # noqa: PLR2004 - it has seen another size than was thought
            self._old = await self._conflict(decode_size(answer.body), checkpoint)
            answer = await self._submit(note, checkpoint)
        if answer.status != 200:  # noqa: PLR2004
            raise Away(f"status {answer.status}: {answer.body[:_REASON_CHARS_MAX].decode('utf-8', 'replace').strip()}")
        lines = cosignatures_of(checkpoint, decode_lines(answer.body), self.witness.keys)
        if not self._is_whole(lines):
            raise Away("no line that verifies for each of its keys")
        self._old = checkpoint.size
        await self._asking.node.keep_cosignatures(checkpoint, lines)
        self.size, self.at_ms = checkpoint.size, self._asking.node.clock()

    async def _submit(self, note: Note, checkpoint: Checkpoint) -> Answer:
        path = self._asking.node.ledger.tree.consistency(self._old, checkpoint.size)
        return await self._submitter.submit(AddCheckpoint(self._old, path, note).encode())

    async def _conflict(self, told: int, checkpoint: Checkpoint) -> int:
        """The size to begin from. A larger one is a claim: if the log's own signature is under it, all signing ends."""
        if told <= checkpoint.size:
            return told
        with contextlib.suppress(Away):
            await self._asking.node.promises.hear(await self._submitter.cosigned(checkpoint.origin))
        raise Away(f"it claims to have cosigned {told} entries, and {checkpoint.size} are published here")


class Asking:
    """All lanes of a node, kept to the directory in force and the policy."""

    def __init__(self, node: Node, connect: Connect, policy: Policy | None, pause_s: float = ASK_SECONDS) -> None:
        self.node, self.pause_s = node, pause_s
        self._connect, self._policy = connect, policy
        self._begun = False
        self._lanes: dict[AskedWitness, Lane] = {}
        self._tasks: dict[AskedWitness, asyncio.Task[None]] = {}

    def begin(self) -> None:
        """Once everything else runs: where a peer is reached is known then."""
        self._begun = True
        self.wake()

    def wake(self) -> None:
        """A checkpoint was published. Never waits."""
        if not self._begun:
            return
        ledger = self.node.ledger
        wanted = witnesses_of(ledger.exchange.in_force, ledger.origin, self._policy)
        for gone in self._lanes.keys() - set(wanted):
            self._tasks.pop(gone).cancel()
            del self._lanes[gone]
        for witness in wanted:
            lane = self._lanes.get(witness)
            if lane is None:
                lane = self._lanes[witness] = Lane(witness, self._connect(witness), self)
                self._tasks[witness] = asyncio.create_task(lane.run(), name=f"witness {witness.name}")
            lane.woken.set()

    async def close(self) -> None:
        """End every lane, whatever it waits for."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def lanes(self) -> list[Lane]:
        """In the order of the directory and the policy."""
        return list(self._lanes.values())

    def is_awaited(self) -> bool:
        """Whether someone who answered the last time has not yet cosigned the newest checkpoint.

        Lines that come when a newer one is out are shown to nobody: where that was always so, as the way there and back
        takes a second, a busy ledger would never be seen witnessed. Who is away is awaited no more.
        """
        shown = self.node.publisher.newest
        return shown is not None and any(lane.size < shown.size and not lane.error for lane in self.lanes)

    def witnessed_by(self, index: int) -> list[str]:
        """Who has cosigned a checkpoint that covers the entry."""
        return sorted(lane.witness.name for lane in self.lanes if lane.size > index)

    def state(self) -> list[dict[str, Any]]:
        """What ``/readyz`` and ``node status`` show."""
        return [
            {
                "name": lane.witness.name,
                "url": lane.witness.url,
                "size": lane.size,
                "at": lane.at_ms or None,
                "error": lane.error or None,
            }
            for lane in self.lanes
        ]
