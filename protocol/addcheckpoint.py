"""What a log asks of a witness, and what it is answered (SPEC §9.7; C2SP tlog-witness).

    old 7
    <hash>
    <hash>

    pk.example/ledger
    9
    <root>

    — pk.example/ledger <base64 of key id and signature>

The answer is cosignature lines; or, where the witness remembers another size, that size in decimal and a newline.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from protocol import limits
from protocol.checkpoint import SIZE_MAX, Checkpoint, parse_number
from protocol.errors import Malformed, TooLarge
from protocol.merkle import HASH_BYTES
from protocol.note import Note, SignatureLine, unbase64

SIZE_MEDIA_TYPE = "text/x.tlog.size"
_OLD = "old "


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A checkpoint with what shows that it extends the tree of ``old`` leaves. Nothing here has been verified."""

    old: int
    path: tuple[bytes, ...]
    note: Note

    def __post_init__(self) -> None:
        if len(self.path) > limits.PROOF_HASHES_MAX:
            raise TooLarge(f"a proof of more than {limits.PROOF_HASHES_MAX} hashes")
        if any(len(digest) != HASH_BYTES for digest in self.path):
            raise Malformed("a hash of the proof is not 32 bytes")
        if not 0 <= self.old <= self.checkpoint.size:
            raise Malformed(f"the old size {self.old} is above that of the checkpoint")

    @property
    def checkpoint(self) -> Checkpoint:
        """What the note's text says."""
        return Checkpoint.parse(self.note.text)

    def encode(self) -> bytes:
        """The body of the request."""
        proof = "".join(f"{base64.b64encode(digest).decode()}\n" for digest in self.path)
        return f"{_OLD}{self.old}\n{proof}\n{self.note.encode()}".encode()

    @classmethod
    def parse(cls, data: bytes) -> AddCheckpoint:
        """The request of a body. Raises Malformed or TooLarge."""
        if len(data) > limits.ADD_CHECKPOINT_BYTES_MAX:
            raise TooLarge(f"a request of more than {limits.ADD_CHECKPOINT_BYTES_MAX} bytes")
        head, separator, note = _text(data).partition("\n\n")
        old, *proof = head.split("\n", limits.PROOF_HASHES_MAX + 1)
        if not separator or not old.startswith(_OLD):
            raise Malformed("a request is 'old SIZE', a proof, an empty line, and a checkpoint")
        size = parse_number(old.removeprefix(_OLD), "the old size")
        if len(proof) > limits.PROOF_HASHES_MAX:
            raise TooLarge(f"a proof of more than {limits.PROOF_HASHES_MAX} hashes")
        return cls(size, tuple(unbase64(line, "a hash of the proof") for line in proof), Note.parse(note))


def encode_lines(lines: Sequence[SignatureLine]) -> bytes:
    """The answer of a witness that has cosigned."""
    return "".join(line.encode() for line in lines).encode()


def decode_lines(data: bytes) -> tuple[SignatureLine, ...]:
    """One signature line or more, and nothing else. Raises Malformed or TooLarge."""
    if len(data) > limits.NOTE_BYTES_MAX:
        raise TooLarge("more lines than a note may have")
    lines = _text(data).split("\n")
    if lines.pop() != "" or not lines:
        raise Malformed("an answer is signature lines, each with a newline")
    if len(lines) > limits.NOTE_SIGNATURES_MAX:
        raise TooLarge("more lines than a note may have")
    return tuple(SignatureLine.parse(line + "\n") for line in lines)


def encode_size(size: int) -> bytes:
    """The answer of a witness that remembers another size."""
    return f"{size}\n".encode()


def decode_size(data: bytes) -> int:
    """The size that a witness remembers. Raises Malformed."""
    text = _text(data[: len(str(SIZE_MAX)) + 2])
    if not text.endswith("\n"):
        raise Malformed("a size is a decimal number and a newline")
    return parse_number(text.removesuffix("\n"), "the size that a witness remembers")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
