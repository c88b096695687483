"""A real node rewrites its past before its peer: caught, shown, told to the peer's readers, found by an auditor."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from broker.node import Node
from clients.asked import Asked
from clients.auditor import Auditor, Site, archive_of, site_of
from clients.client import Client
from clients.contradictions import files
from clients.home import Home
from keys.finding import Report
from keys.fork import Fork, check
from khunjerab.demo.ports import free_port
from tests.support.altering import replace
from tests.support.door import logged_in, post, until
from tests.support.live import live_node, now_ms, seat, seat_home
from tests.support.pair import Pair, follow, live_pair, world_of_two
from tests.support.world import ORIGINS, World

CN = ORIGINS["CN"]


async def _post(node: Node, world: World, count: int = 1) -> None:
    """Bulletins of CN, admitted at its node and published."""
    async with logged_in(node, "cn-liaison/desk") as wire:
        for _ in range(count):
            await post(wire, world.bulletin("cn-liaison", ("pk-liaison",), created=now_ms()))
    await node.publish()


@contextlib.asynccontextmanager
async def _caught(tmp_path: Path) -> AsyncIterator[tuple[World, Node, Node]]:
    """PK's node, and CN's after its operator put back an older ledger and went on as if nothing had been."""
    world, ports = world_of_two(), {nation: free_port() for nation in ORIGINS}
    follow(tmp_path, "PK", f"http://127.0.0.1:{ports['CN']}")
    older = tmp_path / "older.db"
    async with live_node(tmp_path, world, ports["PK"]) as pk:
        async with live_node(tmp_path, world, ports["CN"], nation="CN", ask=True) as cn:
            await _post(cn, world, 3)
        shutil.copy(tmp_path / "cn-ledger.db", older)
        async with live_node(tmp_path, world, ports["CN"], nation="CN", ask=True) as cn:
            await _post(cn, world, 2)
            await until(lambda: _published(pk) == cn.ledger.head.size)
        follow(tmp_path, "PK", "")  # it hears of none of this before there is more than it has
        await until(lambda: not pk.peers.state())
        shutil.move(older, tmp_path / "cn-ledger.db")
        async with live_node(tmp_path, world, ports["CN"], nation="CN") as cn:
            cn.promises.hear = _deaf  # type: ignore[method-assign]
            await _post(cn, world, 4)
            follow(tmp_path, "PK", cn.config.url)
            yield world, pk, cn


async def _deaf(note: str) -> None:
    """An honest node would stop signing when it is shown what it signed."""


def _published(node: Node) -> int:
    mirror = node.mirrors.get(CN)
    return mirror.published.size if mirror is not None and mirror.published is not None else 0


async def test_a_node_that_rewrites_its_past_is_caught_by_its_peer_and_its_peer_s_readers_are_told(
    tmp_path: Path,
) -> None:
    """By the tiles that it serves itself; each reader checks the file for itself. SPEC 11.8.1, 14.4.2."""
    async with _caught(tmp_path) as (world, pk, _):
        await until(lambda: bool(pk.evidence.all()))
        (held,) = pk.evidence.all()
        with seat(tmp_path, world, "pk-liaison", url=pk.config.url) as reader:
            await _read(reader)
            ((_, origin, data),) = files(reader.state)
            assert [(name, of) for _, name, of, *_ in reader.state.alarms()] == [("fork", CN)]
        shown = check(Fork.decode(data), world.pin)
        assert (origin, held.origin, shown.trees) == (CN, CN, held.trees)
        mirror = pk.mirrors.get(CN)
        assert mirror is not None
        assert mirror.tree.root(shown.old.size) == shown.old.root


async def _read(reader: Client) -> None:
    async with reader:
        await reader.sync()


async def _audit(home: Home, *urls: str) -> tuple[Report, Auditor]:
    auditor = Auditor(Asked(bytes.fromhex(home.profile.pin)), lambda *_: None)
    async with contextlib.AsyncExitStack() as stack:
        sites: list[Site] = [await site_of(home, url) for url in urls]
        for site in sites:
            await stack.enter_async_context(site.wire)
        await auditor.audit_nodes(sites, lambda origin: archive_of(home, origin), lambda url: contextlib.nullcontext())
    return auditor.report(), auditor


async def test_an_auditor_of_both_nodes_names_the_entry_at_which_the_histories_part(tmp_path: Path) -> None:
    """The copy at the peer is what was there before. SPEC 14.5.2."""
    async with _caught(tmp_path) as (world, pk, cn):
        home = seat_home(tmp_path, _at(world, pk, cn), "pk-auditor", url=pk.config.url)
        parts_at = cn.ledger.head.size - 4
        report, auditor = await _audit(home, pk.config.url, cn.config.url)
        assert [(one.origin, one.index, one.check) for one in report.findings] == [(CN, parts_at, "copy-differs")]
        assert [shown.origin for shown in auditor.evidence] == [CN]
        home.close()


async def test_an_auditor_of_two_honest_nodes_finds_nothing(tmp_path: Path) -> None:
    """Both ledgers at one node, and each once at its own where both are asked. SPEC 14.5.1."""
    world = world_of_two()
    async with live_pair(tmp_path, world) as pair:
        pk, cn = pair.nodes["PK"], pair.nodes["CN"]
        await _post(cn, world, 2)
        await pair.level()
        await until(lambda: all(_cosigned(pair, nation) for nation in ORIGINS))
        home = seat_home(tmp_path, _at(world, pk, cn), "pk-auditor", url=pk.config.url)
        for urls in ((pk.config.url,), (pk.config.url, cn.config.url), (cn.config.url,)):
            report, _ = await _audit(home, *urls)
            assert (report.verdict, report.findings, report.missing) == ("ok", (), ())
            assert {ledger.origin for ledger in report.ledgers} == set(ORIGINS.values())
        home.close()


def _cosigned(pair: Pair, nation: str) -> bool:
    """Whether a nation's witness has cosigned its peer's ledger as far as it goes."""
    witness, mirror = pair.nodes[nation].witness, pair.mirror(nation)
    kept = witness.store.kept(mirror.origin) if witness is not None else None
    return kept is not None and kept.size == mirror.head.size > 0


def _at(world: World, *nodes: Node) -> World:
    """The directory as an auditor's home would have it, with the nodes where they are."""
    urls = {node.ledger.origin: node.config.url for node in nodes}
    listed = tuple(replace(one, url=urls[one.origin]) for one in world.directory.nodes)
    return replace(world, directory=replace(world.directory, nodes=listed))
