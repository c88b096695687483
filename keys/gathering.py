"""How evidence of a fork comes to be: two signed trees, and the few hash tiles that show what the larger begins with.

Two trees that do not fit are only a suspicion: anybody can send a proof that fails. The tiles of the larger tree, from
whoever serves them, give both the root that it really begins with and the proof that leads from there; where that
root is the smaller tree's own, or the tiles are not that tree's, there is no evidence and nothing more to be said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keys.claims import open_signed, parsed
from keys.exchange import Exchange
from keys.fork import Contradiction, Fork, SignedTree, Trees, check, known_by
from keys.versions import fold
from protocol import limits, merkle, tiles
from protocol.checkpoint import SIZE_MAX, Checkpoint
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.errors import ProtocolError
from protocol.merkle import Nodes
from protocol.note import Note
from protocol.parties import Node
from protocol.tiles import Tile, TilePath

Tiles = Mapping[TilePath, bytes]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two trees of one log that might contradict each other, the smaller first; as they say of themselves."""

    origin: str
    old: SignedTree
    new: str
    old_size: int
    old_root: bytes
    new_size: int
    new_root: bytes

    @classmethod
    def of(cls, one: SignedTree, another: SignedTree) -> Pair | None:
        """In their order; None where they cannot break anything, whatever the entries are.

        That is where both are heads, or the larger one is, or a size is nought, or both are the same tree, or of
        different logs.
        """
        said, other = _said(one), _said(another)
        if said is None or other is None or said.origin != other.origin or said == other:
            return None
        if (said.size, isinstance(one, str), said.root) > (other.size, isinstance(another, str), other.root):
            return cls.of(another, one)
        if not said.size or not isinstance(another, str):
            return None
        return cls(said.origin, one, another, said.size, said.root, other.size, other.root)

    @property
    def trees(self) -> Trees:
        """What evidence of it would be known by."""
        return known_by(self.origin, (self.old_size, self.old_root), (self.new_size, self.new_root))

    def wanted(self) -> list[TilePath]:
        """The hash tiles of the larger tree that tell: a few for each level."""
        return tiles.wanted(self.new_size, self._path_and_root) if self.old_size < self.new_size else []

    def _path_and_root(self, node: Nodes) -> tuple[bytes, tuple[bytes, ...]]:
        path = merkle.consistency_path(self.old_size, self.new_size, node)
        return merkle.root(self.old_size, node), tuple(path)

    def prove(self, got: Tiles, versions: Sequence[Submission], pin: bytes) -> Contradiction | None:
        """What these tiles show, with as many of the directory ``versions`` as say whose keys signed; or nothing.

        Nothing of what is given is believed: what is returned has been checked as its reader will.
        """
        try:
            other_root, proof = self._begins_with(got)
            exchange = fold(self.origin, pin, versions)
            old = _bare(self.old, exchange) if isinstance(self.old, str) else self.old
            fork = Fork(old, _bare(self.new, exchange), other_root, proof, tuple(versions))
            return _shortest(fork, self.origin, pin)
        except (ProtocolError, LookupError):
            return None

    def _begins_with(self, got: Tiles) -> tuple[bytes, tuple[bytes, ...]]:
        """The root of the larger tree at the smaller one's size, and the proof from there."""
        if self.old_size == self.new_size:
            return self.new_root, ()
        held = {(path.level, path.index): Tile.from_data(data) for path, data in got.items()}
        return self._path_and_root(tiles.nodes(lambda level, index: held[level, index]))


def _said(tree: SignedTree) -> Checkpoint | None:
    if isinstance(tree, str):
        return parsed(tree)
    return Checkpoint(tree.origin, tree.size, tree.root) if tree.size <= SIZE_MAX else None


def _bare(note: str, exchange: Exchange) -> str:
    """A checkpoint with the log's own lines and no others: they say all that is to be shown."""
    opened, _ = open_signed(note, exchange)
    return Note(opened.checkpoint.text(), opened.log_lines).encode()


def _shortest(fork: Fork, origin: str, pin: bytes) -> Contradiction | None:
    """With no more versions than are needed, and within bounds; each time the node's keys change is a try."""
    before: Node | None = None
    for count, version in enumerate(fork.versions, 1):
        node = Directory.decode(version.body).by_origin.get(origin)
        if node in {None, before}:
            continue
        before = node
        shorter = Fork(fork.old, fork.new, fork.other_root, fork.proof, fork.versions[:count])
        try:
            shown = check(shorter, pin)
        except ProtocolError:
            continue
        return shown if len(shorter.encode()) <= limits.FORK_BYTES_MAX else None
    return None
