"""Every operation of the store × {failed, failed but happened} × {once, until healed}: what is refused, what is kept.

While it fails: 503 and nothing else. After: the same bytes get one place each, receipts given before or during hold,
readers miss nothing, and the file alone says the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker.errors import StorageError
from broker.node import Node
from broker.storage.contract import Storage
from broker.storage.sqlite import SqliteStorage
from protocol.entry import Entry, Submission
from protocol.header import Relation
from protocol.names import format_id
from protocol.problem import Problem
from protocol.statements import Bulletin
from protocol.treehead import Receipt
from tests.support.caller import Answer, Caller, callers
from tests.support.checks import check_ledger
from tests.support.door import until
from tests.support.faulty import READS, WRITES, FaultyStorage
from tests.support.live import live_node, now_ms, open_ledger_here, world_of_today
from tests.support.world import ORIGINS, World, admit, line_about, open_ledger

LOADED = 262  # bulletins that are there already: enough for a full tile
ON_THE_WAY = (
    *("append", "record_root", "publish", "reread", "newest_recorded", "first", "firsts", "seen", "entry"),
    *("entry_bytes", "deliveries", "wrap", "body", "body_indexes", "directory_indexes"),
    *("acknowledged", "expirable"),
)
WHEN_RELOADING = ("size", "leaf_hashes", "tile_roots", "tile", "governance", "halted", "directory", "entry", "seen")
AT_THE_START = (*WHEN_RELOADING, "newest_recorded", "newest_published", "reread", "expirable")
NEVER_ASKED = {  # and where they are tried instead
    *("expunge", "wraps", "together", "fill"),  # tests/integration/test_retention.py, tests/faults/test_restore.py
    *("halt",),  # tests/faults/test_restore.py
    *("bytes_used", "newest_published"),  # metrics alone, and the start alone: test_a_store_that_fails_at_the_start
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    """A ledger that has been in use, to be copied, and its world."""
    folder, world = tmp_path_factory.mktemp("loaded"), world_of_today()
    open_ledger_here(folder, world)
    ledger = open_ledger(folder, world, now=now_ms())
    for _ in range(LOADED):
        admit(ledger, world.bulletin(created=now_ms()), now_ms())
    ledger.storage.close()
    return folder / "pk-ledger.db", world


@dataclass
class Site:
    """A node over a faulty store, those who use it, and what they hold."""

    node: Node
    storage: FaultyStorage
    world: World
    sender: Caller
    reader: Caller
    auditor: Caller
    wanted: list[Submission] = field(default_factory=list)
    receipts: dict[bytes, Receipt] = field(default_factory=dict)  # by statement

    async def post(self, *submissions: Submission) -> None:
        """All at once; each is answered by a receipt or by 503, and a receipt is for ever."""
        by = [self.reader if s.kind.word == "acknowledgement" else self.sender for s in submissions]
        answers = await asyncio.gather(*(c.post(s) for c, s in zip(by, submissions, strict=True)))
        for submission, (answer,) in zip(submissions, answers, strict=True):
            if isinstance(answer, Problem):
                assert answer.code == "storage-unavailable", answer
                continue
            before = self.receipts.setdefault(submission.statement, answer)
            assert (before.index, before.time) == (answer.index, answer.time)

    def bulletins(self, count: int, **changes: Any) -> list[Submission]:
        """New ones."""
        made = [self.world.bulletin(created=now_ms(), **changes) for _ in range(count)]
        self.wanted += made
        return made

    async def read_everything(self, first: Submission) -> list[Answer]:
        """What anyone reads, all at once."""
        header = Bulletin.decode(first.statement).header
        paths = [
            f"/v1/deliveries?after={ORIGINS['PK']}={LOADED}",
            f"/v1/bulletins/{format_id(header.sender, header.id)}",
            f"/v1/bodies/{Bulletin.decode(first.statement).body.hex()}",
            "/v1/directory",
        ]
        asked = [self.reader.ask("GET", path) for path in paths]
        tiles = [self.auditor.ask("GET", f"/tile/{name}") for name in ("entries/001.p/5", "0/000")]
        return await asyncio.gather(*asked, *tiles)


@asynccontextmanager
async def open_site(folder: Path, loaded: tuple[Path, World]) -> AsyncIterator[Site]:
    """Over a copy of the loaded ledger."""
    path, world = loaded
    shutil.copy(path, folder / path.name)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(live_node(folder, world, wrap=FaultyStorage))
        names = ("pk-liaison/desk", "cn-liaison/desk", "pk-auditor/desk")
        sender, reader, auditor = await stack.enter_async_context(callers(node.config.url, world, names))
        assert isinstance(node.storage, FaultyStorage)
        yield Site(node, node.storage, world, sender, reader, auditor)


def _answered(answer: Answer) -> None:
    if answer.status != 200:
        assert answer.problem().code == "storage-unavailable"


async def _use(site: Site, first: Submission, entry: Entry, index: int) -> None:
    """Everything that a node is asked for, while its store fails."""
    leaf = entry.leaf()
    related = site.bulletins(1, relations=(Relation("replies", ORIGINS["PK"], index, leaf),))
    line = line_about(ORIGINS["PK"], index, entry, time=now_ms())
    acknowledgement = site.world.acknowledgement("cn-liaison", "pk-liaison", [line], created=now_ms())
    site.wanted.append(acknowledgement)
    await site.post(*site.bulletins(2), *related, acknowledgement)
    await site.node.publish()
    await site.node.once_a_day()
    for answer in await site.read_everything(first):
        _answered(answer)


@dataclass(frozen=True)
class Case:
    """One fault; with ``reloading`` it meets the node while it recovers from an append that was unsure."""

    name: str
    happened: bool
    times: int | None
    reloading: bool = False

    def __str__(self) -> str:
        how = "happened" if self.happened else "failed"
        return f"{self.name} {how} {'once' if self.times else 'until healed'}{' reloading' * self.reloading}"


CASES = [
    *(Case(name, False, times) for name in ON_THE_WAY for times in (1, None)),
    *(Case(name, True, times) for name in ON_THE_WAY if name in WRITES for times in (1, None)),
    *(Case(name, False, times, reloading=True) for name in WHEN_RELOADING for times in (1, None)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_costs_a_503_and_nothing_else(tmp_path: Path, loaded: tuple[Path, World], case: Case) -> None:
    async with open_site(tmp_path, loaded) as site:
        (first,) = site.bulletins(1)
        await site.post(first)
        index = site.receipts[first.statement].index
        entry = Entry.decode(site.storage.inner.entry_bytes(index, index + 1)[0])
        if case.reloading:
            site.storage.fail("append", happened=True)
        site.storage.fail(case.name, happened=case.happened, times=case.times)
        await _use(site, first, entry, index)
        assert site.storage.fired[case.name], "the fault was never met"
        if case.times is None:
            await _use(site, first, entry, index)
        site.storage.heal()
        if case == Case("append", False, None):
            assert len(site.receipts) == 1
        await site.post(*site.wanted)
        assert len(site.receipts) == len(site.wanted), "the same bytes again get their receipt"
        assert all(answer.status == 200 for answer in await site.read_everything(first))
        await site.node.publish()
        assert site.node.publisher.newest is not None
        assert site.node.publisher.newest.size == site.node.ledger.head.size == index + len(site.wanted)
        assert site.node.not_signing is None
        seen = [item.index for item in (await site.reader.page(index)).items]
        assert seen == sorted(receipt.index for receipt in site.receipts.values())
        assert site.storage.violations == []
    _check_file(tmp_path, site, write=case.name in WRITES or case.reloading)


def _check_file(folder: Path, site: Site, write: bool) -> None:
    """From the disk alone: each receipt's entry, and where something was written in bad times, everything."""
    path = folder / "pk-ledger.db"
    storage = SqliteStorage(path)
    for submission in site.wanted:
        receipt = site.receipts[submission.statement]
        (data,) = storage.entry_bytes(receipt.index, receipt.index + 1)
        kept = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
        assert (data, Entry.decode(data).leaf()) == (kept.encode(), receipt.leaf_of(kept))
    storage.close()
    if write:
        check_ledger(path, site.world, now=now_ms())


async def test_an_append_that_happened_is_news(tmp_path: Path, loaded: tuple[Path, World]) -> None:
    """Its sender is told to try again, and its readers do not wait for that."""
    async with open_site(tmp_path, loaded) as site:
        after = site.node.ledger.head.size
        waiting = asyncio.create_task(site.reader.page(after, wait=30))
        await until(lambda: bool(site.node.news._events))
        site.storage.fail("append", happened=True)
        await site.post(*site.bulletins(1))
        assert site.receipts == {}
        async with asyncio.timeout(25):
            assert [item.index for item in (await waiting).items] == [after]


def test_the_table_has_every_operation() -> None:
    """One that the contract gains has to be added."""
    assert set(WRITES + READS) == set(ON_THE_WAY + WHEN_RELOADING) | NEVER_ASKED


@pytest.mark.parametrize("name", AT_THE_START)
async def test_a_store_that_fails_at_the_start(tmp_path: Path, loaded: tuple[Path, World], name: str) -> None:
    """The node says so and does not start, or does without; it never starts over, and the next start is a good one."""
    path, world = loaded
    shutil.copy(path, tmp_path / path.name)

    def failing(storage: Storage) -> Storage:
        faulty = FaultyStorage(storage)
        faulty.fail(name, times=None)
        return faulty

    with contextlib.suppress(StorageError):
        async with live_node(tmp_path, world, wrap=failing) as node:
            assert node.ledger.head.size == LOADED + len(world.founding())
    async with live_node(tmp_path, world) as node, callers(node.config.url, world, ["pk-liaison/desk"]) as (sender,):
        receipt = await sender.receipt(world.bulletin(created=now_ms()))
        assert receipt.index == LOADED + len(world.founding())
