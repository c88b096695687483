"""``khunjerab witness`` as its operator types it, as a process of its own; and a node that has it cosign."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from broker.home import NodeHome
from broker.http import server
from broker.witness import store
from broker.witness.alone import WitnessAlone
from broker.witness.logs import PolicyLogs
from broker.witness.store import WitnessStore, digest_of
from broker.witness.witness import Witness as Subject
from broker.witness.witness import holds_nothing_to_compare
from keys.lognote import open_checkpoint
from khunjerab.demo.ports import free_port
from khunjerab.witnesses import HttpWitness
from protocol.addcheckpoint import decode_lines
from protocol.note import Note
from protocol.tlogpolicy import Policy, Witness
from tests.faults.test_witness_store import Failing
from tests.integration.test_admin import get, metrics
from tests.support.door import logged_in, post, until
from tests.support.live import PASSPHRASE, live_node, world_of_today
from tests.support.process import make_home
from tests.support.submitting import TIME_S, SubmittingLog, cosigner_keys, log_signer
from tests.support.world import ORIGINS, node_keys

NAME = "w.example/one"
LOG = SubmittingLog.of(log_signer("xx.example/ledger"))
SECONDS = 180


def policy_of(log: SubmittingLog) -> str:
    return "".join(f"log {key.encode()} https://{log.origin}\n" for key in log.signer.vkeys()) + "quorum none\n"


class WitnessProcess:
    """A home in ``folder``, and ``witness serve`` over it."""

    def __init__(self, folder: Path, scheme: str = "http") -> None:
        self.home = folder / "witness"
        self.passphrase = folder / "passphrase"
        self.passphrase.write_bytes(PASSPHRASE.reveal())
        self.listen = f"127.0.0.1:{free_port()}"
        self.url = f"{scheme}://{self.listen}"
        self.log = folder / "witness.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        options = ["--home", str(self.home), "--passphrase-file", str(self.passphrase)]
        return [sys.executable, "-I", "-m", "khunjerab", *options, "witness", *words]

    async def typed(self, *words: str) -> tuple[int, str, str]:
        """Status, stdout and stderr."""
        running = await asyncio.create_subprocess_exec(
            *self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        said, talk = await asyncio.wait_for(running.communicate(), SECONDS)
        return running.returncode or 0, said.decode(), talk.decode()

    async def made(self) -> WitnessProcess:
        status, _, talk = await self.typed("init", "--name", NAME, "--url", self.url, "--listen", self.listen)
        assert status == 0, talk
        return self

    def launch(self) -> None:
        """Begin, without waiting for an answer."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command("serve"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Somebody who asks it, once it answers."""
        connector = aiohttp.TCPConnector(ssl=False)
        self.launch()
        assert self.process is not None
        try:
            async with aiohttp.ClientSession(self.url, connector=connector) as http:
                async with asyncio.timeout(SECONDS):
                    while not await self._answers(http):  # noqa: ASYNC110 - of another process
                        await asyncio.sleep(0.02)
                yield http
        finally:
            self.process.kill()
            self.process.wait()

    async def _answers(self, http: aiohttp.ClientSession) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            async with http.get("/"):
                return True
        except aiohttp.ClientError:
            return False

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, SECONDS)


@pytest.fixture
async def witness(tmp_path: Path) -> WitnessProcess:
    return await WitnessProcess(tmp_path).made()


async def test_a_witness_of_a_third_party(witness: WitnessProcess, tmp_path: Path) -> None:
    """Made, given a log, started, asked, stopped and started again; what `status` prints, others verify with.

    SPEC 9.7.2, 9.7.5.
    """
    file = tmp_path / "xx.policy"
    file.write_text(policy_of(LOG))
    assert (await witness.typed("add", str(file)))[0] == 0
    status, said, _ = await witness.typed("status")
    policy = Policy.parse(said[said.index("witness ") :] + f"quorum {NAME}\n")
    assert (status, f"{LOG.origin}: nothing cosigned yet" in said) == (0, True)
    keys = policy.witness_keys()
    assert {item.url for item in policy.items if isinstance(item, Witness)} == {witness.url}
    async with witness.serving() as http:
        async with http.post("/add-checkpoint", data=LOG.request(0, 9)) as answer:
            lines = decode_lines(await answer.read())
        opened = open_checkpoint(LOG.note(9, *lines).encode(), LOG.signer.vkeys(), keys)
        assert policy.satisfied_by(opened.cosigners)
        async with http.get(f"/{digest_of(LOG.origin).hex()}/checkpoint") as answer:
            assert Note.parse(await answer.text()).lines[2:] == lines
        for path in (f"/mirror/{digest_of(LOG.origin).hex()}/checkpoint", "/v1/node", "/checkpoint"):
            async with http.get(path) as answer:
                assert answer.status == 404
        assert await witness.stop() == 0
    async with witness.serving() as http:
        for body, status in ((LOG.request(0, 9), 409), (LOG.forked(8).request(9, 20), 422), (LOG.request(9, 20), 200)):
            async with http.post("/add-checkpoint", data=body) as answer:
                assert answer.status == status
        status, said, _ = await witness.typed("status", "--json")
    (row,) = json.loads(said)["logs"]
    assert (status, row["origin"], row["known"], row["size"]) == (0, LOG.origin, True, 20)


async def test_its_operator_sees_what_it_does(tmp_path: Path) -> None:
    """Metrics and readiness on loopback, and 503 while it cannot write."""
    path = tmp_path / "witness.db"
    store.create(path)
    known = PolicyLogs([Policy.parse(policy_of(LOG))])
    subject = Subject(cosigner_keys(NAME), WitnessStore(path), known, holds_nothing_to_compare, lambda: TIME_S)
    listen = f"127.0.0.1:{free_port()}"
    runner = await server.serve_admin(WitnessAlone(subject, known), listen)
    try:
        await subject.add_checkpoint(LOG.request(0, 9))
        told = await metrics(f"http://{listen}")
        assert told["khunjerab_witness_answers_total200"] == 1
        assert told[f"khunjerab_witness_size{LOG.origin}"] == 9
        writer = subject.store._writer
        subject.store._writer = Failing(writer, "COMMIT", happened=False)  # type: ignore[assignment]
        assert (await subject.add_checkpoint(LOG.request(9, 20))).status == 503
        status, text = await get(f"http://{listen}/readyz")
        assert (status, json.loads(text)["storage"]) == (503, "disk I/O error")
        assert (await subject.add_checkpoint(LOG.request(9, 20))).status == 200
        assert (await get(f"http://{listen}/readyz"))[0] == 200
    finally:
        await runner.cleanup()
        subject.close()


async def test_a_node_has_it_cosign(tmp_path: Path) -> None:
    """By its own policy, over TLS with a certificate that nobody vouches for. SPEC 9.7.7."""
    witness = await WitnessProcess(tmp_path, "https").made()
    world = world_of_today()
    pk = SubmittingLog.of(node_keys("PK").log)
    (tmp_path / "pk.policy").write_text(policy_of(pk))
    assert (await witness.typed("add", str(tmp_path / "pk.policy")))[0] == 0
    policy = Policy.parse((witness.home / "witness.policy").read_text() + f"quorum {NAME}\n")
    (tmp_path / "node").mkdir()
    async with witness.serving(), live_node(tmp_path / "node", world) as node:
        node.ask_witnesses(lambda witness: HttpWitness(witness, str), policy)
        assert node.asking is not None
        node.asking.pause_s = 0.01
        node.asking.begin()
        async with logged_in(node, "pk-liaison/desk") as sender:
            index = (await post(sender, world.bulletin(created=node.clock()))).index
        await node.publish()
        await until(lambda: bool(node.asking and node.asking.witnessed_by(index) == [NAME]))
        assert node.publisher.newest is not None
        opened = open_checkpoint(node.publisher.newest.note, node.keys.log.vkeys(), policy.witness_keys())
        assert policy.satisfied_by(opened.cosigners)


async def test_two_processes_never_cosign_from_one_home(witness: WitnessProcess) -> None:
    """The second one says so and ends. SPEC 9.7.3."""
    async with witness.serving():
        status, _, talk = await witness.typed("serve")
        assert (status, "is running" in talk) == (2, True)


async def test_a_witness_speaks_tls_as_a_node_does(tmp_path: Path) -> None:
    """1.3 and nothing older; plain HTTP on loopback alone."""
    witness = await WitnessProcess(tmp_path, "https").made()
    context = ssl.create_default_context(cafile=str(witness.home / "tls.pem"))
    context.check_hostname = True
    async with witness.serving():
        host, _, port = witness.listen.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.close()
        await writer.wait_closed()


async def test_mistakes_are_one_line(witness: WitnessProcess, tmp_path: Path) -> None:
    """What was wrong; status 2; nothing is made or overwritten."""
    bad = [await witness.typed("init", "--name", NAME, "--url", witness.url, "--listen", witness.listen)]
    two = tmp_path / "two.policy"
    two.write_text(policy_of(LOG).replace("quorum none\n", "") + policy_of(SubmittingLog.of(log_signer("y.example"))))
    for text in ("junk", "quorum none\n"):
        (tmp_path / "bad.policy").write_text(text)
        bad.append(await witness.typed("add", str(tmp_path / "bad.policy")))
    bad += [await witness.typed("add", str(two)), await witness.typed("add", str(tmp_path / "none"))]
    settings = (witness.home / "witness.toml").read_text()
    for changed in (settings + 'colour = "red"\n', settings.replace(witness.listen, "0.0.0.0:9"), 'name = "x"\n'):
        (witness.home / "witness.toml").write_text(changed)
        bad.append(await witness.typed("serve"))
    (witness.home / "witness.toml").write_text(settings)
    (witness.home / "witness.db").unlink()
    bad.append(await witness.typed("serve"))  # what it has cosigned is lost: it does not begin anew by itself
    witness.home = tmp_path / "nowhere"
    bad.append(await witness.typed("status"))
    bad.append(await witness.typed("init", "--name", "a name", "--url", witness.url, "--listen", witness.listen))
    assert [status for status, _, _ in bad] == [2] * len(bad), bad
    assert not any("Traceback" in talk for _, _, talk in bad)
    assert not (tmp_path / "nowhere").exists()


def test_a_node_that_lost_what_it_cosigned_gets_new_keys(tmp_path: Path) -> None:
    """With them, and never before, an empty store; the old ones sign nothing more. SPEC 9.7.3."""
    folder = make_home(tmp_path / "node", world_of_today())
    home = NodeHome(folder)
    before = home.keys(PASSPHRASE)
    (folder / "witness.db").unlink()
    assert home.cosigned() is None
    command = [sys.executable, "-I", "-m", "khunjerab", "--home", str(folder)]
    environment = {**os.environ, "KHUNJERAB_PASSPHRASE_FILE": str(folder / "passphrase")}
    card = tmp_path / "card.json"
    made = subprocess.run(
        [*command, "node", "new-cosigner", "--card", str(card)],
        env=environment,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert f"its new card is {card}" in made.stderr.decode()
    after = home.keys(PASSPHRASE)
    assert set(after.cosigner.vkeys()).isdisjoint(before.cosigner.vkeys())
    assert (after.log.vkeys(), after.receipt.public) == (before.log.vkeys(), before.receipt.public)
    cosigned = home.cosigned()
    assert cosigned is not None
    assert cosigned.all() == []
    cosigned.close()
    told = json.loads(card.read_text())
    assert told["origin"] == ORIGINS["PK"]
    assert told["cosigner"] == [key.encode() for key in after.cosigner.vkeys()]
