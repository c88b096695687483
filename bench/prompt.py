"""What people feel: help at a prompt, and `post` at one prompt to `follow` printing it at another."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.messages import bench_world
from bench.table import Figure
from khunjerab.cli import app
from tests.support.live import PASSPHRASE, seat_home
from tests.support.process import NodeProcess, make_home

HELP_MUST, POST_MUST = 150, 100  # ms
KHUNJERAB = [sys.executable, "-I", "-m", "khunjerab"]
BULLETIN = ["post", "--to", "cn-embassy", "--feed", "convoys", "--label", "Restricted//REL CHN, PAK", "--status"]
BULLETIN += ["exercise", "--title", "Road closed at Sost", "--text", "A slide has closed the highway.", "--json"]


class Felt(NamedTuple):
    """Milliseconds, of one round."""

    bare: float
    help: float
    post: float
    warm: float
    printed: float


def prompt(rounds: int) -> list[Figure]:
    """Rows."""
    with tempfile.TemporaryDirectory(prefix="khunjerab-bench-") as folder:
        felt = asyncio.run(_felt(Path(folder), rounds))
    bare = statistics.median(one.bare for one in felt)
    return [
        Figure(
            "khunjerab --help", [one.help for one in felt], HELP_MUST, at_most=True, unit=" ms",
            detail={"python -c pass, ms": bare},
        ),
        Figure(
            "post at a prompt, beyond the same in a process that has imported all",
            [one.post - one.warm for one in felt], POST_MUST, at_most=True, unit=" ms",
            detail={
                "post, ms": statistics.median(one.post for one in felt),
                "warm, ms": statistics.median(one.warm for one in felt),
            },
        ),
        Figure("post at a prompt to follow printing it", [one.printed for one in felt], at_most=True, unit=" ms"),
    ]  # fmt: skip


async def _felt(folder: Path, rounds: int) -> list[Felt]:
    world = bench_world()
    async with NodeProcess(make_home(folder / "node", world)) as node:
        homes = {}
        for agency in ("pk-liaison", "cn-embassy"):
            with contextlib.closing(seat_home(folder, world, agency, url=node.url)) as home:
                homes[agency] = str(home.folder)
        passphrase = folder / "passphrase"
        passphrase.write_bytes(PASSPHRASE.reveal())
        passphrase.chmod(0o600)
        os.environ["KHUNJERAB_PASSPHRASE_FILE"] = str(passphrase)
        follow = await asyncio.create_subprocess_exec(
            *KHUNJERAB, "--home", homes["cn-embassy"], "follow", "--json", stdout=asyncio.subprocess.PIPE
        )
        assert follow.stdout is not None
        try:
            post = ["--home", homes["pk-liaison"], *BULLETIN]
            return [await asyncio.wait_for(_round(post, follow.stdout), 60) for _ in range(rounds + 1)][1:]
        finally:
            follow.terminate()
            await follow.wait()


async def _round(post: list[str], followed: asyncio.StreamReader) -> Felt:
    bare = await asyncio.to_thread(_run, [sys.executable, "-c", "pass"])
    helped = await asyncio.to_thread(_run, [*KHUNJERAB, "--help"])
    began = time.perf_counter()
    posting = asyncio.create_task(asyncio.to_thread(_run, [*KHUNJERAB, *post]))
    await followed.readline()
    printed = (time.perf_counter() - began) * 1e3
    posted = await posting
    warm = await asyncio.to_thread(_run_here, post)
    await followed.readline()
    return Felt(bare, helped, posted, warm, printed)


def _run(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1e3


def _run_here(arguments: list[str]) -> float:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        began = time.perf_counter()
        app(arguments, standalone_mode=False)
        return (time.perf_counter() - began) * 1e3
