"""How a ledger that is older than its promises gets the rest back, and may sign again.

To take back a tail (1) its checkpoint is signed by this log's own keys; (2) the tree here and the entries of the tail
hash to it: one history; (3) it reaches every tree that is known here to be signed, and is one history with them; (4)
each entry is admitted by the one judge, its signatures verified, and comes out with the same bytes. Only then is the
halt lifted; and not by a tail where there are peers, who may have seen more than whoever brought it
(``broker/recovery.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from broker.backup import RESTORED
from broker.errors import BrokerError, LedgerBroken
from broker.ledger import Beside, Ledger, Staged
from broker.sealed import whole
from broker.storage.contract import Halt, Storage
from keys.errors import BadSignature
from keys.judge import Refused, judge
from keys.lognote import open_checkpoint
from keys.signing import verify_all
from protocol.checkpoint import Checkpoint
from protocol.entry import Entry, Submission
from protocol.errors import ProtocolError
from protocol.limits import TILE_HASHES
from protocol.merkle import Frontier, leaf_hash
from protocol.note import Note, VerifierKey
from protocol.statements import Bulletin, DirectoryVersion, decode


class Tail(Protocol):
    """Where entries are taken from: an `audit export`, or another backup.

    An export has bodies and no wraps, which only recipients get: a body that nobody could open is left out, and comes
    back with its wraps when its sender posts the bulletin again (``broker/writer.py``).
    """

    def checkpoint(self) -> str:
        """The newest signed checkpoint that is known."""

    def entries(self, start: int, stop: int) -> list[bytes]:
        """The entries of [start, stop); fewer where some are missing."""

    def directory(self, sha256: bytes) -> bytes | None:
        """The JSON of a directory version."""


class StoredTail:
    """The ledger of another backup. It has wraps too, which no export has."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def checkpoint(self) -> str:
        """The newest that was signed."""
        published = self._storage.newest_published()
        return published.note if published else ""

    def size(self) -> int:
        """A backup has what was promised since its newest checkpoint too."""
        return self._storage.size()

    def entries(self, start: int, stop: int) -> list[bytes]:
        """As stored."""
        return self._storage.entry_bytes(start, stop)

    def directory(self, sha256: bytes) -> bytes | None:
        """As stored."""
        return self._storage.directory(sha256)

    def sealed(self, index: int, bulletin: Bulletin) -> tuple[bytes, tuple[bytes, ...]]:
        """As stored; nothing if it is expunged."""
        return whole(bulletin, self._storage.body(index), (wrap.data for wrap in self._storage.wraps(index)))


class Alongside(Protocol):
    """What lies beside the entries of a tail."""

    def directory(self, sha256: bytes) -> bytes | None:
        """The JSON of a directory version."""

    def sealed(self, index: int, bulletin: Bulletin) -> tuple[bytes, tuple[bytes, ...]]:
        """Body and wraps of a bulletin, those that were signed, whole or none."""


class Came:
    """What came beside one entry, from a mirror or from whoever posted it."""

    def __init__(self, body: bytes | None, wraps: Iterable[bytes]) -> None:
        self._body, self._wraps = body, wraps

    def directory(self, sha256: bytes) -> bytes | None:
        """The JSON; the judge looks whether it is the one that was signed."""
        del sha256
        return self._body

    def sealed(self, index: int, bulletin: Bulletin) -> tuple[bytes, tuple[bytes, ...]]:
        """Whole or none."""
        del index
        return whole(bulletin, self._body, self._wraps)


class _Unsealed:
    """An export has no wraps, so its bodies are of no use to anyone."""

    def __init__(self, tail: Tail) -> None:
        self.directory = tail.directory

    def sealed(self, index: int, bulletin: Bulletin) -> tuple[bytes, tuple[bytes, ...]]:
        """They come back when their sender posts them again."""
        del index, bulletin
        return b"", ()


def take_back(ledger: Ledger, tail: Tail, log_keys: Sequence[VerifierKey], *, has_peers: bool = False) -> int:
    """Append what the tail has beyond this ledger's end; how many entries. Raises LedgerBroken.

    Each append is durable by itself: what a crash leaves is a longer ledger, halted as before. Without peers the halt
    is lifted; with them the node signs nothing before it has heard them, halted by now or not.
    """
    try:
        checkpoint = open_checkpoint(tail.checkpoint(), log_keys).checkpoint  # (1)
    except ProtocolError as error:
        raise LedgerBroken(f"the checkpoint there is not one of this log: {error.detail}") from error
    _require_one_history(ledger, tail, checkpoint)  # (2)
    recorded = ledger.storage.newest_recorded()
    if recorded and recorded.size > max(checkpoint.size, ledger.tree.size):  # (3)
        raise LedgerBroken(f"{recorded.size} entries were signed for, and what is there ends at {checkpoint.size}")
    start, beside = ledger.tree.size, tail if isinstance(tail, StoredTail) else _Unsealed(tail)
    stop = max(checkpoint.size, tail.size()) if isinstance(tail, StoredTail) else checkpoint.size
    if has_peers and start < stop and ledger.storage.halted() is None:
        ledger.storage.halt(Halt(RESTORED))
    for data in _entries(tail, start, stop):
        admit_again(ledger, data, beside)  # (4)
    require_known_trees(ledger)
    ledger.storage.record_root(checkpoint.size, checkpoint.root)
    if not has_peers:
        ledger.storage.halt(None)  # commit point: from here on this node signs
    return ledger.tree.size - start


def _require_one_history(ledger: Ledger, tail: Tail, checkpoint: Checkpoint) -> None:
    if checkpoint.size <= ledger.tree.size:
        root = ledger.tree.root(checkpoint.size)
    else:
        frontier = Frontier.of(ledger.tree.size, ledger.tree.node)
        for data in _entries(tail, ledger.tree.size, checkpoint.size):
            frontier.append(leaf_hash(data))
        root = frontier.root()
    if root != checkpoint.root:
        raise LedgerBroken(f"what is here and what is there do not hash to the checkpoint at {checkpoint.size}")


def require_known_trees(ledger: Ledger) -> None:
    """(3) What was recorded before signing, and what a login showed."""
    known = {recorded.size: recorded.root} if (recorded := ledger.storage.newest_recorded()) else {}
    halt = ledger.storage.halted()
    if halt and halt.note:
        shown = Checkpoint.parse(Note.parse(halt.note).text)
        known[shown.size] = shown.root
    for size, root in known.items():
        if size > ledger.tree.size:
            raise LedgerBroken(f"{size} entries were signed for, and {ledger.tree.size} are here")
        if ledger.tree.root(size) != root:
            raise LedgerBroken(
                f"another tree of {size} entries was signed with this log's keys: "
                "no tail makes one history of the two; open a new origin"
            )


def _entries(tail: Tail, start: int, stop: int) -> Iterator[bytes]:
    for at in range(start, stop, TILE_HASHES):
        chunk = tail.entries(at, min(stop, at + TILE_HASHES))
        if len(chunk) != min(stop, at + TILE_HASHES) - at:
            raise LedgerBroken(f"what is there lacks entries below {stop}")
        yield from chunk


def admit_again(ledger: Ledger, data: bytes, beside: Alongside) -> None:
    """(4) The next entry, as it was admitted once; durable when this returns. Raises LedgerBroken."""
    index = ledger.tree.size
    try:
        entry = Entry.decode(data)
        statement, body = decode(entry.kind, entry.statement), b""
        wraps: tuple[bytes, ...] = ()
        if isinstance(statement, DirectoryVersion):
            body = beside.directory(statement.sha256) or b""
        elif isinstance(statement, Bulletin):
            body, wraps = beside.sealed(index, statement)
        verdict = judge(ledger.exchange, entry, entry.time, Beside(ledger.storage, ledger.committed, body))
        if isinstance(verdict, Refused):
            raise verdict
        verify_all(verdict.checks)
    except (ProtocolError, Refused, BadSignature) as error:
        raise LedgerBroken(f"entry {index} there could not have been admitted: {error}") from error
    submission = Submission(entry.kind, entry.statement, entry.signatures, wraps, body)
    try:
        built = ledger.build([Staged(submission, verdict, entry.time)])
        if built.entries[0].data != data:
            raise LedgerBroken(f"entry {index} there has another time or link than this ledger would have given it")
        ledger.commit(built)
    except BrokerError:
        ledger.abandon()  # what was built is in memory alone, or on the disk after all
        raise
    ledger.advance(built)


def enter_history(ledger: Ledger, before: Storage, directory: Submission, now: int) -> int:
    """Begin a new ledger with another one's governance: every directory version, ``directory``, then all the rest.

    What counts no longer, such as bundles that have ended, is left out by the judge; how many entries were entered.
    """
    entries = [(Entry.decode(data), index) for index, data in before.governance()]
    directories: list[Submission] = []
    rest: list[Submission] = []
    for entry, index in entries:
        is_directory = isinstance(decode(entry.kind, entry.statement), DirectoryVersion)
        body = (before.body(index) or b"") if is_directory else b""
        (directories if is_directory else rest).append(
            Submission(entry.kind, entry.statement, entry.signatures, (), body)
        )
    for submission in (*directories, directory):
        admit(ledger, submission, now)
    for submission in rest:
        with contextlib.suppress(Refused):
            admit(ledger, submission, now)
    return ledger.tree.size


def admit(ledger: Ledger, submission: Submission, now: int) -> None:
    """One submission into a ledger that nobody serves yet. Raises Refused, BadSignature."""
    staged = ledger.stage(submission, now)
    verify_all(staged.checks)
    built = ledger.build([staged])
    ledger.commit(built)
    ledger.advance(built)
