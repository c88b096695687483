"""``khunjerab node`` as an operator types it: serve, status, backup, restore; predictable mistakes in one line."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from broker.home import NodeConfig
from broker.peer import PeerConfig, save_peers
from broker.storage.sqlite import SqliteStorage
from clients.archive import Archive
from clients.auditor import export_ledger
from clients.copies import Copy
from clients.transport import Wire
from keys.keyring import write_private
from khunjerab.demo.ports import free_port
from tests.support.altering import replace
from tests.support.door import post
from tests.support.forks import SIZE, fork, honest, rewritten
from tests.support.live import now_ms, world_of_today
from tests.support.process import NodeProcess, make_home
from tests.support.submitting import cosigner_keys
from tests.support.world import ORIGINS, World, signing_key


def command(home: Path, *arguments: str, passphrase: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KHUNJERAB_PASSPHRASE_FILE": str(passphrase or home / "passphrase")}
    return subprocess.run(
        [sys.executable, "-I", "-m", "khunjerab", "--home", str(home), "node", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


async def typed(home: Path, *arguments: str, passphrase: Path | None = None) -> tuple[int, str, str]:
    """Status, stdout, stderr."""
    done = await asyncio.to_thread(command, home, *arguments, passphrase=passphrase)
    return done.returncode, done.stdout, done.stderr


def wire_to(node: NodeProcess, world: World, who: str) -> Wire:
    wire = Wire(node.url)
    wire.log_in_as(signing_key(who), world.pin, ORIGINS["PK"])
    return wire


def is_one_line(talk: str) -> bool:
    """A message and perhaps a hint; no trace."""
    return len(talk.strip().splitlines()) <= 2 and "Traceback" not in talk


def configured(home: Path, **changes: str) -> None:
    config = replace(NodeConfig.load(home / "node.toml"), **changes)
    write_private(home / "node.toml", config.dump(), replace=True)


@pytest.fixture
def world() -> World:
    return world_of_today()


@pytest.fixture
def home(tmp_path: Path, world: World) -> Path:
    return make_home(tmp_path / "node", world, admin=True)


async def test_status_says_what_the_node_says(home: Path) -> None:
    """For people in lines, for programs as one object; unreachable is 4."""
    async with NodeProcess(home) as node:
        status, said, _ = await typed(home, "status")
        assert status == 0
        assert said.splitlines()[0] == f"{ORIGINS['PK']} at {node.url}, version 0.1.0"
        assert "ready" in said.splitlines()
        status, said, _ = await typed(home, "status", "--json")
        told = json.loads(said)
        assert (status, told["ready"], told["origin"]) == (0, True, ORIGINS["PK"])
        assert told["directory"]["days_left"] > 300
        assert await node.stop() == 0
    status, said, talk = await typed(home, "status")
    assert (status, said) == (4, "")
    assert is_one_line(talk)


async def test_evidence_is_an_alarm_in_status_and_goes_into_a_backup(home: Path, world: World, tmp_path: Path) -> None:
    """What a node found before a restart is still there after it."""
    before = honest("CN", world.pin)
    file = fork(before.checkpoint(300), rewritten(before), SIZE, 300, [world.publication()]).encode()
    name = f"{hashlib.sha256(file).hexdigest()}.json"
    write_private(home / "evidence" / name, file)
    async with NodeProcess(home) as node:
        status, said, _ = await typed(home, "status")
        assert (status, f"ALARM  {ORIGINS['CN']} signed two histories: evidence {name[:64]}" in said) == (0, True)
        assert (await typed(home, "backup", str(tmp_path / "backup")))[0] == 0
        assert await node.stop() == 0
    assert (tmp_path / "backup" / "evidence" / name).read_bytes() == file


async def test_it_logs_json_where_nobody_looks_and_no_secret(home: Path, world: World) -> None:
    """One line a refusal, with code and agency; the bearer token is in none."""
    async with NodeProcess(home) as node, wire_to(node, world, "pk-liaison/desk") as sender:
        token, _ = await sender.session()
        with pytest.raises(Exception, match="feed-not-joined"):
            await post(sender, world.bulletin(created=now_ms(), feed="unknown"))
        await node.stop()
    lines = [json.loads(line) for line in node.log.read_text().splitlines() if line.startswith("{")]
    (refused,) = [line for line in lines if line["event"] == "refused"]
    assert (refused["code"], refused["agency"], refused["step"]) == ("feed-not-joined", "pk-liaison", 5)
    assert token not in node.log.read_text()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_when_told_with_a_last_checkpoint(home: Path, world: World, asked: signal.Signals) -> None:
    """Status 0; everything receipted is under the checkpoint; streams are told; nothing hangs on a long poll."""
    async with NodeProcess(home) as node, wire_to(node, world, "pk-liaison/desk") as sender:
        receipt = await post(sender, world.bulletin(created=now_ms()))
        polling = asyncio.create_task(sender.deliveries({ORIGINS["PK"]: receipt.index + 1}, {}, wait=30))
        async with wire_to(node, world, "cn-liaison/desk") as reader:
            pages = reader.stream({}, {})
            await anext(pages)
            os.kill(node.pid, asked)
            with pytest.raises(Exception, match="stopping"):
                async for _ in pages:
                    pass
        with pytest.raises(Exception, match="stopping"):
            await polling
        assert await node.stop() == 0
    async with NodeProcess(home) as node, Wire(node.url) as anyone:
        note = (await anyone.request("GET", "/checkpoint", login=False)).decode()
        assert int(note.splitlines()[1]) == receipt.index + 1


async def test_predictable_mistakes_are_one_line(home: Path, tmp_path: Path) -> None:
    """What was wrong and what to do; status 2."""
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    config = NodeConfig.load(home / "node.toml")
    with closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(config.listen.rpartition(":")[2])))
        taken.listen()
        busy = await typed(home, "serve")
    bad = [busy, await typed(home, "serve", passphrase=wrong), await typed(tmp_path / "nowhere", "serve")]
    configured(home, listen="0.0.0.0:9")
    bad.append(await typed(home, "serve"))
    configured(home, listen=config.listen, admin="0.0.0.0:9")
    bad.append(await typed(home, "serve"))
    configured(home, admin="nonsense")
    bad.append(await typed(home, "serve"))
    configured(home, admin="", pin="")
    bad.append(await typed(home, "serve"))
    (home / "node.toml").write_text('color = "red"\n')
    bad.append(await typed(home, "serve"))
    (home / "node.toml").write_text('origin = "x"\nnation = "PK"\nurl = "x"\nlisten = "x"\noutbox_wait = "soon"\n')
    bad.append(await typed(home, "serve"))
    (home / "node.toml").write_text('origin = "x"\n')
    bad.append(await typed(home, "serve"))
    wanted = [
        "cannot listen on",
        "passphrase",
        "does not exist",
        "loopback",
        "loopback",
        "HOST:PORT",
        "no directory yet",
        "'color' means nothing",
        "outbox_wait is a number of seconds",
        "lacks nation",
    ]
    for (status, said, talk), words in zip(bad, wanted, strict=True):
        assert (status, said) == (2, ""), talk
        assert words in talk
        assert is_one_line(talk), talk


@pytest.mark.parametrize("damage", ["a page", "the file"])
async def test_a_damaged_ledger_is_told_in_a_line(home: Path, damage: str) -> None:
    """An operator turns to fsck then: it does not fail over the very thing it looks for."""
    ledger = home / "ledger.db"
    with closing(SqliteStorage(ledger)) as storage:
        storage.checkpoint_wal()
    data = bytearray(ledger.read_bytes())
    start = 4096 if damage == "a page" else 0
    data[start:] = bytes([0xA5]) * (len(data) - start)
    ledger.write_bytes(data)
    for command, expected, hint in (("fsck", 5, "node restore"), ("serve", 2, "node ")):
        status, said, talk = await typed(home, command)
        assert (status, said) == (expected, ""), talk
        assert "malformed" in talk or "not a database" in talk
        assert f"khunjerab {hint}" in talk
        assert is_one_line(talk), talk


async def test_one_home_is_served_once(home: Path) -> None:
    """Two nodes over one ledger would promise two histories."""
    async with NodeProcess(home):
        configured(home, listen=f"127.0.0.1:{free_port()}", admin="")
        status, _, talk = await typed(home, "serve")
        assert status == 2
        assert "is running" in talk


async def test_a_copy_that_is_not_served_does_not_pass_for_its_original(home: Path, tmp_path: Path) -> None:
    """It has the same address, whoever answers there; asking makes nothing in it, and keeps nobody from serving it."""
    backup, copy = tmp_path / "backup", tmp_path / "copy"
    async with NodeProcess(home):
        assert (await typed(home, "backup", str(backup)))[0] == 0
        assert (await typed(copy, "restore", str(backup), passphrase=home / "passphrase"))[0] == 0
        for _ in range(2):
            status, out, err = await typed(copy, "status", passphrase=home / "passphrase")
            assert (status, out, "is not of" in err) == (4, "", True)
            assert is_one_line(err)
            assert not (copy / "lock").exists()
            status, out, err = await typed(copy, "peer", "status", passphrase=home / "passphrase")
            assert (status, out, "is not of" in err) == (4, "", True)
        (copy / "lock").touch()
        assert (await typed(copy, "status", passphrase=home / "passphrase"))[0] == 4
        assert (await typed(home, "status"))[0] == 0


async def test_backup_and_restore(home: Path, world: World, tmp_path: Path) -> None:
    """Backed up while it runs, put back elsewhere: it signs nothing until the export has brought the rest."""
    backup, export, new = tmp_path / "backup", tmp_path / "export", tmp_path / "new"
    async with NodeProcess(home) as node, wire_to(node, world, "pk-liaison/desk") as sender:
        await post(sender, world.bulletin(created=now_ms()))
        save_peers(home, (PeerConfig(ORIGINS["CN"]),))
        assert (await typed(home, "backup", str(backup)))[0] == 0
        assert sorted(path.name for path in backup.iterdir()) == ["keyring", "ledger.db", "node.toml", "peers.toml"]
        assert all(path.stat().st_mode & 0o077 == 0 for path in (backup, *backup.iterdir()))
        assert (await typed(home, "backup", str(backup)))[0] == 2  # it never overwrites one
        lost = world.bulletin(created=now_ms())
        receipt = await post(sender, lost)
        async with wire_to(node, world, "pk-auditor/desk") as auditor, asyncio.timeout(120):
            while (
                await export_ledger(Copy(auditor), Archive(export), bodies=True, progress=lambda *_: None)
            ).size <= receipt.index:
                pass
        assert (await node.stop()) == 0

    new.mkdir()
    (new / "passphrase").write_bytes((home / "passphrase").read_bytes())
    status, _, talk = await typed(new, "restore", str(backup))
    assert (status, "signs nothing" in talk) == (0, True)
    assert (await typed(new, "restore", str(backup)))[0] == 2  # nor a home
    async with NodeProcess(new) as node, wire_to(node, world, "pk-liaison/desk") as sender:
        assert (await sender.deliveries({}, {}))[0].items
        with pytest.raises(Exception, match="not-signing"):
            await post(sender, world.bulletin(created=now_ms()))
        status, said, _ = await typed(new, "status", "--json")
        assert (status, json.loads(said)["ready"]) == (0, False)
        status, said, _ = await typed(new, "status")
        assert "from before this start" in said
        assert "cosigns nothing" in said
        assert (await typed(new, "restore", "--from", str(export)))[0] == 2  # not while it runs
    await _signs_nothing_by_a_tail_alone(new, world, export)
    assert (await typed(new, "peer", "remove", ORIGINS["CN"]))[0] == 0
    status, _, talk = await typed(new, "restore", "--from", str(export))
    assert (status, "0 entries were taken back" in talk, "and signs again\n" in talk) == (0, True, True), talk
    assert (await typed(new, "fsck"))[0] == 0
    async with (
        NodeProcess(new) as node,
        wire_to(node, world, "pk-liaison/desk") as sender,
        wire_to(node, world, "cn-liaison/desk") as reader,
    ):
        assert (await post(sender, world.bulletin(created=now_ms()))).index == receipt.index + 1
        (part,) = await reader.deliveries({ORIGINS["PK"]: receipt.index}, {})
        assert (part.items[0].withheld, part.items[0].body) == ("missing", None)
        assert (await post(sender, lost)).index == receipt.index  # its sender has it still
        (part,) = await reader.deliveries({ORIGINS["PK"]: receipt.index}, {})
        assert (part.items[0].withheld, part.items[0].body) == ("", lost.body)
        assert part.items[0].wrap is not None
    assert (await typed(new, "fsck"))[0] == 0


async def _signs_nothing_by_a_tail_alone(home: Path, world: World, export: Path) -> None:
    """A node with peers: they may have seen more than whoever brought the tail. SPEC 11.10.2."""
    status, _, talk = await typed(home, "restore", "--from", str(export))
    assert (status, "1 entries were taken back" in talk, "once its peers were heard" in talk) == (0, True, True), talk
    async with NodeProcess(home) as node, wire_to(node, world, "pk-liaison/desk") as sender:
        with pytest.raises(Exception, match="not-signing"):
            await post(sender, world.bulletin(created=now_ms()))


async def test_a_policy_that_is_none_is_told_at_the_start(home: Path) -> None:
    """In one line, with its file. SPEC 9.7.7."""
    policies = home / "policies"
    policies.mkdir()
    file = policies / f"{hashlib.sha256(ORIGINS['PK'].encode()).hexdigest()}.policy"
    file.write_text("witness one junk\nquorum none\n")
    status, _, talk = await typed(home, "serve")
    assert (status, is_one_line(talk), file.name in talk) == (2, True, True)


async def test_status_tells_of_the_witnesses(home: Path) -> None:
    """Of the peer, and of one in the policy: what each has cosigned, and why it does not now. SPEC 9.7.7."""
    policies = home / "policies"
    policies.mkdir()
    key = cosigner_keys("w.example/one").vkeys()[0].encode()
    file = policies / f"{hashlib.sha256(ORIGINS['PK'].encode()).hexdigest()}.policy"
    file.write_text(f"witness one {key} http://127.0.0.1:{free_port()}\nquorum none\n")
    async with NodeProcess(home), asyncio.timeout(300):
        told: dict[str, Any] = {"witnesses": [{"error": None}]}
        while not all(witness["error"] for witness in told["witnesses"]):
            told = json.loads((await typed(home, "status", "--json"))[1])
        assert (await typed(home, "backup", str(home.parent / "backup")))[0] == 0
        assert (home.parent / "backup" / "policies" / file.name).read_text() == file.read_text()
        assert [witness["name"] for witness in told["witnesses"]] == [ORIGINS["CN"], "w.example/one"]
        said = (await typed(home, "status"))[1]
        assert "cosigned up to 0 entries by w.example/one" in said
        assert "does not cosign now: no answer" in said
