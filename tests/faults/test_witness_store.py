"""The store of a witness under faults: each statement that fails, before it is done or after, and every crash between.

The oracle is what was let out: whatever failed, all of it is one history, and no fork of it is cosigned afterwards.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.errors import NodeHomeError, StorageError, StorageUnsure
from broker.witness import store
from broker.witness.store import Kept, Overtaken, WitnessStore
from broker.witness.witness import Witness, holds_nothing_to_compare
from protocol.addcheckpoint import SIZE_MEDIA_TYPE
from tests.support.submitting import TIME_S, KnownLogs, SubmittingLog, cosigner_keys, log_signer

LOG = SubmittingLog.of(log_signer("pk.example/ledger"))
FORK = LOG.forked(9)
STATEMENTS = ("SELECT", "SELECT", "BEGIN", "SELECT", "INSERT", "COMMIT")  # of a checkpoint that is cosigned
KILLS = 6


class Failing:
    """A connection of which a statement fails, the n-th or the first of a kind: before it is done, or after."""

    def __init__(self, inner: sqlite3.Connection, at: int | str, *, happened: bool) -> None:
        self._inner, self._at, self._happened = inner, at, happened
        self.seen: list[str] = []

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> Any:
        self.seen.append(sql.split(None, 1)[0])
        failing = self._at == (len(self.seen) - 1 if isinstance(self._at, int) else self.seen[-1])
        if failing:
            self._at = -1
        if failing and not self._happened:
            raise sqlite3.OperationalError("disk I/O error")
        result = self._inner.execute(sql, values)
        if failing:
            raise sqlite3.OperationalError("disk I/O error")
        return result

    def close(self) -> None:
        self._inner.close()


@contextmanager
def opened(path: Path) -> Iterator[Witness]:
    """The witness over this file, as after a start."""
    keys = cosigner_keys("w.example/one")
    subject = Witness(keys, WitnessStore(path), KnownLogs(LOG.signer), holds_nothing_to_compare, lambda: TIME_S)
    try:
        yield subject
    finally:
        subject.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store that knows nothing yet."""
    store.create(tmp_path / "witness.db")
    return tmp_path / "witness.db"


async def _step(subject: Witness, log: SubmittingLog, size: int) -> int | None:
    """The size that was cosigned, asked for as a log does that believes what a conflict says; None where refused."""
    old = 0
    for _ in range(3):
        answer = await subject.add_checkpoint(log.request(old, size))
        if answer.content_type != SIZE_MEDIA_TYPE:
            return size if answer.status == 200 else None
        old = int(answer.body)
        if old > size:
            return None
    raise AssertionError("a conflict that does not end")


@pytest.mark.parametrize("happened", [False, True], ids=["failed", "failed but happened"])
@pytest.mark.parametrize("at", range(len(STATEMENTS)), ids=[f"{n} {s}" for n, s in enumerate(STATEMENTS)])
@pytest.mark.parametrize("restarted", [False, True], ids=["goes on", "starts again"])
async def test_a_statement_that_fails_lets_nothing_out(path: Path, at: int, happened: bool, restarted: bool) -> None:
    """Nor is anything signed afterwards that contradicts what may have been kept. SPEC 9.7.3."""
    with opened(path) as subject:
        assert await _step(subject, LOG, 9) == 9
        inner = subject.store._writer
        failing = Failing(inner, at, happened=happened)
        subject.store._writer = failing  # type: ignore[assignment]
        answer = await subject.add_checkpoint(LOG.request(9, 20))
        assert answer.status == 503
        assert failing.seen[: at + 1] == list(STATEMENTS[: at + 1])
        subject.store._writer = inner
        if not restarted:
            await _one_history(subject, may_be_kept=happened and STATEMENTS[at] == "COMMIT")
    with opened(path) as subject:
        await _one_history(subject, may_be_kept=happened and STATEMENTS[at] == "COMMIT")


async def _one_history(subject: Witness, *, may_be_kept: bool) -> None:
    """The fork is refused where the first may have been kept; what extends the kept one is cosigned."""
    (kept,) = subject.store.all()
    assert kept.size in ({20, 24} if may_be_kept else {9, 24})
    if may_be_kept:
        assert await _step(subject, FORK, 24) is None
        assert await _step(subject, LOG, 24) == 24
    else:
        assert kept.size == 24 or await _step(subject, FORK, 24) == 24
        assert await _step(subject, LOG, 30) is None


def test_the_table_of_statements_is_whole(path: Path) -> None:
    """What a cosigned checkpoint runs, so that none is left out above."""

    async def cosign() -> list[str]:
        with opened(path) as subject:
            counting = Failing(subject.store._writer, -1, happened=False)
            subject.store._writer = counting  # type: ignore[assignment]
            assert (await subject.add_checkpoint(LOG.request(0, 9))).status == 200
            return counting.seen

    assert asyncio.run(cosign()) == list(STATEMENTS)


def test_what_fails_is_told_apart(path: Path) -> None:
    """Nothing happened; it may have; somebody else was first. SPEC 9.7.3."""
    kept = Kept("pk.example/ledger", 9, b"\1" * 32, 5, "note")
    later = Kept("pk.example/ledger", 10, b"\2" * 32, 5, "note")
    for at, error in ((0, StorageError), (1, StorageError), (2, StorageError), (3, StorageUnsure)):
        subject = WitnessStore(path)
        subject._writer = Failing(subject._writer, at, happened=False)  # type: ignore[assignment]
        with pytest.raises(error):
            subject.advance(Kept("pk.example/ledger"), kept)
        subject.close()
    subject = WitnessStore(path)
    subject.advance(Kept("pk.example/ledger"), kept)
    for before in (Kept("pk.example/ledger"), later, Kept("pk.example/ledger", 9, b"\1" * 32, 5, "another")):
        with pytest.raises(Overtaken):
            subject.advance(before, later)
    assert subject.kept("pk.example/ledger") == kept
    subject.close()


@pytest.mark.parametrize(
    "after",
    [
        Kept("pk.example/ledger", 8, b"\1" * 32, 5, "note"),
        Kept("pk.example/ledger", 9, b"\2" * 32, 5, "note"),
        Kept("pk.example/ledger", 10, b"\2" * 32, 4, "note"),
    ],
    ids=["smaller", "another of one size", "earlier"],
)
def test_the_table_itself_never_goes_back(path: Path, after: Kept) -> None:
    """Whatever the program above it does. SPEC 9.7.3."""
    kept = Kept("pk.example/ledger", 9, b"\1" * 32, 5, "note")
    subject = WitnessStore(path)
    subject.advance(Kept("pk.example/ledger"), kept)
    with pytest.raises(StorageError):
        subject.advance(kept, after)
    with pytest.raises(sqlite3.IntegrityError, match="never forgets"):
        subject._writer.execute("DELETE FROM cosigned")
    assert subject.kept("pk.example/ledger") == kept
    subject.close()


def test_a_store_is_made_once_and_never_by_accident(path: Path, tmp_path: Path) -> None:
    """An empty one in its place would cosign everything anew."""
    with pytest.raises(NodeHomeError, match="exists already"):
        store.create(path)
    with pytest.raises(NodeHomeError):
        WitnessStore(tmp_path / "not-there.db")
    assert not (tmp_path / "not-there.db").exists()
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(NodeHomeError, match="version 9"):
        WitnessStore(path)


_CHILD = """
import asyncio, sys
from pathlib import Path
from tests.faults.test_witness_store import LOG, opened

async def cosign(path):
    with opened(path) as subject:
        for size in range(1, len(LOG.leaves) + 1):
            (kept,) = subject.store.all() or [None]
            old = kept.size if kept else 0
            if size > old:
                answer = await subject.add_checkpoint(LOG.request(old, size))
                assert answer.status == 200, answer
                print(size, flush=True)

asyncio.run(cosign(Path(sys.argv[1])))
"""


def test_killed_at_any_time_it_remembers_all_that_it_let_out(path: Path) -> None:
    """SIGKILL while it cosigns: what it said is kept, and nothing that contradicts it is signed. SPEC 9.7.3."""
    said = 0
    for _ in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            assert int(line) > said
            said = int(line)
            if said % 5 == 0:
                break
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        said = max([said, *map(int, rest)])
        with opened(path) as subject:
            (kept,) = subject.store.all()
            assert said <= kept.size
            assert kept.root == LOG.checkpoint(kept.size).root
            fork = LOG.forked(said - 1).request(kept.size, 40)
            assert asyncio.run(subject.add_checkpoint(fork)).status == 422
