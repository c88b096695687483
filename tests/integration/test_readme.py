"""README.md is true: its set-up and each role's first hour, typed as they stand there, in one real shell with TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from khunjerab.demo.ports import free_port
from tests.support.transcript import README, Terminal, Typed, section, typed_in

PORTS = ("8440", "8441", "9440", "9441")
COMMANDS_MIN = 45
FIRST_HOURS = ("For an officer", "For a system", "For an auditor", "For a custodian", "For an operator")
pytestmark = pytest.mark.timeout(1800)  # the set-up alone is fifty processes


@pytest.fixture
def words() -> dict[str, str]:
    """The ports that README names, as free ones."""
    return {port: str(free_port()) for port in PORTS}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path) as terminal:
        yield terminal


def test_the_readme_runs_as_it_stands(terminal: Terminal, words: dict[str, str]) -> None:
    """From empty folders to an exchange; the example at the top; what everybody does in the first hour."""
    founding = typed_in(section(README, "Set up an exchange"))
    hours = [command for heading in FIRST_HOURS for command in typed_in(section(README, heading))]
    assert len(founding) + len(hours) >= COMMANDS_MIN
    for command in founding:
        terminal.run(command, words)
    follow, post = typed_in(_top())[-2:]
    seen = terminal.run(follow, words) + terminal.run(post, words)
    while "Rockfall at Dasu" not in seen:
        seen += terminal.run(Typed("sleep 0.2", ()), words)
    terminal.run(Typed("kill %3; wait %3 || true", ()), words)
    for command in hours:
        terminal.run(command, words)


def test_a_running_example_stands_at_the_top() -> None:
    """In the first twenty lines: the demo, a post, a follow."""
    typed = " ".join(command.text for command in typed_in(_top()))
    assert all(word in typed for word in ("make demo", "demo --dir D --hold", " follow", " post "))


def _top() -> str:
    return "\n".join(README.read_text("utf-8").splitlines()[:20])
