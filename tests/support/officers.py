"""Officers at terminals: the real command, as a process of its own, in a home of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.live import PASSPHRASE, seat_home
from tests.support.world import World

_SECONDS_MAX = 60


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        """The only one."""
        (only,) = self.lines
        return only


@dataclass(frozen=True)
class Officer:
    """``await officer("inbox", "--json")`` runs ``khunjerab --home … inbox --json``; ``expect`` is its exit status."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    async def __call__(self, *words: str, expect: int = 0, stdin: str = "") -> Said:
        child = await self.start(*words)
        async with asyncio.timeout(_SECONDS_MAX):
            out, err = await child.communicate(stdin.encode())
        said = Said(child.returncode or 0, out.decode(), err.decode())
        assert said.code == expect, f"{' '.join(words)}: {said.code}\n{said.out}\n{said.err}"
        return said

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        """The command, running."""
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-I", "-m", "khunjerab", "--home", str(self.home), *words]
        environment = {**os.environ, "KHUNJERAB_PASSPHRASE_FILE": str(self.home / "passphrase"), "COLUMNS": "200"}
        return await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment | self.environment
        )


def officer(folder: Path, world: World, agency: str, seat: str = "desk", url: str = "") -> Officer:
    """An officer of an agency whose seat has joined."""
    home = seat_home(folder, world, agency, seat, url)
    home.close()
    (home.folder / "passphrase").write_bytes(PASSPHRASE.reveal())
    return Officer(home.folder)
