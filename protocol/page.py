"""A page of deliveries (SPEC §11.2), by poll or pushed as a frame: a part for each origin, with all its proofs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from protocol import canonical, limits, names
from protocol.canonical import Fields, Wire
from protocol.errors import Malformed
from protocol.treehead import TreeHead, path_from_wire

PAGE_BYTES_READ_MAX = limits.PAGE_BYTES_MAX + limits.DIRECTORY_BYTES_MAX + 4 * limits.ENTRY_BYTES_MAX
Cursor = Mapping[str, int]  # origin to the index that comes next
_INDEX = re.compile("[0-9]{1,16}")  # what a UINT_MAX has


@dataclass(frozen=True, slots=True)
class Item:
    """One entry on its way to one reader.

    ``wrap`` is the reader's own. ``body`` is a bulletin's ciphertext or a directory's JSON where it fitted, else it is
    fetched by its hash. ``withheld`` says why a body is not served.
    """

    index: int
    entry: bytes
    path: tuple[bytes, ...]
    wrap: bytes | None = None
    body: bytes | None = None
    withheld: str = ""

    def to_wire(self) -> Wire:
        """[index, entry, path, wrap, body, withheld]."""
        return [self.index, self.entry, list(self.path), self.wrap, self.body, self.withheld]

    @classmethod
    def from_wire(cls, value: object) -> Item:
        """[index, entry, path, wrap, body, withheld]."""
        f = Fields(value, "item", 6)
        return cls(
            f.uint("index"),
            f.bytes("entry", limits.ENTRY_BYTES_MAX),
            f.value(path_from_wire),
            f.optional(_bytes),
            f.optional(_bytes),
            f.text("withheld", limits.NAME_CHARS_MAX),
        )


@dataclass(frozen=True, slots=True)
class Consistency:
    """That the tree of ``new`` leaves extends the tree of ``old``."""

    old: int
    new: int
    path: tuple[bytes, ...]

    def to_wire(self) -> Wire:
        """[old, new, path]."""
        return [self.old, self.new, list(self.path)]

    @classmethod
    def from_wire(cls, value: object) -> Consistency:
        """[old, new, path]."""
        f = Fields(value, "consistency", 3)
        return cls(f.uint("old"), f.uint("new"), f.value(path_from_wire))


@dataclass(frozen=True, slots=True)
class Part:
    """What one ledger has for a reader: items, the head they lead to, the newest checkpoint, and what joins them.

    ``consistencies`` join, by size, the tree that the reader knows, the checkpoint and the head. ``next`` is the index
    to ask from next time: everything for this reader below it is in this part or was in an earlier one. ``evidence`` is
    the SHA-256 of what shows that this log broke its word, where the node holds such a thing: claimed, not believed.
    """

    head: TreeHead
    items: tuple[Item, ...]
    checkpoint: str
    consistencies: tuple[Consistency, ...]
    next: int
    evidence: bytes | None = None

    def to_wire(self) -> Wire:
        """[head, items, checkpoint, consistencies, next, evidence]."""
        items: list[Wire] = [item.to_wire() for item in self.items]
        joints: list[Wire] = [joint.to_wire() for joint in self.consistencies]
        return [self.head.to_wire(), items, self.checkpoint, joints, self.next, self.evidence]

    @classmethod
    def from_wire(cls, value: object) -> Part:
        """[head, items, checkpoint, consistencies, next, evidence]."""
        f = Fields(value, "part", 6)
        part = cls(
            f.value(TreeHead.from_wire),
            f.array("items", limits.PAGE_ENTRIES_MAX, Item.from_wire),
            f.text("checkpoint", limits.NOTE_BYTES_MAX, lines=True),
            f.array("consistencies", 3, Consistency.from_wire),
            f.uint("next"),
            f.optional(_hash),
        )
        places = [item.index for item in part.items] + [part.next]
        if places != sorted(set(places)) or part.next > part.head.size:
            raise Malformed("part: its items are not in order below 'next', or 'next' is beyond the head")
        return part


def encode_page(parts: tuple[Part, ...]) -> bytes:
    """An array of parts, one for each origin, sorted by it."""
    return canonical.encode([part.to_wire() for part in sorted(parts, key=lambda part: part.head.origin)])


def decode_page(data: bytes) -> tuple[Part, ...]:
    """Raises Malformed or TooLarge."""
    values = canonical.decode(data, bytes_max=PAGE_BYTES_READ_MAX, array_max=limits.PAGE_ENTRIES_MAX)
    parts = tuple(Part.from_wire(value) for value in values)
    origins = [part.head.origin for part in parts]
    if origins != sorted(set(origins)):
        raise Malformed("page: its parts are not sorted by origin")
    return parts


def format_cursor(cursor: Cursor) -> str:
    """``ORIGIN=INDEX`` for each origin, joined by commas and sorted: a query parameter and a column."""
    return ",".join(f"{origin}={index}" for origin, index in sorted(cursor.items()))


def parse_cursor(value: str) -> dict[str, int]:
    """The cursor that ``format_cursor`` printed; an empty one begins at the beginning."""
    cursor: dict[str, int] = {}
    for part in value.split(",") if value else ():
        origin, _, index = part.partition("=")
        if not _INDEX.fullmatch(index) or int(index) > canonical.UINT_MAX:
            raise Malformed("a cursor is ORIGIN=INDEX for each origin, joined by commas")
        cursor[names.origin(origin)] = int(index)
    if len(cursor) > limits.NODES_MAX or format_cursor(cursor) != value:
        raise Malformed("a cursor names each origin once, sorted, indexes without leading zeros")
    return cursor


def _hash(value: object) -> bytes:
    return Fields([value], "part", 1).hash("evidence")


def _bytes(value: object) -> bytes:
    return Fields([value], "item", 1).bytes("bytes", limits.DIRECTORY_BYTES_MAX)
