"""The story after the founding: bulletins, acknowledgements, refusals, an audit, and a forgery that is found."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from typing import Any

import msgspec

from khunjerab.demo import bulletins, forgery
from khunjerab.demo.founding import SPARE, Founding, free_port, wait_until_ready
from khunjerab.demo.shell import DemoFailed, Shell

REFUSED, TAMPERED = 3, 5
MEDIA_TYPE = "application/vnd.khunjerab.v1+msgpack"


class Story:
    """Acts in their order; each checks the status and JSON of what it ran."""

    def __init__(self, shell: Shell, founding: Founding) -> None:
        self._shell, self._founding = shell, founding
        self._reader: subprocess.Popen[str] | None = None
        self.convoy = self.kidnapping = ""

    def tell(self) -> None:
        """All of it."""
        self.warn_of_threats()
        self.ask_and_answer()
        self.cancel()
        self.watch_states()
        self.refuse()
        self.audit()
        self.forge()

    def stop(self) -> None:
        """End what still runs."""
        if self._reader is not None and self._reader.poll() is None:
            self._reader.terminate()
            self._reader.wait(10)

    def _post(self, home: str, text: str, *options: str) -> str:
        """Post a bulletin from a file and return its id."""
        done = self._shell.run(home, "post", "-", *options, "--yes", "--json", stdin=text)
        return str(done.json[0]["id"])

    def warn_of_threats(self) -> None:
        """An exercise with a polygon and a warning in three languages; a system of the other nation receives them."""
        shell = self._shell
        shell.tell(
            "5. A Chinese system follows; a Pakistani officer warns of a threat to a convoy, and of a kidnapping."
        )
        (shell.folder / "dasu.geojson").write_text(bulletins.CONVOY_AREA)
        self._reader = shell.start("cn-liaison", "follow", "--json", "--exercises", "--count", "2")
        self.convoy = self._post("pk-liaison", bulletins.CONVOY, "--area", "dasu.geojson", "--to", "cn-liaison")
        self.kidnapping = self._post("pk-liaison", bulletins.KIDNAPPING)
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
        request = self._post("pk-liaison", bulletins.REQUEST)
        shell.run("cn-embassy", "inbox")
        self._post("cn-embassy", bulletins.ANSWER, "--answers", request)
        shell.run("pk-liaison", "inbox")

    def cancel(self) -> None:
        """A cancel reaches everyone who had the first, and must be acknowledged."""
        shell = self._shell
        shell.tell("7. The convoy threat is cancelled; whoever had it must acknowledge that.")
        cancel = self._post("pk-liaison", bulletins.CANCEL, "--cancels", self.convoy)
        shell.run("cn-liaison", "inbox")
        shell.run("cn-liaison", "ack", cancel)

    def watch_states(self) -> None:
        """The sender sees how far each bulletin came."""
        shell = self._shell
        shell.tell("8. The sender sees who received, read and acted.")
        value = shell.run("pk-liaison", "status", self.convoy, "--json").json[0]
        (cn_liaison,) = value["recipients"]
        expect(cn_liaison["state"] == "acted", f"status says {cn_liaison}")
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
        """Posted bytes sent again: nothing new for their sender, a refusal for anybody else."""
        shell = self._shell
        shell.tell(
            "   A replay: the bytes of the kidnapping warning are posted again, by another agency and by its own."
        )
        ledger = shell.folder / "pk-node" / "ledger.db"
        envelope = forgery.envelope_of(ledger, forgery.bulletins_of(ledger)[1])
        size = self._node_size()
        for home, expected in (("cn-liaison", 403), ("pk-liaison", 200)):
            status, answer = self._send_envelope(home, envelope)
            expect(status == expected, f"the replay from {home} was answered with {status} {answer}")
            shell.tell(f"   from {home}: HTTP {status} {answer}")
        expect(self._node_size() == size, "the replay changed the ledger")

    def _send_envelope(self, home: str, envelope: bytes) -> tuple[int, str]:
        token = self._shell.run(home, "session", quiet=True).out.strip().split()[-1]
        request = urllib.request.Request(  # noqa: S310 - https on loopback
            f"{self._founding.url}/v1/entries",
            data=msgspec.msgpack.encode([envelope]),
            headers={"Authorization": f"Bearer {token}", "Content-Type": MEDIA_TYPE},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, context=self._tls(), timeout=30) as answer:  # noqa: S310
                receipt = msgspec.msgpack.decode(msgspec.msgpack.decode(answer.read())[0])
                return answer.status, f"the first receipt again, index {receipt[0]}"
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read())
            return error.code, f"{problem['code']}: {problem['detail']}"

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._shell.folder / "pk-node" / "tls.pem"))

    def _node_size(self) -> int:
        with urllib.request.urlopen(f"{self._founding.url}/v1/node", context=self._tls(), timeout=30) as answer:  # noqa: S310
            return int(json.loads(answer.read())["size"])

    def audit(self) -> None:
        """An auditor of the other nation replays every entry."""
        shell = self._shell
        shell.tell("10. China's auditor verifies every entry of the ledger, without reading a word of content.")
        verdict = shell.run("cn-auditor", "audit", "verify", "--json", quiet=True).json[-1]
        expect(verdict["verdict"] == "ok", f"the audit says {verdict}")
        shell.tell(f"    verdict {verdict['verdict']}, {verdict['entries']} entries, no findings")

    def forge(self) -> None:
        """The operator backdates a bulletin in a copy of the ledger and signs it anew; the auditor names it."""
        shell = self._shell
        shell.tell(
            "11. An operator who holds the node's keys backdates a bulletin in a copy, and signs everything anew."
        )
        shutil.copytree(shell.folder / "pk-node", shell.folder / "forged-node")
        ledger = shell.folder / "forged-node" / "ledger.db"
        index = forgery.bulletins_of(ledger)[1]
        forgery.backdate(ledger, index)
        port, admin = free_port(), free_port()
        config = shell.folder / "forged-node" / "node.toml"
        text = config.read_text().replace(f"127.0.0.1:{self._founding.port}", f"127.0.0.1:{port}")
        config.write_text(text.replace(f"127.0.0.1:{self._founding.admin_port}", f"127.0.0.1:{admin}"))
        forged = shell.start("forged-node", "node", "serve")
        try:
            url = f"https://127.0.0.1:{port}"
            wait_until_ready(forged, url, config.with_name("tls.pem"))
            done = shell.run("cn-auditor", "audit", "verify", url, "--json", quiet=True, status=TAMPERED)
        finally:
            forged.terminate()
            forged.wait(20)
        self._tell_findings(done.json[-1], index)
        shutil.rmtree(shell.folder / "forged-node")

    def _tell_findings(self, verdict: dict[str, Any], index: int) -> None:
        found = [finding for finding in verdict["findings"] if finding["index"] == index]
        expect(verdict["verdict"] == "failed" and bool(found), f"the forged ledger was judged {verdict}")
        for finding in verdict["findings"]:
            at = "" if finding["index"] is None else f"#{finding['index']}"
            self._shell.tell(f"    found at {finding['origin']}{at}: {finding['check']}")


def expect(holds: bool, otherwise: str) -> None:
    """Raise DemoFailed unless the story goes as told."""
    if not holds:
        raise DemoFailed(otherwise)
