"""What senders hold receipts for, while this node signs nothing (SPEC §11.10).

No mirror has what was promised while the line to it was down. Whoever posted it still has it with the receipt, which
makes it the entry, byte for byte. It is set aside here until all that stands before it is in the ledger; where this
node goes down before that, it is shown again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from broker.errors import LedgerBroken
from broker.ledger import Ledger
from broker.restore import Came, admit_again
from broker.sealed import whole
from protocol.errors import ProtocolError
from protocol.merkle import root_before
from protocol.problem import Problem
from protocol.promise import Promise, Word
from protocol.statements import Bulletin, DirectoryVersion, decode
from protocol.treehead import TreeHead

KEPT_BYTES_MAX = 64 * 1024 * 1024


class Promised:
    """Entries by index. Only the loop changes what is kept; ``take`` is for the one thread that writes."""

    def __init__(self, ledger: Ledger, require_own: Callable[[TreeHead], None], signs: Callable[[], bool]) -> None:
        """``require_own`` raises LedgerBroken for a head that this node's receipt key has not signed."""
        self._ledger, self._require_own, self._signs = ledger, require_own, signs
        self._kept: dict[int, Promise] = {}
        self._kept_bytes = 0
        self._trees = set[tuple[int, bytes]]()  # what kept receipts are under, size and root: all must be reached
        self.closed = False  # while it is decided that this node signs again: whoever comes then comes once more

    def hear(self, promise: Promise) -> Word:
        """Set it aside, if it is ours and not here. What is here may lack its body, and is set aside too.

        Raises Problem where the sender is to come again.
        """
        receipt, tree, signs = promise.receipt, self._ledger.tree, self._signs()
        size = tree.size  # once: it grows meanwhile
        try:
            leaf = promise.leaf()
            self._require_own(receipt.head)
            is_whole = _is_whole(promise)
        except (ProtocolError, LedgerBroken):
            return Word.FOREIGN
        if not is_whole:  # else what was never posted so would be in the way of what was
            return Word.FOREIGN
        if self.closed:
            raise Problem("storage-unavailable", "this node is about to sign again")
        stands = receipt.index < size and tree.node(0, receipt.index) == leaf
        if not stands and (signs or receipt.index < size):
            return Word.LOST
        if not signs:
            self._keep(promise)
        return Word.STANDS if stands else Word.KEPT

    def _keep(self, promise: Promise) -> None:
        """Those far behind it make room, and are shown again. Raises Problem where none can."""
        index, head, length = promise.receipt.index, promise.receipt.head, _length(promise)
        if index not in self._kept:
            while self._kept_bytes + length > KEPT_BYTES_MAX:
                last = max(self._kept, default=0)
                if last <= index:
                    raise Problem("storage-unavailable", f"{KEPT_BYTES_MAX} bytes of receipted entries wait already")
                self.drop([last])
            self._kept[index] = promise
            self._kept_bytes += length
        self._trees.add((head.size, head.root))

    def take(self, now: int) -> list[int]:
        """Append what follows on what is here, and put back missing bodies; which can be dropped. Raises LedgerBroken.

        Each append is durable by itself.
        """
        ledger, kept = self._ledger, self._kept.copy()
        done = [index for index in sorted(kept) if index < ledger.tree.size]
        for index in done:
            self._put_back(kept[index], now)
        while (promise := kept.get(ledger.tree.size)) is not None:
            self._require_follows(promise)
            admit_again(ledger, promise.entry(), Came(promise.submission.body, promise.submission.wraps))
            done.append(promise.receipt.index)
        return done

    def _require_follows(self, promise: Promise) -> None:
        """The tree of its receipt begins with what is here, as the path to its entry shows. Raises LedgerBroken."""
        receipt, tree = promise.receipt, self._ledger.tree
        if root_before(receipt.index, receipt.head.size, receipt.path) != tree.root(receipt.index):
            raise _another(receipt.index)

    def _put_back(self, promise: Promise, now: int) -> None:
        index, ledger = promise.receipt.index, self._ledger
        if ledger.tree.node(0, index) == promise.leaf():
            wraps = ledger.wraps_to_put_back(index, promise.submission, now)
            if wraps:
                ledger.storage.fill(index, wraps, promise.submission.body)

    def drop(self, done: Iterable[int]) -> None:
        """What ``take`` is done with."""
        for index in done:
            if (promise := self._kept.pop(index, None)) is not None:
                self._kept_bytes -= _length(promise)

    def require_reached(self) -> None:
        """Every tree that a kept receipt is under is one of this ledger's. Raises LedgerBroken."""
        tree = self._ledger.tree
        for size, root in sorted(self._trees):
            if size > tree.size:
                shown = f"neither a peer nor an outbox has shown entry {tree.size} yet"
                raise LedgerBroken(f"a tree of {size} entries was signed for, and {shown}")
            if tree.root(size) != root:
                raise _another(size)


def _another(size: int) -> LedgerBroken:
    return LedgerBroken(f"another tree of {size} entries was signed for with this node's receipt key")


def _is_whole(promise: Promise) -> bool:
    """Whether beside the statement lies what was signed, and nothing else. Raises Malformed, TooLarge."""
    sent = promise.submission
    match decode(sent.kind, sent.statement):
        case Bulletin() as bulletin:
            return whole(bulletin, sent.body, sent.wraps) == (sent.body, sent.wraps) and bool(sent.body)
        case DirectoryVersion(sha256=sha256):
            return hashlib.sha256(sent.body).digest() == sha256 and not sent.wraps
        case _:
            return not sent.body and not sent.wraps


def _length(promise: Promise) -> int:
    sent = promise.submission
    return len(sent.statement) + len(sent.signatures) + sum(map(len, sent.wraps)) + len(sent.body) + 1024
