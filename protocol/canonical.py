"""Canonical msgpack (SPEC §3): arrays of fixed order, shortest integers, no floats, no maps, no extension types.

A decoder here accepts exactly the bytes that the encoder would emit: it decodes under tight limits, encodes again and
compares. ``Fields`` then reads one array in wire order and checks the type and the bound of every field.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgpack

from protocol import limits, text
from protocol.errors import Malformed, ProtocolError, TooLarge

T = TypeVar("T")
Wire = int | str | bytes | list[Any] | None
HASH_BYTES = 32
UINT_MAX = 2**53 - 1  # what JSON readers can hold too

if msgpack.Packer.__module__ != "msgpack._cmsgpack":  # the pure-Python fallback has other limits
    msg = "msgpack without its C extension does not enforce the limits of SPEC §3"
    raise ImportError(msg)

_LIMITS: dict[str, Any] = {
    "raw": False,
    "strict_map_key": True,
    "max_map_len": 0,
    "max_ext_len": 0,
}


def encode(value: Wire) -> bytes:
    """The canonical bytes of ``value``; the caller's types keep floats and maps out."""
    return msgpack.packb(value)  # type: ignore[no-any-return]


def decode(data: bytes, *, bytes_max: int, array_max: int = limits.WRAPS_MAX) -> list[Any]:
    """The array that ``data`` holds. Raises TooLarge before anything is allocated, Malformed for any other form."""
    if len(data) > bytes_max:
        raise TooLarge(f"{len(data)} bytes where {bytes_max} are allowed")
    try:
        value = msgpack.unpackb(data, max_str_len=len(data), max_bin_len=len(data), max_array_len=array_max, **_LIMITS)
    except Exception as error:  # msgpack's errors have no common root, and ProtocolError is the only one we let out
        raise Malformed("not msgpack within the limits of SPEC §3") from error
    if type(value) is not list:
        raise Malformed("not an array")
    if msgpack.packb(value) != data:
        raise Malformed("not the canonical form: encoding it again gives other bytes")
    return value


def decode_bins(data: bytes, *, bytes_max: int, count_max: int) -> list[bytes]:
    """An array of byte strings, for what strangers send: refused at the first nested array, before memory grows."""

    def only_bins(items: list[Any]) -> list[Any]:
        if any(type(item) is not bytes for item in items):
            raise Malformed("not a flat array of byte strings")
        return items

    if len(data) > bytes_max:
        raise TooLarge(f"{len(data)} bytes where {bytes_max} are allowed")
    try:
        value = msgpack.unpackb(
            data, max_str_len=0, max_bin_len=bytes_max, max_array_len=count_max, list_hook=only_bins, **_LIMITS
        )
    except ProtocolError:
        raise
    except Exception as error:
        raise Malformed("not an array of byte strings within the limits of SPEC §3") from error
    if type(value) is not list or msgpack.packb(value) != data:
        raise Malformed("not an array of byte strings in canonical form")
    return value


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
        if value not in options:
            raise Malformed(f"{self._what}: {name} is not one of {', '.join(options)}")
        return value

    def matching(self, name: str, grammar: Callable[[str], str]) -> str:
        """Text that a grammar of protocol/names.py accepts."""
        return grammar(self._next(name, str))

    def array(self, name: str, at_most: int, item: Callable[[Any], T], at_least: int = 0) -> tuple[T, ...]:
        """An array of items, each read by ``item``."""
        values = self._next(name, list)
        if len(values) > at_most:
            raise TooLarge(f"{self._what}: {name} has {len(values)} items, at most {at_most} are allowed")
        if len(values) < at_least:
            raise Malformed(f"{self._what}: {name} has {len(values)} items, at least {at_least} are needed")
        return tuple([item(value) for value in values])  # a list first: a generator costs twice as much

    def sorted_names(self, name: str, at_most: int, grammar: Callable[[str], str]) -> tuple[str, ...]:
        """An array of names, sorted and without repetition: a set has one encoding."""

        def item(value: object) -> str:
            if type(value) is not str:
                raise Malformed(f"{self._what}: {name} holds something that is not text")
            return grammar(value)

        names = self.array(name, at_most, item)
        if list(names) != sorted(set(names)):
            raise Malformed(f"{self._what}: {name} is not sorted or repeats a name")
        return names

    def optional(self, read: Callable[[Any], T]) -> T | None:
        """nil, or what ``read`` makes of the value."""
        value = next(self._values)
        return None if value is None else read(value)

    def value(self, read: Callable[[Any], T]) -> T:
        """A nested structure with a reader of its own."""
        return read(next(self._values))
