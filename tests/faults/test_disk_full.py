"""A disk that is really full: 503 that says why, reads go on, and with room again it goes on by itself.

Two ways to have one: a small file system of its own where the tests may mount one, and a limit to the size of files
that the system enforces on the node's process alone, which any user may set. The node's log is on that disk too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol.names import format_id
from protocol.problem import Problem
from protocol.statements import Bulletin
from tests.support.caller import Caller, callers
from tests.support.checks import check_ledger
from tests.support.live import now_ms, world_of_today
from tests.support.process import NodeProcess, make_home
from tests.support.world import World

DISK_BYTES = 4 * 1024 * 1024
UNLIMITED = resource.RLIM_INFINITY


@dataclass
class Disk:
    """Where a node lives, and how its disk gets full and has room again."""

    folder: Path
    fill: Callable[[NodeProcess], None]
    empty: Callable[[NodeProcess], None]


def _limit_files(node: NodeProcess) -> None:
    """To the size that the longest one has now."""
    longest = max(path.stat().st_size for path in node.home.glob("ledger.db*"))
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (longest, UNLIMITED))


def _do_not_limit_files(node: NodeProcess) -> None:
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


def _fill_up(node: NodeProcess) -> None:
    """Another program's file takes all there is."""
    with contextlib.suppress(OSError), (node.home / "filler").open("wb", buffering=0) as filler:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while filler.write(bytes(size)):
                    pass


def _make_room(node: NodeProcess) -> None:
    (node.home / "filler").unlink()


@pytest.fixture(params=["a limit", "a small disk"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """The small disk is a limit too where this user may not mount one."""
    mounted = request.param == "a small disk" and _mount(tmp_path)
    try:
        yield Disk(tmp_path, _fill_up, _make_room) if mounted else Disk(tmp_path, _limit_files, _do_not_limit_files)
    finally:
        if mounted:
            subprocess.run([shutil.which("umount") or "umount", "--lazy", str(tmp_path)], check=True)


def _mount(folder: Path) -> bool:
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        return False
    command = [mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def world() -> World:
    return world_of_today()


@pytest.fixture
async def node(disk: Disk, world: World) -> AsyncIterator[NodeProcess]:
    async with NodeProcess(make_home(disk.folder / "node", world)) as node:
        yield node


async def _until_full(sender: Caller, posted: list[int]) -> Problem:
    """Post until there is no room: at first a page or two may be left."""
    for _ in range(500):
        (answer,) = await sender.post(sender.world.bulletin(created=now_ms()))
        if isinstance(answer, Problem):
            return answer
        posted.append(answer.index)
    pytest.fail("the disk never filled up")


async def test_a_full_disk(disk: Disk, node: NodeProcess, world: World) -> None:
    """Nothing that had a receipt is lost, what was refused can come again, and nobody has to help."""
    async with callers(node.url, world, ["pk-liaison/desk", "cn-liaison/desk", "pk-auditor/desk"]) as held:
        sender, reader, auditor = held
        first = world.bulletin(created=now_ms())
        posted = [(await sender.receipt(first)).index]
        disk.fill(node)
        problem = await _until_full(sender, posted)
        assert problem.code == "storage-unavailable"
        assert any(word in problem.detail for word in ("full", "I/O"))
        refused = [world.bulletin(created=now_ms()) for _ in range(5)]
        for _ in range(20):  # more lines than the log has room for
            for answer in await sender.post(*refused):
                assert isinstance(answer, Problem)
                assert answer.code == "storage-unavailable"
        await _reads_go_on(reader, first, posted)
        disk.empty(node)
        async with asyncio.timeout(120):
            while any(isinstance(answer, Problem) for answer in await sender.post(*refused)):  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.05)
        posted += [receipt.index for receipt in await sender.post(*refused) if not isinstance(receipt, Problem)]
        posted.append((await sender.receipt(world.bulletin(created=now_ms()))).index)
        founding = len(world.founding())
        assert posted == list(range(founding, founding + len(posted)))
        assert len(await auditor.entries()) == founding + len(posted)
    assert await node.stop() == 0
    assert check_ledger(node.home / "ledger.db", world, now=now_ms()).entries == founding + len(posted)
    assert "Traceback" not in node.words()


async def _reads_go_on(reader: Caller, first: object, posted: list[int]) -> None:
    """Pages, states, checkpoints and new sessions."""
    part = await reader.page(0)
    assert set(posted) <= {item.index for item in part.items}
    header = Bulletin.decode(first.statement).header  # type: ignore[attr-defined]
    state = await reader.ask("GET", f"/v1/bulletins/{format_id(header.sender, header.id)}")
    assert state.json()["index"] == posted[0]
    assert (await reader.ask("GET", "/checkpoint")).status == 200
    await reader.log_in()


async def test_a_node_killed_and_started_while_the_disk_is_full(disk: Disk, node: NodeProcess, world: World) -> None:
    """It comes up with what it had, for reading, and with room takes what it is given."""
    posted: list[int] = []
    founding = len(world.founding())
    async with Caller(node.url, world) as sender:
        await sender.log_in()
        disk.fill(node)
        await _until_full(sender, posted)
        node.kill()
        await node.start()
        disk.fill(node)
        await sender.log_in()
        assert [item.index for item in (await sender.page(founding)).items] == posted
        await _until_full(sender, posted)
        again = world.bulletin(created=now_ms())
        for _ in range(100):
            await sender.refusal(again)
        disk.empty(node)
        async with asyncio.timeout(120):
            while isinstance((await sender.post(again))[0], Problem):  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.05)
        assert (await sender.receipt(again)).index == founding + len(posted)
    assert await node.stop() == 0
    check_ledger(node.home / "ledger.db", world, now=now_ms())
