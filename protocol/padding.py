"""Padmé with a floor (SPEC §8.3): the length of a body tells at most a few bits about what is in it."""

from protocol.errors import Malformed

FLOOR_BYTES = 1024
_MARK = b"\x80"


def padded_length(length: int) -> int:
    """The Padmé bucket of ``length``: at most 6.25 % larger above the floor, and O(log log n) bits leaked."""
    if length <= FLOOR_BYTES:
        return FLOOR_BYTES
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def pad(data: bytes) -> bytes:
    """``data``, the mark 0x80, and zeros up to the bucket (ISO/IEC 7816-4)."""
    return data + _MARK + bytes(padded_length(len(data) + 1) - len(data) - 1)


def unpad(data: bytes) -> bytes:
    """What ``pad`` was given; Malformed if it was not ``pad`` that made it."""
    bare = data.rstrip(b"\x00")
    if not bare.endswith(_MARK) or padded_length(len(bare)) != len(data):
        raise Malformed("the padding of the content is not Padmé")
    return bare[:-1]
