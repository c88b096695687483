"""What a client believes of a ledger, and why: every page verified in a numbered order (SPEC §11.3).

To take a page a client checks (1) the head's signature; (2) that its own tree, the checkpoint and the head are one
history; (3) each entry's path; (4) its governance link; (5) the judge's verdict and signatures; (6) that its wrap
opens; (7) the count of bulletins sent to it; (8) the body. The first five are here and make an entry believed; (6) to
(8) belong to what is sealed and are ``clients/opening.py``'s. Delivery never waits for a cosignature.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

from clients.errors import Tampering
from clients.state import State, Verified
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.judge import NOT_SENT_TO_ME, First, NotSentToMe
from keys.lognote import open_checkpoint
from keys.replay import Replay, Step
from keys.signing import SignatureCheck, verify_all
from protocol import merkle
from protocol.canonical import UINT_MAX
from protocol.checkpoint import Checkpoint
from protocol.entry import Entry
from protocol.errors import ProofFailed, ProtocolError
from protocol.page import Consistency, Item, Part
from protocol.record import Record
from protocol.statements import GOVERNANCE, Kind, statement_hash
from protocol.treehead import TreeHead


class Believed(Record):
    """An entry that passed (1) to (5), or one that the judge refuses: ``step.faults`` then says why."""

    item: Item
    entry: Entry
    leaf: bytes
    step: Step


class ClientLookup:
    """The judge's lookup in a home: it holds what was sent to it, and says so of the rest."""

    def __init__(self, state: State, origin: str, below: int = UINT_MAX) -> None:
        self._state, self._origin, self._below = state, origin, below
        self.arriving: dict[bytes, bytes] = {}  # directory JSON of the page at hand

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """Only bulletins held here are known."""
        named = self._state.bulletins("sender = ? AND id = ?", sender, bulletin_id)
        here = [held for held in named if held.origin == self._origin and held.index < self._below]
        if not here:
            return None
        return First(here[0].index, statement_hash(Kind.BULLETIN, Entry.decode(here[0].entry).statement))

    def seen(self, digest: bytes) -> int | None:
        """A client does not keep every statement; a repeated one changes nothing for it."""
        del digest
        return None

    def entry(self, index: int) -> Entry | NotSentToMe | None:
        """A bulletin held here, or one that was not sent here."""
        held = self._state.bulletin_at(self._origin, index) if index < self._below else None
        return Entry.decode(held.entry) if held else NOT_SENT_TO_ME

    def directory(self, sha256: bytes) -> bytes | None:
        """From the page, else from what was kept."""
        return self.arriving.get(sha256) or self._state.governance_body(self._origin, sha256)


class Replica:
    """One ledger as this home knows it. Opens from what was kept; ``take`` verifies a page's part."""

    def __init__(self, state: State, origin: str, pin: bytes, verified: Verified | None = None) -> None:
        """As far as ``state`` has verified it, or only as far as ``verified``: a point that it was at before."""
        self._state, self.origin, self.pin = state, origin, pin
        self.verified = verified or state.verified(origin)
        self.lookup = ClientLookup(state, origin, verified.next if verified else UINT_MAX)
        self._replay = Replay(Exchange(origin, pin))
        for index, data in state.governance(origin):
            if index < self.verified.next:
                self._replay.step(index, data, self.lookup)
        self._replay.time = max(self._replay.time, self.verified.time)

    @property
    def exchange(self) -> Exchange:
        """Governance as far as it is verified."""
        return self._replay.exchange

    def take(self, part: Part) -> list[Believed]:
        """Verify a part whole and return its entries; raises Tampering at the first thing that does not hold.

        Nothing is kept here: the caller stores entries and ``verified`` in one transaction, then goes on.
        """
        self.lookup.arriving = {_sha256(item.body): item.body for item in part.items if item.body is not None}
        first_contact = self.exchange.directory is None
        if not first_contact:
            self._check_head(part.head)  # (1)
        checkpoint = self._check_history(part)  # (2)
        believed = []
        for item in part.items:
            leaf = self._check_path(item, part.head)  # (3)
            believed.append(self._step(item, leaf))  # (4) (5)
        if first_contact:  # who may sign heads is known only now; nothing has been kept yet
            self._check_head(part.head)
        if checkpoint is not None:
            self._check_checkpoint(part.checkpoint)
        if part.next < self.verified.next or part.next > part.head.size:
            raise self._tampering("cursor", f"the node moves the cursor to {part.next}")
        self.verified = self.verified.replace(
            size=part.head.size,
            root=part.head.root,
            next=part.next,
            checkpoint=part.checkpoint or self.verified.checkpoint,
            time=self._replay.time,
        )
        return believed

    def _check_head(self, head: TreeHead) -> None:
        node = self.exchange.in_force.by_origin.get(self.origin)
        if head.exchange != self.pin or head.origin != self.origin or node is None or head.signature is None:
            raise self._tampering("tree-head", "the head is of another ledger, or its node is not in the directory")
        if head.signature.key_id != node.receipt.key_id:
            raise self._tampering("tree-head", "the head is not signed by the node's receipt key")
        try:
            SignatureCheck(node.receipt, head.message(), head.signature, 1).verify()
        except BadSignature as error:
            raise self._tampering("tree-head", "the head's signature does not verify") from error

    def _check_history(self, part: Part) -> Checkpoint | None:
        """(2) By size: what is known, the checkpoint, the head; each extends the one before."""
        if part.head.size < self.verified.size:
            raise self._tampering("consistency", f"the ledger shrank from {self.verified.size} to {part.head.size}")
        return self._check_joined(part, {self.verified.size: self.verified.root} if self.verified.size else {})

    def _check_joined(self, part: Part, trees: dict[int, bytes]) -> Checkpoint | None:
        checkpoint = None
        try:
            if part.checkpoint:
                checkpoint = checkpoint_of(part.checkpoint)
                self._add_tree(trees, checkpoint.size, checkpoint.root)
            self._add_tree(trees, part.head.size, part.head.root)
            sizes = sorted(size for size in trees if size)
            _check_joints(part.consistencies, sizes, trees)
        except ProtocolError as error:
            raise self._tampering("consistency", error.detail) from error
        if checkpoint is not None and checkpoint.origin != self.origin:
            raise self._tampering("consistency", f"the checkpoint is of {checkpoint.origin}")
        return checkpoint

    def _add_tree(self, trees: dict[int, bytes], size: int, root: bytes) -> None:
        if trees.setdefault(size, root) != root:
            raise self._tampering("consistency", f"there are two trees of {size} entries")

    def _check_checkpoint(self, note: str) -> None:
        node = self.exchange.in_force.by_origin[self.origin]
        try:
            open_checkpoint(note, node.log)
        except ProtocolError as error:
            raise self._tampering("checkpoint", error.detail) from error

    def _check_path(self, item: Item, head: TreeHead) -> bytes:
        leaf = merkle.leaf_hash(item.entry)
        try:
            merkle.verify_inclusion(leaf, item.index, head.size, list(item.path), head.root)
        except ProtocolError as error:
            raise self._tampering("inclusion", error.detail, item.index) from error
        if item.index < self.verified.next:
            raise self._tampering("cursor", f"entry {item.index} comes again", item.index)
        return leaf

    def _step(self, item: Item, leaf: bytes) -> Believed:
        step = self._replay.step(item.index, item.entry, self.lookup)
        if step.entry is None:
            raise self._tampering("entry-form", step.faults[0].found, item.index)
        for fault in step.faults:
            if fault.check in {"governance-link", "directory-missing"}:  # a page that hides governance is no page
                raise self._tampering(fault.check, f"expected {fault.expected}, found {fault.found}", item.index)
        if step.entry.kind in GOVERNANCE and step.faults and self.exchange.directory is None:
            raise self._tampering(step.faults[0].check, step.faults[0].found, item.index)
        try:
            verify_all(step.owed)
        except BadSignature as error:
            raise self._tampering("bad-signature", error.detail, item.index) from error
        return Believed(item, step.entry, leaf, step)

    def check_signed(self, head: TreeHead) -> None:
        """That the node in the directory signed a head; whether it is one history with ours shows at the next page."""
        self._check_head(head)

    def extends(self, head: TreeHead, part: Part) -> bool:
        """Whether a page asked for with ``known=head.size`` shows that the verified tree extends ``head``.

        False where the page leads to another tree than the one verified here, as the ledger grew meanwhile: ask again.
        Raises Tampering where it shows that it does not.
        """
        self._check_head(part.head)
        checkpoint = self._check_joined(part, {head.size: head.root})
        known = [(self.verified.size, self.verified.root)]
        if self.verified.checkpoint:
            newest = checkpoint_of(self.verified.checkpoint)
            known.append((newest.size, newest.root))
        shown = [(part.head.size, part.head.root)] + ([(checkpoint.size, checkpoint.root)] if checkpoint else [])
        return any(size >= head.size and (size, root) in known for size, root in shown)

    def _tampering(self, check: str, detail: str, index: int | None = None) -> Tampering:
        return Tampering(check, detail, self.origin, index)


def checkpoint_of(note: str) -> Checkpoint:
    """What a signed note says; its signatures are another matter. Raises ProtocolError."""
    return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")


def _check_joints(joints: Sequence[Consistency], sizes: Sequence[int], trees: dict[int, bytes]) -> None:
    """The proofs are those that join these sizes, one after the other."""
    if [(joint.old, joint.new) for joint in joints] != list(itertools.pairwise(sizes)):
        raise ProofFailed("the consistency proofs do not join the sizes that are known, signed and shown")
    for joint in joints:
        merkle.verify_consistency(joint.old, joint.new, list(joint.path), trees[joint.old], trees[joint.new])


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
