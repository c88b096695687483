"""A body that was withheld for a time is not withheld for ever: a reader asks again."""

from __future__ import annotations

from pathlib import Path

from tests.integration.test_path import post
from tests.support.altering import replace
from tests.support.live import live_node, seat, world_of_today


async def test_what_was_withheld_is_opened_when_it_may_be(tmp_path: Path) -> None:
    """An agency that left a feed and came back reads what was sent to it meanwhile, and it is handed over anew."""
    world = world_of_today()
    members = world.directory.by_feed["convoys"].members
    async with live_node(tmp_path, world) as node:
        url = node.config.url
        with (
            seat(tmp_path, world, "pk-liaison", url=url) as sender,
            seat(tmp_path, world, "cn-liaison", url=url) as reader,
        ):
            async with sender, reader:
                await sender.sync()
                index = await post(sender)
                without = world.with_feed("convoys", members=tuple(m for m in members if m != "cn-liaison"))
                await node.writer.submit(without.publication())
                await reader.sync()
                held = reader.state.bulletin_at(node.ledger.origin, index)
                assert held is not None
                assert (held.content, held.problem) == (None, "withheld: feed-not-joined")
                arrived = held.arrival

                await node.writer.submit(without.with_feed("convoys", members=members).publication())
                await reader.sync()
                held = reader.state.bulletin_at(node.ledger.origin, index)
                assert held is not None
                assert held.content is not None
                assert held.problem == ""
                assert held.arrival > arrived
                assert [one.index for one in reader.state.to_hand_over("follow", arrived, 10)] == [index]
                assert reader.state.alarms() == []


async def test_an_auditor_reads_what_is_sent_to_it_and_only_while_it_may(tmp_path: Path) -> None:
    """With both roles an agency has its wraps; out of the feed it has the ciphertext alone, like any auditor."""
    world = world_of_today()
    both = ("audit", "publish", "subscribe")
    agencies = tuple(
        replace(agency, roles=both) if agency.id == "cn-liaison" else agency for agency in world.directory.agencies
    )
    world = world_of_today(agencies=agencies)
    async with live_node(tmp_path, world) as node:
        url, origin = node.config.url, node.ledger.origin
        with (
            seat(tmp_path, world, "pk-liaison", url=url) as sender,
            seat(tmp_path, world, "cn-liaison", url=url) as reader,
        ):
            async with sender, reader:
                await sender.sync()
                first = await post(sender)
                await reader.sync()
                held = reader.state.bulletin_at(origin, first)
                assert held is not None
                assert held.content is not None

                second = await post(sender)
                members = tuple(m for m in world.directory.by_feed["convoys"].members if m != "cn-liaison")
                await node.writer.submit(world.with_feed("convoys", members=members).publication())
                await reader.sync()
                held = reader.state.bulletin_at(origin, second)
                assert held is not None
                assert (held.content, held.problem) == (None, "not sealed to this seat")
