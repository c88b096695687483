"""A full disk, a store that fails, a part that dies: what is refused, what goes on, what comes back."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from broker.errors import LedgerBroken, StorageError, StorageUnsure
from broker.ledger import Built
from broker.node import Node
from clients.transport import Wire
from protocol.problem import Problem
from tests.support.door import answer_of, logged_in, post, refusal, until
from tests.support.live import live_node, world_of_today
from tests.support.world import ORIGINS, World

ORIGIN = ORIGINS["PK"]


class Faulty:
    """A store that does as it is told: ``fault`` maps an operation to what it raises, before or after it is done."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.before: dict[str, Exception] = {}
        self.after: dict[str, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        def act(*args: Any, **kwargs: Any) -> Any:
            if name in self.before:
                raise self.before[name]
            result = getattr(self._storage, name)(*args, **kwargs)
            if name in self.after:
                raise self.after[name]
            return result

        return act


async def problem_of(wire: Wire, world: World, node: Node) -> Problem:
    return await refusal(wire, world.bulletin(created=node.clock()))


async def test_a_full_disk_refuses_what_is_new_and_serves_what_is_there(tmp_path: Path) -> None:
    """503 with the reason; reads go on; when there is room again it goes on by itself, and says so before the next."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as sender:
        receipt = await post(sender, world.bulletin(created=node.clock()))
        writer: sqlite3.Connection = node.storage._writer  # type: ignore[attr-defined]
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages}")
        refused = None
        for _ in range(50):  # until the free pages are used up
            answer = await answer_of(sender, world.bulletin(created=node.clock()))
            if isinstance(answer, Problem):
                refused = answer
                break
        assert refused is not None
        assert refused.code == "storage-unavailable"
        assert "full" in refused.detail
        assert not node.state()["ready"]
        (part,) = await sender.deliveries({ORIGIN: receipt.index}, {})
        assert part.items[0].index == receipt.index
        size = node.ledger.head.size
        writer.execute("PRAGMA max_page_count = 1073741823")
        await until(lambda: bool(node.state()["ready"]))
        assert (await post(sender, world.bulletin(created=node.clock()))).index == size


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_append_that_failed_may_have_happened(tmp_path: Path, when: str) -> None:
    """Failed, or failed and yet happened: either way the same envelope posted again gets one entry and its receipt."""
    world = world_of_today()
    async with live_node(tmp_path, world, wrap=Faulty) as node, logged_in(node, "pk-liaison/desk") as sender:
        faulty: Faulty = node.storage  # type: ignore[assignment]
        size, bulletin = node.ledger.head.size, world.bulletin(created=node.clock())
        getattr(faulty, when)["append"] = StorageUnsure("I/O error")
        assert (await refusal(sender, bulletin)).code == "storage-unavailable"
        getattr(faulty, when).clear()
        assert (await post(sender, bulletin)).index == size
        assert (await post(sender, world.bulletin(created=node.clock()))).index == size + 1
        await node.publish()
        assert node.not_signing is None


async def test_nothing_is_built_on_what_cannot_be_read_again(tmp_path: Path) -> None:
    """The append fails and so does reading what is durable: all is refused until it can be read, and then goes on."""
    world = world_of_today()
    async with live_node(tmp_path, world, wrap=Faulty) as node, logged_in(node, "pk-liaison/desk") as sender:
        faulty: Faulty = node.storage  # type: ignore[assignment]
        size = node.ledger.head.size
        faulty.before["append"] = faulty.before["size"] = StorageError("I/O error")
        assert (await problem_of(sender, world, node)).code == "storage-unavailable"
        del faulty.before["append"]
        assert (await problem_of(sender, world, node)).code == "storage-unavailable"
        assert node.storage._storage.size() == size  # type: ignore[attr-defined]
        faulty.before.clear()
        assert (await post(sender, world.bulletin(created=node.clock()))).index == size


async def test_a_store_that_contradicts_itself_ends_signing_and_nothing_else(tmp_path: Path) -> None:
    """LedgerBroken while reloading: reads go on under the last head, the writer lives and refuses, no task dies."""
    world = world_of_today()
    async with live_node(tmp_path, world, wrap=Faulty) as node, logged_in(node, "pk-liaison/desk") as sender:
        faulty: Faulty = node.storage  # type: ignore[assignment]
        faulty.before["append"] = StorageUnsure("I/O error")
        faulty.before["leaf_hashes"] = LedgerBroken("a leaf is another one")
        assert (await problem_of(sender, world, node)).code == "storage-unavailable"
        faulty.before.clear()
        assert (await problem_of(sender, world, node)).code == "not-signing"
        assert node.not_signing == "a leaf is another one"
        checkpoint = await sender.request("GET", "/checkpoint", login=False)
        (part,) = await sender.deliveries({}, {})
        assert part.head.signature is not None
        await node.publish()
        assert await sender.request("GET", "/checkpoint", login=False) == checkpoint
        assert not any(task.done() for task in node._tasks)


async def test_reading_that_fails_is_503_and_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader hears that the store cannot be read, in words."""
    world = world_of_today()
    async with live_node(tmp_path, world, wrap=Faulty) as node, logged_in(node, "pk-liaison/desk") as reader:
        await reader.session()
        node.storage.before["deliveries"] = StorageError("I/O error")  # type: ignore[attr-defined]
        with pytest.raises(Exception, match="storage-unavailable"):
            await reader.deliveries({}, {})
        assert "Traceback" not in capsys.readouterr().out


async def test_one_submission_that_finds_a_defect_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sent it hears of an internal error; the writer goes on."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as sender:
        stage = node.ledger.stage

        def defect(submission: Any, *others: Any) -> Any:
            if submission.body == bad.body:
                raise ZeroDivisionError
            return stage(submission, *others)

        bad, good = world.bulletin(created=node.clock()), world.bulletin(created=node.clock())
        monkeypatch.setattr(node.ledger, "stage", defect)
        answers = await sender.post([bad, good])
        assert [getattr(answer, "code", "receipt") for answer in answers] == ["internal-error", "receipt"]


async def test_a_part_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``failed`` ends the process with status 1; nobody who waits for a receipt waits for ever."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as sender:

        def defect(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(node.ledger, "build", defect)
        assert (await problem_of(sender, world, node)).code == "internal-error"
        async with asyncio.timeout(120):
            await asyncio.wait([node.failed])
        assert isinstance(node.failed.exception(), ZeroDivisionError)
        assert (await problem_of(sender, world, node)).code == "stopping"


async def test_a_stop_finishes_what_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on its way to the disk gets its receipts; then comes a last checkpoint over all of it."""
    world, began, go_on = world_of_today(), threading.Event(), threading.Event()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as sender:
        commit = node.ledger.commit

        def slow(built: Built) -> None:
            began.set()
            go_on.wait(120)
            commit(built)

        monkeypatch.setattr(node.ledger, "commit", slow)
        bulletins = [world.bulletin(created=node.clock()) for _ in range(40)]
        posting = asyncio.create_task(sender.post(bulletins))
        assert await asyncio.to_thread(began.wait, 120)
        node.begin_stop()
        go_on.set()
        answers = await posting
    receipts = [answer for answer in answers if not isinstance(answer, Problem)]
    assert receipts
    async with live_node(tmp_path, world) as node:
        published = node.storage.newest_published()
        assert published is not None
        assert published.size == node.ledger.tree.size > max(receipt.index for receipt in receipts)
