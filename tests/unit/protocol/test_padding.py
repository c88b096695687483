"""protocol/padding.py: a length tells little, and padding has one form."""

import pytest

from protocol import limits, padding
from protocol.errors import Malformed


@pytest.mark.parametrize("length", [0, 1, 1022, 1023, 1024, 1025, 4095, 65_536, limits.CONTENT_BYTES_MAX])
def test_what_is_padded_is_unpadded(length: int) -> None:
    """Also where it ends in what looks like padding. SPEC 8.3.1."""
    for data in (bytes(length), b"\x80" * length, (b"x" * length)[:-1] + b"\x80" * min(length, 1)):
        padded = padding.pad(data)
        assert padding.unpad(padded) == data
        assert len(padded) == padding.padded_length(len(data) + 1)


def test_lengths_are_those_of_padme_above_the_floor() -> None:
    """Values of the construction itself: never more than a sixteenth over. SPEC 8.3.1."""
    assert [padding.padded_length(n) for n in (0, 1, 1024, 1025, 2000, 2048, 2049)] == [
        *(1024, 1024, 1024, 1088, 2048, 2048, 2176)
    ]
    for length in range(1025, 70_000, 7):
        padded = padding.padded_length(length)
        assert length <= padded <= length * 17 // 16
        assert padding.padded_length(padded) == padded


def test_short_bulletins_all_have_one_length() -> None:
    """And there are few lengths in all. SPEC 8.3.1."""
    assert {len(padding.pad(bytes(n))) for n in range(1024)} == {1024}
    assert len({padding.padded_length(n) for n in range(262_144)}) < 200


def test_the_largest_content_fits_a_body() -> None:
    """With what Cobblestone adds: 56 bytes, and a tag for each chunk. SPEC 2.1.1."""
    assert padding.padded_length(limits.CONTENT_BYTES_MAX + 1) + 8 * 1024 <= limits.BODY_BYTES_MAX


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(1024),
        b"x" * 1024,
        b"x\x80" + bytes(1021),
        b"x\x80" + bytes(1023),
        b"x\x80" + bytes(2046),
        b"x" * 1022 + b"\x80\x01",
        b"x" * 1024 + b"\x80" + bytes(1023),
    ],
)
def test_another_padding_is_refused(data: bytes) -> None:
    """No mark, another length, something after the mark: room for a second message. SPEC 8.3.2."""
    with pytest.raises(Malformed):
        padding.unpad(data)
