"""Officers at terminals: the real command, as a process of its own, in a home of its own."""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import json
import os
import pty
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.live import PASSPHRASE, seat_home
from tests.support.world import World

_SECONDS_MAX = 180


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

    async def until(self, *words: str, shows: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The first line of a command, once it is what is waited for."""
        async with asyncio.timeout(_SECONDS_MAX):
            while True:
                for line in (await self(*words, "--json")).lines:
                    if shows(line):
                        return line
                await asyncio.sleep(0.1)

    async def start(self, *words: str, ends: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
        """The command, running; ``ends`` is what its three files are."""
        command = [sys.executable, "-I", "-m", "khunjerab", "--home", str(self.home), *words]
        environment = {**os.environ, "KHUNJERAB_PASSPHRASE_FILE": str(self.home / "passphrase"), "COLUMNS": "200"}
        take: Any = {}
        if ends != asyncio.subprocess.PIPE:
            take = {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY)}
        return await asyncio.create_subprocess_exec(
            *command, stdin=ends, stdout=ends, stderr=ends, env=environment | self.environment, **take
        )

    async def at_terminal(self, *words: str, answers: dict[str, str], expect: int = 0) -> str:
        r"""The same at a terminal of its own, where ``\x03`` is Ctrl-C; all that it showed.

        Each question is answered by its next letter as it comes.
        """
        ours, theirs = pty.openpty()
        child = await self.start(*words, ends=theirs)
        os.close(theirs)
        end = asyncio.get_running_loop().call_later(_SECONDS_MAX, child.kill)  # where it asks what nobody answers
        said = await asyncio.to_thread(_converse, ours, dict(answers))
        end.cancel()
        os.close(ours)
        assert await child.wait() == expect, said
        return said


def _converse(terminal: int, answers: dict[str, str]) -> str:
    """Read until the other side ends; a question that comes again after its last letter is not answered."""
    said, asked, letters = "", 0, codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how a terminal says that nobody is left
            return said
        if not piece:
            return said
        said += letters.decode(piece)  # which may end in the middle of one
        for question, answer in answers.items():
            at = said.find(question, asked)
            if at >= 0 and said.find(": " if question.endswith(":") else "[y/N]", at) >= 0 and answer:
                asked, answers[question] = len(said), answer[1:]
                os.write(terminal, answer[0].encode() + b"\n")
                break


def officer(folder: Path, world: World, agency: str, seat: str = "desk", url: str = "") -> Officer:
    """An officer of an agency whose seat has joined."""
    home = seat_home(folder, world, agency, seat, url)
    home.close()
    (home.folder / "passphrase").write_bytes(PASSPHRASE.reveal())
    return Officer(home.folder)
