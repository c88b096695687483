"""What was posted, with the receipt for it (SPEC §11.10): together the entry that a node signed for, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from protocol import canonical, limits
from protocol.canonical import Form
from protocol.entry import Entry, Submission
from protocol.record import Record
from protocol.treehead import Receipt

_PAIRS = Form(list[tuple[bytes, bytes]], "not an array of pairs of byte strings")


class Word(StrEnum):
    """What a node says of a promise that it is shown."""

    STANDS = "stands"
    KEPT = "kept"
    LOST = "lost"
    FOREIGN = "foreign"


class Promise(Record):
    """A submission and the receipt that is held for it."""

    submission: Submission
    receipt: Receipt

    @property
    def posted(self) -> Entry:
        """The entry that this submission makes where it was the first of its statement."""
        sent, receipt = self.submission, self.receipt
        return Entry(sent.kind, sent.statement, sent.signatures, receipt.time, receipt.link)

    def entry(self) -> bytes:
        """The entry that was promised. Raises ProofFailed where the receipt is for another, Malformed."""
        self.leaf()
        return self.receipt.entry if self.receipt.entry is not None else self.posted.encode()

    def leaf(self) -> bytes:
        """Its leaf hash. Raises the same."""
        return self.receipt.leaf_of(self.posted)


def encode_promises(promises: Sequence[Promise]) -> bytes:
    """The body of ``POST /v1/receipts``."""
    return canonical.encode([[promise.submission.encode(), promise.receipt.encode()] for promise in promises])


def decode_promises(data: bytes) -> list[tuple[bytes, bytes]]:
    """The pairs, each still to be decoded: one bad one does not spoil the others. Raises Malformed, TooLarge."""
    pairs = _PAIRS.decode(data, limits.REQUEST_BYTES_MAX)
    canonical.check_count(pairs, "an array of receipts", limits.BATCH_SUBMISSIONS_MAX, at_least=1)
    return pairs


def decode_promise(pair: tuple[bytes, bytes]) -> Promise:
    """One of them. Raises Malformed, TooLarge."""
    submission, receipt = pair
    return Promise(Submission.decode(submission), Receipt.decode(receipt))
