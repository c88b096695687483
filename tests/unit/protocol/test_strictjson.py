"""protocol/strictjson.py: JSON in one form."""

import contextlib
import json
from typing import Any

import pytest

from protocol.errors import Malformed, ProtocolError, TooLarge
from protocol.strictjson import Members, dumps, loads, unbase64, unhex


def test_the_one_form_is_made_to_be_read_and_diffed() -> None:
    """Two spaces, members in their order, no escapes that are not needed, a newline. SPEC 10.1.1."""
    value = {"b": [1, "绝密"], "a": {"c": True}}
    data = '{\n  "b": [\n    1,\n    "绝密"\n  ],\n  "a": {\n    "c": true\n  }\n}\n'.encode()
    assert dumps(value) == data
    assert loads(data, 1000) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]\n",
        b'"a"\n',
        b"{}",
        b"{ }\n",
        b"{}\n\n",
        b"\xef\xbb\xbf{}\n",
        b'{"a": 1}\n',
        b'{\n  "a": 1\n}',
        b'{\n  "a": 1.0\n}\n',
        b'{\n  "a": 1e3\n}\n',
        b'{\n  "a": -0\n}\n',
        b'{\n  "a": NaN\n}\n',
        b'{\n  "a": Infinity\n}\n',
        b'{\n  "a": 1,\n  "a": 1\n}\n',
        b'{\n  "a": "\\u0041"\n}\n',
        b'{\n  "a": "\\/"\n}\n',
        b'{\n  "a": "\\ud800"\n}\n',
        b'{\n  "a": "\xff"\n}\n',
        b'{\n  "a": ' + b"1" * 5000 + b"\n}\n",
        b'{\n  "a": ' + b"[" * 3000 + b"]" * 3000 + b"\n}\n",
        b"{\r\n}\r\n",
        '{\n  "a": "x"\n}\n'.encode("utf-16"),
    ],
)
def test_any_other_spelling_is_refused(data: bytes) -> None:
    """A member twice, a float, an escape, a byte order mark, what is nested too deep. SPEC 10.1.1, 10.1.2."""
    with pytest.raises(Malformed):
        loads(data, 100_000)


@pytest.mark.parametrize("depth", [1, 50, 200, 330, 500, 900])
def test_nesting_raises_nothing_else(depth: int) -> None:
    """Whether reading or writing again is what gives up. SPEC 10.1.2."""
    try:
        value: Any = []
        for _ in range(depth):
            value = [value]
        data = (json.dumps({"a": value}, indent=2) + "\n").encode()
    except RecursionError:
        data = b'{\n  "a": ' + b"[" * depth + b"]" * depth + b"\n}\n"
    with contextlib.suppress(Malformed):
        assert loads(data, 10**7)


def test_the_length_is_checked_first() -> None:
    """SPEC 2.1.1."""
    with pytest.raises(TooLarge):
        loads(b"{" * 101, 100)


def test_members_are_read_by_name_in_order_and_all_of_them() -> None:
    """Nobody signs a member that nobody reads. SPEC 10.1.2."""
    m = Members({"a": 1, "b": "x"}, "thing")
    assert (m.uint("a", 0, 1), m.text("b", 1)) == (1, "x")
    m.end()
    m = Members({"a": 1, "b": 2, "c": 3}, "thing")
    m.uint("a", 0, 9)
    with pytest.raises(Malformed, match="unknown member 'b'"):
        m.end()
    m = Members({"b": 2, "a": 1}, "thing")
    m.uint("a", 0, 9), m.uint("b", 0, 9)
    with pytest.raises(Malformed, match="out of order"):
        m.end()
    with pytest.raises(Malformed, match="has no 'z'"):
        m.get("z", int)


@pytest.mark.parametrize(
    "method, value, args",
    [
        ("uint", True, (0, 9)),
        ("uint", 10, (0, 9)),
        ("uint", "1", (0, 9)),
        ("text", 1, (9,)),
        ("text", "a\nb", (9,)),
        ("text", "xx", (1,)),
        ("choice", "c", (("a", "b"),)),
        ("array", {}, (2, str)),
        ("array", [], (2, str, 1)),
        ("array", [1, 2, 3], (2, int)),
        ("hex", "AB", (1,)),
        ("hex", "a b", (1,)),
        ("hex", "abcd", (1,)),
        ("base64", "YQ", (1,)),
        ("base64", "YR==", (1,)),
        ("base64", "Y Q==", (1,)),
        ("base64", "YWE=", (1,)),
        ("base64", "é", (1,)),
    ],
)
def test_a_member_of_another_form_is_refused(method: str, value: Any, args: tuple[Any, ...]) -> None:
    """Hex in capitals, base64 with spare bits or without padding. SPEC 10.1.2, 10.1.3."""
    with pytest.raises(ProtocolError, match="thing"):
        getattr(Members({"a": value}, "thing"), method)("a", *args)


def test_binary_has_one_form() -> None:
    """SPEC 10.1.3."""
    assert unhex("00ff", 2, "hash") == b"\0\xff"
    assert unbase64("AP8=", 2, "key") == b"\0\xff"
