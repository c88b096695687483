"""Records: values, thousands a second and cheap to define. On the wire one is the array of its fields."""

from __future__ import annotations

import functools
from typing import Any, Self, dataclass_transform

import msgspec

from protocol import canonical, limits
from protocol.canonical import Form, Wire


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Immutable, and made in C: a frozen dataclass takes many times as long to make, and fifty times to define."""

    def replace(self, **changes: Any) -> Self:
        """Another record, alike but for these fields."""
        return msgspec.structs.replace(self, **changes)


class WireRecord(Record, gc=False):
    """A record with a format of its own: the types of its fields are its bounds, ``check`` has what they cannot say.

    It holds bytes, text, numbers and other records, so the garbage collector, which looks for cycles, need not know it.
    """

    def encode(self) -> bytes:
        """Its bytes on the wire."""
        return canonical.encode(self)

    @classmethod
    def decode(cls, data: bytes, bytes_max: int = limits.ENTRY_BYTES_MAX) -> Self:
        """The record that ``data`` holds. Raises Malformed or TooLarge."""
        record: Self = _form(cls).decode(data, bytes_max)
        record.check()
        return record

    def check(self) -> None:
        """Raise Malformed or TooLarge for what the types of the fields cannot say."""

    def to_wire(self) -> Wire:
        """As it stands within another value."""
        return canonical.decode(self.encode(), bytes_max=limits.REQUEST_BYTES_MAX)

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """What ``to_wire`` gave. Raises Malformed or TooLarge."""
        return cls.decode(canonical.encode(value), limits.REQUEST_BYTES_MAX)


@functools.cache
def _form(cls: type[Any]) -> Form[Any]:
    count = len(cls.__struct_fields__)
    return Form(cls, f"{cls.__name__} is not an array of {count} fields, each of its type")
