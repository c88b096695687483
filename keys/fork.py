"""Evidence that a log broke its word, as a file that is checked offline, years later (SPEC §14.4).

A log signs one history. Whoever holds two trees that it signed, where the larger one begins with another tree than the
smaller, can show that to anybody; nobody can make such a file of what an honest log has signed. To believe one we must
find that

(1) the file is of its form, and its first directory is the one that the reader's pin names;
(2) each directory version is signed as the judge asks, on the one before it;
(3) the new tree is a checkpoint that every key of the log has signed, as one of these versions lists them;
(4) the old tree is another such checkpoint, or a tree head of a receipt, signed by the receipt key of the same node;
(5) the old tree has an entry, and is not larger than the new: a receipt that is ahead of a checkpoint breaks nothing;
(6) the proof leads from another root at the old size to the new tree's root, and that root is not the old tree's.

Of two trees of one size the other root is the new tree's own, and the proof is empty. A proof that fails shows nothing
at all: only one that holds, from another root, does.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from keys.claims import check_head, nodes_of, open_signed, parsed
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.versions import fold
from protocol import limits, merkle
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.errors import Malformed, ProofFailed
from protocol.merkle import HASH_BYTES
from protocol.parties import Node
from protocol.statements import DirectoryVersion, Kind
from protocol.strictjson import Json, Members, dumps, loads, unbase64, unhex
from protocol.treehead import TreeHead

TYPE = "khunjerab.fork.v1"
CHECKPOINT, TREE_HEAD = "checkpoint", "tree-head"
_VERSIONS_MAX = 1000
_HEAD_BYTES_MAX = 1024

SignedTree = str | TreeHead  # a checkpoint as the note that it is, or the head of a receipt
Trees = tuple[str, int, bytes, int, bytes]  # origin, size and root of the old, of the new


def is_fork(data: bytes) -> bool:
    """Whether a file says that it is evidence of a fork: its type stands first."""
    return data.startswith(dumps({"type": TYPE}).removesuffix(b"\n}\n"))


@dataclass(frozen=True, slots=True)
class Fork:
    """The file. Nothing here has been verified."""

    old: SignedTree
    new: str
    other_root: bytes  # what the new tree begins with, at the old one's size
    proof: tuple[bytes, ...]  # from there to the new tree
    versions: tuple[Submission, ...]  # of the directory, from 1 on

    def encode(self) -> bytes:
        """The JSON."""
        return dumps(
            {
                "type": TYPE,
                "form": CHECKPOINT if isinstance(self.old, str) else TREE_HEAD,
                "old": self.old if isinstance(self.old, str) else _base64(self.old.encode()),
                "new": self.new,
                "other_root": self.other_root.hex(),
                "proof": [sibling.hex() for sibling in self.proof],
                "directories": [_version_to_json(version) for version in self.versions],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Fork:
        """Raises Malformed or TooLarge."""
        m = Members(loads(data, limits.FORK_BYTES_MAX), "fork")
        m.choice("type", (TYPE,))
        form, old = m.choice("form", (CHECKPOINT, TREE_HEAD)), m.get("old", str)
        fork = cls(
            old if form == CHECKPOINT else _head(old),
            m.get("new", str),
            m.hex("other_root", HASH_BYTES),
            m.array("proof", limits.PROOF_HASHES_MAX, _hash),
            m.array("directories", _VERSIONS_MAX, _version_from_json, at_least=1),
        )
        m.end()
        return fork


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree that was signed, and when, in milliseconds."""

    size: int
    root: bytes
    signed: int


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What a fork shows, once all of it holds."""

    fork: Fork
    pin: bytes
    node: Node  # whose keys signed, as the newest of these versions lists it
    old: Tree
    new: Tree
    exchange: Exchange  # after the directory versions

    @property
    def origin(self) -> str:
        """Of the log that broke its word."""
        return self.node.origin

    @property
    def trees(self) -> Trees:
        """What it is known by: the same pair of trees is the same evidence, whoever packed it."""
        return known_by(self.origin, (self.old.size, self.old.root), (self.new.size, self.new.root))

    def __str__(self) -> str:
        if self.old.size == self.new.size:
            return f"the log signed two trees of {self.old.size} entries: {self.old.root.hex()}, {self.new.root.hex()}"
        return (
            f"the log signed a tree of {self.old.size} entries, {self.old.root.hex()}, and one of {self.new.size} that "
            f"begins with another, {self.fork.other_root.hex()}"
        )


def known_by(origin: str, *trees: tuple[int, bytes]) -> Trees:
    """Two trees, each a size and a root. Of one size none is the older: whichever was met first, they are one pair."""
    (old_size, old_root), (new_size, new_root) = sorted(trees)
    return origin, old_size, old_root, new_size, new_root


def check(fork: Fork, pin: bytes | None) -> Contradiction:
    """What the evidence shows. ``pin`` None takes the exchange's word for itself. Raises ProtocolError."""
    # (1) Whose exchange it is.
    first = Directory.decode(fork.versions[0].body)
    if pin is not None and first.hash != pin:
        raise ProofFailed("it is not of the exchange that the pin names")
    new = parsed(fork.new)
    if new is None:
        raise Malformed("fork: 'new' is no checkpoint")
    # (2) The directory.
    exchange = fold(new.origin, first.hash, fork.versions)
    # (3) The new tree.
    _, signed = open_signed(fork.new, exchange)
    shown = Contradiction(
        fork, first.hash, nodes_of(exchange)[0], _old(fork.old, exchange), Tree(new.size, new.root, signed), exchange
    )
    _require_broken(shown)
    return shown


def _old(signed: SignedTree, exchange: Exchange) -> Tree:
    """(4) The old tree."""
    if isinstance(signed, str):
        opened, time = open_signed(signed, exchange)
        return Tree(opened.checkpoint.size, opened.checkpoint.root, time)
    try:
        check_head(signed, exchange)
    except BadSignature as error:
        raise ProofFailed(error.detail) from error
    return Tree(signed.size, signed.root, signed.time)


def _require_broken(shown: Contradiction) -> None:
    fork, old, new = shown.fork, shown.old, shown.new
    # (5) Sizes.
    if not 0 < old.size <= new.size:
        raise ProofFailed(f"a tree of {old.size} entries beside one of {new.size} breaks nothing")
    if old.size == new.size and isinstance(fork.old, str) and old.root > new.root:
        raise Malformed("fork: of two checkpoints of one size the one with the smaller root stands first")
    # (6) Another root.
    if fork.other_root == old.root:
        raise ProofFailed("the new tree begins with the old one: nothing is broken")
    merkle.verify_consistency(old.size, new.size, fork.proof, fork.other_root, new.root)


# Members of the file


def _version_to_json(version: Submission) -> Json:
    return {
        "statement": _base64(version.statement),
        "signatures": _base64(version.signatures),
        "json": _base64(version.body),
    }


def _version_from_json(value: Any) -> Submission:
    m = Members(value, "fork: directory")
    version = Submission(
        Kind.DIRECTORY,
        _unbase64(m.get("statement", str), limits.ENTRY_BYTES_MAX),
        _unbase64(m.get("signatures", str), limits.ENTRY_BYTES_MAX),
        (),
        _unbase64(m.get("json", str), limits.DIRECTORY_BYTES_MAX),
    )
    m.end()
    DirectoryVersion.decode(version.statement)
    return version


def _head(value: str) -> TreeHead:
    return TreeHead.decode(_unbase64(value, _HEAD_BYTES_MAX), _HEAD_BYTES_MAX)


def _hash(value: Any) -> bytes:
    if type(value) is not str:
        raise Malformed("fork: a hash of the proof is no text")
    return unhex(value, HASH_BYTES, "fork: a hash of the proof")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(value: str, bytes_max: int) -> bytes:
    length = len(value) // 4 * 3 - value[-2:].count("=")
    if length > bytes_max:
        raise Malformed(f"fork: {length} bytes where {bytes_max} are allowed")
    return unbase64(value, length, "fork: a member")
