"""What this log has signed, told by others: a login carries the newest checkpoint that a client has seen.

A larger one than this ledger has, or another tree of the same size, if signed by this log's own keys, means that what
is here is not what was promised: a restored backup, or a second node with the same keys. An unsigned claim counts for
nothing.
"""

from __future__ import annotations

import asyncio

import structlog

from broker.errors import BrokerError
from broker.ledger import Ledger
from broker.standing import Standing
from broker.storage.contract import Halt
from broker.writer import Writer
from keys.lognote import LogSigner, open_checkpoint
from protocol.checkpoint import Checkpoint
from protocol.errors import ProtocolError
from protocol.note import Note

log = structlog.get_logger()


class Promises:
    """Hears checkpoints."""

    def __init__(self, ledger: Ledger, signer: LogSigner, standing: Standing, writer: Writer) -> None:
        self._ledger, self._keys, self._standing, self._writer = ledger, signer.vkeys(), standing, writer

    async def hear(self, note: str) -> None:
        """Take note of a checkpoint that somebody shows. Most are known, which costs no signature."""
        if not note:
            return
        try:
            checkpoint = Checkpoint.parse(Note.parse(note).text)
            if checkpoint.origin != self._ledger.origin or self._is_known(checkpoint):
                return
            checkpoint = open_checkpoint(note, self._keys).checkpoint
        except ProtocolError as error:
            log.info("checkpoint-unbelieved", reason=error.detail[:200])
            return
        await self._stop(checkpoint, note)

    def _is_known(self, checkpoint: Checkpoint) -> bool:
        size = checkpoint.size
        return size <= self._ledger.head.size and self._ledger.tree.root(size) == checkpoint.root

    async def _stop(self, checkpoint: Checkpoint, note: str) -> None:
        """Sign nothing from now on, and after a restart too: a record beyond the ledger's end, or a halt, says so."""
        size, storage = self._ledger.head.size, self._ledger.storage
        behind = checkpoint.size > size
        if behind:
            reason = f"a checkpoint of {checkpoint.size} entries was signed with this log's keys, and {size} are here"
        else:
            reason = f"another tree of {checkpoint.size} entries was signed with this log's keys"
        self._standing.stop_signing(reason)

        def keep() -> None:
            if behind:
                storage.record_root(checkpoint.size, checkpoint.root)
            else:
                storage.halt(Halt(reason, note))

        try:
            async with self._writer.lock:
                await asyncio.get_running_loop().run_in_executor(self._writer.disk, keep)
        except BrokerError as error:
            log.error("halt-not-kept", error=str(error))  # noqa: TRY400 - no trace in the log
