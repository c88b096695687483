"""Canonical msgpack (SPEC §3): arrays of fixed order, shortest integers, no floats, no maps, no extension types.

A decoder here accepts exactly the bytes that the encoder would emit: it decodes, encodes again and compares. ``Form``
reads a format that comes thousands a second: its types are checked in C while it is decoded, so nothing is made of what
has no place there. ``decode`` and ``Fields`` read all others, field by field in wire order.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from protocol import limits, text
from protocol.errors import Malformed, TooLarge

T = TypeVar("T")
Wire = int | str | bytes | list[Any] | None
HASH_BYTES = 32
UINT_MAX = 2**53 - 1  # what JSON readers can hold too
NESTING_MAX = 8  # no format nests deeper

Uint = Annotated[int, msgspec.Meta(ge=0, le=UINT_MAX)]
Time = Annotated[int, msgspec.Meta(ge=0, le=limits.TIME_MS_MAX)]  # one beyond it could be shown to nobody
Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]  # SHA-256; a key id is one

# By the first byte of a value: arrays, and what no format has (maps, booleans, floats, extensions, timestamps).
_ARRAY16, _ARRAY32 = 0xDC, 0xDD
_ARRAYS = frozenset([*range(0x90, 0xA0), _ARRAY16, _ARRAY32])
_FOREIGN = frozenset([*range(0x80, 0x90), *range(0xC1, 0xC4), *range(0xC7, 0xCC), *range(0xD4, 0xD9), 0xDE, 0xDF])

_encode = msgspec.msgpack.Encoder().encode
_decode_atom = msgspec.msgpack.Decoder().decode
_decode_array = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def encode(value: object) -> bytes:
    """The canonical bytes of ``value``; the caller's types keep floats and maps out."""
    return _encode(value)


class Form(Generic[T]):
    """A format whose types say what it may hold; their bounds, and what types cannot say, are checked by the caller."""

    def __init__(self, form: type[T], what: str) -> None:
        self._decode = msgspec.msgpack.Decoder(form).decode
        self._what = what

    def decode(self, data: bytes, bytes_max: int) -> T:
        """The value that ``data`` holds. Raises TooLarge before anything is decoded, Malformed for any other form."""
        if len(data) > bytes_max:
            raise TooLarge(f"{len(data)} bytes where {bytes_max} are allowed")
        try:
            value = self._decode(data)
        except Exception as error:  # UnicodeDecodeError among them, and ProtocolError is the only one we let out
            raise Malformed(f"{self._what}: {error}") from error
        if _encode(value) != data:
            raise Malformed(f"{self._what}: encoding it again gives other bytes")
        return value


def decode(data: bytes, *, bytes_max: int, array_max: int = limits.WRAPS_MAX) -> list[Any]:
    """The array that ``data`` holds. Raises TooLarge before anything is allocated, Malformed for any other form."""
    if len(data) > bytes_max:
        raise TooLarge(f"{len(data)} bytes where {bytes_max} are allowed")
    try:
        value = _plain(data, array_max, NESTING_MAX)
    except Malformed:
        raise
    except Exception as error:
        raise Malformed("not msgpack within the limits of SPEC §3") from error
    if type(value) is not list:
        raise Malformed("not an array")
    if _encode(value) != data:
        raise Malformed("not the canonical form: encoding it again gives other bytes")
    return value


def _plain(data: bytes | memoryview, array_max: int, nesting: int) -> Any:
    """Value by value: the items of an array are looked at before anything is made of them."""
    first = data[0]
    if first in _FOREIGN:
        raise Malformed("a map, a boolean, a float or an extension")
    if first not in _ARRAYS:
        return _decode_atom(data)
    announced = first & 0x0F if first < _ARRAY16 else int.from_bytes(data[1 : 3 if first == _ARRAY16 else 5], "big")
    if announced > array_max or not nesting:
        raise Malformed(f"an array of over {array_max} items, or nested deeper than {NESTING_MAX}")
    return [_plain(memoryview(item), array_max, nesting - 1) for item in _decode_array(data)]


def check_count(items: Sized, what: str, at_most: int, at_least: int = 0) -> None:
    """Raise TooLarge or Malformed unless an array has between ``at_least`` and ``at_most`` items."""
    if len(items) > at_most:
        raise TooLarge(f"{what} has {len(items)} items, at most {at_most} are allowed")
    if len(items) < at_least:
        raise Malformed(f"{what} has {len(items)} items, at least {at_least} are needed")


def check_choice(value: str, what: str, options: Iterable[str]) -> None:
    """Raise Malformed unless ``value`` is one of a closed set of words."""
    if value not in options:
        raise Malformed(f"{what} is not one of {', '.join(options)}")


def check_sorted(values: Sequence[str], what: str) -> None:
    """Raise Malformed unless ``values`` are sorted and repeat nothing: a set has one encoding."""
    if list(values) != sorted(set(values)):
        raise Malformed(f"{what} is not sorted or repeats a name")


class Fields:
    """One decoded array, read field by field in wire order; every method raises Malformed or TooLarge by name."""

    def __init__(self, value: object, what: str, count: int) -> None:
        if type(value) is not list or len(value) != count:
            raise Malformed(f"{what} is not an array of {count} fields")
        self._values = iter(value)
        self._what = what

    def _next(self, name: str, kind: type[T]) -> T:
        value = next(self._values)
        if type(value) is not kind:  # not isinstance: True is an int to Python
            raise Malformed(f"{self._what}: {name} is not of type {kind.__name__}")
        return value

    def uint(self, name: str, at_most: int = UINT_MAX) -> int:
        """An unsigned integer."""
        value = self._next(name, int)
        if not 0 <= value <= at_most:
            raise Malformed(f"{self._what}: {name} is not between 0 and {at_most}")
        return value

    def time(self, name: str) -> int:
        """Milliseconds since 1970."""
        return self.uint(name, limits.TIME_MS_MAX)

    def integer(self, name: str, low: int, high: int) -> int:
        """A signed integer in a range (coordinates)."""
        value = self._next(name, int)
        if not low <= value <= high:
            raise Malformed(f"{self._what}: {name} is not between {low} and {high}")
        return value

    def bytes(self, name: str, at_most: int) -> builtins.bytes:
        """A byte string of bounded length."""
        value = self._next(name, bytes)
        if len(value) > at_most:
            raise TooLarge(f"{self._what}: {name} is over {at_most} bytes")
        return value

    def exactly(self, name: str, length: int) -> builtins.bytes:
        """A byte string of one length."""
        value = self._next(name, bytes)
        if len(value) != length:
            raise Malformed(f"{self._what}: {name} is not {length} bytes")
        return value

    def hash(self, name: str) -> builtins.bytes:
        """A SHA-256, or a key id, which is one."""
        return self.exactly(name, HASH_BYTES)

    def text(self, name: str, at_most: int, *, lines: bool = False) -> str:
        """Text by the rules of SPEC §3.4, in characters; newline and tab only where ``lines``."""
        value = self._next(name, str)
        text.check(value, f"{self._what}: {name}", at_most, lines=lines)
        return value

    def choice(self, name: str, options: Iterable[str]) -> str:
        """One of a closed set of words."""
        value = self._next(name, str)
        check_choice(value, f"{self._what}: {name}", options)
        return value

    def matching(self, name: str, grammar: Callable[[str], str]) -> str:
        """Text that a grammar of protocol/names.py accepts."""
        return grammar(self._next(name, str))

    def array(self, name: str, at_most: int, item: Callable[[Any], T], at_least: int = 0) -> tuple[T, ...]:
        """An array of items, each read by ``item``."""
        values = self._next(name, list)
        check_count(values, f"{self._what}: {name}", at_most, at_least)
        return tuple([item(value) for value in values])  # a list first: a generator costs twice as much

    def sorted_names(self, name: str, at_most: int, grammar: Callable[[str], str]) -> tuple[str, ...]:
        """An array of names, sorted and without repetition: a set has one encoding."""

        def item(value: object) -> str:
            if type(value) is not str:
                raise Malformed(f"{self._what}: {name} holds something that is not text")
            return grammar(value)

        names = self.array(name, at_most, item)
        check_sorted(names, f"{self._what}: {name}")
        return names

    def optional(self, read: Callable[[Any], T]) -> T | None:
        """nil, or what ``read`` makes of the value."""
        value = next(self._values)
        return None if value is None else read(value)

    def value(self, read: Callable[[Any], T]) -> T:
        """A nested structure with a reader of its own."""
        return read(next(self._values))
