"""Checkpoints, and what is signed over them (SPEC §9; C2SP tlog-checkpoint and tlog-cosignature).

A checkpoint is the text of a signed note: origin, size and root of a ledger, one a line. Extension lines are refused:
an ML-DSA cosignature does not cover them.
"""

from __future__ import annotations

import base64
import re

from protocol.errors import Malformed
from protocol.merkle import HASH_BYTES
from protocol.note import check_name, unbase64
from protocol.record import Record

SIZE_MAX = 2**63 - 1
TIME_SECONDS_MAX = 2**63 - 1
_TIME_BYTES = 8
_NUMBER = re.compile("0|[1-9][0-9]{0,18}")
_LINES = 3


def parse_number(text: str, what: str) -> int:
    """A decimal number without leading zeros, up to 2**63 - 1. Raises Malformed."""
    if not _NUMBER.fullmatch(text) or int(text) > SIZE_MAX:
        raise Malformed(f"{what} is not a decimal number without leading zeros and below 2**63")
    return int(text)


class Checkpoint(Record):
    """Size and root of the ledger at ``origin``. Nothing here has been verified."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        check_name(self.origin, "an origin")
        if not 0 <= self.size <= SIZE_MAX or len(self.root) != HASH_BYTES:
            raise Malformed("a checkpoint is a size below 2**63 and a root of 32 bytes")

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint of these three lines. Raises Malformed or TooLarge."""
        lines = text.split("\n", _LINES)
        if len(lines) != _LINES + 1 or lines[-1] != "":
            raise Malformed("a checkpoint is three lines: origin, size and root")
        return cls(lines[0], parse_number(lines[1], "the size"), unbase64(lines[2], "the root"))


def ed25519_cosigned_message(checkpoint_text: str, time_s: int) -> bytes:
    """What a cosignature of type 04 signs: that at ``time_s`` this was the largest consistent tree seen."""
    return f"cosignature/v1\ntime {time_s}\n{checkpoint_text}".encode()


def mldsa44_cosigned_message(cosigner_name: str, time_s: int, checkpoint: Checkpoint) -> bytes:
    """What a line of type 06 signs: the cosigner's name too, and the checkpoint as the subtree from 0 to its size."""
    return b"".join(
        (
            b"subtree/v1\n\0",
            _short(cosigner_name),
            time_s.to_bytes(8, "big"),
            _short(checkpoint.origin),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def join_timestamped(time_s: int, signature: bytes) -> bytes:
    """The bytes of a cosignature, types 04 and 06: the time before the signature."""
    if not 0 <= time_s <= TIME_SECONDS_MAX:
        raise ValueError(f"{time_s} seconds are not a time of a cosignature")
    return time_s.to_bytes(_TIME_BYTES, "big") + signature


def split_timestamped(body: bytes) -> tuple[int, bytes]:
    """Time and signature of a cosignature. Raises Malformed."""
    time_s = int.from_bytes(body[:_TIME_BYTES], "big")
    if len(body) <= _TIME_BYTES or time_s > TIME_SECONDS_MAX:
        raise Malformed("a cosignature is a time below 2**63 and a signature")
    return time_s, body[_TIME_BYTES:]


def _short(text: str) -> bytes:
    """At most 255 bytes behind their length."""
    check_name(text)
    data = text.encode()
    return bytes([len(data)]) + data
