"""An exchange that the README sets up, and how its custodians keep it: on real processes with TLS.

What is typed to get there stands in README.md and nowhere else; the tests below go on from it, in their order.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from khunjerab.demo.ports import free_port
from tests.support.transcript import README, Terminal, Typed, section, typed_in

PORTS = ("8440", "8441", "9440", "9441")
ANSWER_SECONDS = 180
pytestmark = pytest.mark.timeout(1800)  # the setup alone is fifty processes


@dataclass
class Shell:
    """Commands in the folder of the exchange, where every party has a home of its own name."""

    folder: Path
    terminal: Terminal
    words: dict[str, str]

    def __post_init__(self) -> None:
        self.environment = {**os.environ, "KHUNJERAB_PASSPHRASE_FILE": str(self.folder / "passphrase"), "TZ": "UTC"}

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

    def type(self, text: str) -> None:
        """A command in the shell that the node runs in."""
        self.terminal.run(Typed(text, ()), self.words)


CUSTODIANS = ("pk-custodian-1", "pk-custodian-2", "cn-custodian-1", "cn-custodian-2")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The whole set-up of the README, once."""
    folder = tmp_path_factory.mktemp("setup")
    words = {port: str(free_port()) for port in PORTS}
    with Terminal(folder) as terminal:
        for command in typed_in(section(README, "Set up an exchange")):
            terminal.run(command, words)
        yield Shell(folder / "exchange", terminal, words)


def signatures(file: str) -> list[str]:
    return [f"{file}.{name}.sig" for name in CUSTODIANS]


def test_a_directory_is_checked_against_its_signatures(shell: Shell) -> None:
    """Whose are missing is told by name; with all of them it has a pin."""
    assert "nobody has signed it yet" in shell.refuse(3, "pk-custodian-1", "directory", "check", "directory.json")
    words = ("directory", "check", "directory.json", *signatures("directory.json"), "--json")
    checked = json.loads(shell.run("pk-custodian-1", *words))
    assert (checked["refused"], checked["pin"]) == (None, _pin(shell, "pk-liaison"))


def test_a_seat_is_ready(shell: Shell) -> None:
    """After the setup a seat logs in, and knows its bundle."""
    versions = shell.run("pk-liaison", "directory", "history", "--json").splitlines()
    assert [json.loads(line)["version"] for line in versions] == [1]


def test_a_wrong_pin_is_tampering(shell: Shell) -> None:
    """A directory of another exchange is refused with status 5, and nothing is kept."""
    shell.run("stranger", "keys", "new", "--kind", "seat", "desk")
    given = ["join", "directory.json", *signatures("directory.json"), "--agency", "pk-liaison"]
    told = shell.refuse(5, "stranger", *given, "--pin", "00" * 32)
    assert "compare the pin with the signing sheet" in told
    assert 'pin = ""' in (shell.folder / "stranger" / "profile.toml").read_text()


def test_a_home_is_one_agency_s(shell: Shell) -> None:
    """What it holds was sent to that one, and what waits would go out under another's name."""
    words = ("join", "directory.json", *signatures("directory.json"), "--pin", _pin(shell, "pk-liaison"))
    told = shell.refuse(2, "pk-liaison", *words, "--agency", "cn-liaison")
    assert "this home is a seat of pk-liaison" in told
    shell.run("pk-liaison", *words, "--agency", "pk-liaison")


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
    done = shell.try_("pk-custodian-1", "keys", "bundle", "--ahead", "3", "-o", "ahead")
    assert "sign them anew" in done.stderr
    files = done.stdout.split()
    assert [Path(file).name for file in files] == [f"pk-liaison-{number:04}.bundle" for number in (2, 3, 4)]
    shell.run("pk-liaison", "keys", "bundle", *(f"--post={file}" for file in files))
    assert len(list((shell.folder / "pk-liaison" / "bundles").glob("*.bundle"))) == 3


def test_bundles_signed_ahead_once_more_are_told_beside_those_before(shell: Shell) -> None:
    """Where they are others: whichever is posted first stands."""
    again = shell.try_("pk-custodian-1", "keys", "bundle", "--ahead", "2", "-o", "same")
    assert "may still be posted" not in again.stderr
    other = shell.try_("pk-custodian-1", "keys", "bundle", "--ahead", "1", "--every", "5", "-o", "other")
    assert "bundles 2 to 4 of pk-liaison, signed ahead before" in other.stderr
    assert "may still be posted instead" in other.stderr
    assert other.returncode == 0


def test_a_second_seat_joins(shell: Shell) -> None:
    """A new card makes a bundle due at once."""
    shell.run("pk-duty", "keys", "new", "--kind", "seat", "duty")
    shell.run("pk-duty", "keys", "card", "-o", "pk-duty.json")
    shell.run("pk-custodian-1", "keys", "seat", "add", "pk-duty.json")
    issued = shell.try_("pk-custodian-1", "keys", "bundle", "pk-liaison")
    assert "bundles 2 to 4 of pk-liaison" in issued.stderr
    assert "can be posted no more" in issued.stderr
    pin = _pin(shell, "pk-liaison")
    shell.run(
        "pk-duty", "join", "directory.json", *signatures("directory.json"), "--agency", "pk-liaison", "--pin", pin
    )
    shell.run("pk-duty", "doctor")


def test_bundles_signed_ahead_of_a_new_seat_list_are_dropped_and_told(shell: Shell) -> None:
    """Each by its number, at the seat where they wait: they list the seats of their day."""
    assert "no longer follow" in shell.run("pk-liaison", "doctor", "--json")
    told = shell.try_("pk-liaison", "keys", "bundle")
    assert [f"bundle {number}, signed ahead, is dropped" in told.stderr for number in (2, 3, 4)] == [True] * 3
    assert "keys bundle --ahead" in told.stderr
    assert not list((shell.folder / "pk-liaison" / "bundles").glob("*.bundle"))


def test_a_seat_rotates_its_key(shell: Shell) -> None:
    """The old key works until the new one is listed, and the seat then changes over."""
    add = ("keys", "seat", "add", "cn-desk-2.json", "--agency", "cn-liaison")
    shell.run("cn-liaison", "keys", "rotate", "-o", "cn-desk-2.json")
    assert "does not know" in shell.refuse(3, "cn-liaison", "keys", "rotate")
    assert "--replace" in shell.refuse(2, "cn-custodian-1", *add)
    shell.run("cn-custodian-1", *add, "--replace")
    shell.run("cn-custodian-1", "keys", "bundle", "cn-liaison")
    shell.run("cn-liaison", "keys", "rotate")
    shell.run("cn-liaison", "doctor")


def test_a_revoked_seat_is_out_at_once(shell: Shell) -> None:
    """The agency's identity key is enough; the seat is told why, and the next bundle leaves it out."""
    words = ("keys", "revoke", "pk-liaison", "--seat", "duty", "--reason", "laptop stolen", "--yes")
    shell.run("pk-custodian-1", *words)
    assert "revoked already" in shell.refuse(2, "pk-custodian-1", *words)
    told = shell.try_("pk-duty", "doctor")
    assert told.returncode == 3
    shell.run("pk-custodian-1", "keys", "bundle")
    findings = shell.run("pk-liaison", "doctor", "--json")
    assert "number 3 of pk-liaison" in findings


def test_a_suspension_needs_its_nations_threshold(shell: Shell) -> None:
    """The first custodian writes a file, the second signs and posts it; lifting it goes the same way."""
    words = ["cn-liaison", "--reason", "under inquiry", "--yes"]
    file = shell.run("cn-custodian-1", "keys", "suspend", *words, "-o", "suspension.sigs").strip()
    before = (shell.folder / file).read_bytes()
    assert "has no say" in shell.refuse(2, "pk-custodian-1", "keys", "suspend", "--sign", file, "--yes")
    assert "has no say" in shell.refuse(2, "pk-custodian-1", "keys", "suspend", *words, "-o", "stranger.sigs")
    assert (shell.folder / file).read_bytes() == before
    shell.run("cn-custodian-2", "keys", "suspend", "--sign", file, "--yes")
    assert shell.try_("cn-liaison", "doctor").returncode == 3
    file = shell.run("cn-custodian-2", "keys", "suspend", *words, "--lift", "-o", "lifting.sigs").strip()
    shell.run("cn-custodian-1", "keys", "suspend", "--sign", file, "--yes")
    shell.run("cn-liaison", "doctor")
    told = shell.refuse(3, "cn-custodian-2", "keys", "suspend", "--sign", file, "--yes")
    assert "no such suspension stands" in told, "signed ahead of it, it would make one void"


def test_what_is_in_a_draft_is_not_added_twice(shell: Shell) -> None:
    """A second `add` would take a nation's authorities, or a feed's members, away without a word."""
    shell.run("pk-custodian-1", "directory", "new", "-o", "twice.json")
    nation = ("nation", "PK", "pk-custodian-1.json", "--code", "PAK", "--name", "P", "--threshold", "1")
    feed = ("feed", "corridor", "--title", "Another", "--ceiling", "PK:Restricted")
    for part in (nation, feed):
        assert "set " + part[0] in shell.refuse(2, "pk-custodian-1", "directory", "add", *part, "-d", "twice.json")


def test_nonsense_in_a_draft_is_refused_when_it_is_typed(shell: Shell) -> None:
    """What the draft itself shows to be wrong; the file is as it was."""
    shell.run("pk-custodian-1", "directory", "new", "-o", "nonsense.json")
    before = (shell.folder / "nonsense.json").read_bytes()
    for words, told in (
        (("set", "agency", "pk-liaison", "--clearance", "Foo"), "it has Unclassified"),
        (("set", "agency", "pk-liaison", "--compartment", "FOO"), "FOO is no compartment"),
        (("set", "agency", "pk-liaison", "--home", "no.example/ledger"), "there is no node"),
        (
            ("add", "feed", "more", "--title", "More", "--ceiling", "PK:Secret", "--member", "nosuch"),
            "no agency 'nosuch'",
        ),
        (("add", "feed", "more", "--title", "More", "--ceiling", "PK:Foo"), "no level 'Foo'"),
        (("add", "feed", "more", "--title", "More", "--ceiling", "XX:Secret"), "no nation 'XX'"),
        (("set", "feed", "corridor", "--without", "nosuch"), "nosuch is no member"),
        (("set", "nation", "PK", "--threshold", "5"), "5 of 2 authorities of PK"),
        (("set", "nation", "PK", "--without", "nosuch"), "no authority of PK 'nosuch'"),
        (("set", "nation", "PK", "--without", "pk-custodian-1"), "2 of 1 authorities of PK"),
    ):
        assert told in shell.refuse(2, "pk-custodian-1", "directory", *words, "-d", "nonsense.json")
    assert (shell.folder / "nonsense.json").read_bytes() == before


def test_a_file_that_is_no_signature_is_named(shell: Shell) -> None:
    """Among five files the one that is wrong."""
    told = shell.refuse(2, "pk-custodian-1", "directory", "check", "directory.json", "passphrase")
    assert "passphrase: not JSON" in told
    assert "passphrase: this is no card" in shell.refuse(2, "pk-custodian-1", "keys", "seat", "add", "passphrase")


def test_a_mistake_with_keys_is_told_with_what_to_do(shell: Shell) -> None:
    """What a name may be; how the next key is made."""
    told = shell.refuse(2, "odd", "keys", "new", "--kind", "seat", "Bad Name")
    assert "no name for keys" in told
    assert "as in pk-liaison" in told
    assert "rotate -o CARD" in shell.refuse(2, "pk-liaison", "keys", "rotate")


def test_a_directory_as_json_is_an_object_a_line(shell: Shell) -> None:
    (line,) = shell.run("pk-liaison", "directory", "show", "--json").splitlines()
    assert json.loads(line) == json.loads((shell.folder / "directory.json").read_text())


def test_an_origin_is_a_url_without_scheme(shell: Shell) -> None:
    """It is for ever, so `node init` makes nothing of another."""
    words = ("--nation", "PK", "--url", "https://127.0.0.1:1", "--listen", "127.0.0.1:1")
    assert "without scheme" in shell.refuse(2, "odd", "node", "init", "--origin", "https://pk.example", *words)
    assert not (shell.folder / "odd").exists()


def test_the_next_directory_needs_both_nations(shell: Shell) -> None:
    """Version 2 with one authority key rotated: signed under 1 and under 2; published again it changes nothing."""
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
    (shell.folder / "other.json").write_text((shell.folder / "two.json").read_text().replace("Karakoram", "other"))
    told = [
        shell.try_("cn-custodian-2", "directory", "sign", file, "--yes").stderr for file in ("two.json", "other.json")
    ]
    assert ["this home signed another version 2" in one for one in told] == [False, True]
    assert _sha256(shell, "two.json") in told[1]
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
    again = shell.refuse(2, "pk-liaison", "keys", "export", "-o", "desk.keys", "--recovery-file", "recovery")
    assert "never overwrites" in again
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


def test_a_home_that_missed_a_certificate_joins_again(shell: Shell) -> None:
    """The node's certificate changed while it was away: it believes the new one once it has the newer directory."""
    init = ["node", "init", "--origin", "pk.khunjerab.example/other", "--nation", "PK"]
    shell.run("other", *init, "--url", "https://127.0.0.1:1", "--listen", "127.0.0.1:1")
    (old,), (new,) = (
        json.loads((shell.folder / home / "card.json").read_text())["tls"] for home in ("pk-node", "other")
    )
    card = (shell.folder / "pk-node" / "card.json").read_text()
    (shell.folder / "card-2.json").write_text(card.replace(f'"{old}"', f'"{old}",\n    "{new}"'))
    shell.run("pk-custodian-1", "directory", "new", "-o", "three.json")
    shell.run("pk-custodian-1", "directory", "set", "node", "card-2.json", "-d", "three.json")
    for name in CUSTODIANS:
        shell.run(name, "directory", "sign", "three.json", "--on", "two.json", "--yes")
    shell.run("pk-custodian-1", "directory", "publish", "three.json", *signatures("three.json"))
    (shell.folder / "other" / "tls.pem").replace(shell.folder / "pk-node" / "tls.pem")
    shell.type("kill %1; wait %1; khunjerab --home pk-node node serve 2> pk-node.log &")
    shell.type("until khunjerab --home pk-node node status 2> /dev/null; do sleep 0.2; done")
    assert "does not list" in shell.refuse(3, "pk-liaison", "inbox")
    words = ("join", "three.json", *signatures("three.json"), "--agency", "pk-liaison")
    shell.run("pk-liaison", *words, "--pin", _pin(shell, "pk-liaison"))
    shell.run("pk-liaison", "inbox")


def _sha256(shell: Shell, file: str) -> str:
    return hashlib.sha256((shell.folder / file).read_bytes()).hexdigest()


def _pin(shell: Shell, home: str) -> str:
    profile = (shell.folder / home / "profile.toml").read_text()
    return profile.split('pin = "')[1].split('"')[0]
