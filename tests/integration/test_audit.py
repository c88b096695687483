"""The auditor against a real node: what it fetches, what it finds, and what its home keeps."""

from pathlib import Path

from broker.node import Node
from clients.archive import Archive
from clients.auditor import Asked, Auditor, archive_of, export_node, wire_to
from clients.home import Home
from keys.finding import Report
from tests.support.live import live_node, now_ms, seat_home, world_of_today
from tests.support.world import World, admit


def _quiet(origin: str, done: int, size: int) -> None:
    """No progress."""


async def _post(node: Node, world: World, count: int) -> None:
    """Bulletins, admitted at the node and published."""
    for _ in range(count):
        admit(node.ledger, world.bulletin(created=now_ms()), now_ms())
    await node.publish()


async def _audit(home: Home, url: str, **asked: object) -> Report:
    auditor = Auditor(Asked(bytes.fromhex(home.profile.pin), **asked), _quiet)  # type: ignore[arg-type]
    wire, origin = await wire_to(home, url)
    async with wire:
        await auditor.audit_node(wire, archive_of(home, origin))
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
            assert Archive(archive_of(home, node.ledger.origin).folder).checkpoint() == node.publisher.newest.note  # type: ignore[union-attr]
        home.close()


async def test_an_export_is_verified_where_there_is_no_network(tmp_path: Path) -> None:
    world = world_of_today()
    async with live_node(tmp_path, world) as node:
        home = seat_home(tmp_path, world, "pk-auditor", url=node.config.url)
        await _post(node, world, 270)
        wire, _ = await wire_to(home, node.config.url)
        async with wire:
            await export_node(wire, Archive(tmp_path / "export"), bodies=True, progress=_quiet)
        home.close()
        auditor = Auditor(Asked(world.pin, bodies=True), _quiet)
        auditor.audit_folder(Archive(tmp_path / "export"))
        report = auditor.report()
        assert (report.verdict, report.entries, report.findings) == ("ok", node.ledger.head.size, ())
        assert report.warnings == ()
