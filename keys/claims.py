"""What others hold against a ledger: its published checkpoint, earlier ones, receipts that clients kept (SPEC §14.2).

The sizes they speak of are known before the entries are read, so one pass over the entries answers all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.finding import Finding
from keys.lognote import OpenedCheckpoint, open_checkpoint
from keys.signing import SignatureCheck
from protocol import limits, merkle
from protocol.checkpoint import Checkpoint, split_timestamped
from protocol.entry import Entry
from protocol.errors import ProofFailed, ProtocolError
from protocol.note import COSIGNATURE_MLDSA44, Note, VerifierKey
from protocol.parties import Node
from protocol.tlogpolicy import Policy
from protocol.treehead import Receipt, TreeHead

SKEW_MS = limits.CLOCK_SKEW_SECONDS_MAX * 1000


@dataclass(frozen=True, slots=True)
class Claims:
    """All that is held against one ledger. Nothing in it is believed before it is verified."""

    published: str = ""  # the checkpoint that the ledger shows now
    earlier: tuple[str, ...] = ()  # checkpoints kept from before, or handed over
    receipts: tuple[Receipt, ...] = ()
    policy: Policy | None = None  # whose cosignatures are asked for

    def sizes(self) -> Iterator[int]:
        """Every tree size that one of them speaks of."""
        for note in (self.published, *self.earlier):
            checkpoint = parsed(note)
            if checkpoint is not None:
                yield checkpoint.size
        yield from (receipt.head.size for receipt in self.receipts)

    def indexes(self) -> Iterator[int]:
        """Every entry that a receipt speaks of."""
        yield from (receipt.index for receipt in self.receipts)


def parsed(note: str) -> Checkpoint | None:
    """The checkpoint that a note claims to be; None where it is none."""
    try:
        return Checkpoint.parse(Note.parse(note).text)
    except ProtocolError:
        return None


def nodes_of(exchange: Exchange) -> list[Node]:
    """The node of a ledger as each directory version lists it, the newest first."""
    versions = sorted(exchange.versions.values(), key=lambda version: version.version, reverse=True)
    return list(dict.fromkeys(v.by_origin[exchange.origin] for v in versions if exchange.origin in v.by_origin))


def cosigners_of(exchange: Exchange) -> list[VerifierKey]:
    """The cosigner keys of every other node in any directory version."""
    nodes = [node for version in exchange.versions.values() for node in version.nodes if node.origin != exchange.origin]
    return list(dict.fromkeys(key for node in nodes for key in node.cosigner))


def open_signed(note: str, exchange: Exchange, cosigners: Sequence[VerifierKey] = ()) -> tuple[OpenedCheckpoint, int]:
    """A checkpoint that both keys of the log signed, as some directory version lists them, and when, in milliseconds.

    Raises ProtocolError.
    """
    failure: ProtocolError = ProofFailed("no directory version lists this log")
    for node in nodes_of(exchange):
        try:
            opened = open_checkpoint(note, node.log, cosigners)
        except ProtocolError as error:
            failure = error
            continue
        stamped = {key.key_id for key in node.log if key.type == COSIGNATURE_MLDSA44}
        seconds = [split_timestamped(line.signature)[0] for line in opened.log_lines if line.key_id in stamped]
        return opened, max(seconds, default=0) * 1000
    raise failure


def check_head(head: TreeHead, exchange: Exchange) -> None:
    """That the receipt key signed it which some directory version lists. Raises ProofFailed, BadSignature."""
    signer = head.signature.key_id if head.signature else b""
    key = next((node.receipt for node in nodes_of(exchange) if node.receipt.key_id == signer), None)
    if key is None or head.signature is None or (head.exchange, head.origin) != (exchange.pin, exchange.origin):
        raise ProofFailed("its head is not signed by this node's receipt key")
    SignatureCheck(key, head.message(), head.signature, 1).verify()


@dataclass(slots=True)
class Derived:
    """What the entries themselves say, at the sizes and indexes that were asked for."""

    origin: str
    size: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)  # by tree size
    leaves: dict[int, bytes] = field(default_factory=dict)  # by index
    times: dict[int, int] = field(default_factory=dict)  # admission times, by index


class Hearing:
    """Confronts claims with what was derived; ``findings``, ``warnings`` and ``missing`` are what comes of it."""

    def __init__(self, derived: Derived, exchange: Exchange, claims: Claims) -> None:
        self._derived, self._exchange, self._claims = derived, exchange, claims
        self._origin = derived.origin
        self._published_ms = 0
        self.opened: OpenedCheckpoint | None = None
        self.findings: list[Finding] = []
        self.warnings: list[str] = []
        self.missing: list[str] = []

    def hear(self) -> None:
        """Everything, the published checkpoint first."""
        if self._claims.published:
            self._hear_published(self._claims.published)
        for note in dict.fromkeys(self._claims.earlier):
            self._hear_earlier(note)
        for receipt in self._claims.receipts:
            self._hear_receipt(receipt)

    def _find(self, index: int | None, check: str, expected: str, found: str) -> None:
        self.findings.append(Finding(self._origin, index, check, expected, found))

    def _hear_published(self, note: str) -> None:
        try:
            self.opened, self._published_ms = open_signed(note, self._exchange)
        except ProtocolError as error:
            self._find(None, "checkpoint", "a checkpoint signed by both keys of the log", error.detail)
            return
        checkpoint = self.opened.checkpoint
        root = self._derived.roots.get(checkpoint.size)
        if root != checkpoint.root:
            found = root.hex() if root else f"{self._derived.size} entries"
            self._find(
                checkpoint.size - 1, "root", f"root {checkpoint.root.hex()} over {checkpoint.size} entries", found
            )
        self._check_times(checkpoint.size, self._published_ms)
        self._check_cosignatures(note)

    def _check_times(self, size: int, signed_ms: int) -> None:
        """Entries below a checkpoint were admitted before it was signed, those beyond it after, within the skew."""
        before, after = self._derived.times.get(size - 1), self._derived.times.get(size)
        if before is not None and before > signed_ms + SKEW_MS:
            self._find(size - 1, "time-ahead", f"a time of at most {signed_ms + SKEW_MS}", str(before))
        if after is not None and after < signed_ms - SKEW_MS:
            self._find(size, "backdated", f"a time of at least {signed_ms - SKEW_MS}", str(after))

    def _check_cosignatures(self, note: str) -> None:
        policy = self._claims.policy
        keys = dict.fromkeys([*cosigners_of(self._exchange), *(policy.witness_keys() if policy else [])])
        try:
            self.opened, _ = open_signed(note, self._exchange, list(keys))
        except ProtocolError as error:
            self._find(None, "cosignature", "cosignatures that verify", error.detail)
            return
        if policy is not None and not policy.satisfied_by(self.opened.cosigners):
            self.missing.append(f"{self._origin}: the checkpoint is not witnessed as the policy asks")

    def _hear_earlier(self, note: str) -> None:
        claimed = parsed(note)
        if claimed is not None and claimed.origin != self._origin:
            return
        try:
            opened, signed_ms = open_signed(note, self._exchange)
        except ProtocolError as error:
            self.warnings.append(f"{self._origin}: a checkpoint handed over proves nothing: {error.detail}")
            return
        checkpoint, size = opened.checkpoint, self._derived.size
        root = self._derived.roots.get(checkpoint.size)
        if checkpoint.size > size:
            self._find(size, "truncated", f"the {checkpoint.size} entries that the log signed", f"{size} entries")
        elif root != checkpoint.root:
            expected = f"root {checkpoint.root.hex()} over {checkpoint.size} entries, which the log signed"
            self._find(checkpoint.size - 1, "consistency", expected, root.hex() if root else "none")
        else:
            self._check_times(checkpoint.size, signed_ms)

    def _hear_receipt(self, receipt: Receipt) -> None:
        """A promise counts if the node's receipt key signed its head and its own entry leads there."""
        head = receipt.head
        if head.origin != self._origin:
            return
        try:
            self._check_promised(receipt)
        except (ProtocolError, BadSignature) as error:
            self.warnings.append(f"{self._origin}: a receipt for entry {receipt.index} proves nothing: {error.detail}")
            return
        size = self._derived.size
        if receipt.index >= size:
            if self._published_ms > head.time + SKEW_MS:
                self._find(receipt.index, "broken-promise", "the entry that a receipt promised", f"{size} entries")
            return
        promised = Entry.decode(receipt.entry).leaf() if receipt.entry else None
        leaf = self._derived.leaves[receipt.index]
        if promised is not None and promised != leaf:
            self._find(receipt.index, "broken-promise", f"the promised leaf {promised.hex()}", leaf.hex())
        elif head.size <= size and self._derived.roots[head.size] != head.root:
            expected = f"root {head.root.hex()} over {head.size} entries, as a receipt has it"
            self._find(head.size - 1, "broken-promise", expected, self._derived.roots[head.size].hex())

    def _check_promised(self, receipt: Receipt) -> None:
        head = receipt.head
        check_head(head, self._exchange)
        if receipt.entry is not None:
            leaf = receipt.leaf_of(Entry.decode(receipt.entry))
        elif receipt.index < self._derived.size:
            leaf = self._derived.leaves[receipt.index]
        else:
            return
        if receipt.entry is None and self._derived.roots.get(head.size) == head.root:
            merkle.verify_inclusion(leaf, receipt.index, head.size, receipt.path, head.root)
