"""Each statement of SQLite that fails, and what of its transaction is there then: all of it, or nothing.

A wrapped connection fails the n-th statement, for every n, before it is done or after. What is there is asked of the
file, by a connection of its own.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from broker import fsck
from broker.errors import LedgerBroken, StorageError, StorageUnsure
from broker.ledger import Built, Ledger
from broker.publisher import Publisher
from broker.storage.contract import Halt
from broker.storage.sqlite import SqliteStorage
from protocol.entry import Entry
from tests.support.altering import replace
from tests.support.checks import check_ledger
from tests.support.faulty import READS
from tests.support.operator import signed_checkpoint
from tests.support.world import NOW, ORIGINS, World, first_directory, line_about, node_keys, open_ledger

ORIGIN = ORIGINS["PK"]
LOADED = 254  # so that the next group fills a tile
RECORDED = 100
ERRORS = {
    "I/O": sqlite3.OperationalError("disk I/O error"),
    "damaged": sqlite3.DatabaseError("database disk image is malformed"),
}


class Connection:
    """Counts its statements, and fails those it is told to: before they are done, or after."""

    def __init__(self, inner: sqlite3.Connection, error: sqlite3.Error) -> None:
        self.inner, self.error = inner, error
        self.statements: list[str] = []
        self.fail_at = set[int]()
        self.happened = False

    def begin(self, *fail_at: int, happened: bool = False) -> None:
        """Count from 0 again."""
        self.statements.clear()
        self.fail_at, self.happened = set(fail_at), happened

    def _run(self, act: Callable[[], Any], sql: str) -> Any:
        number = len(self.statements)
        self.statements.append(sql.split(None, 1)[0])
        if number in self.fail_at and not self.happened:
            raise self.error
        result = act()
        if number in self.fail_at:
            raise self.error
        return result

    def execute(self, sql: str, *values: Any) -> Any:
        """As sqlite3's."""
        return self._run(lambda: self.inner.execute(sql, *values), sql)

    def executemany(self, sql: str, values: Any) -> Any:
        """As sqlite3's."""
        return self._run(lambda: self.inner.executemany(sql, values), sql)

    def close(self) -> None:
        """As sqlite3's."""
        self.inner.close()


@dataclass
class Site:
    """A ledger whose writer can be told to fail."""

    path: Path
    world: World
    ledger: Ledger
    connection: Connection

    def group(self) -> Built:
        """Bulletins and an acknowledgement: rows for every table, and the leaf that fills a tile."""
        ledger, last = self.ledger, self.ledger.tree.size - 1
        entry = ledger.storage.entry(last)
        assert entry is not None
        word = self.world.acknowledgement("cn-liaison", "pk-liaison", [line_about(ORIGIN, last, entry)])
        bulletins = [self.world.bulletin() for _ in range(3)]
        return ledger.build([ledger.stage(one, NOW) for one in (word, *bulletins)])

    def rows(self) -> dict[str, int]:
        """How many there are in each table of the file."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}  # noqa: S608

    def state(self) -> tuple[object, ...]:
        """Everything that the operations of this page change."""
        storage = self.ledger.storage
        return self.rows(), storage.newest_recorded(), storage.newest_published(), storage.halted(), storage.body(20)


@pytest.fixture(scope="module")
def world() -> World:
    """All are at home in the one ledger."""
    return World.found(agencies=tuple(replace(agency, home=ORIGIN) for agency in first_directory().agencies))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """A file to be copied."""
    folder = tmp_path_factory.mktemp("loaded")
    ledger = open_ledger(folder, world)
    group = [ledger.stage(world.bulletin(), NOW) for _ in range(LOADED - len(world.founding()))]
    ledger.promise(_committed(ledger, ledger.build(group)))
    ledger.storage.record_root(RECORDED, ledger.tree.root(RECORDED))
    ledger.storage.close()
    return folder / "pk-ledger.db"


@pytest.fixture(params=["I/O"])
def site(request: pytest.FixtureRequest, tmp_path: Path, world: World, loaded: Path) -> Iterator[Site]:
    shutil.copy(loaded, tmp_path / loaded.name)
    ledger = open_ledger(tmp_path, world)
    storage = ledger.storage
    assert isinstance(storage, SqliteStorage)
    connection = Connection(storage._writer, ERRORS[request.param])
    storage._writer = connection  # type: ignore[assignment]
    yield Site(tmp_path / loaded.name, world, ledger, connection)
    storage.close()


def _committed(ledger: Ledger, built: Built) -> Built:
    ledger.commit(built)
    return built


def _operations(site: Site) -> dict[str, Callable[[], Callable[[], None]]]:
    """Each makes what is to be tried: anew every time, from what is there then."""
    ledger, storage = site.ledger, site.ledger.storage
    note = signed_checkpoint(RECORDED, ledger.tree.root(RECORDED), NOW // 1000)
    wraps, body = storage.wraps(20), storage.body(20) or b""
    return {
        "append": lambda: partial(ledger.commit, site.group()),
        "record_root": lambda: partial(storage.record_root, RECORDED + 1, ledger.tree.root(RECORDED + 1)),
        "publish": lambda: partial(storage.publish, RECORDED, note),
        "expunge": lambda: partial(storage.expunge, [20, 21, 22]),
        "fill": lambda: partial(storage.fill, 20, wraps, body),
        "halt": lambda: partial(storage.halt, Halt("a reason", "a note")),
        "no halt": lambda: partial(storage.halt, None),
    }


@pytest.mark.parametrize("site", ERRORS, indirect=True)
def test_whatever_fails_it_is_there_whole_or_not_at_all(site: Site) -> None:
    """Before the commit nothing is there, and the error says so; a commit that fails leaves it open which."""
    connection = site.connection
    for name, make in _operations(site).items():
        number, ended = 0, False
        while not ended:
            for happened in (False, True):
                act, before = make(), site.state()
                connection.begin(number, happened=happened)
                if ended := _try(act, connection, number):
                    break
                if connection.statements[number] != "COMMIT" or not happened:
                    assert site.state() == before, (name, connection.statements)
                site.ledger.abandon()
            number += 1
        assert number > 2, f"{name} is no transaction"
    assert site.ledger.broken is None
    check_ledger(site.path, site.world)


def _try(act: Callable[[], None], connection: Connection, number: int) -> bool:
    """Whether it went through, as it has fewer statements than that."""
    try:
        act()
    except StorageError:
        assert connection.statements[number] != "COMMIT"
    except StorageUnsure:
        assert connection.statements[number] == "COMMIT"
    else:
        assert len(connection.statements) <= number
        return True
    assert not connection.inner.in_transaction
    return False


def test_a_rollback_that_fails_is_made_good_by_the_next_write(site: Site) -> None:
    """Nothing of the first group gets in with the second."""
    ledger, connection = site.ledger, site.connection
    before = site.rows()
    first = site.group()
    connection.begin(3, 4)  # an insert, and the rollback after it
    with pytest.raises(StorageError):
        ledger.commit(first)
    assert connection.statements[-1] == "ROLLBACK"
    ledger.abandon()
    connection.begin()
    with pytest.raises(StorageError):
        ledger.commit(site.group())
    ledger.abandon()
    ledger.promise(_committed(ledger, site.group()))
    after = site.rows()
    assert (after["entry"], after["bulletin"]) == (before["entry"] + 4, before["bulletin"] + 3)
    check_ledger(site.path, site.world)


def test_a_gap_is_refused(site: Site) -> None:
    """What does not follow on the last entry never gets in, whoever builds it."""
    built, before = site.group(), site.state()
    beyond = [replace(entry, index=entry.index + 1) for entry in built.entries]
    again = [replace(entry, index=entry.index - 1) for entry in built.entries]
    for entries in (beyond, again):
        with pytest.raises(StorageError, match="does not follow"):
            site.ledger.storage.append(entries, ())
    assert site.state() == before


def test_a_read_that_fails_is_an_error_of_the_store(site: Site) -> None:
    """And of nothing else: no reader sees SQLite."""
    storage = site.ledger.storage
    assert isinstance(storage, SqliteStorage)
    arguments: dict[str, tuple[object, ...]] = {
        **dict.fromkeys(("entry_bytes", "reread", "leaf_hashes", "tile", "tile_roots"), (0, 0)),
        **dict.fromkeys(("size", "governance", "newest_recorded", "newest_published", "halted", "bytes_used"), ()),
        **dict.fromkeys(("entry", "wraps", "body"), (9,)),
        **dict.fromkeys(("seen", "directory"), (bytes(32),)),
        "body_indexes": (bytes(32),),
        "directory_indexes": (bytes(32),),
        "first": ("pk-liaison", bytes(16)),
        "firsts": ([("pk-liaison", bytes(16))],),
        "deliveries": ("pk-liaison", 0, 9, 9),
        "wrap": (9, bytes(32)),
        "acknowledged": (ORIGIN, 9),
        "expirable": (NOW, 9),
        "together": (0, 9, 9),
    }
    assert set(arguments) == set(READS)
    for name in ("_reader", "_rereader"):
        failing = Connection(getattr(storage, name), site.connection.error)
        failing.begin(*range(1000))
        setattr(storage, name, failing)
    for name, values in arguments.items():
        if name != "bytes_used":  # which asks the file system
            with pytest.raises(StorageError):
                list(getattr(storage, name)(*values) or ())


def test_an_entry_that_was_damaged_on_the_disk_is_not_signed(site: Site) -> None:
    """What is read back before a checkpoint is compared with what was promised."""
    entry = site.ledger.storage.entry(LOADED - 1)
    assert entry is not None
    damaged = replace(entry, time=entry.time + 1).encode()
    with closing(sqlite3.connect(site.path, isolation_level=None)) as db:
        db.execute("UPDATE entry SET data = ? WHERE idx = ?", (damaged, LOADED - 1))
    assert Entry.decode(site.ledger.storage.reread(LOADED - 1, LOADED)[0]) != entry
    publisher = Publisher(site.ledger, node_keys("PK").log)
    with pytest.raises(LedgerBroken, match="do not hash to the root"):
        publisher.derive()
    assert fsck.check(site.path, ORIGIN, site.world.pin, NOW).verdict == "failed"
