"""A proof that an entry is in a ledger, as a file (SPEC §9; C2SP tlog-proof): ``.tlog-proof``, checked offline.

    c2sp.org/tlog-proof@v1
    extra <base64>
    index 41
    <hash of the leaf's sibling>
    …

    <checkpoint, verbatim with its signature lines>

``extra`` is optional, opaque and authenticated by nothing.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from protocol import limits
from protocol.checkpoint import SIZE_MAX, parse_number
from protocol.errors import Malformed, TooLarge
from protocol.merkle import HASH_BYTES
from protocol.note import Note, unbase64

HEADER = "c2sp.org/tlog-proof@v1"
EXTRA_BYTES_MAX = 64 * 1024
PROOF_CHARS_MAX = 2 * EXTRA_BYTES_MAX + 4 * 1024 + limits.NOTE_BYTES_MAX  # base64, the hashes, the checkpoint


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Index, inclusion path and checkpoint of one entry. Nothing here has been verified."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < SIZE_MAX or any(len(sibling) != HASH_BYTES for sibling in self.path):
            raise Malformed("a proof is an index and hashes of 32 bytes")
        if len(self.path) > limits.PROOF_HASHES_MAX or len(self.extra or b"") > EXTRA_BYTES_MAX:
            raise TooLarge("a proof with too many hashes, or too much beside them")
        if self.extra == b"":
            raise Malformed("a proof with an empty extra: it is left out instead")
        Note.parse(self.checkpoint)

    def encode(self) -> str:
        """The proof's file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(sibling).decode() for sibling in self.path]
        return "\n".join(lines) + f"\n\n{self.checkpoint}"

    @classmethod
    def parse(cls, text: str) -> TlogProof:
        """The proof of a file's text. Raises Malformed or TooLarge."""
        if len(text) > PROOF_CHARS_MAX:
            raise TooLarge("a proof that is too long")
        head, _, checkpoint = text.partition("\n\n")  # the head has no empty line; a checkpoint has one at least
        lines = head.split("\n")
        if lines.pop(0) != HEADER:
            raise Malformed(f"a proof begins with {HEADER}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = unbase64(lines.pop(0).removeprefix("extra "), "the extra data")
        if not lines or not lines[0].startswith("index "):
            raise Malformed("a proof without an index")
        index = parse_number(lines.pop(0).removeprefix("index "), "the index")
        if len(lines) > limits.PROOF_HASHES_MAX:
            raise TooLarge(f"a path of more than {limits.PROOF_HASHES_MAX} hashes")
        return cls(index, tuple(unbase64(line, "a hash of the path") for line in lines), checkpoint, extra)
