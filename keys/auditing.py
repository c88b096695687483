"""The audit of one ledger: every entry read in order, nothing believed that is not derived.

To pass a ledger we must find that

(1) every entry is canonical, in order of time, and linked to the last governance before it;
(2) the judge accepts it: directory chain and JSON, bundle chains, keys in force, labels, wraps, relations;
(3) its signatures hold;
(4) the hash tiles are those of its entries;
(5) the published checkpoint is signed by both keys of the log, and its root is the one derived here;
(6) every checkpoint kept or handed over, and every receipt, is of this same history and of its time;
(7) cosignatures hold, and are those that a policy asks for;
(8) bodies, where they are looked at, hash to what was signed.

What does not hold is a finding. What an honest node can do too is a warning: late acknowledgements, a directory near
its end. An entry that fails (1) to (3) changes no state. `node fsck`, the auditor and tests run this one machine.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from keys.claims import SKEW_MS, Claims, Derived, Hearing
from keys.deadlines import Deadlines
from keys.exchange import Exchange
from keys.finding import AuditedLedger, Finding, Report, in_order
from keys.memory import Memory, Source
from keys.owed import Owed, Verifiers
from keys.replay import Replay, Step
from protocol import limits
from protocol.merkle import leaf_hash
from protocol.statements import Acknowledgement, Bulletin
from protocol.tiles import HEIGHT, WIDTH, Edge, Tile
from protocol.times import DAY_MS

DIRECTORY_WARNED_DAYS = 60
FINDINGS_PER_CHECK_MAX = 100  # one rewritten entry can spoil every one after it


@dataclass(frozen=True, slots=True)
class Terms:
    """What an audit goes by."""

    pin: bytes
    now: int
    claims: Claims = field(default_factory=Claims)
    bodies: bool = False
    sizes: frozenset[int] = frozenset()  # tree sizes whose roots the caller wants too


class LedgerAudit:
    """One ledger: ``take`` every entry, then ``finish``. Not for several threads; memory stays small."""

    def __init__(
        self, origin: str, source: Source, terms: Terms, verifiers: Verifiers, deadlines: Deadlines | None = None
    ) -> None:
        self._source, self._terms, self._deadlines = source, terms, deadlines
        self._owed = Owed(verifiers, self._refuse)
        self._memory = Memory(source, self._owed.settle, self._directory)
        self._replay = Replay(Exchange(origin, terms.pin))
        self._edge = Edge()
        self._sizes = {*terms.claims.sizes(), *terms.sizes}
        self._leaves = set(terms.claims.indexes())
        self._times = {at for size in self._sizes for at in (size - 1, size)}
        self._ahead: int | None = None
        self._bodies_missing = 0
        self.derived = Derived(origin, roots={0: self._edge.root()})
        self.findings: list[Finding] = []
        self._counts = Counter[str]()
        self._missing: list[str] = []

    @property
    def exchange(self) -> Exchange:
        """Governance after the last entry taken."""
        return self._replay.exchange

    def take(self, entries: Iterable[bytes], seen: Callable[[Step, bytes, Exchange], None] | None = None) -> None:
        """The next entries; ``seen`` is told each step, its leaf, and the exchange that it was judged by."""
        for data in entries:
            before = self._replay.exchange
            leaf = leaf_hash(data)
            step = self._step(data)
            self._look_at(step, leaf)
            self._grow(leaf, step)
            if seen is not None:
                seen(step, leaf, before)

    def _step(self, data: bytes) -> Step:
        """(1) (2) and for governance (3); other signatures are owed."""
        index = self._memory.size
        step = self._replay.step(index, data, self._memory)
        for fault in step.faults:
            self.find(index, fault.check, fault.expected, fault.found)
        self._memory.take(step)
        self._memory.size = index + 1
        if step.owed:
            self._owed.add(index, step.owed)
        return step

    def _look_at(self, step: Step, leaf: bytes) -> None:
        """Deadlines, and (8) bodies."""
        index, entry, accepted = step.index, step.entry, step.accepted
        if entry is None or accepted is None:
            return
        statement = accepted.statement
        if isinstance(statement, Bulletin):
            policy = self._replay.exchange.in_force.policy
            if self._deadlines is not None:
                due = entry.time + policy.deadline_ms(statement.header.precedence)
                self._deadlines.sent(self.derived.origin, index, leaf, statement.header, due)
            if self._terms.bodies:
                kept_until = statement.header.expires + policy.retention_days * DAY_MS
                self._check_body(index, statement.body, expected=self._terms.now < kept_until)
        elif isinstance(statement, Acknowledgement) and self._deadlines is not None:
            self._deadlines.acknowledged(statement)

    def _check_body(self, index: int, sha256: bytes, *, expected: bool) -> None:
        body = self._source.body(sha256)
        if body is not None and hashlib.sha256(body).digest() != sha256:
            self.find(index, "body", f"a body of SHA-256 {sha256.hex()}", hashlib.sha256(body).hexdigest())
        elif body is None:
            self._bodies_missing += expected

    def _grow(self, leaf: bytes, step: Step) -> None:
        """The tree, and what was asked for of it."""
        index, derived = step.index, self.derived
        for level, tile in enumerate(self._edge.append(leaf)):
            self._check_tile(level, self._edge.full(level) - 1, tile)
        derived.size = index + 1
        if index + 1 in self._sizes:
            derived.roots[index + 1] = self._edge.root()
        if index in self._leaves:
            derived.leaves[index] = leaf
        if step.entry is not None:
            time = step.entry.time
            if index in self._times:
                derived.times[index] = time
            if time > self._terms.now + SKEW_MS and self._ahead is None:
                self._ahead = index
                self.find(index, "time-ahead", f"a time of at most {self._terms.now + SKEW_MS}", str(time))

    def _check_tile(self, level: int, index: int, tile: Tile) -> None:
        """(4) A tile as it is when it is full, or at the end."""
        derived, stored = tile.data(), self._source.tile(level, index, tile.width)
        if stored is None:
            self._missing.append(f"{self.derived.origin}: hash tile {index} of level {level} is not there")
        elif stored != derived:
            at = next((at for at in range(0, len(derived), 32) if stored[at : at + 32] != derived[at : at + 32]), 0)
            first = (index * WIDTH + at // 32) << (HEIGHT * level)
            self.find(first, "tile", f"hash {derived[at : at + 32].hex()} in level {level}", stored[at : at + 32].hex())

    def finish(self) -> Report:
        """Settle what is owed and confront what was claimed."""
        self._owed.settle_all()
        for level, tile in enumerate(self._edge.growing):
            if tile.width:
                self._check_tile(level, self._edge.full(level), tile)
        derived = self.derived
        hearing = Hearing(derived, self.exchange, self._terms.claims)
        hearing.hear()
        self.findings += hearing.findings
        if self._deadlines is not None:
            self._deadlines.audited(derived.origin)
        warnings = [*hearing.warnings, *self._warnings()]
        ledger = AuditedLedger(derived.origin, derived.size, self._edge.root())
        return Report(
            derived.size, (ledger,), in_order(self.findings), tuple(warnings),
            (*self._missing, *hearing.missing),
        )  # fmt: skip

    def _warnings(self) -> list[str]:
        warnings, origin, directory = [], self.derived.origin, self.exchange.directory
        for check, count in self._counts.items():
            if count > FINDINGS_PER_CHECK_MAX:
                warnings.append(f"{origin}: {check} in {count - FINDINGS_PER_CHECK_MAX} more places")
        if self._bodies_missing:
            warnings.append(f"{origin}: {self._bodies_missing} bodies are not there, and should be kept still")
        if directory is None:
            self._missing.append(f"{origin}: the ledger has no directory")
            return warnings
        days = (directory.expires - self._terms.now) // DAY_MS
        if days < DIRECTORY_WARNED_DAYS:
            ends = f"ends in {days} days" if days >= 0 else "has ended"
            warnings.append(f"{origin}: directory version {directory.version} {ends}: publish the next")
        numbers = [version.version for version in self.exchange.versions.values()]
        warnings += [
            f"{origin}: {numbers.count(number)} different directories have the version {number}"
            for number in sorted(set(numbers))
            if numbers.count(number) > 1
        ]
        return warnings

    def _directory(self, sha256: bytes) -> bytes | None:
        """JSON that hashes to what was signed, or none."""
        data = self._source.directory(sha256)
        return data if data is not None and hashlib.sha256(data).digest() == sha256 else None

    def _refuse(self, index: int) -> None:
        self._memory.refuse(index)
        self.find(index, "bad-signature", "signatures that verify", "one that does not")

    def find(self, index: int | None, check: str, expected: str, found: str) -> None:
        """Note a finding about this ledger."""
        self._counts[check] += 1
        if self._counts[check] <= FINDINGS_PER_CHECK_MAX:
            self.findings.append(Finding(self.derived.origin, index, check, expected, found))


BATCH_ENTRIES = limits.TILE_HASHES


def audit_ledger(
    origin: str, source: Source, terms: Terms, verifiers: Verifiers, deadlines: Deadlines | None = None
) -> Report:
    """The whole audit of a ledger that is at hand, up to its published checkpoint."""
    audit = LedgerAudit(origin, source, terms, verifiers, deadlines)
    claimed = [*terms.claims.sizes()]
    stop = claimed[0] if terms.claims.published and claimed else None
    while stop is None or audit.derived.size < stop:
        start = audit.derived.size
        entries = source.entries(start, start + BATCH_ENTRIES if stop is None else min(stop, start + BATCH_ENTRIES))
        if not entries:
            break
        audit.take(entries)
    return audit.finish()
