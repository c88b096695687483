"""Merkle trees for tests: kept in memory, and once more straight from RFC 6962's definition."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.limits import TILE_HASHES
from protocol.merkle import EMPTY_ROOT, Nodes, leaf_hash, node_hash
from protocol.tiles import Tile


def numbered_leaves(count: int) -> list[bytes]:
    """Leaf hashes of the entries "0", "1" and so on."""
    return [leaf_hash(str(number).encode()) for number in range(count)]


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Every complete subtree, by level."""
    rows = [list(leaves)]
    while len(rows[-1]) > 1:
        below = rows[-1]
        rows.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return rows


def memory(leaves: Sequence[bytes], start: int = 0) -> Nodes:
    """The nodes over these leaves; from ``start``, as if the tree began there (an aligned subtree)."""
    rows = levels(leaves)
    return lambda level, index: rows[level][index + (start >> level)]


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """MTH as RFC 6962 §2.1 defines it, split by split."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return node_hash(defined_root(leaves[:split]), defined_root(leaves[split:]))


def tiles_of(leaves: Sequence[bytes]) -> dict[tuple[int, int], Tile]:
    """Every tile over these leaves, by level and index."""
    store: dict[tuple[int, int], Tile] = {}
    counts: list[int] = []
    for leaf in leaves:
        level, digest = 0, leaf
        while digest:
            if level == len(counts):
                counts.append(0)
            tile = store.setdefault((level, counts[level] // TILE_HASHES), Tile())
            counts[level] += 1
            level, digest = level + 1, tile.append(digest) or b""
    return store
