"""The story after the founding: bulletins across a border, what comes back, refusals, a line that is cut, an audit."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

import msgspec

from khunjerab.demo import bulletins, forgery
from khunjerab.demo.founding import SPARE, Founding
from khunjerab.demo.nodes import NodeProcess
from khunjerab.demo.shell import DemoFailed, Shell

REFUSED = 3
BULLETINS = "bulletins"
MEDIA_TYPE = "application/vnd.khunjerab.v1+msgpack"


class Story:
    """Acts in their order; each checks the status and JSON of what it ran."""

    def __init__(self, shell: Shell, founding: Founding) -> None:
        self._shell, self._founding = shell, founding
        self._pk, self._cn = founding.nodes["PK"], founding.nodes["CN"]
        self._reader: subprocess.Popen[str] | None = None
        self.convoy = self.kidnapping = ""

    def tell(self) -> None:
        """All of it."""
        self.warn_of_threats()
        self.ask_and_answer()
        self.cancel()
        self.watch_states()
        self.refuse()
        self.cut_the_line()
        self.audit()

    def stop(self) -> None:
        """End what still runs."""
        if self._reader is not None and self._reader.poll() is None:
            self._reader.terminate()
            self._reader.wait(10)

    def _post(self, home: str, name: str, text: str, *options: str) -> str:
        """Post a bulletin from a file, which stays to be read and tried again; its id."""
        file = self._shell.folder / BULLETINS / f"{name}.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        done = self._shell.run(home, "post", f"{BULLETINS}/{file.name}", *options, "--yes", "--json")
        return str(done.json[0]["id"])

    def _await_bulletin(self, home: str, bulletin: str) -> None:
        """Until it has come, maybe across the border."""
        self._shell.until(home, "inbox", holds=lambda it: bulletin in it.out)

    def warn_of_threats(self) -> None:
        """An exercise with a polygon and a warning in three languages; a system of the other nation receives them."""
        shell = self._shell
        shell.tell(
            "5. A Chinese system follows at its own node; a Pakistani officer posts at his a threat to a convoy, and a"
            " warning of a kidnapping."
        )
        (shell.folder / "dasu.geojson").write_text(bulletins.CONVOY_AREA)
        self._reader = shell.start("cn-liaison", "follow", "--json", "--exercises", "--count", "2")
        self.convoy = self._post(
            "pk-liaison", "convoy", bulletins.CONVOY, "--area", "dasu.geojson", "--to", "cn-liaison"
        )
        self.kidnapping = self._post("pk-liaison", "kidnapping", bulletins.KIDNAPPING)
        out, _ = self._reader.communicate(timeout=60)
        came = [json.loads(line) for line in out.splitlines()]
        expect({one["id"] for one in came} == {self.convoy, self.kidnapping}, f"follow printed {out}")
        for one in came:
            shell.tell(f"   cn-liaison received: {one['status'].upper()} {one['content']['versions'][1]['title']}")
        shell.run("cn-liaison", "show", self.kidnapping)
        shell.run("cn-liaison", "ack", self.kidnapping)
        shell.run("cn-liaison", "ack", self.convoy, "--acted")

    def ask_and_answer(self) -> None:
        """A request for information with a due date, and its answer."""
        shell = self._shell
        shell.tell(
            "6. The officer asks the Chinese embassy for head counts; the embassy answers in its own policy's terms."
        )
        request = self._post("pk-liaison", "request", bulletins.REQUEST)
        self._await_bulletin("cn-embassy", request)
        answer = self._post("cn-embassy", "answer", bulletins.ANSWER, "--answers", request)
        self._await_bulletin("pk-liaison", answer)

    def cancel(self) -> None:
        """A cancel reaches everyone who had the first, and must be acknowledged."""
        shell = self._shell
        shell.tell("7. The convoy threat is cancelled; whoever had it must acknowledge that.")
        cancel = self._post("pk-liaison", "cancel", bulletins.CANCEL, "--cancels", self.convoy)
        self._await_bulletin("cn-liaison", cancel)
        shell.run("cn-liaison", "ack", cancel)

    def watch_states(self) -> None:
        """The sender sees how far each bulletin came: acknowledgements stand in the other nation's ledger."""
        shell = self._shell
        shell.tell("8. The sender sees who received, read and acted, and that China's node has witnessed it.")
        shell.until("pk-liaison", "status", self.convoy, "--json", holds=lambda it: _is_over(it.json[0]), quiet=True)
        shell.run("pk-liaison", "status", self.convoy)
        shell.run("pk-liaison", "status", self.kidnapping)

    def refuse(self) -> None:
        """What must not happen does not: not cleared, not releasable, a revoked seat, a replay."""
        shell = self._shell
        shell.tell("9. Refusals. Not cleared: site security may not see Secret.")
        label = "Secret//REL CHN, PAK"
        base = ("--status", "exercise", "--title", "EXERCISE: not for everyone", "--feed", "corridor", "--yes")
        shell.run("pk-liaison", "post", *base, "--label", label, "--to", "pk-site-security", status=REFUSED)
        shell.tell("   Not releasable: a bulletin for Pakistan only cannot go to China.")
        shell.run("pk-liaison", "post", *base, "--label", "Restricted//REL PAK", "--to", "cn-embassy", status=REFUSED)
        shell.tell("   A lost laptop: the custodian revokes the spare seat, and it is shut out at once.")
        shell.run(SPARE, "inbox", quiet=True)
        shell.run(
            "pk-custodian-1", "keys", "revoke", "pk-liaison", "--seat", SPARE, "--reason", "stolen in Gilgit", "--yes"
        )
        shell.run(SPARE, "post", *base, "--label", "Restricted//REL CHN, PAK", "--to", "cn-embassy", status=REFUSED)
        self._replay()

    def _replay(self) -> None:
        """Posted bytes sent again: nothing new for their sender, a refusal for anybody else and in the other ledger."""
        shell = self._shell
        shell.tell(
            "   A replay: the bytes of the kidnapping warning are posted again, by another agency at each node and by"
            " its own."
        )
        ledger = self._pk.folder / "ledger.db"
        envelope = forgery.envelope_of(ledger, forgery.bulletins_of(ledger)[1])
        sizes = [node.json("/v1/node")["size"] for node in (self._pk, self._cn)]
        for home, node, expected in (
            ("pk-site-security", self._pk, 403),
            ("cn-liaison", self._cn, 403),
            ("pk-liaison", self._pk, 200),
        ):
            status, answer = self._send_envelope(home, node, envelope)
            expect(status == expected, f"the replay from {home} was answered with {status} {answer}")
            shell.tell(f"   from {home} at {node.home}: HTTP {status} {answer}")
        expect(sizes == [node.json("/v1/node")["size"] for node in (self._pk, self._cn)], "the replay was entered")

    def _send_envelope(self, home: str, node: NodeProcess, envelope: bytes) -> tuple[int, str]:
        token = self._shell.run(home, "session", quiet=True).out.strip().split()[-1]
        request = urllib.request.Request(  # noqa: S310 - https on loopback
            f"{node.url}/v1/entries",
            data=msgspec.msgpack.encode([envelope]),
            headers={"Authorization": f"Bearer {token}", "Content-Type": MEDIA_TYPE},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, context=node.tls(), timeout=30) as answer:  # noqa: S310
                receipt = msgspec.msgpack.decode(msgspec.msgpack.decode(answer.read())[0])
                return answer.status, f"the first receipt again, index {receipt[0]}"
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read())
            return error.code, f"{problem['code']}: {problem['detail']}"

    def cut_the_line(self) -> None:
        """Both nations go on; what is for the other waits, and comes when the line is whole again."""
        shell = self._shell
        shell.tell(
            "10. The line between the nodes is cut. Posts on both sides go on: logged, delivered at home, waiting."
        )
        for line in self._founding.lines.values():
            line.cut()
        for node in (self._pk, self._cn):
            shell.until(node.home, "node", "peer", "status", holds=lambda it: "away" in it.out)
        slide = self._post("pk-liaison", "slide", bulletins.SLIDE)
        bus = self._post("cn-embassy", "bus", bulletins.BUS)
        for home, bulletin in (("pk-site-security", slide), ("cn-liaison", bus)):
            self._await_bulletin(home, bulletin)
        expect(slide not in shell.run("cn-embassy", "inbox").out, "the cut line carried a bulletin")
        shell.run("pk-liaison", "status", slide)
        shell.tell("    It is joined again, and everything arrives.")
        for line in self._founding.lines.values():
            line.join()
        self._await_bulletin("cn-embassy", slide)
        self._await_bulletin("pk-liaison", bus)
        shell.until("pk-liaison", "status", slide, "--json", holds=lambda it: _came_across(it.json[0]), quiet=True)
        shell.run("pk-liaison", "status", slide)

    def audit(self) -> None:
        """Each nation's auditor replays every entry of both ledgers, at both nodes, and compares."""
        shell = self._shell
        shell.tell("11. Each nation's auditor verifies both ledgers at both nodes, without reading a word of content.")
        for auditor in ("pk-auditor", "cn-auditor"):
            verdict = shell.run(auditor, "audit", "verify", "--json", quiet=True).json[-1]
            expect(verdict["verdict"] == "ok", f"the audit says {verdict}")
            sizes = ", ".join(f"{one['origin']} {one['size']} entries" for one in verdict["ledgers"])
            shell.tell(f"    {auditor}: {verdict['verdict']}, {sizes}, no findings")


def _is_over(status: dict[str, Any]) -> bool:
    return bool(status["witnessed_by"]) and all(each["state"] == "acted" for each in status["recipients"])


def _came_across(status: dict[str, Any]) -> bool:
    return any(each["agency"] == "cn-embassy" and each["received"] for each in status["recipients"])


def expect(holds: bool, otherwise: str) -> None:
    """Raise DemoFailed unless the story goes as told."""
    if not holds:
        raise DemoFailed(otherwise)
