"""Checkpoints: the only thing that the log key signs (SPEC §9.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from broker.errors import LedgerBroken
from broker.ledger import Ledger
from broker.storage.contract import Published
from keys.lognote import LogSigner
from protocol.checkpoint import Checkpoint, split_timestamped
from protocol.merkle import EMPTY_ROOT, Frontier, leaf_hash
from protocol.note import COSIGNATURE_MLDSA44, Note, SignatureLine
from protocol.treehead import TreeHead

RENEWED_SECONDS = 60  # a checkpoint without news
_CHUNK_ENTRIES = 256


class Publisher:
    """Signs the ledger's newest tree, in the one order in which no crash can make two histories."""

    def __init__(self, ledger: Ledger, signer: LogSigner) -> None:
        self._ledger, self._storage, self._signer = ledger, ledger.storage, signer
        self._signed_s = 0
        self._log_keys = {(key.name, key.key_id) for key in signer.vkeys()}
        self.newest = self._storage.newest_published(ledger.head.size)
        if self.newest is not None:
            ledger.not_before = _signed_ms(self.newest.note, signer)
        start = self._storage.newest_recorded() or Published(0, EMPTY_ROOT, "")
        self._frontier = Frontier() if ledger.broken else Frontier.of(start.size, ledger.tree.node)

    @property
    def newest(self) -> Published | None:
        """The newest signed checkpoint, as readers are shown it."""
        return self._ledger.published

    @newest.setter
    def newest(self, published: Published | None) -> None:
        self._ledger.published = published

    def age_s(self, now_s: int) -> int:
        """Seconds since the newest was signed by this process."""
        return now_s - self._signed_s if self._signed_s else -1

    def is_due(self, now_s: int) -> bool:
        """Whether there is news, or a minute has gone by without."""
        if self.newest is None or self.newest.size < self._ledger.head.size:
            return self._ledger.head.size > 0
        return not 0 <= now_s - self._signed_s < RENEWED_SECONDS

    def derive(self) -> TreeHead:
        """(1) What is committed, its leaves computed again from the bytes read back, by another code path."""
        head = self._ledger.head
        frontier = self._frontier.copy()
        while frontier.size < head.size:
            chunk = self._storage.reread(frontier.size, min(head.size, frontier.size + _CHUNK_ENTRIES))
            if not chunk:
                raise LedgerBroken(f"entry {frontier.size} cannot be read back")
            for data in chunk:
                frontier.append(leaf_hash(data))
        if frontier.root() != head.root:
            raise LedgerBroken(f"the entries below {head.size} do not hash to the root that was promised")
        self._frontier = frontier
        return head

    def publish(self, head: TreeHead, now_s: int) -> None:
        """(2) Make size and root durable, extending the last so recorded; (3) sign; (4) show.

        A crash after (2) leaves a root without a note, which the next start signs again: the same tree. Called by one
        thread at a time, like every write. Where the clock has gone back, the time signed is not before the last one,
        nor before the newest entry.
        """
        checkpoint = Checkpoint(head.origin, head.size, head.root)
        recorded = self._storage.newest_recorded()
        if recorded and (
            recorded.size > checkpoint.size or (recorded.size == checkpoint.size and recorded.root != checkpoint.root)
        ):
            raise LedgerBroken(f"a larger or another tree was recorded at {recorded.size}")
        self._storage.record_root(checkpoint.size, checkpoint.root)
        time_s = max(now_s, head.time // 1000, self._ledger.not_before // 1000)
        self._ledger.not_before = time_s * 1000
        note = Note(checkpoint.text(), tuple(self._signer.lines(checkpoint, time_s)))
        if self.newest is not None and self.newest.size == checkpoint.size:  # renewed: who cosigned this tree still has
            note = note.with_lines(self._cosignatures(self.newest))
        shown = Published(checkpoint.size, checkpoint.root, note.encode(), head.encode())
        self._storage.publish(shown.size, shown.note, shown.head)
        self._signed_s = now_s
        self.newest = shown

    def cosign(self, checkpoint: Checkpoint, lines: Sequence[SignatureLine]) -> bool:
        """Show cosignatures under the newest checkpoint, if it is still the one that they are of.

        Called like ``publish``, by one thread at a time. A crash before the note is kept loses lines that are asked for
        again; nothing is signed here.
        """
        shown = self.newest
        if shown is None or (shown.size, shown.root) != (checkpoint.size, checkpoint.root):
            return False
        note = Note.parse(shown.note).with_lines(lines).encode()
        self._storage.publish(shown.size, note, shown.head)
        self.newest = replace(shown, note=note)
        return True

    def signed_by_log(self, shown: Published) -> Note:
        """The note with the log's own lines: what witnesses are asked about."""
        note = Note.parse(shown.note)
        return Note(note.text, tuple(line for line in note.lines if (line.name, line.key_id) in self._log_keys))

    def _cosignatures(self, shown: Published) -> list[SignatureLine]:
        lines = Note.parse(shown.note).lines
        return [line for line in lines if (line.name, line.key_id) not in self._log_keys]


def _signed_ms(note: str, signer: LogSigner) -> int:
    """When a checkpoint of our own says that it was signed."""
    stamped = {key.key_id for key in signer.vkeys() if key.type == COSIGNATURE_MLDSA44}
    times = [split_timestamped(line.signature)[0] for line in Note.parse(note).lines if line.key_id in stamped]
    return max(times, default=0) * 1000
