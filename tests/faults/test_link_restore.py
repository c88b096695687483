"""A nation's node put back from an old backup, by the real commands, while both nations are at work.

It serves reads and signs nothing until it has from its peer's mirror what it had promised since; nothing is lost, and
nobody is accused.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.border import Border, border
from tests.support.door import until


async def _khunjerab(home: Path, *words: str) -> None:
    """A command of the operator's, which must work."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "khunjerab", "--home", str(home), *words),
        env={**os.environ, "KHUNJERAB_PASSPHRASE_FILE": str(home / "passphrase")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()


async def _post(both: Border, count: int) -> None:
    for desk in both.desks.values():
        desk.seal(count)
    await both.settle()


def _logged(log: Path, event: str) -> Callable[[], bool]:
    """Whether a node has said so."""

    def has_said() -> bool:
        lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
        return any(line.get("event") == event for line in lines)

    return has_said


async def test_a_node_put_back_from_an_old_backup(tmp_path: Path) -> None:
    """What it promised since is in its peer's mirror; its people's posts wait until it has that. SPEC 11.9.7."""
    async with border(tmp_path, 8) as both:
        node = both.processes["CN"]
        await _post(both, 3)
        await _khunjerab(node.home, "node", "backup", str(tmp_path / "backup"))
        await _post(both, 20)
        node.kill()
        node.home.rename(tmp_path / "lost")
        node.home.mkdir()
        shutil.copy(tmp_path / "lost" / "passphrase", node.home)
        await _khunjerab(node.home, "node", "restore", str(tmp_path / "backup"))
        await both.cut()
        await node.start()
        both.desks["CN"].seal(5)
        waiting = asyncio.create_task(both.desks["CN"].drain())
        await until(_logged(node.log, "not-recovered"))
        assert len(both.desks["CN"].waiting) == 5, "nothing is signed before it has heard its peer"
        both.open()
        both.links["CN"].carries = 60_000  # less than what it lacks: it comes in parts
        await until(_logged(node.log, "recovered"))
        both.open()
        await waiting
        async with both.at_work():
            await asyncio.sleep(0.5)


async def test_files_that_were_copied_back_by_hand(tmp_path: Path) -> None:
    """The peer has cosigned more than they hold: the node signs nothing from then on, until it has the rest."""
    async with border(tmp_path, 9) as both:
        node = both.processes["CN"]
        await _post(both, 3)
        await _khunjerab(node.home, "node", "backup", str(tmp_path / "backup"))
        await _post(both, 20)
        node.kill()
        for file in node.home.glob("ledger.db*"):
            file.unlink()
        shutil.copy(tmp_path / "backup" / "ledger.db", node.home)
        await node.start()
        await until(_logged(node.log, "not-signing"))
        await until(_logged(node.log, "recovered"))
        async with both.at_work():
            await asyncio.sleep(0.5)
