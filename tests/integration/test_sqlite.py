"""What the SQLite store finds again, in a ledger that is longer than one part of its index on hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from broker import wal
from broker.errors import NodeHomeError
from broker.storage import sqlite
from broker.storage.contract import NewEntry, Storage, StoredWrap
from broker.storage.sqlite import SqliteStorage, create
from protocol.entry import WRAP_BYTES
from protocol.limits import WRAPS_MAX
from protocol.statements import Kind

ENTRIES = 4096 * 3 + 1
AT = (0, 1, 4095, 4096, 8191, ENTRIES - 1)  # around the ends of parts
BODY = b"a body that was posted again and again"
DIRECTORY = 7


def _entry(index: int) -> NewEntry:
    kind = Kind.DIRECTORY if index == DIRECTORY else Kind.BULLETIN
    body = BODY if index in (*AT, DIRECTORY) else index.to_bytes(8)
    found_by = hashlib.sha256(body).digest()
    return NewEntry(
        index, kind, b"entry", bytes(32), index.to_bytes(32), ("cn-embassy",), body=body, body_hash=found_by,
        bulletin=None if kind is Kind.DIRECTORY else ("pk-liaison", index.to_bytes(16)),
        expires=None if kind is Kind.DIRECTORY else 1,
    )  # fmt: skip


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    create(tmp_path / "ledger.db")
    storage = SqliteStorage(tmp_path / "ledger.db")
    storage.append([_entry(index) for index in range(ENTRIES)], [])
    yield storage
    storage.close()


def test_a_body_is_found_by_its_hash_wherever_it_stands(storage: SqliteStorage) -> None:
    """Every bulletin that has it, in order, also once it is expunged; a directory's JSON by itself."""
    posted = hashlib.sha256(BODY).digest()
    assert storage.body_indexes(posted) == list(AT)
    assert storage.directory_indexes(posted) == [DIRECTORY]
    assert storage.directory(posted) == BODY
    storage.expunge([4096])
    assert storage.body_indexes(posted) == list(AT)
    assert storage.body_indexes(bytes(32)) == storage.directory_indexes(bytes(32)) == []
    assert storage.body_indexes(hashlib.sha256((5000).to_bytes(8)).digest()) == [5000]


def test_as_many_wraps_as_there_can_be_are_found_by_their_seats(storage: SqliteStorage) -> None:
    """In the order of the statement; all are gone with the body."""
    wraps = tuple(StoredWrap(os.urandom(32), os.urandom(WRAP_BYTES)) for _ in range(WRAPS_MAX))
    storage.append([_entry(ENTRIES).replace(wraps=wraps)], [])
    assert storage.wraps(ENTRIES) == list(wraps)
    (read,) = storage.together(ENTRIES, ENTRIES + 1, 1 << 20)
    assert read.wraps == wraps
    assert storage.wrap(ENTRIES, wraps[200].seat_key_id) == wraps[200].data
    assert storage.wrap(ENTRIES, bytes(32)) is None
    assert storage.wraps(ENTRIES - 1) == []
    storage.expunge([ENTRIES])
    assert storage.wraps(ENTRIES) == []
    assert storage.body(ENTRIES) is None


def test_a_log_that_has_grown_long_is_begun_anew_where_nobody_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its file is cut to the bound; until it is long nothing is to be done."""
    monkeypatch.setattr(sqlite, "WAL_BYTES_MAX", 1024 * 1024)
    create(tmp_path / "ledger.db")
    store, log = SqliteStorage(tmp_path / "ledger.db"), tmp_path / "ledger.db-wal"
    store.append([_entry(0)], [])
    assert not store.checkpoint_wal()
    store.append([_entry(index) for index in range(1, 10_000)], [])
    assert log.stat().st_size > 2 * sqlite.WAL_BYTES_MAX
    assert store.checkpoint_wal()
    store.append([_entry(10_000)], [])
    assert log.stat().st_size <= sqlite.WAL_BYTES_MAX
    assert not store.checkpoint_wal()
    assert store.size() == 10_001
    store.close()


class Busy:
    """A store that is written to whenever its log is being moved, so that some is left; not so in ``write``."""

    def __init__(self, path: Path) -> None:
        self.path, self.store, self._written_to = path, SqliteStorage(path), True

    def checkpoint_wal(self) -> bool:
        """A reader who began before the write keeps it from being moved, as it would be if it came a moment later."""
        if not self._written_to:
            return self.store.checkpoint_wal()
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as reading:
            reading.execute("BEGIN")
            index = len(reading.execute("SELECT idx FROM entry").fetchall())
            self.store.append([_entry(at) for at in range(index, index + 2048)], [])
            long = self.store.checkpoint_wal()
            self.store.append([_entry(index + 2048)], [])
        return long

    async def write(self, act: Callable[[], object]) -> None:
        """Between two writes."""
        self._written_to = False
        act()
        self._written_to = True


async def test_the_log_of_a_store_that_is_written_to_without_a_pause_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is moved between two writes once it is long, and begins anew."""
    monkeypatch.setattr(sqlite, "WAL_BYTES_MAX", 256 * 1024)
    path = tmp_path / "ledger.db"
    create(path)
    busy = Busy(path)
    for _ in range(8):
        await wal.checkpoint(cast("Storage", busy), busy.write)
    assert path.with_name("ledger.db-wal").stat().st_size < path.stat().st_size / 4
    busy.store.close()


def test_a_ledger_is_for_nobody_but_its_owner_to_read(storage: SqliteStorage, tmp_path: Path) -> None:
    """File, log and index of the log; one that is there is never made again."""
    assert storage.size()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    with pytest.raises(NodeHomeError, match="exists already"):
        create(tmp_path / "ledger.db")
