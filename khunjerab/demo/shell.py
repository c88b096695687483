"""Runs the public command line as a person would, prints each command as it could be typed, and checks what came."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

LAUNCHER = [sys.executable, "-I", "-m", "khunjerab"]
COMMAND_SECONDS_MAX = 180
ARRIVAL_SECONDS_MAX = 180  # until something from the other side is here
AGAIN_SECONDS = 0.2
TOGETHER = 2  # independent commands at a time
_LINE_CHARS_MAX = 160


class DemoFailed(Exception):
    """A command did not do what the story says."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        """Its JSON objects, one a line."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


class Shell:
    """Every command of the demo goes through here. Paths in what is printed are relative to ``folder``."""

    def __init__(self, folder: Path, passphrase_file: Path) -> None:
        self.folder = folder
        kept = {name: os.environ[name] for name in ("PATH", "TERM", "TZ", "LANG") if name in os.environ}
        self.environment = {**kept, "KHUNJERAB_PASSPHRASE_FILE": str(passphrase_file), "PYTHONUTF8": "1"}
        self._screen = Console(highlight=False, soft_wrap=True)

    def tell(self, text: str) -> None:
        """The story itself."""
        self._screen.print(f"\n[bold cyan]{escape(text)}[/]")

    def run(self, home: str, *arguments: str, status: int = 0, quiet: bool = False) -> Done:
        """Run ``khunjerab --home HOME …`` and print it, if ``quiet`` without what it said.

        Raises DemoFailed where it ends with another status.
        """
        done = self._execute(home, arguments)
        self._print(home, arguments, done, quiet=quiet)
        if done.status != status:
            raise DemoFailed(
                f"{self._typed(home, arguments)}\nended with {done.status}, not {status}:\n{done.out}{done.err}"
            )
        return done

    def until(self, home: str, *arguments: str, holds: Callable[[Done], bool], quiet: bool = False) -> Done:
        """Run a command again and again until what it shows holds; the last time is printed."""
        end = time.monotonic() + ARRIVAL_SECONDS_MAX
        while True:
            done = self._execute(home, arguments)
            if done.status == 0 and holds(done):
                self._print(home, arguments, done, quiet=quiet)
                return done
            if time.monotonic() > end:
                raise DemoFailed(f"{self._typed(home, arguments)}\ndid not come to it:\n{done.out}{done.err}")
            time.sleep(AGAIN_SECONDS)

    def together(self, commands: Sequence[tuple[str, ...]]) -> list[Done]:
        """Independent commands, several at a time; each is (home, argument, …)."""
        with ThreadPoolExecutor(TOGETHER) as threads:
            return list(threads.map(lambda command: self.run(command[0], *command[1:], quiet=True), commands))

    def start(self, home: str, *arguments: str) -> subprocess.Popen[str]:
        """A command that stays: a node, a subscriber."""
        self._screen.print(f"[dim]$[/] {escape(self._typed(home, arguments))} [dim]&[/]")
        with (self.folder / f"{home}.log").open("a") as log:  # a pipe that nobody reads would fill and block it
            return subprocess.Popen(
                [*LAUNCHER, "--home", str(self.folder / home), *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _execute(self, home: str, arguments: Sequence[str]) -> Done:
        found = subprocess.run(
            [*LAUNCHER, "--home", str(self.folder / home), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        return Done(found.returncode, found.stdout, found.stderr)

    def _typed(self, home: str, arguments: Sequence[str]) -> str:
        return shlex.join(["khunjerab", "--home", home, *arguments])

    def _print(self, home: str, arguments: Sequence[str], done: Done, *, quiet: bool) -> None:
        lines = [f"[dim]$[/] {escape(self._typed(home, arguments))}"]
        if not quiet:
            said = [line for line in (done.out + done.err).splitlines() if line.strip()]
            lines += [f"  {escape(_shortened(line))}" for line in said]
        if done.status:
            lines.append(f"  [dim]exit status {done.status}[/]")
        self._screen.print("\n".join(lines))


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE_CHARS_MAX else line[:_LINE_CHARS_MAX] + "…"
