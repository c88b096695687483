"""protocol/canonical.py: only what the encoder emits is read, and nothing large is made for a stranger."""

import tracemalloc
from typing import Any

import msgpack
import pytest

from protocol import canonical, limits
from protocol.canonical import Fields, Form, Hash, Uint, Wire
from protocol.errors import Malformed, TooLarge
from protocol.record import WireRecord

BYTE_STRINGS = Form(list[bytes], "byte strings")


@pytest.mark.parametrize(
    "value", [[], [0, 127, 128, 255, 256, 65_535, 2**32, -1, -33], ["", "é" * 40], [b"", b"x" * 300], [None, [None]]]
)
def test_what_is_encoded_is_decoded(value: Wire) -> None:
    """Integers, byte strings, text, arrays and nil. SPEC 3.1.1."""
    assert canonical.decode(canonical.encode(value), bytes_max=1000) == value


@pytest.mark.parametrize(
    "data",
    [
        msgpack.packb([{"a": 1}]),
        msgpack.packb([msgpack.ExtType(1, b"x")]),
        msgpack.packb([msgpack.Timestamp(1)]),
    ],
)
def test_maps_extensions_and_timestamps_are_refused(data: bytes) -> None:
    """A map has more than one order, an extension another meaning elsewhere. SPEC 3.1.1."""
    with pytest.raises(Malformed):
        canonical.decode(data, bytes_max=100)


@pytest.mark.parametrize(
    "data",
    [
        b"\x91\xcc\x01",  # uint8 for 1
        b"\x91\xcd\x00\xff",  # uint16 for 255
        b"\x91\xd0\x01",  # int8 for 1
        b"\xdc\x00\x01\x01",  # array16 of one
        b"\x91\xd9\x01a",  # str8 of one character
        b"\x91\xc5\x00\x01x",  # bin16 of one byte
        b"\x91\x01\x01",  # a byte after the end
        b"\x91",  # cut off
        b"\x91\xa1\xff",  # not UTF-8
        b"\x91\xa3\xed\xa0\x80",  # a surrogate
        b"\x01",  # no array
        b"\xc1",  # no type
        b"",
    ],
)
def test_another_spelling_of_a_value_is_refused(data: bytes) -> None:
    """One value, one encoding: nobody enters the same thing twice. SPEC 3.1.2."""
    with pytest.raises(Malformed):
        canonical.decode(data, bytes_max=100)


def test_the_length_is_checked_before_the_form() -> None:
    """What is too long is refused as that, whatever it holds. SPEC 3.1.3."""
    assert canonical.decode(b"\x90", bytes_max=1) == []
    with pytest.raises(TooLarge):
        canonical.decode(b"\xc1\xc1", bytes_max=1)
    with pytest.raises(TooLarge):
        BYTE_STRINGS.decode(b"\xc1\xc1", 1)


def test_an_array_announces_no_more_than_it_may_hold() -> None:
    """Five bytes cannot ask for four billion places. SPEC 3.1.3."""
    with pytest.raises(Malformed):
        canonical.decode(b"\xdd\xff\xff\xff\xff", bytes_max=100)
    fits = canonical.encode([0] * limits.WRAPS_MAX)
    assert len(canonical.decode(fits, bytes_max=1000)) == limits.WRAPS_MAX
    with pytest.raises(Malformed):
        canonical.decode(canonical.encode([0] * (limits.WRAPS_MAX + 1)), bytes_max=1000)


@pytest.mark.parametrize("depth", [1_023, 1_025, 20_000, 60_000])
def test_deep_nesting_raises_nothing_else_and_stays_small(depth: int) -> None:
    """No recursion error, and no eight thousandfold memory. SPEC 3.1.3."""
    for data in (b"\x91" * depth + b"\x90", b"\xdc\x01\x00" * depth):
        tracemalloc.start()
        try:
            canonical.decode(data, bytes_max=limits.ENTRY_BYTES_MAX * 3)
        except Malformed:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 8 * 1024 * 1024


def test_a_stranger_s_array_is_refused_at_the_first_item_that_is_no_byte_string() -> None:
    """Nested arrays, numbers and text never grow. SPEC 3.2.1."""
    flat = [b"", b"a" * 300]
    assert BYTE_STRINGS.decode(canonical.encode(flat), 1000) == flat
    others: list[Any] = [[[]], [1], ["text"], [None], [b"x", []]]
    for value in others:
        with pytest.raises(Malformed):
            BYTE_STRINGS.decode(canonical.encode(value), 1000)
    tracemalloc.start()
    with pytest.raises(Malformed):
        BYTE_STRINGS.decode(b"\xdc\x00\x40" * 100_000, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize(
    "data", [b"\xdc\x00\x01\xc4\x00", b"\xc4\x00", b"\x91\xc4\x00\x00", b"\x91\xc5\x00\x00", b"\xdd\xff\xff\xff\xff"]
)
def test_a_flat_array_has_one_form(data: bytes) -> None:
    """Also where it is flat, it is canonical. SPEC 3.1.2."""
    with pytest.raises(Malformed):
        BYTE_STRINGS.decode(data, 100)


class _Inner(WireRecord):
    names: tuple[str, ...]


class _Thing(WireRecord):
    number: Uint
    digest: Hash
    inner: _Inner
    data: bytes | None = None


GOOD: list[Any] = [7, bytes(32), [["a"]], None]


@pytest.mark.parametrize(
    "at, value",
    [
        (0, True),
        (0, 7.0),
        (0, -1),
        (0, 2**53),
        (0, "7"),
        (1, bytes(31)),
        (1, bytes(33)),
        (1, "x" * 43 + "="),
        (2, [["a"], 1]),
        (2, []),
        (2, [[["a"]]]),
        (2, {"names": ["a"]}),
        (2, [[b"a"]]),
        (3, "text"),
        (3, msgpack.ExtType(1, b"x")),
        (3, msgpack.Timestamp(1)),
    ],
)
def test_a_record_holds_nothing_but_its_types(at: int, value: Any) -> None:
    """One field broken at a time, maps and extensions among them. SPEC 3.1.1, 3.1.4, 3.1.5."""
    assert _Thing.decode(msgpack.packb(GOOD)).to_wire() == GOOD
    wire = GOOD.copy()
    wire[at] = value
    with pytest.raises(Malformed, match="_Thing is not an array of 4 fields"):
        _Thing.decode(msgpack.packb(wire))


@pytest.mark.parametrize(
    "data",
    [
        msgpack.packb(GOOD[:-1]),  # a field that has a default
        msgpack.packb([*GOOD, None]),
        msgpack.packb({"number": 7, "digest": bytes(32), "inner": [["a"]], "data": None}),
        msgpack.packb(GOOD) + b"\0",
        msgpack.packb(GOOD)[:-1],
        b"\x94\xcc\x07" + msgpack.packb(GOOD)[2:],  # uint8 for 7
        b"\xdc\x00\x04" + msgpack.packb(GOOD)[1:],  # array16 of four
        msgpack.packb(GOOD).replace(b"\xa1a", b"\xa1\xff"),  # not UTF-8
        msgpack.packb(GOOD).replace(b"\xa1a", b"\xd9\x01a"),  # str8 of one character
        b"",
    ],
)
def test_a_record_has_one_spelling(data: bytes) -> None:
    """Every field, no more, each in its shortest form. SPEC 3.1.2, 3.1.4."""
    with pytest.raises(Malformed):
        _Thing.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\x94\x07\xc6\xff\xff\xff\xff",
        b"\x94\x07" + msgpack.packb(bytes(32)) + b"\x91\xdd\xff\xff\xff\xff" + b"\xa0" * 60_000,
        b"\x95" + msgpack.packb(GOOD)[1:] + b"\x91" * 60_000,  # the field too many is never looked at
        b"\x91" * 60_000,
        b"\xdc\x01\x00" * 20_000,
    ],
)
def test_a_record_is_refused_before_memory_grows(data: bytes) -> None:
    """Announced lengths count for nothing, and nesting ends at the first array that has no place. SPEC 3.1.3."""
    tracemalloc.start()
    with pytest.raises(Malformed):
        _Thing.decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1024 * 1024


def test_nesting_has_an_end() -> None:
    """Deeper than any format. SPEC 3.1.3."""
    deepest = b"\x91" * (canonical.NESTING_MAX - 1) + b"\x90"
    assert canonical.encode(canonical.decode(deepest, bytes_max=100)) == deepest
    with pytest.raises(Malformed, match="nested"):
        canonical.decode(b"\x91" + deepest, bytes_max=100)


def test_an_array_has_exactly_its_fields() -> None:
    """None missing, none more, and an array at all. SPEC 3.1.4."""
    for value in ([], [1, 2], None, "ab", {"a": 1}, (1,)):
        with pytest.raises(Malformed, match="not an array of 1"):
            Fields(value, "thing", 1)


def _read(method: str, value: Any, *args: Any) -> Any:
    return getattr(Fields([value], "thing", 1), method)("field", *args)


@pytest.mark.parametrize(
    "method, value, args",
    [
        ("uint", True, ()),
        ("uint", 1.0, ()),
        ("uint", {}, ()),
        ("integer", 1.5, (-9, 9)),
        ("array", {}, (2, str)),
        ("bytes", {}, (9,)),
        ("text", None, (9,)),
        ("uint", "1", ()),
        ("uint", -1, ()),
        ("uint", 2**53, ()),
        ("uint", 6, (5,)),
        ("integer", False, (-9, 9)),
        ("integer", 10, (-9, 9)),
        ("bytes", "text", (9,)),
        ("exactly", b"x" * 31, (32,)),
        ("hash", b"x" * 33, ()),
        ("text", b"bytes", (9,)),
        ("choice", "c", (("a", "b"),)),
        ("choice", 1, (("a", "b"),)),
        ("array", "ab", (2, str)),
        ("array", [], (2, str, 1)),
    ],
)
def test_a_field_of_another_type_or_out_of_range_is_malformed(method: str, value: Any, args: tuple[Any, ...]) -> None:
    """A boolean or a float is no integer, text no byte string, an empty map no array. SPEC 3.1.1, 3.1.4, 3.1.5."""
    with pytest.raises(Malformed, match="thing"):
        _read(method, value, *args)


@pytest.mark.parametrize(
    "method, value, args", [("bytes", b"xx", (1,)), ("text", "xx", (1,)), ("array", [1, 2, 3], (2, int))]
)
def test_a_field_over_its_bound_is_too_large(method: str, value: Any, args: tuple[Any, ...]) -> None:
    """The code tells a wrong form from a large one. SPEC 3.1.4."""
    with pytest.raises(TooLarge, match="thing"):
        _read(method, value, *args)


def test_uints_reach_to_what_json_readers_can_hold() -> None:
    """2^53 - 1, and no further. SPEC 3.1.5."""
    assert _read("uint", 2**53 - 1) == 2**53 - 1


@pytest.mark.parametrize("names", [["b", "a"], ["a", "a"], ["a", 1]])
def test_a_set_is_sorted_and_repeats_nothing(names: list[Any]) -> None:
    """It has one encoding. SPEC 3.1.6."""
    with pytest.raises(Malformed):
        Fields([names], "thing", 1).sorted_names("set", 3, str)
    assert Fields([["a", "b"]], "thing", 1).sorted_names("set", 3, str) == ("a", "b")
