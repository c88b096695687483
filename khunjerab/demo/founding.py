"""The first act: from empty folders to an exchange, with the commands that two ministries would type."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from khunjerab.demo.nodes import NodeProcess
from khunjerab.demo.relay import Relay
from khunjerab.demo.shell import Shell

ORIGINS = {"PK": "pk.khunjerab.example/ledger", "CN": "cn.khunjerab.example/ledger"}
DIRECTORY = "directory.json"
CARDS = "cards"
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


class Founding:
    """Makes keys, directory and nodes, one step after the other; the nodes keep running."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.nodes = {nation: NodeProcess(shell, f"{nation.lower()}-node", ORIGINS[nation]) for nation in NATIONS}
        self.lines = {nation: Relay(node.port) for nation, node in self.nodes.items()}  # to each, from the other
        self.pin = ""
        (shell.folder / CARDS).mkdir()

    def stop(self) -> None:
        """End the nodes."""
        for node in self.nodes.values():
            node.stop()

    def make_keys(self) -> None:
        """Custodians and agencies, each in a home of its own; the first custodian of a nation holds its identities."""
        shell = self._shell
        shell.tell("1. Four custodians, six agencies and two nodes make their keys; only cards leave their homes.")
        shell.together([(name, "keys", "new", "--kind", "authority", name) for name in CUSTODIANS])
        for pair in zip(_of_nation("PK"), _of_nation("CN"), strict=True):  # a home is written by one command at a time
            shell.together([(f"{a[:2]}-custodian-1", "keys", "new", "--kind", "agency", a) for a in pair])
        shell.together([(name, "keys", "new", "--kind", "seat", name) for name in (*AGENCIES, SPARE)])
        shell.together([(name, "keys", "card", "-o", f"{CARDS}/{name}.json") for name in CUSTODIANS])
        shell.together(
            [(f"{a[:2]}-custodian-1", "keys", "card", "--agency", a, "-o", f"{CARDS}/{a}.json") for a in AGENCIES]
        )
        shell.together([(name, "keys", "card", "-o", f"{CARDS}/{name}-seat.json") for name in (*AGENCIES, SPARE)])
        shell.together([(node.home, "node", "init", *_node_words(nation, node)) for nation, node in self.nodes.items()])

    def sign_directory(self) -> None:
        """The signing table: one draft, read by both nations, signed by two custodians each."""
        shell = self._shell
        shell.tell("2. The directory is drafted, and two custodians of each nation sign it.")
        drafter = "pk-custodian-1"
        shell.run(drafter, "directory", "new", "-o", DIRECTORY, quiet=True)
        for nation in NATIONS:
            self._add("nation", nation, *_nation_words(nation))
        for node in self.nodes.values():
            self._add("node", f"{CARDS}/{node.home}.json")
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

    def start_nodes(self) -> None:
        """Both ledgers begin with the directory; each node answers in TLS 1.3 pinned by it, and follows the other."""
        shell = self._shell
        shell.tell("3. Each nation's node enters the directory as its first entry, follows the other's, and starts.")
        for node in self.nodes.values():
            shell.run(node.home, "node", "init", "--directory", DIRECTORY, *self._signatures())
        for nation, node in self.nodes.items():
            peer = "CN" if nation == "PK" else "PK"
            there = f"https://127.0.0.1:{self.lines[peer].port}"  # a line that can be cut; the directory has the other
            shell.run(node.home, "node", "peer", "add", ORIGINS[peer], "--url", there)
            node.start()
        for node in self.nodes.values():
            node.wait_until_ready()

    def join(self) -> None:
        """Custodians and seats verify the directory from the pin; the custodians issue the first key bundles."""
        shell = self._shell
        shell.tell("4. Everybody joins by the pin from the signing table; custodians issue key bundles for the seats.")
        join = ("join", DIRECTORY, *self._signatures(), "--pin", self.pin)
        shell.together([(name, *join, "--custodian") for name in CUSTODIANS])
        shell.together([(name, *join, "--agency", name) for name in AGENCIES])
        shell.run(SPARE, *join, "--agency", "pk-liaison", quiet=True)
        for agency, seat in [("pk-liaison", SPARE), *((a, a) for a in AGENCIES)]:
            card = f"{CARDS}/{seat}-seat.json"
            shell.run(f"{agency[:2]}-custodian-1", "keys", "seat", "add", card, "--agency", agency, quiet=True)
        for pair in zip(_of_nation("PK"), _of_nation("CN"), strict=True):
            shell.together([(f"{a[:2]}-custodian-1", "keys", "bundle", a) for a in pair])
        entries = 1 + len(AGENCIES)  # the directory and all bundles: each of them in both ledgers
        for node in self.nodes.values():
            shell.until(
                node.home, "node", "status", "--json", holds=lambda it: it.json[0]["size"] >= entries, quiet=True
            )
            shell.run(node.home, "node", "peer", "status")


def _node_words(nation: str, node: NodeProcess) -> list[str]:
    listen = ["--listen", f"127.0.0.1:{node.port}", "--admin", f"127.0.0.1:{node.admin_port}"]
    words = ["--origin", node.origin, "--nation", nation, "--url", node.url, *listen]
    return [*words, "--card", f"{CARDS}/{node.home}.json"]


def _nation_words(nation: str) -> list[str]:
    code, name = NATIONS[nation]
    cards = [f"{CARDS}/{custodian}.json" for custodian in CUSTODIANS if custodian.startswith(nation.lower())]
    return [*cards, "--code", code, "--name", name, "--threshold", "2"]


def _agency_words(agency: str) -> list[str]:
    cast = AGENCIES[agency]
    words = ["--nation", cast.nation, "--home", ORIGINS[cast.nation], "--clearance", cast.clearance]
    words += [word for name in cast.compartments for word in ("--compartment", name)]
    return words + [word for role in cast.roles for word in ("--role", role)]


def _feed_words(feed: str) -> list[str]:
    title, members = FEEDS[feed]
    words = ["--title", title, "--ceiling", "PK:Secret", "--compartment", "CONVOY", "--compartment", "PERSONNEL"]
    return words + [word for member in members for word in ("--member", member)]


def _of_nation(nation: str) -> list[str]:
    return [agency for agency, cast in AGENCIES.items() if cast.nation == nation]


def write_passphrase(folder: Path) -> Path:
    """One random passphrase for every home of the demo, in a private file."""
    path = folder / "passphrase"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(24) + "\n")
    return path


def describe(folder: Path, founding: Founding) -> None:
    """``demo.json``, by rename, when everything answers."""
    nodes = {
        node.home: {
            "url": node.url,
            "admin_url": f"http://127.0.0.1:{node.admin_port}",
            "origin": node.origin,
            "vkeys": json.loads((folder / CARDS / f"{node.home}.json").read_text())["log"],
            "tls_cert": str(node.folder / "tls.pem"),
            "home": str(node.folder),
            "pid": node.process.pid if node.process else None,
        }
        for node in founding.nodes.values()
    }
    homes = {
        agency: {
            "home": str(folder / agency),
            "nation": cast.nation,
            "clearance": cast.clearance,
            "roles": list(cast.roles),
            "node": founding.nodes[cast.nation].home,
        }
        for agency, cast in AGENCIES.items()
    }
    value = {
        "passphrase_file": str(folder / "passphrase"),
        "exchange": founding.pin,
        "pin": founding.pin,
        "nodes": nodes,
        "agencies": homes,
        "custodians": {name: {"home": str(folder / name), "nation": name[:2].upper()} for name in CUSTODIANS},
    }
    new = folder / ".demo.json.new"
    new.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    new.replace(folder / "demo.json")
