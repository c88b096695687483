"""A peer's ledger in a file of its own: the same tables, and what only a mirror has to remember."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.errors import StorageError
from broker.storage import sqlite
from broker.storage.contract import NewEntry, NewTile, StoredWrap
from broker.storage.sqlite import SqliteStorage
from protocol.record import Record
from protocol.statements import GOVERNANCE

SCHEMA = "mirror.sql"
RESERVED_BYTES = 256 * 1024 * 1024  # of the disk, for this node's own ledger: a peer may sign for as much as it likes


class Flag(Record):
    """A rule that an entry breaks: the check's name, the judge's step if it is one, and what was found.

    Without ``effect`` the entry does not exist for those after it.
    """

    index: int
    name: str
    step: int | None
    detail: str
    effect: bool = False


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Entries of a peer on their way into the file, what is wrong with some of them, and the head that they reach."""

    entries: Sequence[NewEntry]
    tiles: Sequence[NewTile]
    flags: Sequence[Flag]
    head: bytes  # empty where none is reached yet
    time: int
    lacking: Sequence[int] = ()
    withdrawn: Sequence[tuple[str, int]] = ()  # deliveries, by reader, of what was here before it was flagged


def is_withheld(kind: int) -> bool:
    """Whether an entry of this kind, once flagged, is delivered to nobody; nothing else beside it is left out.

    Governance goes to everyone all the same, as later links name it.
    """
    return kind not in GOVERNANCE


def _require_room(path: Path) -> None:
    """Raise StorageError where the disk is nearly full: a peer that fills it would stop this nation's own node."""
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise StorageError(str(error)) from error
    if free < RESERVED_BYTES:
        raise StorageError(
            f"{free >> 20} MiB of the disk are free, and the last {RESERVED_BYTES >> 20} are for no peer"
        )


def create(path: Path) -> None:
    """Make an empty mirror. Raises NodeHomeError where a file is there already."""
    sqlite.create(path, SCHEMA)


class MirrorStorage(SqliteStorage):
    """Opens what ``create`` made. Of the writes a mirror uses ``append_mirrored`` and those of checkpoints."""

    def append_mirrored(self, group: Mirrored) -> None:
        """One transaction: entries, flags and head are there together or not at all."""
        if group.entries:
            _require_room(self._path)
        with self._transaction() as db:
            if group.entries:
                self._append(db, group.entries, group.tiles)
            _flag(db, group.flags)
            db.executemany("DELETE FROM delivery WHERE agency = ? AND idx = ?", group.withdrawn)
            db.executemany("INSERT INTO lacking VALUES (?)", [(index,) for index in group.lacking])
            db.execute(
                "INSERT INTO mirrored VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE SET "
                "head = CASE excluded.head WHEN x'' THEN head ELSE excluded.head END, time = excluded.time",
                (group.head, group.time),
            )

    def lacking(self, start: int, limit: int) -> list[int]:
        """Bulletins from ``start`` on whose body or wraps did not come with them."""
        query = "SELECT idx FROM lacking WHERE idx >= ? ORDER BY idx LIMIT ?"
        return [row[0] for row in self._rows(query, start, limit)]  # type: ignore[misc]

    def fill(self, index: int, wraps: Sequence[StoredWrap], body: bytes) -> None:
        """As in every ledger; and it is lacking no more. A crash in between has it asked for again."""
        super().fill(index, wraps, body)
        self.no_longer_lacking(index)

    def no_longer_lacking(self, index: int) -> None:
        """It is filled, or nobody has it any more."""
        with self._transaction() as db:
            db.execute("DELETE FROM lacking WHERE idx = ?", (index,))

    def flags(self) -> list[Flag]:
        """Every one, in order of index."""
        rows = self._rows("SELECT idx, name, step, detail, effect FROM flag ORDER BY idx")
        return [Flag(index, name, step, detail, bool(effect)) for index, name, step, detail, effect in rows]  # type: ignore[arg-type]

    def flag_count(self) -> int:
        """How many there are: a peer may have earned many, and this is asked at every look at it."""
        ((count,),) = self._rows("SELECT count(*) FROM flag")
        return count  # type: ignore[return-value]

    def mirrored(self) -> tuple[bytes, int]:
        """The newest head, and the latest time of any entry; empty and 0 at the beginning."""
        rows = self._rows("SELECT head, time FROM mirrored")
        return rows[0] if rows else (b"", 0)  # type: ignore[return-value]


def _flag(db: sqlite3.Connection, flags: Sequence[Flag]) -> None:
    rows = [(flag.index, flag.name, flag.step, flag.detail, flag.effect) for flag in flags]
    db.executemany("INSERT OR IGNORE INTO flag VALUES (?, ?, ?, ?, ?)", rows)
