"""Transcripts: the console blocks of a page, typed into a real shell; what they show must come.

A line that begins with ``$`` is typed, ``>`` continues it; any other is a line of its output, in this order, where
``…`` stands for anything. Output that is not shown may come too. Nothing may fail, unless the command tests for it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
_END = "end-of-command"


@dataclass(frozen=True, slots=True)
class Typed:
    """A command, and the lines of its output that the page shows."""

    text: str
    shown: tuple[str, ...]


def section(page: Path, heading: str) -> str:
    """What stands under a heading, up to the next one of its level."""
    pattern = rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)"
    found = re.search(pattern, page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no heading {heading!r}"
    return found[2] if found[1] == "##" else found[2].split("\n###")[0]


def typed_in(text: str) -> list[Typed]:
    """The commands of its console blocks."""
    found: list[Typed] = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Typed(line[2:], ()))
            elif line.startswith("> "):
                found[-1] = Typed(f"{found[-1].text}\n{line[2:]}", ())
            else:
                found[-1] = Typed(found[-1].text, (*found[-1].shown, line))
    return found


class Terminal:
    """One bash, which keeps its variables and jobs from command to command."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KHUNJERAB_")}
        paths = f"{Path(sys.executable).parent}:{kept['PATH']}"
        self.environment = {
            **kept,
            "PATH": paths,
            "HOME": str(folder),
            "TZ": "UTC",
            "COLUMNS": "400",
            "LANG": "C.UTF-8",
        }
        self._bash = subprocess.Popen(
            ["/bin/bash", "--norc", "--noprofile"],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._type("trap 'failed=$?' ERR; set -E")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs, and the shell."""
        if self._bash.poll() is None:
            self._type("trap - ERR; kill $(jobs -p); wait")
        assert self._bash.stdin
        self._bash.stdin.close()
        try:
            self._bash.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.wait()
        assert self._bash.stdout
        self._bash.stdout.close()

    def run(self, command: Typed, words: dict[str, str]) -> str:
        """Type it, with each of ``words`` replaced; fail where it fails, or a line that is shown does not come."""
        text, shown = command.text, list(command.shown)
        for old, new in words.items():
            text, shown = text.replace(old, new), [line.replace(old, new) for line in shown]
        failed, out = self._type(text)
        told = f"$ {text}\n{out}"
        assert failed == 0, f"{told}\na command in it ended with {failed}"
        lines = iter(out.splitlines())
        for line in shown:
            pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
            assert any(pattern.fullmatch(each.rstrip()) or pattern.fullmatch(each.strip()) for each in lines), (
                f"{told}\nno line {line!r}, or not in this place"
            )
        return out

    def _type(self, text: str) -> tuple[int, str]:
        """How it failed, 0 for not at all, and what it printed."""
        assert self._bash.stdin
        assert self._bash.stdout
        self._bash.stdin.write(f"failed=0\n{{\n{text}\n}} < /dev/null\nprintf '\\n{_END} %s\\n' \"$failed\"\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(_END):
                return int(line.split()[1]), "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended in {text}\n{''.join(lines)}")
