"""The Merkle tree of a ledger (SPEC §9; RFC 6962 §2.1, whose proofs RFC 9162 §2.1 tells how to check).

The tree over n leaves splits at the largest power of two below n, so it consists of complete subtrees that never change
once they are full. ``Nodes`` hands those out, from memory, tiles or a test; nothing here keeps any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import reduce

from protocol.errors import ProofFailed

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()

# (level, index) -> hash of the complete subtree over the leaves [index * 2**level, (index + 1) * 2**level)
Nodes = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """The hash of one entry."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node; the prefix keeps it apart from every leaf."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(size: int, nodes: Nodes) -> bytes:
    """The root of the tree over the first ``size`` leaves."""
    return _range_hash(0, size, nodes) if size else EMPTY_ROOT


def inclusion_path(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """What leads from the leaf at ``index`` to the root of ``size`` leaves, the leaf's sibling first."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    low, high, siblings = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            siblings.append((middle, high))
            high = middle
        else:
            siblings.append((low, middle))
            low = middle
    return [_range_hash(*sibling, nodes) for sibling in reversed(siblings)]


def inclusion_paths(start: int, size: int, nodes: Nodes) -> list[list[bytes]]:
    """The paths of the newest leaves [start, size): what they share is found once."""
    if not 0 <= start <= size:
        raise ValueError(f"no leaf {start} in a tree of {size}")
    paths: list[list[bytes]] = []

    def descend(low: int, high: int, above: list[bytes]) -> None:
        """Every path through the subtree over [low, high), whose own begins with ``above``, its sibling first."""
        if high - low == 1:
            paths.append(above)
            return
        middle = low + _split(high - low)
        if start < middle:
            descend(low, middle, [_range_hash(middle, high, nodes), *above])
        descend(middle, high, [_range_hash(low, middle, nodes), *above])

    if start < size:
        descend(0, size, [])
    return paths


def consistency_path(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """What shows that the tree over ``new`` leaves begins with the ``old`` ones; empty if ``old`` is 0 or ``new``."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not extend one of {old}")
    return subtree_consistency_path(0, old, new, nodes) if old else []


def subtree_consistency_path(start: int, end: int, size: int, nodes: Nodes) -> list[bytes]:
    """What shows that the subtree over [start, end) is in the tree over ``size`` leaves (C2SP tlog-mirror).

    A subtree that starts at 0 is an older tree, which makes this RFC 6962's consistency proof. ``start`` is a multiple
    of the power of two at or above ``end - start``.
    """
    low, high, known, others = 0, size, start, []
    while (known, end) != (low, high):
        middle = low + _split(high - low)
        if end <= middle:
            others.append((middle, high))
            high = middle
        else:
            others.append((low, middle))
            low, known = middle, max(known, middle)
    if known != start:  # the verifier knows [start, end) as a whole, and not this last piece of it
        others.append((low, high))
    return [_range_hash(*other, nodes) for other in reversed(others)]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise ProofFailed unless ``path`` leads from ``leaf`` at ``index`` to ``root`` (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofFailed(f"no leaf {index} in a tree of {size}")
    _check_lengths(path)
    fn, sn, computed = index, size - 1, leaf
    for sibling in path:
        if sn == 0:
            raise ProofFailed("the inclusion path is too long")
        if fn & 1 or fn == sn:
            computed = node_hash(sibling, computed)
            fn, sn = _skip_border(fn, sn)
        else:
            computed = node_hash(computed, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofFailed("the inclusion path is too short")
    if computed != root:
        raise ProofFailed("the inclusion path does not lead to the root")


def root_before(index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root over the leaves before ``index``, by an inclusion path that holds: all their peaks are on it."""
    fn, sn, peaks = index, size - 1, list[bytes]()
    for sibling in path:
        if fn & 1 or fn == sn:
            peaks.append(sibling)
            fn, sn = _skip_border(fn, sn)
        fn, sn = fn >> 1, sn >> 1
    return fold(peaks[::-1])


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raise ProofFailed unless the tree of ``new`` leaves begins with that of ``old`` (RFC 9162 §2.1.4.2).

    Every tree extends the empty one: from 0 there is nothing to prove, so a path is refused, and so is any old root but
    the empty tree's.
    """
    if not 0 <= old <= new:
        raise ProofFailed(f"a tree of {new} leaves does not extend one of {old}")
    if old in {0, new}:
        _verify_trivial(old, new, path, old_root, new_root)
        return
    _check_lengths(path)
    trail = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not path:
        raise ProofFailed("the consistency path is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    computed_old = computed_new = trail[0]
    for sibling in trail[1:]:
        if sn == 0:
            raise ProofFailed("the consistency path is too long")
        if fn & 1 or fn == sn:
            computed_old = node_hash(sibling, computed_old)
            computed_new = node_hash(sibling, computed_new)
            fn, sn = _skip_border(fn, sn)
        else:
            computed_new = node_hash(computed_new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofFailed("the consistency path is too short")
    if computed_old != old_root:
        raise ProofFailed("the consistency path does not lead to the old root")
    if computed_new != new_root:
        raise ProofFailed("the consistency path does not lead to the new root")


class Frontier:
    """A tree that only grows, kept as its complete subtrees: one hash an append on average, at most 64 hashes held.

    It grows by leaves and nothing else, neither nodes nor tiles, so its root checks theirs.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # largest first

    @classmethod
    def of(cls, size: int, nodes: Nodes) -> Frontier:
        """The frontier of a tree that exists: a start that does not read every leaf again."""
        frontier = cls()
        frontier.size = size
        frontier._peaks = [
            nodes(level, (size >> level) - 1) for level in reversed(range(size.bit_length())) if size >> level & 1
        ]
        return frontier

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        full = self.size
        while full & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            full >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of all leaves appended so far."""
        return fold(self._peaks)

    def copy(self) -> Frontier:
        """A frontier of the same leaves that grows on its own."""
        other = Frontier()
        other.size, other._peaks = self.size, self._peaks.copy()
        return other

    __copy__ = copy


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_hash(low: int, high: int, nodes: Nodes) -> bytes:
    """The hash over the leaves [low, high), where ``low`` is aligned as in every subtree of a tree."""
    peaks = []
    while low < high:
        level = (high - low).bit_length() - 1
        peaks.append(nodes(level, low >> level))
        low += 1 << level
    return fold(peaks)


def fold(peaks: Sequence[bytes]) -> bytes:
    """One root over complete subtrees, the largest first; over none, that of the empty tree."""
    return reduce(lambda right, left: node_hash(left, right), reversed(peaks)) if peaks else EMPTY_ROOT


def _skip_border(fn: int, sn: int) -> tuple[int, int]:
    """Climb while the node is the last of its level, without a sibling to hash with."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _check_lengths(path: Sequence[bytes]) -> None:
    if any(len(sibling) != HASH_BYTES for sibling in path):
        raise ProofFailed("a hash of the path is not 32 bytes")


def _verify_trivial(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    if path:
        raise ProofFailed("a path where there is nothing to prove")
    if old == new and old_root != new_root:
        raise ProofFailed("two roots for one size")
    if old == 0 and old_root != EMPTY_ROOT:
        raise ProofFailed("not the root of the empty tree")
