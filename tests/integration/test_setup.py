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
pytestmark = pytest.mark.timeout(400)  # the setup alone is fifty commands


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


def test_doctor_finds_all_well(shell: Shell) -> None:
    """Each check is a line; nothing failed, so the status is 0."""
    findings = [json.loads(line) for line in shell.run("pk-liaison", "doctor", "--json").splitlines()]
    verdicts = {finding["check"]: finding["verdict"] for finding in findings}
    assert set(verdicts) >= {"home", "keyring", "node", "clock", "tls", "ledger", "directory", "bundle", "alarms"}
    assert "failed" not in verdicts.values()


def test_unlock_holds_the_keyring_and_lock_ends_it(shell: Shell) -> None:
    """Between the two no passphrase is asked for."""
    environment = shell.environment
    shell.run("pk-liaison", "unlock", "--for", "2m")
    try:
        shell.environment = {name: value for name, value in environment.items() if "PASSPHRASE" not in name}
        assert shell.run("pk-liaison", "session").strip()
        assert (shell.folder / "pk-liaison" / "agent.sock").stat().st_mode & 0o777 == 0o600
        shell.run("pk-liaison", "lock")
        assert "no passphrase" in shell.refuse(2, "pk-liaison", "session")
    finally:
        shell.environment = environment


def test_bundles_signed_ahead_are_posted_by_a_seat(shell: Shell) -> None:
    """What is not due waits at the seat; a renewal before its day is refused."""
    assert "renewed from" in shell.refuse(3, "pk-custodian-1", "keys", "bundle")
    files = shell.run("pk-custodian-1", "keys", "bundle", "--ahead", "3", "-o", "ahead").split()
    assert [Path(file).name for file in files] == [f"pk-liaison-{number:04}.bundle" for number in (2, 3, 4)]
    shell.run("pk-liaison", "keys", "bundle", *(f"--post={file}" for file in files))
    assert len(list((shell.folder / "pk-liaison" / "bundles").glob("*.bundle"))) == 3


def test_a_second_seat_joins(shell: Shell) -> None:
    """A new card makes a bundle due at once."""
    shell.run("pk-duty", "keys", "new", "--kind", "seat", "duty")
    shell.run("pk-duty", "keys", "card", "-o", "pk-duty.json")
    shell.run("pk-custodian-1", "keys", "seat", "add", "pk-duty.json")
    shell.run("pk-custodian-1", "keys", "bundle", "pk-liaison")
    pin = _pin(shell, "pk-liaison")
    shell.run(
        "pk-duty", "join", "directory.json", *signatures("directory.json"), "--agency", "pk-liaison", "--pin", pin
    )
    shell.run("pk-duty", "doctor")


def test_a_seat_rotates_its_key(shell: Shell) -> None:
    """The old key works until the new one is listed, and the seat then changes over."""
    shell.run("cn-liaison", "keys", "rotate", "-o", "cn-desk-2.json")
    assert "does not know" in shell.refuse(3, "cn-liaison", "keys", "rotate")
    assert "--replace" in shell.refuse(2, "cn-custodian-1", "keys", "seat", "add", "cn-desk-2.json")
    shell.run("cn-custodian-1", "keys", "seat", "add", "cn-desk-2.json", "--replace")
    shell.run("cn-custodian-1", "keys", "bundle")
    shell.run("cn-liaison", "keys", "rotate")
    shell.run("cn-liaison", "doctor")


def test_a_revoked_seat_is_out_at_once(shell: Shell) -> None:
    """The agency's identity key is enough; the seat is told why, and the next bundle leaves it out."""
    shell.run("pk-custodian-1", "keys", "revoke", "pk-liaison", "--seat", "duty", "--reason", "laptop stolen", "--yes")
    told = shell.try_("pk-duty", "doctor")
    assert told.returncode == 3
    shell.run("pk-custodian-1", "keys", "bundle")
    findings = shell.run("pk-liaison", "doctor", "--json")
    assert "number 3 of pk-liaison" in findings


def test_a_suspension_needs_its_nations_threshold(shell: Shell) -> None:
    """The first custodian writes a file, the second signs and posts it; lifting it goes the same way."""
    words = ["cn-liaison", "--reason", "under inquiry", "--yes"]
    file = shell.run("cn-custodian-1", "keys", "suspend", *words, "-o", "suspension.sigs").strip()
    shell.run("cn-custodian-2", "keys", "suspend", "--sign", file, "--yes")
    assert shell.try_("cn-liaison", "doctor").returncode == 3
    file = shell.run("cn-custodian-2", "keys", "suspend", *words, "--lift", "-o", "lifting.sigs").strip()
    shell.run("cn-custodian-1", "keys", "suspend", "--sign", file, "--yes")
    shell.run("cn-liaison", "doctor")


def test_the_next_directory_needs_both_nations(shell: Shell) -> None:
    """Version 2 with one authority key rotated: signed under 1 and under 2, published at both nodes."""
    shell.run("pk-custodian-2", "keys", "rotate", "-o", "pk-custodian-2b.json")
    shell.run("pk-custodian-1", "directory", "new", "-o", "two.json")
    shell.run("pk-custodian-1", "directory", "set", "nation", "PK", "pk-custodian-2b.json", "-d", "two.json")
    shell.run("pk-custodian-1", "directory", "set", "feed", "corridor", "--domestic", "-d", "two.json")
    changed = shell.run("pk-custodian-1", "directory", "diff", "directory.json", "two.json")
    assert "~ feed corridor: domestic bulletins not allowed -> allowed" in changed
    files = [file for name in CUSTODIANS for file in shell.run(name, "directory", "sign", "two.json", "--yes").split()]
    assert len(files) == 5, "the custodian whose key is rotated signs with both"
    assert "missing" in shell.try_("pk-custodian-1", "directory", "check", "two.json", *files[:2]).stdout
    shell.refuse(3, "pk-custodian-1", "directory", "publish", "two.json", *files[:2])
    shell.run("pk-custodian-1", "directory", "publish", "two.json", *files)
    shell.run("cn-custodian-1", "directory", "publish", "two.json", *files)
    shell.run("pk-custodian-2", "keys", "rotate")
    shell.run("pk-custodian-2", "doctor")
    shell.run("late", "keys", "new", "--kind", "seat", "late")
    pin = _pin(shell, "pk-liaison")
    shell.run("late", "join", "two.json", *files, "--agency", "pk-liaison", "--pin", pin)
    assert sorted(path.name for path in (shell.folder / "late" / "directory").iterdir()) == ["1.json", "2.json"]


def test_keys_come_back_from_their_export(shell: Shell) -> None:
    """Under a recovery passphrase of its own; a wrong one opens nothing."""
    (shell.folder / "recovery").write_text("eleven words on paper\n")
    shell.run("pk-liaison", "keys", "export", "-o", "desk.keys", "--recovery-file", "recovery")
    shell.refuse(2, "again", "keys", "import", "desk.keys", "--recovery-file", "passphrase")
    shell.run("again", "keys", "import", "desk.keys", "--recovery-file", "recovery")
    shown = shell.run("pk-liaison", "keys", "show")
    assert shell.run("again", "keys", "show") == shown
    shell.run("again", "keys", "passwd", "--new-file", "recovery")
    assert "does not open" in shell.refuse(2, "again", "keys", "show")
    assert shell.run("again", "--passphrase-file", "recovery", "keys", "show") == shown


def test_an_identity_key_is_ended_by_its_nation_alone(shell: Shell) -> None:
    """Not by itself; with it end all bundles that it signed."""
    words = ["cn-liaison", "--identity", "--reason", "custodian's laptop lost", "--yes"]
    file = shell.run("cn-custodian-1", "keys", "revoke", *words, "-o", "revocation.sigs").strip()
    told = shell.try_("cn-custodian-2", "keys", "revoke", "--sign", file, "--yes")
    assert "(the identity key of cn-liaison)" in told.stderr
    assert told.returncode == 0
    assert shell.try_("cn-liaison", "doctor").returncode == 3


def _pin(shell: Shell, home: str) -> str:
    profile = (shell.folder / home / "profile.toml").read_text()
    return profile.split('pin = "')[1].split('"')[0]
