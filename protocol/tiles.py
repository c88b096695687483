"""Tiles and entry bundles (SPEC §9; C2SP tlog-tiles): a ledger's hashes and entries as files that never change.

Hash i of tile n at tile level l covers the 256**l leaves from (256 n + i) * 256**l. A tile above level 0 holds the
roots of full tiles below, so a partial tile is never hashed upward.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from protocol import limits
from protocol.errors import Malformed, TooLarge
from protocol.merkle import HASH_BYTES, Nodes, fold, node_hash
from protocol.record import Record

WIDTH = limits.TILE_HASHES
HEIGHT = WIDTH.bit_length() - 1  # 8: the levels of the tree in one tile
LEVEL_MAX = 63
_LENGTH_BYTES = 2
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6})([0-9]{3})(?:\.p/([0-9]{1,3}))?")


class Tile:
    """Up to 256 hashes, and above them every inner node that they complete."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows = [bytearray() for _ in range(HEIGHT + 1)]  # row r: the complete subtrees of 2**r hashes

    @classmethod
    def from_data(cls, data: bytes) -> Tile:
        """The tile of 1 to 256 concatenated hashes. Raises Malformed or TooLarge."""
        if len(data) > WIDTH * HASH_BYTES:
            raise TooLarge(f"a tile of {len(data)} bytes")
        if not data or len(data) % HASH_BYTES:
            raise Malformed(f"{len(data)} bytes are no tile: it is one or more hashes of {HASH_BYTES} bytes")
        tile = cls()
        for at in range(0, len(data), HASH_BYTES):
            tile.append(data[at : at + HASH_BYTES])
        return tile

    @property
    def width(self) -> int:
        """How many hashes the tile holds."""
        return len(self._rows[0]) // HASH_BYTES

    def append(self, digest: bytes) -> bytes | None:
        """Add a hash; the tile's root if that made it full."""
        if len(digest) != HASH_BYTES or self.width == WIDTH:
            raise ValueError(f"not a hash of {HASH_BYTES} bytes, or a tile that is full")
        for row, hashes in enumerate(self._rows):
            hashes.extend(digest)
            if row == HEIGHT:
                return digest
            if len(hashes) % (2 * HASH_BYTES):
                break
            digest = node_hash(bytes(hashes[-2 * HASH_BYTES : -HASH_BYTES]), digest)
        return None

    def node(self, row: int, index: int) -> bytes:
        """The hash over the tile's hashes [index * 2**row, (index + 1) * 2**row); IndexError if one is missing."""
        if not (0 <= row <= HEIGHT and 0 <= index < self.width >> row):
            raise IndexError(f"no node {index} in row {row} of a tile of width {self.width}")
        return bytes(self._rows[row][index * HASH_BYTES : (index + 1) * HASH_BYTES])

    def root(self) -> bytes:
        """The hash over all 256; IndexError while the tile is not full."""
        return self.node(HEIGHT, 0)

    def peaks(self) -> list[bytes]:
        """The largest subtrees that the tile's hashes make up, the largest first."""
        width = self.width
        return [self.node(row, (width >> row) - 1) for row in reversed(range(HEIGHT + 1)) if width >> row & 1]

    def data(self, width: int | None = None) -> bytes:
        """The tile's file, or that of the narrower tile it once was."""
        width = self.width if width is None else width
        if not 1 <= width <= self.width:
            raise IndexError(f"no {width} hashes in a tile of width {self.width}")
        return bytes(self._rows[0][: width * HASH_BYTES])


class Edge:
    """A tree that only grows, kept as the tile that grows at each level: its root, and its tiles as they become full.

    It grows by leaves and nothing else, so what comes of it checks nodes and tiles that others have stored.
    """

    def __init__(self) -> None:
        self.size = 0
        self.growing: list[Tile] = []  # by level

    def append(self, leaf: bytes) -> list[Tile]:
        """Add one leaf hash; the tiles that it fills, the lowest level first. Each is a hash one level up."""
        self.size += 1
        filled: list[Tile] = []
        digest: bytes | None = leaf
        while digest is not None:
            level = len(filled)
            if level == len(self.growing):
                self.growing.append(Tile())
            tile = self.growing[level]
            digest = tile.append(digest)
            if digest is not None:
                filled.append(tile)
                self.growing[level] = Tile()
        return filled

    def full(self, level: int) -> int:
        """How many tiles of a level are full."""
        return self.size >> (HEIGHT * (level + 1))

    def root(self) -> bytes:
        """The root of all leaves appended so far."""
        return fold([peak for tile in reversed(self.growing) for peak in tile.peaks()])


def nodes(tile: Callable[[int, int], Tile]) -> Nodes:
    """The complete subtrees of a tree whose tiles ``tile`` finds by tile level and index."""

    def node(level: int, index: int) -> bytes:
        tile_level, row = divmod(level, HEIGHT)
        tile_index, within = divmod(index, WIDTH >> row)
        return tile(tile_level, tile_index).node(row, within)

    return node


def partial_width(size: int, level: int, tile_index: int) -> int:
    """How many hashes this tile has in a tree of ``size`` leaves: 256 if full, 0 if there is no such tile."""
    return min(WIDTH, max(0, (size >> (HEIGHT * level)) - tile_index * WIDTH))


def tiles_for(size: int) -> Iterator[tuple[int, int, int]]:
    """Level, index and width of every hash tile of a tree of ``size`` leaves."""
    level = 0
    while hashes := size >> (HEIGHT * level):
        for index in range((hashes + WIDTH - 1) // WIDTH):
            yield level, index, partial_width(size, level, index)
        level += 1


class TilePath(Record):
    """What a request names: a hash tile, or with ``level`` None an entry bundle."""

    level: int | None
    index: int
    width: int


def wanted(size: int, act: Callable[[Nodes], object]) -> list[TilePath]:
    """The hash tiles of a tree of ``size`` leaves that hold the nodes which ``act`` asks for, each once."""
    found: dict[tuple[int, int], None] = {}

    def node(level: int, index: int) -> bytes:
        tile_level, row = divmod(level, HEIGHT)
        found[tile_level, index // (WIDTH >> row)] = None
        return bytes(HASH_BYTES)

    act(node)
    return [TilePath(level, index, partial_width(size, level, index)) for level, index in found]


def tile_path(level: int | None, index: int, width: int) -> str:
    """``tile/1/x001/x234/067.p/8``: below a log's prefix; no ``.p`` for a full tile, ``entries`` for level None."""
    if not (0 <= (level or 0) <= LEVEL_MAX and 0 <= index < 1000**7 and 1 <= width <= WIDTH):
        raise ValueError(f"no tile {index} of width {width} at level {level}")
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    partial = f".p/{width}" if width < WIDTH else ""
    return f"tile/{'entries' if level is None else level}/{'/'.join(groups)}{partial}"


def bundle_path(index: int, width: int) -> str:
    """Where an entry bundle lies."""
    return tile_path(None, index, width)


def parse_tile_path(path: str) -> TilePath:
    """What ``tile_path`` made the path from. Raises Malformed for every other path."""
    match = _PATH.fullmatch(path)
    if not match:
        raise Malformed("not the path of a tile")
    level, upper, lower, width = match.groups()
    index = int(re.sub("[x/]", "", upper) + lower)
    parsed = TilePath(None if level == "entries" else int(level), index, WIDTH if width is None else int(width))
    if (parsed.level or 0) > LEVEL_MAX or not 1 <= parsed.width <= WIDTH:
        raise Malformed("no tile has this level or width")
    if tile_path(parsed.level, parsed.index, parsed.width) != path:
        raise Malformed("the path of a tile, with zeros or a width that do not belong there")
    return parsed


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The file of an entry bundle: each entry behind its length."""
    if not 1 <= len(entries) <= WIDTH or any(len(entry) > limits.ENTRY_BYTES_MAX for entry in entries):
        raise ValueError(f"not 1 to {WIDTH} entries of at most {limits.ENTRY_BYTES_MAX} bytes")
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The ``width`` entries of a bundle. Raises Malformed if it does not hold exactly those."""
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < width:
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        entries.append(data[start:at])
    if not 1 <= width <= WIDTH or at != len(data) or len(entries) != width:
        raise Malformed(f"not a bundle of {width} entries")
    return entries
