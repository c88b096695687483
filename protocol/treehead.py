"""Tree heads and receipts (SPEC §9.4): a node's promise, under a domain of its own; a checkpoint it is not."""

from __future__ import annotations

from dataclasses import dataclass

from protocol import canonical, limits, merkle, names
from protocol.canonical import Fields, Wire
from protocol.entry import Entry, Link
from protocol.errors import Malformed, ProofFailed
from protocol.pae import Domain, pae
from protocol.record import record
from protocol.signing import Signature


def path_from_wire(value: object) -> tuple[bytes, ...]:
    """A Merkle path: at most 63 hashes."""
    return Fields([value], "path", 1).array("hashes", limits.PROOF_HASHES_MAX, _hash)


def _hash(value: object) -> bytes:
    if type(value) is not bytes or len(value) != canonical.HASH_BYTES:
        raise Malformed("path: a hash is not 32 bytes")
    return value


@dataclass(frozen=True, slots=True)
class TreeHead:
    """Size and root of a ledger after one durable commit, signed by the node's receipt key (suite 1)."""

    exchange: bytes
    origin: str
    size: int
    root: bytes
    time: int
    signature: Signature | None = None

    def message(self) -> bytes:
        """What is signed."""
        head: list[Wire] = [self.exchange, self.origin, self.size, self.root, self.time]
        return pae(Domain.TREE_HEAD, canonical.encode(head))

    def to_wire(self) -> Wire:
        """[exchange, origin, size, root, time, signature]."""
        signature = self.signature.to_wire() if self.signature else None
        return [self.exchange, self.origin, self.size, self.root, self.time, signature]

    @classmethod
    def from_wire(cls, value: object) -> TreeHead:
        """A head from the wire always carries its signature."""
        f = Fields(value, "tree head", 6)
        return cls(
            f.hash("exchange"),
            f.matching("origin", names.origin),
            f.uint("size"),
            f.hash("root"),
            f.uint("time"),
            f.value(Signature.from_wire),
        )


@record
class Receipt:
    """That an entry stands at an index for ever: the rest of its leaf, its path, and the head it leads to.

    ``entry`` is given where the statement was seen before, as its first signatures may differ from those just posted.
    """

    index: int
    time: int
    link: Link | None
    path: tuple[bytes, ...]
    head: TreeHead
    entry: bytes | None = None

    def encode(self) -> bytes:
        """The bytes of a receipt."""
        return canonical.encode(self.to_wire())

    def to_wire(self) -> Wire:
        """[index, time, link, path, head, entry]."""
        link = self.link.to_wire() if self.link else None
        return [self.index, self.time, link, list(self.path), self.head.to_wire(), self.entry]

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """Raises Malformed or TooLarge."""
        return cls.from_wire(canonical.decode(data, bytes_max=2 * limits.ENTRY_BYTES_MAX))

    @classmethod
    def from_wire(cls, value: object) -> Receipt:
        """[index, time, link, path, head, entry]."""
        f = Fields(value, "receipt", 6)
        return cls(
            f.uint("index"),
            f.uint("time"),
            f.optional(Link.from_wire),
            f.value(path_from_wire),
            f.value(TreeHead.from_wire),
            f.optional(_entry_bytes),
        )

    def leaf_of(self, entry: Entry) -> bytes:
        """The leaf hash of ``entry``, or of the first entry of its statement; or ProofFailed.

        It must stand as the receipt says, and the path lead from it to the head's root.
        """
        first = Entry.decode(self.entry) if self.entry is not None else entry
        if (first.kind, first.statement) != (entry.kind, entry.statement):
            raise ProofFailed("the receipt is for another statement")
        if (first.time, first.link) != (self.time, self.link):
            raise ProofFailed("the receipt and its entry have another time or link")
        leaf = first.leaf()
        merkle.verify_inclusion(leaf, self.index, self.head.size, list(self.path), self.head.root)
        return leaf


def _entry_bytes(value: object) -> bytes:
    return Fields([value], "receipt", 1).bytes("entry", limits.ENTRY_BYTES_MAX)
