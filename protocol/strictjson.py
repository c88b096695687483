"""JSON as strictly as msgpack (SPEC §10.1): no duplicate keys, no floats, no unknown members, one form of bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from protocol import text
from protocol.errors import Malformed, TooLarge

T = TypeVar("T")
Json = dict[str, Any]


def dumps(value: Json) -> bytes:
    """The one form: two spaces, UTF-8, members in the order given, a newline at the end; made to be read and diffed."""
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def loads(data: bytes, bytes_max: int) -> Json:
    """The object that ``data`` holds. Raises TooLarge or Malformed, also for another form of the same JSON."""
    if len(data) > bytes_max:
        raise TooLarge(f"{len(data)} bytes where {bytes_max} are allowed")
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float)
        again = dumps(value)  # fails on what an escape can say and UTF-8 cannot, and on what is nested too deep
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed("not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    if again != data:
        raise Malformed("not in the form of SPEC §10.1: two spaces, UTF-8 unescaped, newline at the end")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Malformed("an object has a member twice")
    return value


def _no_float(_value: str) -> None:
    raise Malformed("it has a number that is not an integer")


class Members:
    """One JSON object, read member by member; ``end`` refuses what was not asked for."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise Malformed(f"{what} is not an object")
        self._value, self._what, self._read = value, what, list[str]()

    def get(self, name: str, kind: type[T]) -> T:
        """The member ``name`` of exactly this JSON type."""
        self._read.append(name)
        if name not in self._value:
            raise Malformed(f"{self._what} has no {name!r}")
        value = self._value[name]
        if type(value) is not kind:
            raise Malformed(f"{self._what}: {name!r} is not of type {kind.__name__}")
        return value

    def text(self, name: str, chars_max: int) -> str:
        """Text by the rules of SPEC §3.4."""
        value = self.get(name, str)
        text.check(value, f"{self._what}: {name!r}", chars_max)
        return value

    def choice(self, name: str, options: Iterable[str]) -> str:
        """One of a closed set of words."""
        value = self.get(name, str)
        if value not in options:
            raise Malformed(f"{self._what}: {name!r} is not one of {', '.join(options)}")
        return value

    def matching(self, name: str, grammar: Callable[[str], T]) -> T:
        """Text that a grammar accepts."""
        return grammar(self.get(name, str))

    def uint(self, name: str, low: int, high: int) -> int:
        """An integer in a range."""
        value = self.get(name, int)
        if not low <= value <= high:
            raise Malformed(f"{self._what}: {name!r} is not between {low} and {high}")
        return value

    def base64(self, name: str, length: int) -> bytes:
        """Bytes of one length, in standard base64."""
        return unbase64(self.get(name, str), length, f"{self._what}: {name!r}")

    def hex(self, name: str, length: int) -> bytes:
        """Bytes of one length, in lower-case hexadecimal."""
        return unhex(self.get(name, str), length, f"{self._what}: {name!r}")

    def array(self, name: str, count_max: int, item: Callable[[Any], T], at_least: int = 0) -> tuple[T, ...]:
        """An array, each item read by ``item``."""
        values = self.get(name, list)
        if len(values) > count_max:
            raise TooLarge(f"{self._what}: {name!r} has {len(values)} items, at most {count_max} are allowed")
        if len(values) < at_least:
            raise Malformed(f"{self._what}: {name!r} has {len(values)} items, at least {at_least} are needed")
        return tuple(item(value) for value in values)

    def end(self) -> None:
        """Refuse members that nobody read, and members in another order than they were read in."""
        if list(self._value) != self._read:
            unknown = [name for name in self._value if name not in self._read]
            raise Malformed(
                f"{self._what}: unknown member {unknown[0]!r}" if unknown else f"{self._what}: out of order"
            )


def unhex(value: str, length: int, what: str) -> bytes:
    """``length`` bytes of lower-case hexadecimal."""
    try:
        data = bytes.fromhex(value)
    except ValueError:
        data = b""
    if len(data) != length or data.hex() != value:
        raise Malformed(f"{what} is not {length} bytes in lower-case hexadecimal")
    return data


def unbase64(value: str, length: int, what: str) -> bytes:
    """``length`` bytes of standard base64 with padding."""
    try:
        data = base64.b64decode(value, validate=True)
    except ValueError:
        data = b""
    if len(data) != length or base64.b64encode(data).decode() != value:
        raise Malformed(f"{what} is not {length} bytes in base64")
    return data
