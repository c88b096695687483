"""The first act: from empty folders to an exchange, with the commands that two ministries would type."""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import subprocess
import time
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from khunjerab.demo.shell import DemoFailed, Shell

ORIGIN = "pk.khunjerab.example/ledger"
DIRECTORY = "directory.json"
CARDS = "cards"
NODE_START_SECONDS_MAX = 30
NATIONS = {"PK": ("PAK", "Pakistan"), "CN": ("CHN", "China")}
CUSTODIANS = ("pk-custodian-1", "pk-custodian-2", "cn-custodian-1", "cn-custodian-2")
SPARE = "pk-liaison-spare"  # a second seat of pk-liaison: the one that gets lost


@dataclass(frozen=True, slots=True)
class Cast:
    """An agency of the story: its nation, what it may see, and what it does."""

    nation: str
    clearance: str
    compartments: tuple[str, ...]
    roles: tuple[str, ...]
    officer: str = ""


AGENCIES = {
    "pk-liaison": Cast("PK", "Secret", ("CONVOY", "PERSONNEL"), ("publish", "subscribe"), "Maj. A. Karim"),
    "pk-site-security": Cast("PK", "Restricted", (), ("publish", "subscribe")),
    "cn-liaison": Cast("CN", "机密", ("CONVOY", "PERSONNEL"), ("publish", "subscribe")),
    "cn-embassy": Cast("CN", "秘密", (), ("publish", "subscribe")),
    "pk-auditor": Cast("PK", "Unclassified", (), ("audit",)),
    "cn-auditor": Cast("CN", "公开", (), ("audit",)),
}
FEEDS = {
    "corridor": ("Threats along the Karakoram Highway", ("pk-liaison", "pk-site-security", "cn-liaison", "cn-embassy")),
    "liaison": ("Between the two liaison offices", ("pk-liaison", "cn-liaison")),
}


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Founding:
    """Makes keys, directory and node, one step after the other; the node keeps running."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.pin = ""
        self.node: subprocess.Popen[str] | None = None
        (shell.folder / CARDS).mkdir()

    def make_keys(self) -> None:
        """Custodians and agencies, each in a home of its own; the first custodian of a nation holds its identities."""
        shell = self._shell
        shell.tell("1. Four custodians, six agencies and a node make their keys; only cards leave their homes.")
        shell.together([(name, "keys", "new", "--kind", "authority", name) for name in CUSTODIANS])
        for pair in zip(_of_nation("PK"), _of_nation("CN"), strict=True):  # a home is written by one command at a time
            shell.together([(f"{a[:2]}-custodian-1", "keys", "new", "--kind", "agency", a) for a in pair])
        shell.together([(name, "keys", "new", "--kind", "seat", name) for name in (*AGENCIES, SPARE)])
        shell.together([(name, "keys", "card", "-o", f"{CARDS}/{name}.json") for name in CUSTODIANS])
        shell.together(
            [(f"{a[:2]}-custodian-1", "keys", "card", "--agency", a, "-o", f"{CARDS}/{a}.json") for a in AGENCIES]
        )
        shell.together([(name, "keys", "card", "-o", f"{CARDS}/{name}-seat.json") for name in (*AGENCIES, SPARE)])
        listen = ("--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}")
        names = ("--origin", ORIGIN, "--nation", "PK", "--url", self.url)
        shell.run("pk-node", "node", "init", *names, *listen, "--card", f"{CARDS}/pk-node.json")

    def sign_directory(self) -> None:
        """The signing table: one draft, read by both nations, signed by two custodians each."""
        shell = self._shell
        shell.tell("2. The directory is drafted, and two custodians of each nation sign it.")
        drafter = "pk-custodian-1"
        shell.run(drafter, "directory", "new", "-o", DIRECTORY, quiet=True)
        for nation in NATIONS:
            self._add("nation", nation, *_nation_words(nation))
        self._add("node", f"{CARDS}/pk-node.json")
        for agency in AGENCIES:
            self._add("agency", f"{CARDS}/{agency}.json", *_agency_words(agency))
        for feed in FEEDS:
            self._add("feed", feed, *_feed_words(feed))
        shell.together([(name, "directory", "sign", DIRECTORY, "--yes") for name in CUSTODIANS])
        checked = shell.run(drafter, "directory", "check", DIRECTORY, *self._signatures(), "--json", quiet=True)
        self.pin = str(checked.json[0]["pin"])

    def _add(self, *words: str) -> None:
        self._shell.run("pk-custodian-1", "directory", "add", *words, quiet=True)

    def _signatures(self) -> list[str]:
        return [f"{DIRECTORY}.{name}.sig" for name in CUSTODIANS]

    def start_node(self) -> None:
        """The ledger begins with the directory; then the node answers, in TLS 1.3 pinned by it."""
        shell = self._shell
        shell.tell("3. The node enters the directory as its first entry, and starts.")
        shell.run("pk-node", "node", "init", "--directory", DIRECTORY, *self._signatures())
        self.node = shell.start("pk-node", "node", "serve")
        wait_until_ready(self.node, self.url, shell.folder / "pk-node" / "tls.pem")

    def join(self) -> None:
        """Custodians and seats verify the directory from the pin; the custodians issue the first key bundles."""
        shell = self._shell
        shell.tell("4. Everybody joins by the pin from the signing table; custodians issue key bundles for the seats.")
        join = ("join", DIRECTORY, *self._signatures(), "--pin", self.pin)
        shell.together([(name, *join, "--custodian") for name in CUSTODIANS])
        shell.together([(name, *join, "--agency", name) for name in AGENCIES])
        shell.run(SPARE, *join, "--agency", "pk-liaison", quiet=True)
        for agency, seat in [*((a, a) for a in AGENCIES), ("pk-liaison", SPARE)]:
            card = f"{CARDS}/{seat}-seat.json"
            shell.run(f"{agency[:2]}-custodian-1", "keys", "seat", "add", card, "--agency", agency, quiet=True)
        for agency in AGENCIES:
            shell.run(f"{agency[:2]}-custodian-1", "keys", "bundle", agency, quiet=True)


def _nation_words(nation: str) -> list[str]:
    code, name = NATIONS[nation]
    cards = [f"{CARDS}/{custodian}.json" for custodian in CUSTODIANS if custodian.startswith(nation.lower())]
    return [*cards, "--code", code, "--name", name, "--threshold", "2"]


def _agency_words(agency: str) -> list[str]:
    cast = AGENCIES[agency]
    words = ["--nation", cast.nation, "--home", ORIGIN, "--clearance", cast.clearance]
    words += [word for name in cast.compartments for word in ("--compartment", name)]
    return words + [word for role in cast.roles for word in ("--role", role)]


def _feed_words(feed: str) -> list[str]:
    title, members = FEEDS[feed]
    words = ["--title", title, "--ceiling", "PK:Secret", "--compartment", "CONVOY", "--compartment", "PERSONNEL"]
    return words + [word for member in members for word in ("--member", member)]


def _of_nation(nation: str) -> list[str]:
    return [agency for agency, cast in AGENCIES.items() if cast.nation == nation]


def wait_until_ready(node: subprocess.Popen[str], url: str, certificate: Path) -> None:
    """Until the node answers. Raises DemoFailed when it ends instead."""
    tls = ssl.create_default_context(cafile=str(certificate))
    end = time.monotonic() + NODE_START_SECONDS_MAX
    while time.monotonic() < end:
        if node.poll() is not None:
            raise DemoFailed(f"the node ended with {node.returncode}: its log is beside its home")
        try:
            with urllib.request.urlopen(f"{url}/v1/node", context=tls, timeout=2):  # noqa: S310 - https on loopback
                return
        except OSError:
            time.sleep(0.05)
    raise DemoFailed("the node does not become ready")


def write_passphrase(folder: Path) -> Path:
    """One random passphrase for every home of the demo, in a private file."""
    path = folder / "passphrase"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(24) + "\n")
    return path


def describe(folder: Path, founding: Founding, node: dict[str, Any]) -> None:
    """``demo.json``, by rename, when everything answers (DESIGN §8)."""
    homes = {
        agency: {
            "home": str(folder / agency),
            "nation": cast.nation,
            "clearance": cast.clearance,
            "roles": list(cast.roles),
            "node": "pk-node",
        }
        for agency, cast in AGENCIES.items()
    }
    value = {
        "passphrase_file": str(folder / "passphrase"),
        "exchange": founding.pin,
        "pin": founding.pin,
        "nodes": {
            "pk-node": {
                "url": founding.url,
                "admin_url": f"http://127.0.0.1:{founding.admin_port}",
                "origin": ORIGIN,
                "vkeys": node["log"],
                "tls_cert": str(folder / "pk-node" / "tls.pem"),
                "home": str(folder / "pk-node"),
                "pid": founding.node.pid if founding.node else None,
            }
        },
        "agencies": homes,
        "custodians": {name: {"home": str(folder / name), "nation": name[:2].upper()} for name in CUSTODIANS},
    }
    new = folder / ".demo.json.new"
    new.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    new.replace(folder / "demo.json")
