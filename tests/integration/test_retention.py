"""The end of a body: retention days after its bulletin expired it is gone for good, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.node import Node
from clients.errors import Declined
from protocol.policy import Policy
from protocol.statements import Bulletin
from protocol.times import DAY_MS
from tests.support.door import logged_in, post
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.world import ORIGINS

RETENTION_DAYS = 2
ORIGIN = ORIGINS["PK"]


class Clock:
    """The node's clock, which a test sets."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return now_ms() + self.ahead_ms


def keep_sessions(node: Node) -> None:
    """Let those who are logged in stay so while days go by."""
    for session in node.sessions._sessions.values():
        session.expires = 2**60


async def test_body_and_wraps_are_gone_when_their_time_is_up_and_not_before(tmp_path: Path) -> None:
    """The entry stays, and what is gone is told apart from what never was; a directory's JSON stays for ever."""
    world, clock = world_of_today(policy=Policy(retention_days=RETENTION_DAYS)), Clock()
    short = world.bulletin(created=now_ms(), expires=now_ms() + DAY_MS)
    long = world.bulletin(created=now_ms(), expires=now_ms() + 20 * DAY_MS)
    body = Bulletin.decode(short.statement).body
    async with live_node(tmp_path, world, clock=clock) as node, logged_in(node, "cn-liaison/desk") as reader:
        async with logged_in(node, "pk-liaison/desk") as sender:
            gone, kept = (await post(sender, short)).index, (await post(sender, long)).index
        (part,) = await reader.deliveries({ORIGIN: gone}, {})
        assert [item.withheld for item in part.items] == ["", ""]
        keep_sessions(node)

        clock.ahead_ms = (RETENTION_DAYS + 1) * DAY_MS - 60_000
        await node.once_a_day()
        assert await reader.body(body) == (short.body, part.items[0].wrap)

        clock.ahead_ms += 120_000
        await node.once_a_day()
        (part,) = await reader.deliveries({ORIGIN: gone}, {})
        (was, is_), items = (short, long), part.items
        assert [(item.index, item.body, item.withheld) for item in items] == [
            (gone, None, "expunged"),
            (kept, is_.body, ""),
        ]
        assert items[0].wrap is None
        assert node.storage.wraps(gone) == []
        with pytest.raises(Declined) as refused:
            await reader.body(Bulletin.decode(was.statement).body)
        assert refused.value.code == "expunged"
        assert node.storage.directory(world.directory.hash) == world.directory.encode()
    assert short.body not in (tmp_path / "pk-ledger.db").read_bytes()


async def test_what_ended_while_the_node_was_down_goes_when_it_starts(tmp_path: Path) -> None:
    """The daily task runs at the start too."""
    world, clock = world_of_today(policy=Policy(retention_days=RETENTION_DAYS)), Clock()
    async with live_node(tmp_path, world, clock=clock) as node, logged_in(node, "pk-liaison/desk") as sender:
        index = (await post(sender, world.bulletin(created=now_ms()))).index
        assert node.storage.body(index) is not None
    clock.ahead_ms = (RETENTION_DAYS + 2) * DAY_MS
    async with live_node(tmp_path, world, clock=clock) as node:
        daily = next(task for task in node._tasks if task.get_name() == "daily")
        while node.storage.body(index) is not None:
            assert not daily.done()
            await node.write(lambda: None)
