"""A log that keeps its word and one that does not: two histories under the keys of one node, and what each signs.

``HONEST`` and ``REWRITTEN`` differ in one leaf. The exchange is as small as one can be, so that its directory is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from keys.fork import Fork, SignedTree
from protocol import merkle
from protocol.entry import Submission
from protocol.label import Equivalence
from protocol.merkle import Nodes, leaf_hash
from protocol.policy import PAKISTAN, Policy
from protocol.treehead import TreeHead
from tests.support.operator import ORIGIN, signed_checkpoint
from tests.support.trees import memory, numbered_leaves
from tests.support.world import NOW, World, nation, node, signing_key

SIZE, REWRITTEN_AT = 600, 5


@dataclass(frozen=True)
class History:
    """Leaves, and what the holder of a log's keys signs over the first of them."""

    leaves: tuple[bytes, ...]

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

    @functools.cache  # noqa: B019 - two histories, and a signature that costs
    def checkpoint(self, size: int, time_s: int = NOW // 1000) -> str:
        """As the log signs it."""
        return signed_checkpoint(size, self.root(size), time_s)

    @functools.cache  # noqa: B019 - the same
    def head(self, size: int) -> TreeHead:
        """As the receipt key signs it."""
        head = TreeHead(PIN, ORIGIN, size, self.root(size), NOW)
        return replace(head, signature=signing_key("PK").sign(head.message(), 1))


@functools.cache
def small_world() -> World:
    """One nation, one custodian, one node."""
    one = replace(nation("PK", "PAK", "Pakistan"), authorities=nation("PK", "", "").authorities[:1], threshold=1)
    policy = Policy(Equivalence({"PK": PAKISTAN}), compartments=())
    return World.found(nations=(one,), agencies=(), feeds=(), nodes=(node("PK"),), policy=policy)


PIN = small_world().pin
HONEST = History(tuple(numbered_leaves(SIZE)))
REWRITTEN = History((*HONEST.leaves[:REWRITTEN_AT], leaf_hash(b"rewritten"), *HONEST.leaves[REWRITTEN_AT + 1 :]))


@functools.cache
def versions() -> tuple[Submission, ...]:
    """Version 1, and a second one that changes nothing."""
    second = small_world().with_directory(issued=NOW)
    return small_world().publication("pk-custodian-1"), second.publication("pk-custodian-1")


def fork(old: SignedTree, new: History, size: int, at: int, signed: Sequence[Submission] | None = None) -> Fork:
    """What shows that ``new``'s tree of ``size`` begins with another than ``old``, a tree of ``at`` entries."""
    return Fork(old, new.checkpoint(size), new.root(at), new.proof(at, size), tuple(signed or versions()))
