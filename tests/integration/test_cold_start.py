"""A command imports what it needs and no more: what is slow to import is named here, and no time is measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import pytest

NOT_FOR_HELP = {
    "aiohttp",
    "asyncio",
    "broker",
    "cryptography",
    "keys",
    "msgpack",
    "nacl",
    "prometheus_client",
    "protocol",
    "pydantic",
    "rich",
    "sqlite3",
    "ssl",
    "structlog",
    "uvloop",
}
ONLY_FOR_NODES = {"broker", "prometheus_client", "structlog", "uvloop"}


def imported(*arguments: str) -> set[str]:
    """Every module that Python imports on the way, by its own account."""
    ran = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", *arguments], check=True, capture_output=True, text=True
    )
    lines = [line for line in ran.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def tops(modules: Iterable[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_wait_for_nothing_that_is_slow_to_import(option: str) -> None:
    modules = imported("-m", "khunjerab", option)
    assert "khunjerab.cli" in modules
    assert not tops(modules) & NOT_FOR_HELP


def test_an_officers_command_imports_nothing_of_a_node() -> None:
    modules = imported("-m", "khunjerab", "post", "--template")
    assert "clients.client" in modules
    assert not tops(modules) & (ONLY_FOR_NODES | {"pydantic"})


def test_what_talks_to_the_node_is_left_for_the_time_in_which_the_keyring_opens() -> None:
    modules = imported("-m", "khunjerab", "post", "--template")
    assert "clients.client" in modules
    assert not tops(modules) & {"aiohttp"}
