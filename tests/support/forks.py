"""A log that keeps its word and one that does not: two histories under the keys of one node, and what each signs.

``HONEST`` and ``REWRITTEN`` differ in one leaf. The exchange is as small as one can be, so that its directory is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from keys.fork import Fork, SignedTree
from keys.gathering import Pair
from protocol import merkle
from protocol.checkpoint import Checkpoint
from protocol.entry import Submission
from protocol.label import Equivalence
from protocol.merkle import Nodes, leaf_hash
from protocol.note import Note
from protocol.policy import PAKISTAN, Policy
from protocol.tiles import TilePath
from protocol.treehead import TreeHead
from tests.support.altering import replace
from tests.support.trees import memory, numbered_leaves, tiles_of
from tests.support.world import NOW, ORIGINS, World, nation, node, node_keys, signing_key

SIZE, REWRITTEN_AT = 600, 5


@dataclass(frozen=True)
class History:
    """Leaves, and what the holder of a node's keys signs over the first of them."""

    leaves: tuple[bytes, ...]
    nation: str = "PK"
    pin: bytes = b""  # of another exchange than the small one

    @functools.cached_property
    def nodes(self) -> Nodes:
        """The complete subtrees."""
        return memory(self.leaves)

    def root(self, size: int) -> bytes:
        """The root over the first ``size``."""
        return merkle.root(size, self.nodes)

    def proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """That one of its trees extends another."""
        return tuple(merkle.consistency_path(old, new, self.nodes))

    @functools.cache  # noqa: B019 - a few histories, and a signature that costs
    def checkpoint(self, size: int, time_s: int = NOW // 1000) -> str:
        """As the log signs it."""
        checkpoint = Checkpoint(ORIGINS[self.nation], size, self.root(size))
        return Note(checkpoint.text(), tuple(node_keys(self.nation).log.lines(checkpoint, time_s))).encode()

    @functools.cache  # noqa: B019 - the same
    def head(self, size: int) -> TreeHead:
        """As the receipt key signs it."""
        head = TreeHead(self.pin or PIN, ORIGINS[self.nation], size, self.root(size), NOW)
        return replace(head, signature=signing_key(self.nation).sign(head.message(), 1))


@functools.cache
def small_world() -> World:
    """One nation, one custodian, one node."""
    one = replace(nation("PK", "PAK", "Pakistan"), authorities=nation("PK", "", "").authorities[:1], threshold=1)
    policy = Policy(Equivalence({"PK": PAKISTAN}), compartments=())
    return World.found(nations=(one,), agencies=(), feeds=(), nodes=(node("PK"),), policy=policy)


def honest(nation: str = "PK", pin: bytes = b"") -> History:
    """What a node signed first."""
    return History(tuple(numbered_leaves(SIZE)), nation, pin)


def rewritten(before: History) -> History:
    """The same with one leaf altered."""
    return replace(
        before, leaves=(*before.leaves[:REWRITTEN_AT], leaf_hash(b"rewritten"), *before.leaves[REWRITTEN_AT + 1 :])
    )


PIN = small_world().pin
HONEST = honest()
REWRITTEN = rewritten(HONEST)


@functools.cache
def versions() -> tuple[Submission, ...]:
    """Version 1, and a second one that changes nothing."""
    second = small_world().with_directory(issued=NOW)
    return small_world().publication("pk-custodian-1"), second.publication("pk-custodian-1")


def fork(old: SignedTree, new: History, size: int, at: int, signed: Sequence[Submission] | None = None) -> Fork:
    """What shows that ``new``'s tree of ``size`` begins with another than ``old``, a tree of ``at`` entries."""
    return Fork(old, new.checkpoint(size), new.root(at), new.proof(at, size), tuple(signed or versions()))


def tiles_for(pair: Pair, history: History) -> dict[TilePath, bytes]:
    """What a node with this history answers to whoever gathers evidence; less where it has less."""
    held = tiles_of(history.leaves)
    found = {}
    for path in pair.wanted():
        tile = held.get((path.level or 0, path.index))
        if tile is not None and tile.width >= path.width:
            found[path] = tile.data(path.width)
    return found
