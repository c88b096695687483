"""What the SQLite store finds again, in a ledger that is longer than one part of its index on hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.storage.contract import NewEntry, StoredWrap
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
