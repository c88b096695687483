"""Tree heads and receipts (SPEC §9.4): a node's promise, under a domain of its own; a checkpoint it is not."""

from __future__ import annotations

from protocol import canonical, limits, merkle, names
from protocol.canonical import Hash, Time, Uint
from protocol.entry import Entry, Link
from protocol.errors import Malformed, ProofFailed, TooLarge
from protocol.pae import Domain, pae
from protocol.record import WireRecord
from protocol.signing import Signature

Path = tuple[Hash, ...]  # a Merkle path, the leaf's sibling first


def check_path(path: Path) -> None:
    """Raise TooLarge where a path is longer than any tree is high."""
    canonical.check_count(path, "path", limits.PROOF_HASHES_MAX)


class TreeHead(WireRecord):
    """Size and root of a ledger after one durable commit, signed by the node's receipt key (suite 1)."""

    exchange: Hash
    origin: str
    size: Uint
    root: Hash
    time: Time
    signature: Signature | None = None

    def message(self) -> bytes:
        """What is signed."""
        return pae(Domain.TREE_HEAD, canonical.encode([self.exchange, self.origin, self.size, self.root, self.time]))

    def check(self) -> None:
        """A head from the wire always carries its signature."""
        names.origin(self.origin)
        if self.signature is None:
            raise Malformed("tree head: it is not signed")


class BareReceipt(WireRecord):
    """A receipt without its head, where many share one (SPEC §11.7)."""

    index: Uint
    time: Time
    link: Link | None
    path: Path
    entry: bytes | None = None

    def check(self) -> None:
        """SPEC §9.4.2."""
        if self.link is not None:
            self.link.check()
        check_path(self.path)
        if self.entry is not None and len(self.entry) > limits.ENTRY_BYTES_MAX:
            raise TooLarge(f"receipt: its entry is over {limits.ENTRY_BYTES_MAX} bytes")

    def under(self, head: TreeHead) -> Receipt:
        """The whole receipt."""
        return Receipt(self.index, self.time, self.link, self.path, head, self.entry)


class Receipt(WireRecord):
    """That an entry stands at an index for ever: the rest of its leaf, its path, and the head it leads to.

    ``entry`` is given where the statement was seen before, as its first signatures may differ from those just posted.
    """

    index: Uint
    time: Time
    link: Link | None
    path: Path
    head: TreeHead
    entry: bytes | None = None

    @classmethod
    def decode(cls, data: bytes, bytes_max: int = 2 * limits.ENTRY_BYTES_MAX) -> Receipt:
        """Raises Malformed or TooLarge."""
        return super().decode(data, bytes_max)

    def check(self) -> None:
        """SPEC §9.4.2."""
        self.bare.check()
        self.head.check()

    @property
    def bare(self) -> BareReceipt:
        """All but the head."""
        return BareReceipt(self.index, self.time, self.link, self.path, self.entry)

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
