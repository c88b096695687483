"""An exchange set up by hand, from empty homes to a bulletin read: what each party types, on real processes with TLS.

Two nations with two custodians each, both of whom must sign; a node each; an agency and a seat each. The commands are
those of the README.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ANSWER_SECONDS = 60


@dataclass
class Shell:
    """A terminal in a folder where every party has a home of its own name."""

    folder: Path
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        passphrase = self.folder / "passphrase"
        passphrase.write_text("a passphrase of nobody\n")
        self.environment = {**os.environ, "KHUNJERAB_PASSPHRASE_FILE": str(passphrase), "TZ": "UTC"}

    def try_(self, home: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``khunjerab --home HOME …`` whatever comes of it."""
        command = [sys.executable, "-I", "-m", "khunjerab", "--home", home, *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )

    def run(self, home: str, *arguments: str) -> str:
        """Its output, which must be that of a success."""
        done = self.try_(home, *arguments)
        assert done.returncode == 0, f"khunjerab --home {home} {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refuse(self, status: int, home: str, *arguments: str) -> str:
        """What it says when it fails with ``status``."""
        done = self.try_(home, *arguments)
        assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.stderr

    def serve(self, home: str, port: int) -> None:
        """A node as a process of its own; returns when it answers."""
        command = [sys.executable, "-I", "-m", "khunjerab", "--home", home, "node", "serve"]
        with (self.folder / f"{home}.log").open("wb") as log:
            self.nodes.append(subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log))
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail((self.folder / f"{home}.log").read_text())

    def stop(self) -> None:
        for node in self.nodes:
            node.send_signal(signal.SIGTERM)
        for node in self.nodes:
            node.wait(ANSWER_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


CUSTODIANS = ("pk-custodian-1", "pk-custodian-2", "cn-custodian-1", "cn-custodian-2")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The whole setup, once; the tests below go on from here."""
    shell = Shell(tmp_path_factory.mktemp("exchange"))
    try:
        make_keys(shell)
        ports = make_nodes(shell)
        pin = sign_directory(shell)
        for nation in ("pk", "cn"):
            shell.run(f"{nation}-node", "node", "init", "--directory", "directory.json", *signatures("directory.json"))
            shell.serve(f"{nation}-node", ports[nation])
        join(shell, pin)
        yield shell
    finally:
        shell.stop()


def make_keys(shell: Shell) -> None:
    """Custodians make authority keys, the first of each nation its agency's identity too; seats make theirs."""
    for name in CUSTODIANS:
        shell.run(name, "keys", "new", "--kind", "authority", name)
        shell.run(name, "keys", "card", "-o", f"{name}.json")
    for nation in ("pk", "cn"):
        shell.run(f"{nation}-custodian-1", "keys", "new", "--kind", "agency", f"{nation}-liaison")
        shell.run(
            f"{nation}-custodian-1", "keys", "card", "--agency", f"{nation}-liaison", "-o", f"{nation}-agency.json"
        )
        shell.run(f"{nation}-liaison", "keys", "new", "--kind", "seat", "desk")
        shell.run(f"{nation}-liaison", "keys", "card", "-o", f"{nation}-desk.json")


def make_nodes(shell: Shell) -> dict[str, int]:
    """Operators make nodes and hand over their cards."""
    ports = {nation: free_port() for nation in ("pk", "cn")}
    for nation, port in ports.items():
        address = f"127.0.0.1:{port}"
        options = ["--origin", f"{nation}.khunjerab.test/ledger", "--nation", nation.upper()]
        options += ["--url", f"https://{address}", "--listen", address, "--card", f"{nation}-node.json"]
        shell.run(f"{nation}-node", "node", "init", *options)
    return ports


def sign_directory(shell: Shell) -> str:
    """One custodian drafts, all four read and sign. Returns the pin."""
    draft = "pk-custodian-1"
    shell.run(draft, "directory", "new")
    for id_, code, name in (("PK", "PAK", "Pakistan"), ("CN", "CHN", "中国")):
        cards = [f"{id_.lower()}-custodian-{number}.json" for number in (1, 2)]
        options = ["--code", code, "--name", name, "--threshold", "2"]
        shell.run(draft, "directory", "add", "nation", id_, *cards, *options)
        shell.run(draft, "directory", "add", "node", f"{id_.lower()}-node.json")
    shell.run(draft, "directory", "add", "feed", "corridor", "--title", "The corridor", "--ceiling", "PK:Secret")
    for nation, clearance in (("pk", "Secret"), ("cn", "机密")):
        options = ["--nation", nation.upper(), "--clearance", clearance, "--feed", "corridor"]
        shell.run(draft, "directory", "add", "agency", f"{nation}-agency.json", *options)
    told = shell.refuse(3, draft, "directory", "check", "directory.json")
    assert "nobody has signed it yet" in told
    for name in CUSTODIANS:
        shell.run(name, "directory", "sign", "directory.json", "--yes")
    checked = json.loads(
        shell.run(draft, "directory", "check", "directory.json", *signatures("directory.json"), "--json")
    )
    assert checked["refused"] is None
    return str(checked["pin"])


def signatures(file: str) -> list[str]:
    return [f"{file}.{name}.sig" for name in CUSTODIANS]


def join(shell: Shell, pin: str) -> None:
    """Everybody checks the directory against the pin; custodians issue the first bundles."""
    given = ["join", "directory.json", *signatures("directory.json"), "--pin", pin]
    for name in CUSTODIANS:
        shell.run(name, *given, "--custodian")
    for nation in ("pk", "cn"):
        shell.run(f"{nation}-custodian-1", "keys", "seat", "add", f"{nation}-desk.json")
        shell.run(f"{nation}-custodian-1", "keys", "bundle")
        shell.run(f"{nation}-liaison", *given, "--agency", f"{nation}-liaison")


def test_a_seat_is_ready(shell: Shell) -> None:
    """After the setup a seat logs in, and knows its bundle."""
    versions = shell.run("pk-liaison", "directory", "history", "--json").splitlines()
    assert [json.loads(line)["version"] for line in versions] == [1]


def test_a_wrong_pin_is_tampering(shell: Shell) -> None:
    """A directory of another exchange is refused with status 5, and nothing is kept."""
    shell.run("stranger", "keys", "new", "--kind", "seat", "desk")
    given = ["join", "directory.json", *signatures("directory.json"), "--agency", "pk-liaison"]
    assert "pin" in shell.refuse(5, "stranger", *given, "--pin", "00" * 32)
    assert 'pin = ""' in (shell.folder / "stranger" / "profile.toml").read_text()
