"""The tree of a ledger in memory: the right edge whole, older tiles from the store as they are asked for."""

from __future__ import annotations

from collections import OrderedDict

from broker.errors import LedgerBroken
from broker.storage.contract import NewTile, Storage
from protocol import merkle, tiles
from protocol.limits import TILE_HASHES
from protocol.tiles import Tile

TILES_CACHED_MAX = 256  # of 16 KiB each


class Tree:
    """Grows by leaf hashes; gives roots and paths for any size up to its own."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.node = tiles.nodes(self._tile)
        self._edge: list[Tile] = []  # the tile still growing at each level
        self._full: list[int] = []  # how many tiles of each level are full
        self._cache: OrderedDict[tuple[int, int], Tile] = OrderedDict()
        self._new: list[NewTile] = []
        self.size = 0
        self.reload()

    def reload(self) -> None:
        """Begin again from what is durable: after a start, and after any append that failed.

        All of it or, if it raises, nothing: readers of what was promised go on with what is in memory.
        """
        size = self._storage.size()
        edge: list[Tile] = []
        filled: list[int] = []
        level, hashes = 0, self._storage.leaf_hashes(size - size % TILE_HASHES, size)
        if len(hashes) != size % TILE_HASHES:
            raise LedgerBroken("the store lacks leaf hashes of its newest entries")
        full = size // TILE_HASHES
        while hashes or full:
            edge.append(_tile_of(hashes))
            filled.append(full)
            start = full - full % TILE_HASHES
            hashes = self._storage.tile_roots(level, start)
            if len(hashes) != full - start:
                raise LedgerBroken(f"the store lacks full tiles of level {level}")
            level, full = level + 1, full // TILE_HASHES
        self._edge, self._full, self._new, self.size = edge, filled, [], size
        self._cache.clear()

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash; tiles that it fills are collected for ``take_new_tiles``."""
        self.size += 1
        level, digest = 0, leaf
        while True:
            if level == len(self._edge):
                self._edge.append(Tile())
                self._full.append(0)
            tile = self._edge[level]
            root = tile.append(digest)
            if root is None:
                return
            self._new.append(NewTile(level, self._full[level], tile.data(), root))
            self._keep((level, self._full[level]), tile)
            self._full[level] += 1
            self._edge[level] = Tile()
            level, digest = level + 1, root

    def take_new_tiles(self) -> list[NewTile]:
        """The tiles that became full since the last call, to be stored with their entries."""
        new, self._new = self._new, []
        return new

    def root(self, size: int) -> bytes:
        """The root over the first ``size`` leaves."""
        return merkle.root(size, self.node)

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The path of a leaf in the tree of ``size``."""
        return tuple(merkle.inclusion_path(index, size, self.node))

    def newest_inclusions(self, start: int) -> list[tuple[bytes, ...]]:
        """The paths of all leaves from ``start`` on, in the tree as it is now."""
        return [tuple(path) for path in merkle.inclusion_paths(start, self.size, self.node)]

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """That the tree of ``new`` leaves extends that of ``old``."""
        return tuple(merkle.consistency_path(old, new, self.node))

    def tile_data(self, level: int, index: int, width: int) -> bytes:
        """The first ``width`` hashes of a tile. IndexError where the tree has no such tile."""
        return self._tile(level, index).data(width)

    def _tile(self, level: int, index: int) -> Tile:
        if level >= len(self._edge) or index > self._full[level]:
            msg = f"no tile {index} at level {level}"
            raise IndexError(msg)
        if index == self._full[level]:
            return self._edge[level]
        cached = self._cache.get((level, index))
        if cached is not None:
            self._cache.move_to_end((level, index))
            return cached
        data = self._storage.tile(level, index)
        if data is None:
            raise LedgerBroken(f"the store lacks tile {index} of level {level}")
        return self._keep((level, index), _tile_of([data[at : at + 32] for at in range(0, len(data), 32)]))

    def _keep(self, key: tuple[int, int], tile: Tile) -> Tile:
        self._cache[key] = tile
        if len(self._cache) > TILES_CACHED_MAX:
            self._cache.popitem(last=False)
        return tile


def _tile_of(hashes: list[bytes]) -> Tile:
    tile = Tile()
    for digest in hashes:
        tile.append(digest)
    return tile
