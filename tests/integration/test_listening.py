"""A client that listens keeps what is pushed, and polls where nothing can be (clients/listening.py)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from clients.errors import Declined, Unreachable, UpgradeRefused
from clients.transport import Wire
from tests.support.door import logged_in, post
from tests.support.live import live_node, seat, world_of_today


async def the_end(news: AsyncIterator[int]) -> None:
    async for _ in news:
        pass


async def test_it_keeps_what_is_pushed(tmp_path: Path) -> None:
    """Each page is verified and kept before the listener hears of it."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as sender:
        with seat(tmp_path, world, "cn-liaison", url=node.config.url) as reader:
            async with reader, contextlib.aclosing(reader.listen()) as news:
                assert await anext(news) == node.ledger.head.size
                for _ in range(3):
                    receipt = await post(sender, world.bulletin(created=node.clock()))
                    while not await anext(news):
                        pass
                    held = reader.state.bulletin_at(node.ledger.origin, receipt.index)
                    assert held is not None
                    assert held.content is not None
                assert not reader.state.alarms()


async def test_a_backlog_is_told_page_by_page(tmp_path: Path) -> None:
    """So what is owed to senders goes out meanwhile, and not after the last of ten thousand."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as sender:
        for _ in range(5):
            await sender.post([world.bulletin(created=node.clock()) for _ in range(60)])
        with seat(tmp_path, world, "cn-liaison", url=node.config.url) as reader:
            async with reader, contextlib.aclosing(reader.listen()) as news:
                came = [await anext(news)]
                assert 0 < came[0] < node.ledger.head.size
                while sum(came) < node.ledger.head.size:
                    came.append(await anext(news))


async def test_it_outlives_its_session(tmp_path: Path) -> None:
    """When the token ends it logs in again and goes on from its cursor; when the key has ended, it does not."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as sender:
        with seat(tmp_path, world, "cn-liaison", url=node.config.url) as reader:
            async with reader, contextlib.aclosing(reader.listen()) as news:
                await anext(news)
                await post(sender, world.bulletin(created=node.clock()))
                assert await anext(news) == 1
                for session in node.sessions._sessions.values():
                    session.expires = node.clock()
                await post(sender, world.bulletin(created=node.clock()))
                while not await anext(news):
                    pass
                async with logged_in(node, "cn-liaison/identity") as custodian:
                    await post(custodian, world.revocation("cn-liaison/desk", created=node.clock()))
                with pytest.raises(Declined):
                    await the_end(news)


async def test_it_polls_where_no_stream_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses upgrades costs nothing but a little time."""

    async def no_stream(*_: object, **__: object) -> AsyncGenerator[None, None]:
        raise UpgradeRefused("no WebSocket here")
        yield

    world = world_of_today()
    monkeypatch.setattr(Wire, "stream", no_stream)
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as sender:
        with seat(tmp_path, world, "cn-liaison", url=node.config.url) as reader:
            async with reader, contextlib.aclosing(reader.listen()) as news:
                await anext(news)
                await post(sender, world.bulletin(created=node.clock()))
                assert await anext(news) == 1


async def test_a_broken_link_is_said(tmp_path: Path) -> None:
    """The listener decides when to try again."""
    world = world_of_today()
    with contextlib.ExitStack() as stack:
        async with live_node(tmp_path, world) as node:
            reader = stack.enter_context(seat(tmp_path, world, "cn-liaison", url=node.config.url))
            await reader.__aenter__()
            news = reader.listen()
            await anext(news)
        with pytest.raises(Unreachable):
            await the_end(news)
        await reader.__aexit__()
