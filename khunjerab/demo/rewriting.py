"""The last act: what if an operator rewrites the past? Told in a copy of the world, so that what is left is honest."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from khunjerab.demo import forgery
from khunjerab.demo.founding import Founding
from khunjerab.demo.nodes import NodeProcess
from khunjerab.demo.shell import Shell
from khunjerab.demo.story import expect

TAMPERED = 5
PLACE = "what-if"
EVIDENCE = f"{PLACE}/evidence"
READERS = {"cn-liaison": "CN", "cn-auditor": "CN", "pk-auditor": "PK"}


class Rewriting:
    """A copy of both nodes and of three homes. The copy of pk-node is altered with its own keys, and goes on."""

    def __init__(self, shell: Shell, founding: Founding) -> None:
        self._shell, self._founding = shell, founding
        self._nodes = {
            nation: NodeProcess(shell, f"{PLACE}/{node.home}", node.origin) for nation, node in founding.nodes.items()
        }
        self._pk, self._cn = self._nodes["PK"], self._nodes["CN"]

    def tell(self) -> None:
        """All of it."""
        shell = self._shell
        shell.tell(
            "12. What if pk-node's operator rewrites the past? In a copy of both nodes he stops his own, makes the"
            " kidnapping warning an hour older, and starts it again: it signs everything anew, with the keys it has."
        )
        self._copy_world()
        ledger = self._pk.folder / "ledger.db"
        index = forgery.bulletins_of(ledger)[1]
        forgery.backdate(ledger, index)
        for nation, node in self._nodes.items():
            peer = self._nodes["CN" if nation == "PK" else "PK"]
            shell.run(node.home, "node", "peer", "add", peer.origin, "--url", peer.url, quiet=True)
            node.start()
        for node in self._nodes.values():
            node.wait_until_ready()
        self._watch_the_peer()
        self._show_the_reader()
        self._audit(index)
        self._check_offline()

    def stop(self) -> None:
        """End the copies, and remove them: of all this only the evidence stays."""
        for node in self._nodes.values():
            node.stop()
        for path in (self._shell.folder / PLACE).glob("*"):
            if path.suffix == ".log":
                path.unlink()
            elif path.name != Path(EVIDENCE).name:
                shutil.rmtree(path)

    def _copy_world(self) -> None:
        folder = self._shell.folder
        (folder / PLACE).mkdir()
        for nation in ("CN", "PK"):  # what follows first: a mirror may be behind its ledger, never ahead
            node, there = self._founding.nodes[nation], self._nodes[nation]
            copy_home(node.folder, there.folder)
            config = there.folder / "node.toml"
            text = config.read_text()
            for before, after in ((node.port, there.port), (node.admin_port, there.admin_port)):
                text = text.replace(f"127.0.0.1:{before}", f"127.0.0.1:{after}")
            config.write_text(text)
        for home, nation in READERS.items():
            copy_home(folder / home, folder / PLACE / home)
            profile = folder / PLACE / home / "profile.toml"
            profile.write_text(profile.read_text().replace('node = ""', f'node = "{self._nodes[nation].url}"'))

    def _watch_the_peer(self) -> None:
        """cn-node cosigns no more, and holds a file that shows why."""
        shell = self._shell
        shell.until(self._cn.home, "node", "status", holds=lambda it: "ALARM" in it.out)
        shell.run(self._cn.home, "node", "peer", "status")
        shell.run(self._pk.home, "node", "status")

    def _show_the_reader(self) -> None:
        shell = self._shell
        shell.tell("    Its readers see it on their screens, whichever ledger they came for.")
        shell.run(f"{PLACE}/cn-liaison", "inbox", status=TAMPERED)

    def _audit(self, index: int) -> None:
        """Each nation's auditor names the index and the check."""
        for auditor in ("cn-auditor", "pk-auditor"):
            both = (self._pk.url, self._cn.url)
            done = self._shell.run(
                f"{PLACE}/{auditor}", "audit", "verify", *both, "--json", quiet=True, status=TAMPERED
            )
            self._tell_findings(auditor, done.json[-1], index)

    def _tell_findings(self, auditor: str, verdict: dict[str, Any], index: int) -> None:
        located = [one for one in verdict["findings"] if (one["origin"], one["index"]) == (self._pk.origin, index)]
        expect(verdict["verdict"] == "failed" and bool(located), f"the forged ledger was judged {verdict}")
        lines = [f"    {auditor} found at {one['origin']}#{one['index']}: {one['check']}" for one in located]
        self._shell.tell("\n".join(lines))

    def _check_offline(self) -> None:
        shell = self._shell
        shell.tell(
            "    cn-node hands the evidence to everybody; checking it takes no network and no home, only the pin."
        )
        shell.run(f"{PLACE}/cn-auditor", "audit", "evidence", "--source", self._cn.url, "-o", EVIDENCE)
        file = min((shell.folder / EVIDENCE).iterdir())
        name = f"{EVIDENCE}/{file.name}"
        shell.run("nobody", "audit", "check", name, "--pin", self._founding.pin, status=TAMPERED)


def copy_home(source: Path, there: Path) -> None:
    """A folder with its SQLite files, each as of one moment, while whoever has them open goes on."""
    shutil.copytree(source, there, ignore=shutil.ignore_patterns("*.db", "*.db-wal", "*.db-shm", "*.sock"))
    for path in source.rglob("*.db"):
        with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(there / path.relative_to(source))) as copy:
            live.backup(copy)
