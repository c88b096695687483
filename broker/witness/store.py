"""What a witness remembers, over one SQLite file: ``witness.db``, a row a log.

*Durability*: when ``advance`` returns, the row survives the loss of power. *Atomicity*: the row before it or the row
after it, whatever fails, and only if the row was the one that the caller judged by. *Errors*: StorageError means that
nothing happened; StorageUnsure that it may have, and only reading again tells; Overtaken that somebody else came first.

A witness that forgets can be made to sign two histories. So the file is in no backup: a node that is restored cosigns
nothing until it has new cosigner keys and, with them, an empty store.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from broker.errors import NodeHomeError, StorageError, StorageUnsure
from protocol.merkle import EMPTY_ROOT

SCHEMA_VERSION = 1
_BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Kept:
    """The newest tree of a log that was cosigned, when, and as a note. The empty tree at time 0 where none was."""

    origin: str
    size: int = 0
    root: bytes = EMPTY_ROOT
    time_s: int = 0
    note: str = ""


class Overtaken(StorageError):
    """The row is not the one that was judged by: nothing happened."""


def digest_of(origin: str) -> bytes:
    """What a log is called in the address of its cosigned checkpoint."""
    return hashlib.sha256(origin.encode()).digest()


def create(path: Path) -> None:
    """Make a store that remembers nothing. Raises NodeHomeError where there is one."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise NodeHomeError(f"{path} exists already: what was cosigned is never forgotten") from None
    with contextlib.closing(_connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        schema = files("broker.witness").joinpath("schema.sql").read_text()
        connection.executescript(f"BEGIN; {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class WitnessStore:
    """Opens what ``create`` made; raises NodeHomeError where there is none. ``advance`` is for one thread at a time."""

    def __init__(self, path: Path) -> None:
        try:
            self._writer, self._reader = _connect(path), _connect(path)
            self._reader.execute("PRAGMA query_only = ON")
            (version,) = self._reader.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise NodeHomeError(f"no store of a witness at {path}: {error}") from error
        if version != SCHEMA_VERSION:
            raise NodeHomeError(f"{path} is of version {version}, this program writes {SCHEMA_VERSION}")

    def close(self) -> None:
        """Release the file."""
        self._writer.close()
        self._reader.close()

    def kept(self, origin: str) -> Kept:
        """The row of a log, as the thread that writes sees it."""
        try:
            return _kept(self._writer, origin)
        except sqlite3.Error as error:
            raise StorageError(str(error)) from error

    def advance(self, before: Kept, after: Kept) -> None:
        """Put ``after`` in the place of ``before``; the contract is the module's."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            same = _kept(self._writer, after.origin) == before
            if same:
                self._write(after)
        except sqlite3.Error as error:
            self._roll_back()
            raise StorageError(str(error)) from error
        if not same:
            self._roll_back()
            raise Overtaken(f"another tree of {after.origin} was cosigned meanwhile")
        try:
            self._writer.execute("COMMIT")  # commit point
        except sqlite3.Error as error:
            self._roll_back()
            raise StorageUnsure(str(error)) from error

    def _write(self, after: Kept) -> None:
        self._writer.execute(
            "INSERT INTO cosigned VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE"
            " SET size = excluded.size, root = excluded.root, time = excluded.time, note = excluded.note",
            (digest_of(after.origin), after.origin, after.size, after.root, after.time_s, after.note),
        )

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._writer.execute("ROLLBACK")

    def note(self, digest: bytes) -> str | None:
        """The cosigned note of the log whose origin has this SHA-256: for monitors, from any one other thread."""
        try:
            row = self._reader.execute("SELECT note FROM cosigned WHERE digest = ?", (digest,)).fetchone()
        except sqlite3.Error as error:
            raise StorageError(str(error)) from error
        return None if row is None else row[0]

    def all(self) -> list[Kept]:
        """Every row, without its note."""
        try:
            rows = self._reader.execute("SELECT origin, size, root, time FROM cosigned ORDER BY origin").fetchall()
        except sqlite3.Error as error:
            raise StorageError(str(error)) from error
        return [Kept(*row) for row in rows]


def _kept(connection: sqlite3.Connection, origin: str) -> Kept:
    query = "SELECT origin, size, root, time, note FROM cosigned WHERE digest = ?"
    row = connection.execute(query, (digest_of(origin),)).fetchone()
    return Kept(origin) if row is None else Kept(*row)
