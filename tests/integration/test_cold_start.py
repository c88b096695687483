"""A command imports what it needs and no more: what is slow to import is named here, and no time is measured."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.live import PASSPHRASE, live_node, seat_home, world_of_today

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


TO = ("--to", "cn-embassy", "--feed", "convoys")
NOT_FOR_POST = ONLY_FOR_NODES | {
    "aiohttp",
    "clients.archive",
    "clients.auditor",
    "clients.contradictions",
    "keys.fork",
    "pydantic",
    "rich",
    "tempfile",
    "tomli_w",
}


@pytest.mark.parametrize(
    "command",
    [
        ["post", *TO, "--label", "Restricted//REL CHN, PAK", "--status", "test", "--title", "Road closed", "--json"],
        ["inbox", "--json"],
    ],
    ids=["post", "inbox"],
)
async def test_an_officers_command_at_work_imports_nothing_that_it_does_not_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Nothing of a node, of streams, of evidence or of drawing, up to the last line that it writes."""
    world = world_of_today()
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(PASSPHRASE.reveal())
    monkeypatch.setenv("KHUNJERAB_PASSPHRASE_FILE", str(passphrase))
    async with live_node(tmp_path, world) as node:
        with contextlib.closing(seat_home(tmp_path, world, "pk-liaison", url=node.config.url)) as home:
            folder = str(home.folder)
            home.state.close()  # which made the tables, as they are in every home but a new one
        modules = await asyncio.to_thread(imported, "-m", "khunjerab", "--home", folder, *command)
    assert "clients.transport" in modules
    assert (modules | tops(modules)) & NOT_FOR_POST == set()


_TELL = """
import sys
from clients.home import Home
Home.open_ahead = lambda home: print(*sys.modules)
from khunjerab.cli import main
main()
"""


@pytest.mark.parametrize("command", ["post", "inbox", "ack", "status"])
def test_the_keyring_begins_to_open_before_the_command_is_imported(tmp_path: Path, command: str) -> None:
    """Argon2id has a core to itself while the other imports what the command needs, asyncio and TLS among it."""
    (tmp_path / "profile.toml").write_text("")
    (tmp_path / "passphrase").write_bytes(PASSPHRASE.reveal())
    options = ["--home", str(tmp_path), "--passphrase-file", str(tmp_path / "passphrase")]
    told = [sys.executable, "-I", "-c", _TELL, *options, command]
    ran = subprocess.run(told, check=False, capture_output=True, text=True)  # it opens nothing, and so it fails
    modules = ran.stdout.splitlines()[0].split()
    assert "keys.keyring" in modules
    assert not tops(modules) & {"asyncio", "cryptography", "sqlite3", "ssl"}
    assert "clients.client" not in modules


def test_what_is_wrong_with_the_options_is_told_before_what_is_wrong_with_the_home(tmp_path: Path) -> None:
    options = ["--home", str(tmp_path), "--passphrase-file", str(tmp_path / "none")]
    cases: list[tuple[list[str], str]] = [
        (["--nonsense"], "No such option"),
        (["x.toml"], "x.toml"),
        (["--template"], ""),
    ]
    for arguments, wrong in cases:
        told = [sys.executable, "-I", "-m", "khunjerab", *options, "post", *arguments]
        ran = subprocess.run(told, check=False, capture_output=True, text=True)
        assert (wrong in ran.stderr, ran.returncode) == (True, 2 if wrong else 0)


def test_help_opens_no_keyring(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text("")
    (tmp_path / "passphrase").write_bytes(PASSPHRASE.reveal())
    options = ["--home", str(tmp_path), "--passphrase-file", str(tmp_path / "passphrase")]
    told = [sys.executable, "-I", "-c", _TELL, *options, "post", "--help"]
    said = subprocess.run(told, check=True, capture_output=True, text=True).stdout
    assert "--title" in said
    assert "keys.keyring" not in said
