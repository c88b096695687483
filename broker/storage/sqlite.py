"""The storage contract over one SQLite file: WAL, synchronous=FULL, STRICT tables.

One connection writes, on whichever thread the node commits; one reads, on the event loop's; one reads again what is to
be signed. WAL keeps them apart.
The WAL is checkpointed by a fourth, on a thread of its own (``broker/wal.py`` calls ``checkpoint_wal``), never inline:
an inline checkpoint triples the tail of latency.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import chain
from pathlib import Path

from broker.errors import NodeHomeError, StorageError, StorageUnsure
from broker.storage.contract import (
    EVERYONE,
    AcknowledgedLine,
    Halt,
    NewEntry,
    NewTile,
    Published,
    StoredWrap,
    Together,
)
from keys.judge import First
from protocol.canonical import HASH_BYTES
from protocol.entry import WRAP_BYTES, Entry
from protocol.statements import Kind

SCHEMA_VERSION = 1
CHECKPOINTS_KEPT = 64
WAL_BYTES_MAX = 64 * 1024 * 1024  # it is begun anew once it is longer
_BUSY_SECONDS = 5.0
_ROWS_A_STATEMENT_MAX = 1024  # of at most six values; SQLite binds 32,766
_HELD_BYTES = HASH_BYTES + WRAP_BYTES  # a wrap behind the key id of its seat


def create(path: Path, *more: str) -> None:
    """Make an empty ledger, with the tables of ``more`` schemas. Raises NodeHomeError where a file is there already."""
    try:
        _touch_private(path)
    except FileExistsError:
        raise NodeHomeError(f"{path} exists already") from None
    schemas = [files("broker.storage").joinpath(name).read_text() for name in ("schema.sql", *more)]
    with contextlib.closing(_connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {' '.join(schemas)} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _touch_private(path: Path) -> None:
    """The owner's alone; SQLite gives the log beside it the same mode. Raises FileExistsError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise NodeHomeError(f"no ledger at {path}: {error}") from error
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")  # what is beyond is cut off when it begins anew
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA cache_size = -16384")
    return connection


def _insert(db: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Many rows a statement: for each one the interpreter's lock is given away, and won back from a loop that is busy.

    A group of 64 bulletins has some 600 rows, and would wait for the loop as often.
    """
    for at in range(0, len(rows), _ROWS_A_STATEMENT_MAX):
        part = rows[at : at + _ROWS_A_STATEMENT_MAX]
        values = f"({', '.join('?' * len(part[0]))})"
        statement = f"INSERT {into} VALUES {', '.join([values] * len(part))}"  # noqa: S608 - our own names
        db.execute(statement, list(chain.from_iterable(part)))


def _joined(wraps: Sequence[StoredWrap]) -> bytes | None:
    """One column of them: a row for each would double the rows of a bulletin, and they come and go together."""
    return b"".join([part for wrap in wraps for part in (wrap.seat_key_id, wrap.data)]) or None


def _split(joined: bytes | None) -> list[StoredWrap]:
    held = joined or b""
    return [
        StoredWrap(held[at : at + HASH_BYTES], held[at + HASH_BYTES : at + _HELD_BYTES])
        for at in range(0, len(held), _HELD_BYTES)
    ]


def copy_ledger(source: Path, target: Path) -> None:
    """One consistent snapshot, whatever is written meanwhile; on the disk when this returns."""
    _touch_private(target)
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reading,
            contextlib.closing(sqlite3.connect(target)) as writing,
        ):
            writing.execute("PRAGMA synchronous = FULL")
            reading.backup(writing)
    except sqlite3.Error as error:
        raise StorageError(f"{source} cannot be copied to {target}: {error}") from error
    with target.open("rb") as file:
        os.fsync(file.fileno())


class SqliteStorage:
    """Opens what ``create`` made; raises NodeHomeError where there is none or of another version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise NodeHomeError(f"no ledger at {path}: `khunjerab node init` makes one")
        self._writer = _connect(path)
        self._reader, self._rereader = _connect(path), _connect(path)
        for connection in (self._reader, self._rereader):
            connection.execute("PRAGMA query_only = ON")
        self._page_bytes = int(self._reader.execute("PRAGMA page_size").fetchone()[0])
        version = self._reader.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise NodeHomeError(f"{path} is of version {version}, this program writes {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close every connection."""
        for connection in (self._writer, self._reader, self._rereader):
            connection.close()

    def checkpoint_wal(self) -> bool:
        """Move the WAL into the file, on a connection of its own; readers and the writer go on. Whether it is long."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(self._path)) as connection:
            _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return bool(pages * self._page_bytes > WAL_BYTES_MAX)
        return False

    # Writing

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. A crash before COMMIT leaves the state before; the WAL's fsync inside COMMIT is the point."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            yield self._writer
        except sqlite3.Error as error:
            self._roll_back()
            raise StorageError(str(error)) from error
        try:
            self._writer.execute("COMMIT")  # commit point
        except sqlite3.Error as error:
            self._roll_back()
            raise StorageUnsure(str(error)) from error

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._writer.execute("ROLLBACK")

    def append(self, entries: Sequence[NewEntry], tiles: Sequence[NewTile]) -> None:
        """One transaction. Rows that would leave a gap are refused: an index is for ever."""
        with self._transaction() as db:
            self._append(db, entries, tiles)

    def _append(self, db: sqlite3.Connection, entries: Sequence[NewEntry], tiles: Sequence[NewTile]) -> None:
        (size,) = db.execute("SELECT coalesce(max(idx) + 1, 0) FROM entry").fetchone()
        if entries[0].index != size:
            raise sqlite3.IntegrityError(f"entry {entries[0].index} does not follow {size} entries")
        _insert(db, "INTO entry", [(e.index, int(e.kind), e.data, e.leaf) for e in entries])
        _insert(db, "INTO bulletin", [(*e.bulletin, e.index, e.digest) for e in entries if e.bulletin])
        _insert(db, "INTO statement", [(e.digest, e.index) for e in entries if e.digest and not e.bulletin])
        _insert(db, "INTO delivery", [(reader, e.index) for e in entries for reader in e.readers])
        bodies = [(e.index, e.body_hash, e.expires, _joined(e.wraps), e.body) for e in entries if e.body_hash]
        _insert(db, "INTO body", bodies)
        words = [word for entry in entries for word in entry.acknowledged]
        lines = [(w.origin, w.index, w.leaf, w.agency, w.addressee, w.state, w.time) for w in words]
        _insert(db, "OR IGNORE INTO acknowledged", lines)
        _insert(db, "INTO tile", [(tile.level, tile.index, tile.data, tile.root) for tile in tiles])

    def expirable(self, before: int, limit: int) -> list[int]:
        """Through a partial index that holds only those."""
        query = "SELECT idx FROM body WHERE expires IS NOT NULL AND data IS NOT NULL AND expires < ? LIMIT ?"
        return [row[0] for row in self._rows(query, before, limit)]  # type: ignore[misc]

    def expunge(self, indexes: Sequence[int]) -> None:
        """The hash of a body stays, so that 410 can be told from 404. secure_delete overwrites what was there."""
        with self._transaction() as db:
            db.executemany("UPDATE body SET wraps = NULL, data = NULL WHERE idx = ?", [(index,) for index in indexes])

    def fill(self, index: int, wraps: Sequence[StoredWrap], body: bytes) -> None:
        """What is there stays."""
        with self._transaction() as db:
            missing = "UPDATE body SET wraps = ?, data = ? WHERE idx = ? AND data IS NULL"
            db.execute(missing, (_joined(wraps), body, index))

    def record_root(self, size: int, root: bytes) -> None:
        """Kept beside every root before it."""
        with self._transaction() as db:
            db.execute("INSERT INTO checkpoint VALUES (?, ?, '', x'') ON CONFLICT (size) DO NOTHING", (size, root))

    def publish(self, size: int, note: str, head: bytes = b"") -> None:
        """A renewal without news replaces the note of the same size."""
        with self._transaction() as db:
            db.execute("UPDATE checkpoint SET note = ?, head = ? WHERE size = ?", (note, head, size))
            newest = "SELECT size FROM checkpoint ORDER BY size DESC LIMIT ?"
            db.execute(f"DELETE FROM checkpoint WHERE size NOT IN ({newest})", (CHECKPOINTS_KEPT,))  # noqa: S608

    def halt(self, halt: Halt | None) -> None:
        """One row or none; the first reason stays."""
        with self._transaction() as db:
            if halt is None:
                db.execute("DELETE FROM halt")
            else:
                db.execute("INSERT OR IGNORE INTO halt VALUES (1, ?, ?)", (halt.reason, halt.note))

    # Reading

    def _rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(str(error)) from error

    def _column(self, query: str, *values: object) -> list[bytes]:
        return [row[0] for row in self._rows(query, *values)]  # type: ignore[misc]

    def _one(self, query: str, *values: object) -> bytes | None:
        rows = self._rows(query, *values)
        return rows[0][0] if rows else None  # type: ignore[return-value]

    def _number(self, query: str, *values: object) -> int | None:
        rows = self._rows(query, *values)
        return rows[0][0] if rows else None  # type: ignore[return-value]

    def size(self) -> int:
        """One more than the last index."""
        last = self._number("SELECT max(idx) FROM entry")
        return 0 if last is None else last + 1

    def entry_bytes(self, start: int, stop: int) -> list[bytes]:
        """In order of index."""
        return self._column("SELECT data FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx", start, stop)

    def reread(self, start: int, stop: int) -> list[bytes]:
        """On a connection of its own."""
        query = "SELECT data FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx"
        try:
            return [row[0] for row in self._rereader.execute(query, (start, stop))]
        except sqlite3.Error as error:
            raise StorageError(str(error)) from error

    def leaf_hashes(self, start: int, stop: int) -> list[bytes]:
        """In order of index."""
        return self._column("SELECT leaf FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx", start, stop)

    def tile(self, level: int, index: int) -> bytes | None:
        """Full tiles only."""
        return self._one("SELECT data FROM tile WHERE level = ? AND idx = ?", level, index)

    def tile_roots(self, level: int, start: int) -> list[bytes]:
        """In order of index."""
        return self._column("SELECT root FROM tile WHERE level = ? AND idx >= ? ORDER BY idx", level, start)

    def governance(self) -> Iterator[tuple[int, bytes]]:
        """Through a partial index: as fast with a million bulletins between."""
        query = "SELECT idx, data FROM entry WHERE kind >= 3 ORDER BY idx"
        yield from self._rows(query)  # type: ignore[misc]

    def entry(self, index: int) -> Entry | None:
        """Decoded at each call."""
        data = self._one("SELECT data FROM entry WHERE idx = ?", index)
        return None if data is None else Entry.decode(data)

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """By primary key."""
        rows = self._rows("SELECT idx, digest FROM bulletin WHERE sender = ? AND id = ?", sender, bulletin_id)
        return First(*rows[0]) if rows else None  # type: ignore[arg-type]

    def firsts(self, names: Sequence[tuple[str, bytes]]) -> dict[tuple[str, bytes], First]:
        """By primary key, in one statement: for each, the interpreter's lock is given away."""
        found = {}
        for at in range(0, len(names), _ROWS_A_STATEMENT_MAX):
            part = names[at : at + _ROWS_A_STATEMENT_MAX]
            named = f"WITH named (s, i) AS (VALUES {', '.join(['(?, ?)'] * len(part))})"
            query = f"{named} SELECT s, i, idx, digest FROM named CROSS JOIN bulletin ON sender = s AND id = i"  # noqa: S608
            for sender, number, index, digest in self._rows(query, *chain.from_iterable(part)):
                found[sender, number] = First(index, digest)  # type: ignore[arg-type]
        return found  # type: ignore[return-value]

    def seen(self, digest: bytes) -> int | None:
        """By primary key."""
        return self._number("SELECT idx FROM statement WHERE digest = ?", digest)

    def directory(self, sha256: bytes) -> bytes | None:
        """Directory JSON is a body like another, and never expunged."""
        return self._one("SELECT data FROM body WHERE sha256 = ? AND expires IS NULL", sha256)

    def directory_indexes(self, sha256: bytes) -> list[int]:
        """By index on the hash."""
        query = "SELECT idx FROM body WHERE sha256 = ? AND expires IS NULL ORDER BY idx"
        return [row[0] for row in self._rows(query, sha256)]  # type: ignore[misc]

    def deliveries(self, agency: str | None, start: int, stop: int, limit: int) -> list[int]:
        """Two ranges of one index, merged."""
        if agency is None:
            return list(range(start, min(stop, start + limit)))
        query = "SELECT idx FROM delivery WHERE agency = ? AND idx >= ? AND idx < ? ORDER BY idx LIMIT ?"
        mine = self._rows(query, agency, start, stop, limit)
        everyones = self._rows(query, EVERYONE, start, stop, limit)
        return sorted(row[0] for row in mine + everyones)[:limit]  # type: ignore[type-var, return-value]

    def wrap(self, index: int, seat_key_id: bytes) -> bytes | None:
        """Out of the row that has them all."""
        return next((wrap.data for wrap in self.wraps(index) if wrap.seat_key_id == seat_key_id), None)

    def wraps(self, index: int) -> list[StoredWrap]:
        """By primary key."""
        return _split(self._one("SELECT wraps FROM body WHERE idx = ?", index))

    def together(self, start: int, stop: int, body_bytes_max: int) -> list[Together]:
        """One range of two tables."""
        query = (
            "SELECT idx, entry.data, CASE WHEN kind = ? OR length(body.data) <= ? THEN body.data END, "
            "coalesce(length(body.data), 0), wraps FROM entry LEFT JOIN body USING (idx) "
            "WHERE idx >= ? AND idx < ? ORDER BY idx"
        )
        rows = self._rows(query, int(Kind.DIRECTORY), body_bytes_max, start, stop)
        return [
            Together(index, data, body, length, tuple(_split(wraps)))  # type: ignore[arg-type]
            for index, data, body, length, wraps in rows
        ]

    def body(self, index: int) -> bytes | None:
        """NULL where expunged."""
        return self._one("SELECT data FROM body WHERE idx = ?", index)

    def body_indexes(self, sha256: bytes) -> list[int]:
        """In each part of the index on the hash."""
        parts = "WITH RECURSIVE part (n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM part WHERE n < ?)"
        found = "SELECT idx FROM part CROSS JOIN body ON idx >> 12 = n AND sha256 = ? AND expires IS NOT NULL"
        return [row[0] for row in self._rows(f"{parts} {found}", self.size() >> 12, sha256)]  # type: ignore[misc]

    def acknowledged(self, origin: str, index: int) -> list[AcknowledgedLine]:
        """Earliest first."""
        query = "SELECT * FROM acknowledged WHERE origin = ? AND target = ? ORDER BY time, agency, state"
        return [AcknowledgedLine(*row) for row in self._rows(query, origin, index)]  # type: ignore[arg-type]

    def newest_recorded(self) -> Published | None:
        """By size."""
        rows = self._rows("SELECT size, root, note, head FROM checkpoint ORDER BY size DESC LIMIT 1")
        return Published(*rows[0]) if rows else None  # type: ignore[arg-type]

    def newest_published(self, at_most: int | None = None) -> Published | None:
        """By size."""
        query = "SELECT * FROM checkpoint WHERE note <> '' AND size <= ? ORDER BY size DESC LIMIT 1"
        rows = self._rows(query, 2**62 if at_most is None else at_most)
        return Published(*rows[0]) if rows else None  # type: ignore[arg-type]

    def halted(self) -> Halt | None:
        """The one row."""
        rows = self._rows("SELECT reason, note FROM halt")
        return Halt(*rows[0]) if rows else None  # type: ignore[arg-type]

    def bytes_used(self) -> int:
        """The file and its WAL."""
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())
