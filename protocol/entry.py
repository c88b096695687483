"""An entry (SPEC §9.1): a statement with its signatures, one leaf of a ledger; and a submission, before it is one."""

from __future__ import annotations

import hashlib

from protocol import canonical, limits, merkle
from protocol.canonical import Form, Time, Uint
from protocol.errors import Malformed
from protocol.record import WireRecord
from protocol.statements import LINKED, Kind

HPKE_ENCAPSULATION_BYTES = 1120  # ML-KEM-768 ciphertext and X25519 point
WRAP_BYTES = HPKE_ENCAPSULATION_BYTES + 32 + 8 + 16  # content key, count of receipts, AEAD tag
# What strangers send: refused at the first item that is none, before memory grows.
_BYTE_STRINGS = Form(list[bytes], "not an array of byte strings")
_KINDS = {int(kind): kind for kind in Kind}
_SUBMISSION_BYTES_MAX = limits.DIRECTORY_BYTES_MAX + limits.ENTRY_BYTES_MAX + limits.WRAPS_MAX * WRAP_BYTES


def checked_kind(number: int) -> Kind:
    """The kind that ``number`` stands for, or Malformed."""
    kind = _KINDS.get(number)
    if kind is None:
        raise Malformed(f"there is no statement of kind {number}")
    return kind


class Link(WireRecord):
    """[kind, index]: the last directory, revocation or suspension entry before an entry in its ledger."""

    kind: Kind
    index: Uint

    def check(self) -> None:
        """SPEC §9.1.2."""
        if self.kind not in LINKED:
            raise Malformed(f"governance link: it names a {self.kind.word}")


class Entry(WireRecord):
    """SPEC §9.1, in wire order; ``time`` is the admission time in milliseconds, monotone within a ledger."""

    kind: Kind
    statement: bytes
    signatures: bytes
    time: Time
    link: Link | None

    def check(self) -> None:
        """SPEC §9.1.2."""
        if self.link is not None:
            self.link.check()

    def leaf(self) -> bytes:
        """The RFC 6962 leaf hash."""
        return merkle.leaf_hash(self.encode())


class Submission(WireRecord):
    """What is posted: a statement, its signatures, and what lies beside the ledger (SPEC §9.2).

    ``wraps`` are of WRAP_BYTES each, in the order of the statement; ``body`` is a bulletin's ciphertext or a
    directory's JSON; both are empty for other kinds.
    """

    kind: Kind
    statement: bytes
    signatures: bytes
    wraps: tuple[bytes, ...] = ()
    body: bytes = b""

    def encode(self) -> bytes:
        """The envelope on the wire: one flat array of byte strings."""
        return canonical.encode([bytes([self.kind]), self.statement, self.signatures, b"".join(self.wraps), self.body])

    @classmethod
    def decode(cls, data: bytes, bytes_max: int = _SUBMISSION_BYTES_MAX) -> Submission:
        """Raises Malformed or TooLarge."""
        parts = _BYTE_STRINGS.decode(data, bytes_max)
        if len(parts) != 5 or len(parts[0]) != 1:  # noqa: PLR2004 - the five of SPEC §9.2
            raise Malformed("a submission is [kind, statement, signatures, wraps, body]")
        kind, statement, signatures, wraps, body = parts
        if len(statement) > limits.ENTRY_BYTES_MAX or len(signatures) > limits.ENTRY_BYTES_MAX:
            raise Malformed(f"statement or signatures over {limits.ENTRY_BYTES_MAX} bytes")
        if len(wraps) % WRAP_BYTES:
            raise Malformed(f"the wraps are not of {WRAP_BYTES} bytes each")
        each = tuple([wraps[at : at + WRAP_BYTES] for at in range(0, len(wraps), WRAP_BYTES)])
        return cls(checked_kind(kind[0]), statement, signatures, each, body)

    def hashes(self) -> tuple[tuple[bytes, ...], bytes]:
        """SHA-256 of each wrap and of the body."""
        wraps = [hashlib.sha256(wrap).digest() for wrap in self.wraps]
        return tuple(wraps), hashlib.sha256(self.body).digest()


def encode_batch(submissions: list[Submission]) -> bytes:
    """The body of ``POST /v1/entries``: an array of envelopes."""
    return canonical.encode([submission.encode() for submission in submissions])


def decode_batch(data: bytes) -> list[bytes]:
    """The envelopes of a batch, each still to be decoded, so that one bad one does not spoil the others."""
    batch = _BYTE_STRINGS.decode(data, limits.REQUEST_BYTES_MAX)
    canonical.check_count(batch, "a batch", limits.BATCH_SUBMISSIONS_MAX, at_least=1)
    return batch
