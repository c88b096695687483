"""Pages: what many connections of one seat ask for is made once, however large, within a bound of memory."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from broker import deliveries, pages
from broker.node import Node
from clients.replica import checkpoint_of
from protocol import limits
from protocol.merkle import leaf_hash, verify_inclusion
from protocol.note import Note
from protocol.page import Cursor
from tests.integration.test_outbox import exchange, publish, received
from tests.integration.test_path import post
from tests.support.door import logged_in
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.pair import live_pair
from tests.support.world import ORIGINS

MANY = 30
ORIGIN = ORIGINS["PK"]


class Twice(NamedTuple):
    first: pages.Page
    second: pages.Page


async def asked_twice(node: Node, more_than: int) -> Twice:
    """The same page for two connections of a seat, neither of which has anything."""
    async with logged_in(node, "cn-liaison/desk") as wire:
        await wire.session()
        session = next(one for one in node.sessions._sessions.values() if one.speaker.agency == "cn-liaison")
        after: Cursor = {ORIGIN: 0}
        first, second = (node.pages.page(session, after, after, limits.PAGE_ENTRIES_MAX) for _ in range(2))
    assert len(first.data) > more_than
    return Twice(first, second)


async def test_a_large_page_is_made_once_for_all_connections_of_a_seat(tmp_path: Path) -> None:
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as wire:
        await wire.post([world.bulletin() for _ in range(MANY)])
        page, again = await asked_twice(node, 64 * 1024)
        assert again is page
        await wire.post([world.bulletin()])
        newer, _ = await asked_twice(node, len(page.data))
        assert newer.entries == page.entries + 1


async def test_a_checkpoint_signed_while_a_page_is_made_leaves_the_page_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its proofs join the checkpoint that it shows, whichever that is: else a reader takes it for tampering."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (node, (pk, cn)):
        await post(pk)
        publish(node)
        await post(pk)
        share, published = deliveries.Room.share, []

        def signed_meanwhile(room: deliveries.Room) -> tuple[int, int]:
            publish(node)
            published.append(node.pages.own.checkpoint_size)
            return share(room)

        monkeypatch.setattr(deliveries.Room, "share", signed_meanwhile)
        await cn.sync()
        assert published
        await post(pk)
        async with logged_in(node, "cn-liaison/desk") as wire:
            await wire.session()
            session = next(one for one in node.sessions._sessions.values() if one.speaker.agency == "cn-liaison")
            page = node.pages.page(session, {ORIGIN: 0}, {}, 1)
        assert page.checkpoints[ORIGIN] == _shown(page)
        await cn.sync()
        assert len(received(cn)) == 3
        assert cn.state.alarms() == []


def _shown(page: pages.Page) -> tuple[int, int]:
    """Size and lines of the checkpoint in it."""
    (note,) = [part.checkpoint for part in page.parts if part.head.origin == ORIGIN]
    return checkpoint_of(note).size, len(Note.parse(note).lines)


async def test_what_is_kept_of_pages_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "KEPT_BYTES_MAX", 1024)
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as wire:
        await wire.post([world.bulletin()])
        page, again = await asked_twice(node, 1024)
        assert again is not page
        assert again.data == page.data


async def test_what_is_kept_of_proofs_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sizes a reader claims to know, and however much it reads, while the ledger stands still."""
    monkeypatch.setattr(deliveries, "PATHS_KEPT_MAX", 4)
    monkeypatch.setattr(deliveries, "JOINTS_KEPT_MAX", 3)
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as wire:
        await wire.post([world.bulletin() for _ in range(MANY)])
        size = node.ledger.head.size
        for known in range(1, size):
            (part,) = await wire.deliveries({ORIGIN: known}, {ORIGIN: known}, limit=2)
            assert known in {joint.old for joint in part.consistencies}
            for item in part.items:
                verify_inclusion(leaf_hash(item.entry), item.index, size, list(item.path), part.head.root)
        own = node.pages.own
        assert len(own._paths) <= 4
        assert len(own._joints) <= 3


async def test_a_page_of_several_ledgers_is_bounded_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ledgers have much to bring, which all come on: one item alone may go beyond the bound. SPEC 2."""
    most = 20_000
    async with live_pair(tmp_path) as pair:
        both = ("cn-liaison", "pk-site-security")
        for nation, sender in (("PK", "pk-liaison"), ("CN", "cn-embassy")):
            async with logged_in(pair.nodes[nation], f"{sender}/desk") as wire:
                await wire.post([pair.world.bulletin(sender, both, created=now_ms()) for _ in range(MANY)])
        await pair.level()
        monkeypatch.setattr(limits, "PAGE_BYTES_MAX", most)
        monkeypatch.setattr(deliveries, "_ITEM_BYTES", 0)
        async with logged_in(pair.nodes["CN"], "cn-liaison/desk") as reader:
            after, read = dict.fromkeys(ORIGINS.values(), 0), 0
            while read < 2 * MANY:
                parts = await reader.deliveries(after, {})
                sizes = [len(i.entry) + len(i.body or b"") + len(i.wrap or b"") for part in parts for i in part.items]
                assert 0 < sum(sizes) <= most + max(sizes)
                after = {part.head.origin: part.next for part in parts}
                read += len(sizes)
