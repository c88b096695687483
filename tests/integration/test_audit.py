"""The auditor against a real node: what it fetches, what it finds, and what its home keeps; and the commands."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

from broker.node import Node
from clients.archive import Archive
from clients.asked import Asked
from clients.auditor import Auditor, archive_of, export_ledger, site_of
from clients.copies import Copy
from clients.home import Home
from keys.claims import parsed
from keys.finding import Report
from protocol.statements import Bulletin
from tests.support.altering import replace
from tests.support.forks import HONEST, PIN, REWRITTEN, SIZE, fork
from tests.support.live import PASSPHRASE, live_node, now_ms, seat_home, world_of_today
from tests.support.world import NOW, ORIGINS, World, admit


def _quiet(origin: str, done: int, size: int) -> None:
    """No progress."""


async def _post(node: Node, world: World, count: int) -> None:
    """Bulletins, admitted at the node and published."""
    for _ in range(count):
        admit(node.ledger, world.bulletin(created=now_ms()), now_ms())
    await node.publish()


async def _audit(home: Home, url: str, **asked: object) -> Report:
    auditor = Auditor(Asked(bytes.fromhex(home.profile.pin), **asked), _quiet)  # type: ignore[arg-type]
    site = await site_of(home, url)
    async with site.wire:
        await auditor.audit_copy(Copy(site.wire), archive_of(home, site.origin))
    return auditor.report()


async def test_a_node_passes_and_passes_again_when_it_has_grown(tmp_path: Path) -> None:
    world = world_of_today()
    async with live_node(tmp_path, world) as node:
        home = seat_home(tmp_path, world, "pk-auditor", url=node.config.url)
        for count in (3, 300, 0, 1):
            await _post(node, world, count)
            report = await _audit(home, node.config.url, bodies=True)
            assert (report.verdict, report.findings, report.missing) == ("ok", (), ())
            assert (report.entries, report.ledgers[0].root) == (node.ledger.head.size, node.ledger.head.root)
            kept = parsed(archive_of(home, node.ledger.origin).checkpoint())
            assert kept is not None
            assert (kept.size, kept.root) == (node.ledger.head.size, node.ledger.head.root)
        home.close()


async def test_an_export_is_verified_where_there_is_no_network(tmp_path: Path) -> None:
    world = world_of_today()
    async with live_node(tmp_path, world) as node:
        home = seat_home(tmp_path, world, "pk-auditor", url=node.config.url)
        await _post(node, world, 270)
        site = await site_of(home, node.config.url)
        async with site.wire:
            await export_ledger(Copy(site.wire), Archive(tmp_path / "export"), bodies=True, progress=_quiet)
        home.close()
        auditor = Auditor(Asked(world.pin, bodies=True), _quiet)
        await auditor.audit_folders([Archive(tmp_path / "export")])
        report = auditor.report()
        assert (report.verdict, report.entries, report.findings) == ("ok", node.ledger.head.size, ())
        assert report.warnings == ()


async def test_a_history_that_is_not_the_one_kept_is_located(tmp_path: Path) -> None:
    """A node that shows another ledger than last time, signed by the same keys."""
    world = world_of_today()
    fork, home = tmp_path / "fork", seat_home(tmp_path, world, "pk-auditor")
    fork.mkdir()
    async with live_node(tmp_path, world) as node:
        await _post(node, world, 300)
        size = node.ledger.head.size
    shutil.copy(tmp_path / "pk-ledger.db", fork)
    async with live_node(tmp_path, world) as node:
        await _post(node, world, 20)
        assert (await _audit(home, node.config.url)).verdict == "ok"
        kept = archive_of(home, node.ledger.origin).checkpoint()
    async with live_node(fork, world) as other:
        await _post(other, world, 40)
        report = await _audit(home, other.config.url)
        found = [(finding.index, finding.check) for finding in report.findings]
        assert (report.verdict, found) == ("failed", [(size, "consistency"), (size + 19, "consistency")])
        assert archive_of(home, other.ledger.origin).checkpoint() == kept
    home.close()


async def khunjerab(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command, as a person runs it."""
    passphrase = home.parent / "passphrase"
    passphrase.write_bytes(PASSPHRASE.reveal())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-m", "khunjerab", "--home", str(home), "--passphrase-file", str(passphrase), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_commands_of_an_auditor(tmp_path: Path) -> None:
    world = world_of_today()
    home = seat_home(tmp_path, world, "pk-auditor").folder
    nobody, pin = tmp_path / "nobody", world.pin.hex()
    async with live_node(tmp_path, world) as node:
        url = node.config.url
        await _post(node, world, 20)
        status, out, err = await khunjerab(home, "audit", "verify", url, "--bodies", "--json")
        assert (status, err) == (0, "")
        told = json.loads(out)
        assert (told["verdict"], told["entries"], told["findings"]) == ("ok", node.ledger.head.size, [])
        assert told["ledgers"] == [
            {"origin": node.ledger.origin, "size": node.ledger.head.size, "root": node.ledger.head.root.hex()}
        ]
        export, proof = tmp_path / "export", tmp_path / "bulletin.evidence"
        assert (await khunjerab(home, "audit", "export", str(export), "--source", url))[0] == 0
        words = ("audit", "export", str(tmp_path / "none"), "--source", url, "--origin", "no.example/ledger")
        status, _, err = await khunjerab(home, *words)
        assert (status, f"it serves {node.ledger.origin}" in err) == (2, True)
        status, out, err = await khunjerab(home, "audit", "evidence")
        assert (status, out, "no evidence is held here" in err) == (0, "", True)
        for option in ("--policy", "--checkpoint"):
            status, out, err = await khunjerab(home, "audit", "verify", url, option, str(home.parent / "passphrase"))
            assert (status, out, "/passphrase" in err) == (2, "", True)
        name = Bulletin.decode(node.storage.entry(10).statement).header.name  # type: ignore[union-attr]
        assert (await khunjerab(home, "audit", "prove", name[-12:], "-o", str(proof)))[0] == 0
        receipt, lines = tmp_path / "receipt", tmp_path / "receipts.json"
        receipt.write_bytes(node.ledger.receipt_of(10).encode())
        lines.write_text("".join(f'{{"receipt": "{node.ledger.receipt_of(at).encode().hex()}"}}\n' for at in (11, 26)))
    # From here on there is no node, and no home.
    status, out, _ = await khunjerab(
        nobody, "audit", "verify", str(export), "--pin", pin, "--receipts", str(receipt), "--receipts", str(lines)
    )
    assert (status, out.splitlines()[-1]) == (0, f"ok: {told['entries']} entries, 0 findings, 0 warnings")
    status, out, err = await khunjerab(nobody, "audit", "check", str(proof), "--pin", pin)
    assert status == 0, err
    assert out.startswith(f"{name} holds: index 10 of {node.ledger.origin}")
    assert "rests on a checkpoint over" in out
    status, out, _ = await khunjerab(nobody, "audit", "check", str(proof), "--pin", "0" * 64)
    assert (status, out) == (5, "")
    status, _, err = await khunjerab(home, "audit", "verify", url)
    assert (status, "does not answer" in err) == (4, True)
    bundle = next((export / "tile" / "entries" / "000.p").iterdir())
    data = bytearray(bundle.read_bytes())
    data[-1] ^= 1
    bundle.write_bytes(bytes(data))
    status, out, _ = await khunjerab(
        nobody, "audit", "verify", str(export), "--pin", pin, "--receipts", str(lines), "--json"
    )
    told = json.loads(out)
    assert (status, told["verdict"]) == (5, "failed")
    assert {(26, "root"), (26, "tile"), (26, "broken-promise")} <= {(f["index"], f["check"]) for f in told["findings"]}


async def test_evidence_of_a_fork_is_told_in_words_to_whoever_holds_the_file(tmp_path: Path) -> None:
    """What it shows is on stdout, and the status is that of tampering; what does not hold says nothing there."""
    nobody, file, pin = tmp_path / "nobody", tmp_path / "fork.json", PIN.hex()
    one = fork(HONEST.head(300), REWRITTEN, SIZE, 300)
    file.write_bytes(one.encode())
    status, out, err = await khunjerab(nobody, "audit", "check", str(file), "--pin", pin)
    assert (status, "fork: the log signed a tree of 300 entries" in err) == (5, True)
    assert out.splitlines()[0] == "pk.khunjerab.test/ledger, run by PK, signed two histories"
    assert f"  whose first 300 entries have the root {REWRITTEN.root(300).hex()}, as a proof of" in out
    assert "rests on the node's receipt key, Ed25519 alone" in out
    assert out.splitlines()[-1].startswith("  does not show which entries differ")
    status, out, err = await khunjerab(nobody, "audit", "check", str(file), "--json")
    told = json.loads(out)
    assert (status, told["shows"], told["origin"], told["nation"]) == (5, "fork", ORIGINS["PK"], "PK")
    assert told["old"] == {"form": "tree-head", "size": 300, "root": HONEST.root(300).hex(), "time": NOW}
    assert (told["new"]["form"], told["new"]["size"], told["pin"]) == ("checkpoint", SIZE, pin)
    assert f"no --pin: compare {pin}" in err
    file.write_bytes(replace(one, other_root=HONEST.root(300)).encode())
    status, out, err = await khunjerab(nobody, "audit", "check", str(file), "--pin", pin)
    assert (status, out, "nothing is broken" in err) == (5, "", True)
    file.write_bytes(one.encode()[:-1])
    status, out, _ = await khunjerab(nobody, "audit", "check", str(file), "--pin", pin)
    assert (status, out) == (2, "")
