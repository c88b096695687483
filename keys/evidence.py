"""Evidence of one bulletin, as a file that is checked offline, years later (SPEC §14.3).

It holds the bulletin's entry with its C2SP tlog-proof, all governance before it that its verdict hangs on, each with
its path to the same checkpoint, and the directory versions as they were signed. Nobody has to be asked, or trusted:
to check it we must find that

(1) the file is of its form, and the first directory is the one that the reader's pin names;
(2) the checkpoint is signed by both keys of the log, as a directory version in the evidence lists them;
(3) every entry given leads to the checkpoint's root at its index;
(4) the governance links lead from the bulletin back to entry 0 and leave nothing out;
(5) the judge accepts the bulletin at its admission time, and its signatures hold;
(6) cosignatures of nodes in the directory hold.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from keys.claims import cosigners_of, open_signed
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.judge import NOT_SENT_TO_ME, First, NotSentToMe
from keys.lognote import OpenedCheckpoint
from keys.replay import Replay, Step
from keys.signing import verify_all
from protocol import limits, merkle
from protocol.checkpoint import Checkpoint
from protocol.directory import Directory
from protocol.entry import Entry
from protocol.errors import Malformed, ProofFailed
from protocol.header import Header
from protocol.merkle import HASH_BYTES, leaf_hash
from protocol.note import Note
from protocol.statements import LINKED, Bulletin, Kind
from protocol.strictjson import Json, Members, dumps, loads, unbase64
from protocol.tlogproof import TlogProof

TYPE = "khunjerab.evidence.v1"
EVIDENCE_BYTES_MAX = 256 * 1024 * 1024
_PLACED_MAX = 1_000_000
_DIRECTORIES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry, where it stands, and its path to the checkpoint's root."""

    index: int
    entry: bytes
    path: tuple[bytes, ...]

    def to_json(self) -> Json:
        """SPEC §14.3."""
        path = [base64.b64encode(sibling).decode() for sibling in self.path]
        return {"index": self.index, "entry": base64.b64encode(self.entry).decode(), "path": path}

    @classmethod
    def from_json(cls, value: Any) -> Placed:
        """SPEC §14.3."""
        m = Members(value, "entry")
        placed = cls(
            m.uint("index", 0, 2**53 - 1),
            _unbase64(m.get("entry", str)),
            m.array("path", limits.PROOF_HASHES_MAX, lambda text: unbase64(text, HASH_BYTES, "a hash of a path")),
        )
        m.end()
        return placed


@dataclass(frozen=True, slots=True)
class Evidence:
    """The file. Nothing here has been verified."""

    entry: bytes
    proof: TlogProof
    governance: tuple[Placed, ...]  # in order of index
    targets: tuple[Placed, ...]  # bulletins of this ledger that the bulletin relates to
    directories: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The JSON."""
        return dumps(
            {
                "type": TYPE,
                "entry": base64.b64encode(self.entry).decode(),
                "proof": self.proof.encode(),
                "governance": [placed.to_json() for placed in self.governance],
                "targets": [placed.to_json() for placed in self.targets],
                "directories": [base64.b64encode(data).decode() for data in self.directories],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Evidence:
        """Raises Malformed or TooLarge."""
        m = Members(loads(data, EVIDENCE_BYTES_MAX), "evidence")
        m.choice("type", (TYPE,))
        evidence = cls(
            _unbase64(m.get("entry", str)),
            TlogProof.parse(m.get("proof", str)),
            m.array("governance", _PLACED_MAX, Placed.from_json, at_least=1),
            m.array("targets", limits.RELATIONS_MAX, Placed.from_json),
            m.array("directories", _DIRECTORIES_MAX, _unbase64, at_least=1),
        )
        m.end()
        if [placed.index for placed in evidence.governance] != sorted({p.index for p in evidence.governance}):
            raise Malformed("evidence: governance is not in order")
        return evidence


@dataclass(frozen=True, slots=True)
class Shown:
    """What evidence shows, once all of it holds."""

    pin: bytes
    index: int
    entry: Entry
    header: Header
    opened: OpenedCheckpoint
    signed: int  # when, in milliseconds
    exchange: Exchange  # as it was when the bulletin was admitted
    links: int  # governance entries that the walk passed
    bundles: int


class _Given:
    """The judge's lookup: what the evidence holds, and "not sent to me" of the rest."""

    def __init__(self, evidence: Evidence) -> None:
        self._targets = {placed.index: placed.entry for placed in evidence.targets}
        self._json = {hashlib.sha256(data).digest(): data for data in evidence.directories}
        self._seen: dict[bytes, int] = {}

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """Whether its id was used before, the evidence of one bulletin cannot say."""
        del sender, bulletin_id
        return None

    def seen(self, digest: bytes) -> int | None:
        """Governance that was stepped over before."""
        return self._seen.get(digest)

    def keep(self, step: Step) -> None:
        """Remember governance that stands."""
        if step.accepted is not None:
            self._seen[step.accepted.digest] = step.index

    def entry(self, index: int) -> Entry | NotSentToMe | None:
        """A target that was packed."""
        data = self._targets.get(index)
        return NOT_SENT_TO_ME if data is None else Entry.decode(data)

    def directory(self, sha256: bytes) -> bytes | None:
        """A version that was packed."""
        return self._json.get(sha256)


def check(evidence: Evidence, pin: bytes | None) -> Shown:
    """What the evidence shows. ``pin`` None takes the exchange's word for itself. Raises ProofFailed, Malformed."""
    # (1) Form, and whose exchange it is.
    checkpoint = Checkpoint.parse(Note.parse(evidence.proof.checkpoint).text)
    first = next((Directory.decode(data) for data in evidence.directories if Directory.decode(data).version == 1), None)
    if first is None or (pin is not None and first.hash != pin):
        raise ProofFailed("it is not of the exchange that the pin names")
    # (3) Paths.
    index = evidence.proof.index
    for placed in (*evidence.governance, *evidence.targets, Placed(index, evidence.entry, evidence.proof.path)):
        if placed.index > index:
            raise ProofFailed(f"entry {placed.index} comes after the bulletin")
        merkle.verify_inclusion(leaf_hash(placed.entry), placed.index, checkpoint.size, placed.path, checkpoint.root)
    # (4) Links, and the state that they lead to.
    replay, given = Replay(Exchange(checkpoint.origin, first.hash)), _Given(evidence)
    links = 0
    for placed in evidence.governance:
        step = replay.step(placed.index, placed.entry, given)
        _require_linked(step)
        given.keep(step)
        links += step.entry is not None and step.entry.kind in LINKED
    exchange = replay.exchange
    # (5) The judge, and the signatures.
    step = replay.step(index, evidence.entry, given)
    _require_linked(step)
    if step.accepted is None or step.entry is None:
        raise ProofFailed(f"the judge refuses it: {step.faults[0].check}: {step.faults[0].found}")
    if step.entry.kind is not Kind.BULLETIN:
        raise ProofFailed(f"it is of a {step.entry.kind.word}, not of a bulletin")
    try:
        verify_all(step.owed)
    except BadSignature as error:
        raise ProofFailed(error.detail) from error
    # (2) (6) The checkpoint's lines, now that it is known who may sign them.
    opened, signed = open_signed(evidence.proof.checkpoint, exchange, cosigners_of(exchange))
    header = Bulletin.decode(step.entry.statement).header
    bundles = len(evidence.governance) - links
    return Shown(first.hash, index, step.entry, header, opened, signed, exchange, links, bundles)


def _require_linked(step: Step) -> None:
    """A refused entry has no effect, as in the ledger; but none may be refused because half of it is hidden."""
    for fault in step.faults:
        if fault.check in {"governance-link", "entry-form", "time-order", "directory-missing"}:
            raise ProofFailed(f"at {step.index}: {fault.check}: expected {fault.expected}, found {fault.found}")


def _unbase64(value: object) -> bytes:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if not data or base64.b64encode(data).decode() != value:
        raise Malformed("evidence: something is not base64")
    return data
