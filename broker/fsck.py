"""Whether a node's storage is what its entries make it: the audit, over the node's own file.

It reads the file by a connection of its own and shares no code with what wrote it: the audit derives tree, state and
verdicts from the bytes of the entries, and every other table is derived again beside the file and compared both ways.
Safe while the node runs: it sees one snapshot and writes nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from broker.errors import LedgerBroken, NodeHomeError
from broker.storage.mirrored import Flag, is_withheld
from keys.auditing import LedgerAudit, Terms
from keys.claims import Claims, check_head, open_signed
from keys.errors import KeysError
from keys.exchange import Exchange
from keys.finding import Finding, Report, in_order
from keys.owed import verifying
from keys.replay import Step
from protocol.canonical import HASH_BYTES
from protocol.entry import WRAP_BYTES, Entry
from protocol.errors import ProofFailed, ProtocolError
from protocol.statements import GOVERNANCE, Acknowledgement, Bulletin
from protocol.tiles import HEIGHT, WIDTH, Tile
from protocol.treehead import TreeHead

_DIFFERENCES_MAX = 20  # told of each table
_OF_THE_FILE = ("table-", "leaf", "entry-kind", "tile", "recorded-")  # checks that no peer can fail for this node
_EXPECTED = """
CREATE TEMP TABLE is_bulletin (sender, id, idx, digest);
CREATE TEMP TABLE is_statement (digest, idx);
CREATE TEMP TABLE is_delivery (agency, idx);
CREATE TEMP TABLE is_wrap (idx, hashes);
CREATE TEMP TABLE is_body (idx, sha256, expires);
CREATE TEMP TABLE is_acknowledged (
    origin, idx, leaf, agency, addressee, state, time,
    PRIMARY KEY (origin, idx, leaf, agency, addressee, state)
);
CREATE TEMP TABLE is_tile (level, idx);
CREATE TEMP TABLE by_hash (sha256, idx, PRIMARY KEY (sha256, idx)) WITHOUT ROWID;
"""
_STORED = {  # what is stored, and which of the expected rows may be gone
    "bulletin": ("SELECT sender, id, idx, digest FROM bulletin", ""),
    "statement": ("SELECT digest, idx FROM statement", ""),
    "delivery": ("SELECT agency, idx FROM delivery", ""),
    "wrap": (
        "SELECT idx, CASE WHEN data IS NULL THEN x'' ELSE wrap_hashes(wraps) END FROM body WHERE wraps IS NOT NULL",
        "WHERE idx NOT IN (SELECT idx FROM body WHERE data IS NULL)",
    ),
    "body": ("SELECT idx, sha256, expires FROM body WHERE data IS NULL OR sha256(data) = sha256", ""),
    "acknowledged": ("SELECT origin, target AS idx, leaf, agency, addressee, state, time FROM acknowledged", ""),
    "tile": ("SELECT level, idx FROM tile", ""),
}


def _wrap_hashes(wraps: bytes) -> bytes:
    """Of wraps as they are stored, each behind its seat's key id: the same with hashes for wraps."""
    step = HASH_BYTES + WRAP_BYTES
    each = [wraps[at : at + step] for at in range(0, len(wraps), step)]
    return b"".join(one[:HASH_BYTES] + hashlib.sha256(one[HASH_BYTES:]).digest() for one in each)


class Stored:
    """The node's file as an audit reads it: a ``keys.memory.Source``."""

    def __init__(self, path: Path) -> None:
        """Raises NodeHomeError where there is no ledger."""
        if not path.exists():
            raise NodeHomeError(f"no ledger at {path}")
        self.db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        self.db.create_function("sha256", 1, lambda data: hashlib.sha256(data).digest(), deterministic=True)
        self.db.create_function("wrap_hashes", 1, _wrap_hashes, deterministic=True)
        self.db.executescript(_EXPECTED)
        self.db.execute("BEGIN")  # one snapshot, whatever the node does meanwhile

    @functools.cached_property
    def is_mirror(self) -> bool:
        """Whether it is of a peer's ledger."""
        return bool(self.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'flag'").fetchall())

    def flags(self) -> dict[int, Flag]:
        """What a mirror flagged, by index."""
        rows = self.db.execute("SELECT idx, name, step, detail, effect FROM flag") if self.is_mirror else ()
        return {index: Flag(index, name, step, detail, bool(effect)) for index, name, step, detail, effect in rows}

    def heads(self) -> list[bytes]:
        """The head that a mirror shows, if it shows one."""
        rows = self.db.execute("SELECT head FROM mirrored WHERE head <> x''") if self.is_mirror else ()
        return [row[0] for row in rows]

    def entries(self, start: int, stop: int) -> list[bytes]:
        """By index; fewer from a gap on."""
        rows = self.db.execute("SELECT idx, data FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx", (start, stop))
        return [data for at, (index, data) in enumerate(rows, start) if index == at]

    def leaves(self, start: int, stop: int) -> Iterator[tuple[int, int, bytes]]:
        """Index, kind and leaf as they stand beside the entries."""
        yield from self.db.execute("SELECT idx, kind, leaf FROM entry WHERE idx >= ? AND idx < ?", (start, stop))

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """A full tile, or the growing edge from what it is made of."""
        if width == WIDTH:
            row = self.db.execute("SELECT data FROM tile WHERE level = ? AND idx = ?", (level, index)).fetchone()
            return row[0] if row else None
        if level == 0:
            query, values = "SELECT leaf FROM entry WHERE idx >= ? ORDER BY idx LIMIT ?", (index * WIDTH, width)
        else:
            query = "SELECT root FROM tile WHERE level = ? AND idx >= ? ORDER BY idx LIMIT ?"
            values = (level - 1, index * WIDTH, width)  # type: ignore[assignment]
        return b"".join(row[0] for row in self.db.execute(query, values))

    def directory(self, sha256: bytes) -> bytes | None:
        """By the store's own index: there are few."""
        query = "SELECT data FROM body WHERE sha256 = ? AND expires IS NULL AND data IS NOT NULL"
        row = self.db.execute(query, (sha256,)).fetchone()
        return row[0] if row else None

    def body(self, sha256: bytes) -> bytes | None:
        """By its recorded hash."""
        query = "SELECT data FROM by_hash JOIN body USING (idx) WHERE by_hash.sha256 = ? AND data IS NOT NULL"
        row = self._by_hash.execute(query, (sha256,)).fetchone()
        return row[0] if row else None

    @functools.cached_property
    def _by_hash(self) -> sqlite3.Connection:
        """The file with one index over all hashes: its own is in parts, for those who ask for a few."""
        self.db.execute("INSERT INTO by_hash SELECT sha256, idx FROM body")
        return self.db


class Check:
    """One run over one file."""

    def __init__(self, stored: Stored, audit: LedgerAudit) -> None:
        self._stored, self._audit, self._db = stored, audit, stored.db
        self._flags = stored.flags()
        self.warnings: list[str] = []

    def entries(self) -> None:
        """Judge everything, and note what every table has to hold for it."""
        (last,) = self._db.execute("SELECT coalesce(max(idx), -1) FROM entry").fetchone()
        while (start := self._audit.derived.size) <= last:
            entries = self._stored.entries(start, start + WIDTH)
            recorded = {index: (kind, leaf) for index, kind, leaf in self._stored.leaves(start, start + WIDTH)}
            self._audit.take(entries, lambda step, leaf, exchange: self._see(step, leaf, exchange, recorded))  # noqa: B023
            if len(entries) < min(WIDTH, last + 1 - start):
                at = self._audit.derived.size
                self._audit.find(at, "entry-missing", "an entry at every index", f"none at {at}, and a last at {last}")
                return

    def _see(self, step: Step, leaf: bytes, exchange: Exchange, recorded: dict[int, tuple[int, bytes]]) -> None:
        kind, stored_leaf = recorded[step.index]
        if stored_leaf != leaf:
            self._audit.find(step.index, "leaf", leaf.hex(), stored_leaf.hex())
        if step.entry is None:
            return
        if kind != step.entry.kind:
            self._audit.find(step.index, "entry-kind", str(int(step.entry.kind)), str(kind))
        flag = self._flags.get(step.index)
        if flag is not None and not flag.effect:
            self._expect_refused(step.index, step.entry)
        elif step.accepted is not None:
            self._expect(step.index, step.entry, step, exchange)

    def _expect_refused(self, index: int, entry: Entry) -> None:
        """Governance that a mirror refused goes to everyone, with the JSON that came with it; all else to nobody."""
        if entry.kind in GOVERNANCE:
            self._db.execute("INSERT INTO is_delivery VALUES ('', ?)", (index,))
            self._db.execute("INSERT INTO is_body SELECT idx, sha256, expires FROM body WHERE idx = ?", (index,))

    def _expect(self, index: int, entry: Entry, step: Step, exchange: Exchange) -> None:
        """The rows that an accepted entry has beside it."""
        accepted, readers = step.accepted, [""]
        statement = accepted.statement if accepted else None
        digest = accepted.digest if accepted else b""
        if isinstance(statement, Bulletin):
            header = statement.header
            readers = [addressee.agency for addressee in header.addressees]
            bundles = [exchange.bundle_of(addressee, entry.time) for addressee in header.addressees]
            seats = [seat.signing.key_id for bundle in bundles if bundle for seat in exchange.seats_of(bundle)]
            wraps = b"".join(seat + wrap.hash for seat, wrap in zip(seats, statement.wraps, strict=True))
            self._db.execute("INSERT INTO is_bulletin VALUES (?, ?, ?, ?)", (header.sender, header.id, index, digest))
            self._db.execute("INSERT INTO is_wrap VALUES (?, ?)", (index, wraps))
            self._db.execute("INSERT INTO is_body VALUES (?, ?, ?)", (index, statement.body, header.expires))
        else:
            self._db.execute("INSERT INTO is_statement VALUES (?, ?)", (digest, index))
        if isinstance(statement, Acknowledgement):
            readers = [statement.sender, statement.to]
            lines = [
                (line.origin, line.index, line.leaf, statement.sender, statement.to, line.state, line.time)
                for line in statement.lines
            ]
            self._db.executemany("INSERT OR IGNORE INTO is_acknowledged VALUES (?, ?, ?, ?, ?, ?, ?)", lines)
        if accepted is not None and accepted.directory is not None:
            self._db.execute("INSERT INTO is_body VALUES (?, ?, NULL)", (index, accepted.directory.hash))
        if not (index in self._flags and is_withheld(entry.kind)):
            self._db.executemany("INSERT INTO is_delivery VALUES (?, ?)", [(reader, index) for reader in readers])

    def tables(self) -> None:
        """Every table against what was derived, both ways."""
        size, level = self._audit.derived.size, 0
        while full := size >> HEIGHT * (level + 1):
            self._db.executemany("INSERT INTO is_tile VALUES (?, ?)", [(level, index) for index in range(full)])
            level += 1
        for table, (stored, gone) in _STORED.items():
            expected = f"SELECT * FROM is_{table}"  # noqa: S608 - our own names
            self._compare(table, f"{expected} {gone} EXCEPT {stored}", there=False)
            self._compare(table, f"{stored} EXCEPT {expected}", there=True)
        for level, index, data, root in self._db.execute("SELECT level, idx, data, root FROM tile"):
            derived = Tile.from_data(data).root() if len(data) == WIDTH * 32 else b""
            if derived != root:
                self._audit.find(index << HEIGHT * (level + 1), "tile", f"the root {derived.hex()}", root.hex())

    def _compare(self, table: str, query: str, *, there: bool) -> None:
        rows = self._db.execute(f"SELECT * FROM ({query}) ORDER BY idx LIMIT {_DIFFERENCES_MAX}")  # noqa: S608
        at = next((number for number, column in enumerate(rows.description) if column[0] == "idx"), 0)
        for row in rows:
            told = " ".join(value.hex() if isinstance(value, bytes) else str(value) for value in row)
            sides = ("no such row", told) if there else (told, "no such row")
            self._audit.find(row[at], f"table-{table}", *sides)

    def head(self) -> None:
        """The head that a mirror shows."""
        for head in self._stored.heads():
            try:
                kept = TreeHead.decode(head)
                check_head(kept, self._audit.exchange)
                _require_same((kept.size, self._audit.derived.roots.get(kept.size, b"")), (kept.size, kept.root))
            except (ProtocolError, KeysError) as error:
                self._audit.find(None, "mirrored-head", "a head over what is mirrored, signed", error.detail)

    def known(self, report: Report) -> Report:
        """What a mirror has flagged is known, and its peer's doing; a flag without a reason is a finding."""
        known = [f for f in report.findings if f.index in self._flags and not f.check.startswith(_OF_THE_FILE)]
        left, found = [f for f in report.findings if f not in known], {finding.index for finding in known}
        told = [
            f"{self._audit.derived.origin}: the entry at {index} breaks a rule, and is delivered to nobody: {flag.name}"
            for index, flag in self._flags.items()
        ]
        for index, flag in self._flags.items():
            if not flag.effect and index not in found:
                origin = self._audit.derived.origin
                left.append(Finding(origin, index, "flag", "an entry that breaks a rule", f"one that is {flag.name}"))
        return replace(report, findings=in_order(left), warnings=(*report.warnings, *self.warnings, *told))

    def roots(self) -> None:
        """Every root that was recorded before it was signed, and the note and the head that were."""
        derived, exchange = self._audit.derived, self._audit.exchange
        for size, root, note, head in self._db.execute("SELECT size, root, note, head FROM checkpoint ORDER BY size"):
            if derived.roots.get(size) != root:
                found = derived.roots[size].hex() if size in derived.roots else f"{derived.size} entries"
                self._audit.find(size - 1, "recorded-root", f"{root.hex()} over {size} entries", found)
            try:
                if note:
                    signed = open_signed(note, exchange)[0].checkpoint
                    _require_same((size, root), (signed.size, signed.root))
                if head:
                    kept = TreeHead.decode(head)
                    _require_same((size, root), (kept.size, kept.root))
                    check_head(kept, exchange)
            except (ProtocolError, KeysError) as error:
                self._audit.find(size - 1, "recorded-note", f"note and head over {root.hex()}, signed", error.detail)
        for reason, _ in self._db.execute("SELECT reason, note FROM halt"):
            self.warnings.append(f"{derived.origin}: this node signs nothing: {reason}")


def _sizes(heads: Iterable[bytes]) -> Iterator[int]:
    """Of those that are tree heads at all."""
    for head in heads:
        with contextlib.suppress(ProtocolError):
            yield TreeHead.decode(head).size


def _require_same(recorded: tuple[int, bytes], signed: tuple[int, bytes]) -> None:
    if recorded != signed:
        raise ProofFailed(f"it is over {signed[1].hex()} at {signed[0]}")


def check(path: Path, origin: str, pin: bytes, now: int) -> Report:
    """All about the ledger in this file. Raises NodeHomeError where there is none, LedgerBroken where it is damaged."""
    try:
        return _check(path, origin, pin, now)
    except sqlite3.OperationalError as error:  # locked, or of other tables
        raise NodeHomeError(f"{path} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        raise LedgerBroken(f"{path} is damaged: {error}: `khunjerab node restore`") from error


def _check(path: Path, origin: str, pin: bytes, now: int) -> Report:
    stored = Stored(path)
    with contextlib.closing(stored.db), verifying() as verifiers:
        if stored.is_mirror and not stored.entries(0, 1):
            return Report(warnings=(f"{origin}: nothing is mirrored yet",))
        recorded = stored.db.execute("SELECT size, note FROM checkpoint ORDER BY size").fetchall()
        claims = Claims("", tuple(note for _, note in recorded if note))
        sizes = frozenset([*(size for size, _ in recorded), *_sizes(stored.heads())])
        terms = Terms(pin, now, claims, bodies=not stored.is_mirror, sizes=sizes)  # a mirror lacks most of them
        audit = LedgerAudit(origin, stored, terms, verifiers)
        run = Check(stored, audit)
        run.entries()
        run.tables()
        run.roots()
        run.head()
        return run.known(audit.finish())
