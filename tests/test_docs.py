"""Documentation is a tested artefact: what it lists is what there is, and what it names exists."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from broker.home import NodeConfig
from broker.witness.home import WitnessConfig
from clients.home import Profile
from tests.support import pages

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "protocol" / "SPEC.md", *sorted(DOCS.glob("*.md"))]
OPERATING = (DOCS / "operating.md").read_text("utf-8")
ATTACKS_MIN = 60


def _first_cells(heading: str) -> list[str]:
    """What stands in backquotes in the first column of the table under a heading of docs/operating.md."""
    section = re.split(r"^##", OPERATING.split(f"# {heading}\n")[1], flags=re.MULTILINE)[0]
    return [name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)]


@pytest.mark.parametrize("page", [pages.COMMANDS, pages.ERRORS], ids=lambda page: page.name)
def test_what_is_written_from_the_program_is_as_the_program_is(page: Path) -> None:
    """``make docs`` writes it anew."""
    expected = pages.commands_page() if page == pages.COMMANDS else pages.errors_page()
    assert page.read_text("utf-8") == expected, f"docs/{page.name} is not as the program is: make docs"


def test_settings_are_the_dataclass() -> None:
    """Each field of node.toml, profile.toml and witness.toml in its order, and nothing else."""
    assert _first_cells("node.toml") == [field.name for field in fields(NodeConfig)]
    assert _first_cells("profile.toml") == [field.name for field in fields(Profile)]
    assert _first_cells("witness.toml") == [field.name for field in fields(WitnessConfig)]


def test_metrics_are_those_of_the_node() -> None:
    """Every one, and none that is gone."""
    source = (ROOT / "broker" / "metrics.py").read_text("utf-8")
    assert sorted(_first_cells("The admin listener")) == sorted(set(re.findall(r'"(khunjerab_[a-z_]+)"', source)))


def test_events_of_the_log_are_those_of_the_node() -> None:
    """Every event that a node writes."""
    written = {
        node.args[0].value
        for path in (ROOT / "broker").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"debug", "info", "warning", "error", "critical"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert len(written) > 10
    assert sorted(_first_cells("What is logged")) == sorted(map(str, written))


def test_the_tests_that_hold_an_attack_exist() -> None:
    """docs/security.md names no test that is gone."""
    named = re.findall(r"`(test_\w+)`", (DOCS / "security.md").read_text("utf-8"))
    there = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(set(named)) >= ATTACKS_MIN
    assert sorted(set(named) - there) == []


def _anchors(text: str) -> set[str]:
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading in it."""
    text = page.read_text("utf-8")
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in _anchors(file.read_text("utf-8"))):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("kind", ["node", "witness"])
def test_the_unit_starts_what_is_there(kind: str) -> None:
    """The command of the unit is one of ours, isolated from the folder that it runs in."""
    unit = (ROOT / "deploy" / f"khunjerab-{kind}.service").read_text("utf-8")
    start = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert start
    assert " -I -m khunjerab " in start[1]
    assert start[1].endswith(f" {kind} serve")
