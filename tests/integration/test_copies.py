"""Two nodes before an auditor: each ledger read once, every other copy compared, and what differs located and shown."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.ledger import Ledger
from broker.storage.contract import NewEntry
from clients.archive import Archive
from clients.asked import Asked
from clients.auditor import Auditor, archive_of, export_ledger, site_of
from clients.copies import Copy
from clients.errors import Declined, Unreachable
from clients.home import Home
from keys.finding import Report
from keys.fork import Fork, check
from protocol.entry import Entry
from protocol.statements import statement_hash
from tests.integration.test_audit import khunjerab
from tests.support.altering import replace
from tests.support.live import now_ms, seat_home
from tests.support.shown import ShownNode, served, view, world_of_two
from tests.support.world import ORIGINS, World, admit, open_ledger

COUNT, DIFFERS_AT = 290, 40  # bulletins; the entry from which a rewritten copy is another
PK, CN = ORIGINS["PK"], ORIGINS["CN"]


@dataclass
class Two:
    """PK's and CN's ledgers, and another history of CN's; the nodes that show them; the home of an auditor."""

    world: World
    pk: Ledger
    cn: Ledger
    other: Ledger
    nodes: dict[str, ShownNode]
    home: Home
    last: Auditor | None = None
    handed: tuple[str, ...] = ()

    async def audit(self, *nations: str) -> Report:
        """All nodes, or these."""
        self.last = auditor = Auditor(Asked(self.world.pin, checkpoints=self.handed), lambda *_: None)
        self.hindered: list[str] = []
        async with contextlib.AsyncExitStack() as stack:
            sites = [await site_of(self.home, self.nodes[nation].url) for nation in nations or ORIGINS]
            for site in sites:
                await stack.enter_async_context(site.wire)
            await auditor.audit_nodes(sites, lambda origin: archive_of(self.home, origin), self._hinder)
        return auditor.report()

    @contextlib.contextmanager
    def _hinder(self, url: str) -> Iterator[None]:
        try:
            yield
        except (Unreachable, Declined) as error:
            self.hindered.append(f"{url}: {error.detail}")

    async def findings(self, *nations: str) -> list[tuple[str, int | None, str]]:
        """Origin, index and check of each."""
        report = await self.audit(*nations)
        return [(found.origin, found.index, found.check) for found in report.findings]


def _post(ledger: Ledger, world: World, sender: str, count: int) -> None:
    to = "cn-liaison" if sender == "pk-liaison" else "pk-liaison"
    for _ in range(count):
        admit(ledger, world.bulletin(sender, (to,), created=now_ms()), now_ms())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World, dict[str, str], dict[str, Ledger]]:
    """The ledgers: made once, only read."""
    folder = tmp_path_factory.mktemp("two")
    world, urls = world_of_two(now_ms() - 60_000)
    ledgers = {nation: open_ledger(folder, world, nation, now_ms()) for nation in ORIGINS}
    _post(ledgers["PK"], world, "pk-liaison", 20)
    _post(ledgers["CN"], world, "cn-liaison", DIFFERS_AT - ledgers["CN"].tree.size)
    (folder / "other").mkdir()
    with (
        contextlib.closing(sqlite3.connect(folder / "cn-ledger.db")) as source,
        contextlib.closing(sqlite3.connect(folder / "other/cn-ledger.db")) as copy,
    ):
        source.backup(copy)
    ledgers["other"] = open_ledger(folder / "other", world, "CN", now_ms())
    for name in ("CN", "other"):
        _post(ledgers[name], world, "cn-liaison", COUNT)
    return folder, world, urls, ledgers


@pytest.fixture
def two(made: tuple[Path, World, dict[str, str], dict[str, Ledger]], tmp_path: Path) -> Iterator[Two]:
    _, world, urls, ledgers = made
    pk, cn = view(ledgers["PK"]), view(ledgers["CN"])
    nodes = {"PK": ShownNode(pk, {CN: cn}, urls["PK"]), "CN": ShownNode(cn, {PK: pk}, urls["CN"])}
    home = seat_home(tmp_path, world, "pk-auditor", url=urls["PK"])
    yield Two(world, ledgers["PK"], ledgers["CN"], ledgers["other"], nodes, home)
    home.close()


async def test_one_node_is_asked_for_its_own_ledger_and_for_every_one_that_it_mirrors(two: Two) -> None:
    """Both are read whole and judged, whatever the other node does. SPEC 14.5.1."""
    async with served(two.nodes["PK"]):
        report = await two.audit("PK")
    assert (report.verdict, report.findings, report.missing, two.hindered) == ("ok", (), (), [])
    assert [(one.origin, one.size, one.root) for one in report.ledgers] == [
        (PK, two.pk.tree.size, two.pk.head.root),
        (CN, two.cn.tree.size, two.cn.head.root),
    ]


async def test_of_two_nodes_each_ledger_is_read_once_and_the_copies_are_compared(two: Two) -> None:
    """A few tiles tell: no entry of a copy is fetched. SPEC 14.5.2."""
    async with served(*two.nodes.values()):
        report = await two.audit()
    assert (report.verdict, report.findings, report.warnings, two.hindered) == ("ok", (), (), [])
    assert [one.origin for one in report.ledgers] == [PK, CN]
    asked = two.nodes["PK"].asked + two.nodes["CN"].asked
    mirrored = [path for path in asked if path.startswith("/mirror/")]
    assert mirrored
    assert not [path for path in mirrored if "/entries/" in path]


async def test_a_copy_that_lags_is_compared_as_far_as_it_goes(two: Two) -> None:
    two.nodes["PK"].mirrors[CN] = view(two.cn, 260)
    async with served(*two.nodes.values()):
        assert (await two.audit()).verdict == "ok"


async def test_a_mirror_that_lags_behind_an_earlier_audit_is_no_finding(two: Two) -> None:
    """It says how far it is; what was audited before is kept."""
    async with served(*two.nodes.values()):
        assert (await two.audit("CN")).verdict == "ok"
        two.nodes["PK"].mirrors[CN] = view(two.cn, 260)
        report = await two.audit("PK")
    assert (report.verdict, report.findings) == ("ok", ())
    assert report.warnings == (
        f"{CN}: the copy at {two.nodes['PK'].url} has 260 of the {two.cn.tree.size} entries that were audited before",
    )
    assert f"\n{two.cn.tree.size}\n" in archive_of(two.home, CN).checkpoint()


async def test_a_mirror_that_lags_behind_a_checkpoint_that_was_handed_over_has_lost_nothing(two: Two) -> None:
    """What it lacks cannot be looked at there, and is at the ledger's own node."""
    two.nodes["PK"].mirrors[CN] = view(two.cn, 260)
    two.handed = (view(two.cn).note,)
    async with served(*two.nodes.values()):
        report = await two.audit("PK")
        assert (report.verdict, report.findings) == ("incomplete", ())
        assert report.missing == (
            f"{CN}: {two.nodes['PK'].url} has not yet all entries of a checkpoint that was handed over",
        )
        assert (await two.audit("CN", "PK")).verdict == "ok"


async def test_a_mirror_that_lags_behind_with_another_history_is_located(two: Two) -> None:
    async with served(*two.nodes.values()):
        assert (await two.audit("CN")).verdict == "ok"
        two.nodes["PK"].mirrors[CN] = view(two.other, 260)
        found = await two.findings("PK")
    assert found == [(CN, DIFFERS_AT, "consistency"), (CN, 259, "consistency")]
    assert two.last is not None
    assert [shown.origin for shown in two.last.evidence] == [CN]


async def test_what_several_copies_show_is_one_piece_of_evidence(two: Two) -> None:
    """The log's own node against what was kept, and against the mirror. SPEC 14.4.3."""
    async with served(*two.nodes.values()):
        assert (await two.audit()).verdict == "ok"
        two.nodes["CN"].own = view(two.other)
        assert (CN, DIFFERS_AT, "copy-differs") in await two.findings()
    assert two.last is not None
    assert [shown.origin for shown in two.last.evidence] == [CN]


@pytest.mark.parametrize("own, copied", [(0, 260), (260, 0), (0, 0)], ids=["smaller", "larger", "equal"])
async def test_a_copy_of_another_history_is_located_and_shown(two: Two, own: int, copied: int) -> None:
    """At the first entry that differs; the log signed both, and the file says so offline. SPEC 14.5.2."""
    two.nodes["CN"].own, two.nodes["PK"].mirrors[CN] = view(two.cn, own), view(two.other, copied)
    async with served(*two.nodes.values()):
        assert await two.findings() == [(CN, DIFFERS_AT, "copy-differs")]
    assert two.last is not None
    (shown,) = two.last.evidence
    assert check(Fork.decode(shown.fork.encode()), two.world.pin).origin == CN


async def test_a_copy_whose_tiles_are_not_its_checkpoint_s_is_the_node_s_own_fault(two: Two) -> None:
    """The log signed one history, and the mirror shows another under it: found, and no evidence against the log."""
    two.nodes["PK"].mirrors[CN] = replace(view(two.cn), tiles=two.other.tree)
    async with served(*two.nodes.values()):
        assert await two.findings() == [(CN, two.cn.tree.size - 1, "tile")]
        two.nodes["PK"].mirrors[CN] = replace(view(two.cn, 0), tiles=two.pk.tree)
        assert await two.findings() == [(CN, two.cn.tree.size - 1, "tile")]
    assert two.last is not None
    assert two.last.evidence == []


async def test_a_copy_under_a_checkpoint_that_the_log_did_not_sign_is_found(two: Two) -> None:
    shown = view(two.cn)
    forged = view(two.pk).note.replace(PK, CN)
    two.nodes["PK"].mirrors[CN] = replace(shown, note=forged, size=two.pk.tree.size)
    async with served(*two.nodes.values()):
        assert await two.findings() == [(CN, None, "checkpoint")]


async def test_a_node_that_shows_less_than_its_log_signed_is_found_by_the_copy(two: Two) -> None:
    """It forgot its tail; the mirror did not."""
    two.nodes["CN"].own = view(two.cn, 260)
    async with served(*two.nodes.values()):
        assert await two.findings() == [(CN, 260, "truncated")]


async def test_a_node_that_shows_less_than_it_cosigned_is_found(two: Two) -> None:
    """Cosigning says that every entry is held."""
    two.nodes["CN"].own = view(two.cn, cosigned_by="PK")
    two.nodes["PK"].mirrors[CN] = view(two.cn, 260)
    async with served(*two.nodes.values()):
        assert await two.findings() == [(CN, 260, "copy-behind")]


async def test_a_mirrored_entry_that_the_judge_refuses_is_a_finding_against_its_ledger(two: Two) -> None:
    """Stored and cosigned like any other; the auditor names it."""
    ledger = two.other
    index = ledger.tree.size
    submission = two.world.bulletin("cn-liaison", ("pk-liaison",), signer="cn-embassy/desk", created=now_ms())
    before = ledger.storage.entry(index - 1)
    assert before is not None
    entry = Entry(submission.kind, submission.statement, submission.signatures, before.time, before.link)
    data, digest = entry.encode(), statement_hash(entry.kind, entry.statement)
    ledger.tree.append(entry.leaf())
    ledger.storage.append([NewEntry(index, entry.kind, data, entry.leaf(), digest, ())], ledger.tree.take_new_tiles())
    two.nodes["PK"].mirrors[CN] = view(ledger)
    async with served(two.nodes["PK"]):
        assert await two.findings("PK") == [(CN, index, "wrong-signer")]


async def test_where_a_ledger_s_own_node_does_not_answer_its_mirror_is_read(two: Two) -> None:
    """Which node could not be asked is told."""
    async with served(two.nodes["PK"]):
        report = await two.audit("CN", "PK")
    assert (report.verdict, [one.origin for one in report.ledgers]) == ("ok", [PK, CN])
    assert [told.split(" ")[0] for told in two.hindered] == [f"{two.nodes['CN'].url}:"]


async def test_a_ledger_that_nobody_else_holds_is_told(two: Two) -> None:
    two.nodes["CN"].mirrors.clear()
    async with served(*two.nodes.values()):
        report = await two.audit()
    assert report.warnings == (f"{PK}: {two.nodes['CN'].url} keeps no copy of it",)


async def test_the_commands_of_an_auditor_of_two_nodes(two: Two, tmp_path: Path) -> None:
    """`audit verify` of both, the evidence that it keeps, and an export of a mirror."""
    home, pin = two.home.folder, two.world.pin.hex()
    two.home.close()
    async with served(*two.nodes.values()):
        status, out, err = await khunjerab(home, "audit", "verify", "--json")
        told = json.loads(out)
        assert (status, err, told["verdict"], told["findings"]) == (0, "", "ok", [])
        assert [one["origin"] for one in told["ledgers"]] == [PK, CN]
        export = tmp_path / "export"
        assert (await khunjerab(home, "audit", "export", str(export), "--origin", CN))[0] == 0
        assert f"{CN}\n{two.cn.tree.size}\n" in Archive(export).checkpoint()
        assert (await khunjerab(tmp_path / "nobody", "audit", "verify", str(export), "--pin", pin))[0] == 0
        assert (await khunjerab(home, "audit", "evidence"))[:2] == (0, "")
        two.nodes["PK"].mirrors[CN] = view(two.other)
        status, out, err = await khunjerab(home, "audit", "verify", "--json")
        told = json.loads(out)
        assert (status, told["verdict"]) == (5, "failed")
        assert [(one["origin"], one["index"], one["check"]) for one in told["findings"]] == [
            (CN, DIFFERS_AT, "copy-differs")
        ]
        assert "the evidence is kept: khunjerab audit evidence" in err
    status, out, _ = await khunjerab(home, "audit", "evidence", "-o", str(tmp_path / "found"), "--json")
    (one,) = [json.loads(line) for line in out.splitlines()]
    assert (status, one["origin"]) == (0, CN)
    status, out, _ = await khunjerab(tmp_path / "nobody", "audit", "check", one["file"], "--pin", pin, "--json")
    assert (status, json.loads(out)["origin"]) == (5, CN)


async def test_exports_of_one_ledger_are_compared_where_there_is_no_network(two: Two, tmp_path: Path) -> None:
    """Two auditors hand their folders to a third: the larger is read, the other compared. SPEC 14.5.2."""
    two.nodes["PK"].mirrors[CN] = view(two.other, 260)
    async with served(*two.nodes.values()):
        for nation in ORIGINS:
            site = await site_of(two.home, two.nodes[nation].url)
            copy = Copy(site.wire, CN if nation == "PK" else "")
            async with site.wire:
                await export_ledger(copy, Archive(tmp_path / nation), bodies=False, progress=lambda *_: None)
    auditor = Auditor(Asked(two.world.pin), lambda *_: None)
    await auditor.audit_folders([Archive(tmp_path / nation) for nation in ORIGINS])
    report = auditor.report()
    assert [(one.origin, one.size) for one in report.ledgers] == [(CN, two.cn.tree.size)]
    assert [(found.index, found.check) for found in report.findings] == [(DIFFERS_AT, "copy-differs")]
    assert [shown.origin for shown in auditor.evidence] == [CN]
