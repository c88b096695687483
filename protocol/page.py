"""A page of deliveries (SPEC §11.2), by poll or pushed as a frame: a part for each origin, with all its proofs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from protocol import canonical, limits, names, text
from protocol.canonical import Form, Hash, Uint, check_count
from protocol.errors import Malformed, TooLarge
from protocol.record import WireRecord
from protocol.treehead import Path, TreeHead, check_path

PAGE_BYTES_READ_MAX = limits.PAGE_BYTES_MAX + limits.DIRECTORY_BYTES_MAX + 4 * limits.ENTRY_BYTES_MAX
Cursor = Mapping[str, int]  # origin to the index that comes next
_INDEX = re.compile("[0-9]{1,16}")  # what a UINT_MAX has


class Item(WireRecord):
    """One entry on its way to one reader.

    ``wrap`` is the reader's own. ``body`` is a bulletin's ciphertext or a directory's JSON where it fitted, else it is
    fetched by its hash. ``withheld`` says why a body is not served.
    """

    index: Uint
    entry: bytes
    path: Path
    wrap: bytes | None = None
    body: bytes | None = None
    withheld: str = ""

    def check(self) -> None:
        """SPEC §11.2.2."""
        if len(self.entry) > limits.ENTRY_BYTES_MAX:
            raise TooLarge(f"item: its entry is over {limits.ENTRY_BYTES_MAX} bytes")
        check_path(self.path)
        if any(len(data) > limits.DIRECTORY_BYTES_MAX for data in (self.wrap or b"", self.body or b"")):
            raise TooLarge(f"item: a wrap or body is over {limits.DIRECTORY_BYTES_MAX} bytes")
        text.check(self.withheld, "item: withheld", limits.NAME_CHARS_MAX)


class Consistency(WireRecord):
    """[old, new, path]: that the tree of ``new`` leaves extends the tree of ``old``."""

    old: Uint
    new: Uint
    path: Path

    def check(self) -> None:
        """SPEC §11.2.1."""
        check_path(self.path)


class Part(WireRecord):
    """What one ledger has for a reader: items, the head they lead to, the newest checkpoint, and what joins them.

    ``consistencies`` join, by size, the tree that the reader knows, the checkpoint and the head. ``next`` is the index
    to ask from next time: everything for this reader below it is in this part or was in an earlier one. ``evidence`` is
    the SHA-256 of what shows that this log broke its word, where the node holds such a thing: claimed, not believed.
    """

    head: TreeHead
    items: tuple[Item, ...]
    checkpoint: str
    consistencies: tuple[Consistency, ...]
    next: Uint
    evidence: Hash | None = None

    def check(self) -> None:
        """SPEC §11.2.1, 11.2.3."""
        self.head.check()
        check_count(self.items, "part: items", limits.PAGE_ENTRIES_MAX)
        text.check(self.checkpoint, "part: checkpoint", limits.NOTE_BYTES_MAX, lines=True)
        check_count(self.consistencies, "part: consistencies", 3)
        for inner in (*self.items, *self.consistencies):
            inner.check()
        places = [item.index for item in self.items] + [self.next]
        if places != sorted(set(places)) or self.next > self.head.size:
            raise Malformed("part: its items are not in order below 'next', or 'next' is beyond the head")


_PARTS = Form(list[Part], "not an array of parts")


def encode_page(parts: tuple[Part, ...]) -> bytes:
    """An array of parts, one for each origin, sorted by it."""
    return canonical.encode(sorted(parts, key=lambda part: part.head.origin))


def decode_page(data: bytes) -> tuple[Part, ...]:
    """Raises Malformed or TooLarge."""
    parts = _PARTS.decode(data, PAGE_BYTES_READ_MAX)
    check_count(parts, "page", limits.NODES_MAX)
    for part in parts:
        part.check()
    origins = [part.head.origin for part in parts]
    if origins != sorted(set(origins)):
        raise Malformed("page: its parts are not sorted by origin")
    return tuple(parts)


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
