"""Secrets have a type that does not print (STYLE 17)."""

from __future__ import annotations

import hmac


class Secret:
    """Secret bytes: no repr, no pickling, compared in constant time; ``reveal`` is easy to grep for."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """The bytes, for the one call that needs them."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __reduce__(self) -> str:
        msg = "a secret is not pickled"
        raise TypeError(msg)
