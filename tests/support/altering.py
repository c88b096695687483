"""One value made from another, alike but for a few fields: what most attacks begin with."""

import dataclasses
from typing import Any, TypeVar

from protocol.record import Record

T = TypeVar("T")


def replace(value: T, **changes: Any) -> T:
    """Of a dataclass or a record."""
    if isinstance(value, Record):
        return value.replace(**changes)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]
