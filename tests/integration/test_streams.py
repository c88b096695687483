"""Streams of deliveries over a real socket (SPEC §11.6): pushed pages, credit, what ends them, what never waits."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from structlog.testing import capture_logs

from broker import subscribers
from broker.node import Node
from clients.errors import Declined, Unreachable, UpgradeRefused
from clients.transport import Wire
from protocol.content import Version
from protocol.page import Part, decode_page
from protocol.stream import format_credit
from tests.support.altering import replace
from tests.support.door import logged_in, post, until
from tests.support.live import live_node, world_of_today
from tests.support.world import CONTENT, World


@contextlib.asynccontextmanager
async def node_and_wire(folder: Path, who: str = "cn-liaison/desk") -> AsyncIterator[tuple[World, Node, Wire]]:
    world = world_of_today()
    async with live_node(folder, world) as node, logged_in(node, who) as wire:
        yield world, node, wire


@contextlib.asynccontextmanager
async def raw_stream(
    node: Node, wire: Wire, receive_buffer: int = 0, **params: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The socket itself, for what no client of ours would do."""
    token, _ = await wire.session()
    headers = {"Authorization": f"Bearer {token}"}

    def small_socket(address: tuple[Any, ...]) -> socket.socket:
        made = socket.socket(*address[:3])
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.setblocking(False)
        return made

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=small_socket)) as http,
        http.ws_connect(node.config.url + "/v1/deliveries", headers=headers, params=params) as stream,
    ):
        yield stream


async def next_part(reader: aiohttp.ClientWebSocketResponse) -> Part:
    message = await reader.receive(timeout=120)
    assert message.type is WSMsgType.BINARY, message
    (part,) = decode_page(message.data)
    return part


async def ended(reader: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """The close code and reason, whatever came before."""
    while True:
        message = await reader.receive(timeout=120)
        if message.type is WSMsgType.CLOSE:
            return message.data, str(message.extra)
        assert message.type is WSMsgType.BINARY, message


async def until_open(node: Node, count: int = 1) -> None:
    await until(lambda: len(node.subscribers) == count)


async def test_pages_come_as_entries_are_committed(tmp_path: Path) -> None:
    """First what is there, then each new entry, under a head that was committed, joined to the one before (11.6.1)."""
    async with node_and_wire(tmp_path) as (world, node, wire), contextlib.aclosing(wire.stream({}, {})) as pages:
        (first,) = await anext(pages)
        founded = node.ledger.head.size
        assert [item.index for item in first.items] == list(range(founded))
        async with logged_in(node, "pk-liaison/desk") as sender:
            receipt = await post(sender, world.bulletin(created=node.clock()))
        while True:
            (part,) = await anext(pages)
            if part.items:
                break
        assert [item.index for item in part.items] == [receipt.index]
        assert part.head.size == node.ledger.head.size == receipt.head.size
        assert part.consistencies[0].old == first.head.size
        assert part.items[0].wrap is not None


async def test_evidence_is_told_at_once_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a part of its own, though nothing was posted. SPEC 11.2.1, 11.6.1."""
    async with node_and_wire(tmp_path) as (_, node, wire), contextlib.aclosing(wire.stream({}, {})) as pages:
        (first,) = await anext(pages)
        assert first.evidence is None
        assert first.checkpoint
        found = bytes(range(32))
        monkeypatch.setattr(node.pages.own, "_evidence", lambda _: found)
        node.evidence.on_kept()
        (part,) = await anext(pages)
        assert (part.evidence, part.items, part.checkpoint) == (found, (), "")


async def test_a_checkpoint_follows_the_entries_that_it_covers(tmp_path: Path) -> None:
    """A page without entries brings the checkpoint that covers those sent (11.6.2)."""
    async with node_and_wire(tmp_path) as (world, node, wire):
        origin, size = node.ledger.origin, node.ledger.head.size
        async with contextlib.aclosing(wire.stream({origin: size}, {origin: size})) as pages:
            async with logged_in(node, "pk-liaison/desk") as sender:
                receipt = await post(sender, world.bulletin(created=node.clock()))
            (part,) = await anext(pages)
            assert part.items
            if node.pages.own.checkpoint_size <= receipt.index or f"\n{receipt.head.size}\n" not in part.checkpoint:
                (part,) = await anext(pages)
                assert not part.items
            assert f"\n{receipt.head.size}\n" in part.checkpoint


async def test_nothing_comes_without_credit(tmp_path: Path) -> None:
    """A page has at most as many entries as there is credit, and then waits for more (11.6.2)."""
    async with node_and_wire(tmp_path) as (_, node, wire), raw_stream(node, wire) as reader:
        await until_open(node)
        await reader.send_str(format_credit(2))
        part = await next_part(reader)
        assert [item.index for item in part.items] == [0, 1]
        with pytest.raises(TimeoutError):
            await reader.receive(timeout=0.2)
        await reader.send_str(format_credit(1))
        part = await next_part(reader)
        assert [item.index for item in part.items] == [2]


async def test_a_mirror_is_shown_no_checkpoint_before_what_it_covers(tmp_path: Path) -> None:
    """It would keep none that is ahead, and what was said once is not said again. SPEC 11.6.2."""
    async with node_and_wire(tmp_path, "CN") as (world, node, wire):
        size = node.ledger.head.size
        async with logged_in(node, "pk-liaison/desk") as sender:
            for _ in range(2):
                await post(sender, world.bulletin(created=node.clock()))
        await node.publish()
        cursor = f"{node.ledger.origin}={size}"
        async with raw_stream(node, wire, after=cursor, known=cursor) as reader:
            await until_open(node)
            with pytest.raises(TimeoutError):
                await reader.receive(timeout=0.2)
            shown = []
            for _ in range(2):
                await reader.send_str(format_credit(1))
                part = await next_part(reader)
                shown.append(([item.index for item in part.items], f"\n{size + 2}\n" in part.checkpoint))
        assert shown == [([size], False), ([size + 1], True)]


@pytest.mark.parametrize(
    "message",
    [
        '{"credit": 0}',
        '{"credit": 4097}',
        '{"credit":  1}',
        '{"credit": 01}',
        '{"credit": 1, "credit": 1}',
        "[]",
        "x" * 33,
        "x" * 100_000,
        b'{"credit": 1}',
        b"",
    ],
)
async def test_any_other_message_ends_the_stream(tmp_path: Path, message: str | bytes) -> None:
    """Credit is the one thing that a reader says (11.6.2); the reason is a problem's code (11.6.3)."""
    async with node_and_wire(tmp_path) as (_, node, wire), raw_stream(node, wire) as reader:
        await (reader.send_str(message) if isinstance(message, str) else reader.send_bytes(message))
        code, reason = await ended(reader)
        assert (code, reason) == (4400, "malformed") or code == 1009
        await until_open(node, 0)


async def test_more_credit_than_may_wait_ends_the_stream(tmp_path: Path) -> None:
    """At most CREDIT_ENTRIES_MAX are unused (11.6.2)."""
    async with node_and_wire(tmp_path) as (_, node, wire), raw_stream(node, wire) as reader:
        await reader.send_str(format_credit(4096))
        await reader.send_str(format_credit(4096))
        assert await ended(reader) == (4400, "malformed")


async def test_a_revocation_ends_the_stream_at_once(tmp_path: Path) -> None:
    """The entry that revokes the seat wakes its streams and ends them, with the reason (11.6.3)."""
    async with node_and_wire(tmp_path) as (world, node, wire), raw_stream(node, wire) as reader:
        await reader.send_str(format_credit(100))
        await next_part(reader)
        async with logged_in(node, "cn-liaison/identity") as custodian:
            await post(custodian, world.revocation("cn-liaison/desk", created=node.clock()))
        assert await ended(reader) == (4401, "not-logged-in")


async def test_a_suspension_ends_the_stream_at_once(tmp_path: Path) -> None:
    """So does the suspension of the agency (11.6.3)."""
    async with node_and_wire(tmp_path) as (world, node, wire), raw_stream(node, wire) as reader:
        await until_open(node)
        async with logged_in(node, "cn-custodian-1") as custodian:
            await post(custodian, world.suspension("cn-liaison", created=node.clock()))
        assert await ended(reader) == (4401, "not-logged-in")


async def test_a_stream_ends_with_its_session(tmp_path: Path) -> None:
    """Fifteen minutes are up while it waits: it does not go on for ever (11.6.3)."""
    async with node_and_wire(tmp_path) as (_, node, wire), raw_stream(node, wire) as reader:
        await until_open(node)
        for session in node.sessions._sessions.values():
            session.expires = node.clock()
        assert await ended(reader) == (4401, "not-logged-in")


async def test_a_stopping_node_says_so(tmp_path: Path) -> None:
    """A stream ends with a code when the node goes down; the reader finds it unreachable, not refused (11.6.3)."""
    async with node_and_wire(tmp_path) as (_, node, wire), contextlib.aclosing(wire.stream({}, {})) as pages:
        await anext(pages)
        node.begin_stop()
        with pytest.raises(Unreachable, match="stopping"):
            async for _ in pages:
                pass


async def test_a_stuck_reader_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off, its memory with it; others get everything meanwhile, and it resumes from its cursor (11.6.4)."""
    monkeypatch.setattr(subscribers, "SEND_SECONDS_MAX", 0.5)
    async with node_and_wire(tmp_path) as (world, node, wire), logged_in(node, "pk-liaison/desk") as sender:
        large = replace(CONTENT, versions=(Version("en", "Long", "x" * 50_000),))
        for _ in range(8):  # more than the buffers of both ends hold
            await sender.post([world.bulletin(created=node.clock(), content=large) for _ in range(16)])
        async with raw_stream(node, wire, receive_buffer=4096) as stuck:
            stuck._response.connection.transport.pause_reading()  # type: ignore[union-attr]
            await stuck.send_str(format_credit(4096))
            await until_open(node)
            origin, size = node.ledger.origin, node.ledger.head.size
            async with contextlib.aclosing(wire.stream({origin: size}, {origin: size})) as pages:
                receipt = await post(sender, world.bulletin(created=node.clock()))
                (part,) = await anext(pages)
                assert [item.index for item in part.items] == [receipt.index]
                await until_open(node, 1)  # the other one is gone
                assert not stuck.closed
        (part,) = await wire.deliveries({origin: receipt.index}, {})
        assert [item.index for item in part.items] == [receipt.index]


async def test_a_session_has_so_many_streams_and_no_more(tmp_path: Path) -> None:
    """What waits is bounded for each session; the next is refused."""
    async with node_and_wire(tmp_path) as (_, node, wire), contextlib.AsyncExitStack() as stack:
        for count in range(16):
            await stack.enter_async_context(raw_stream(node, wire))
            await until_open(node, count + 1)
        reader = await stack.enter_async_context(raw_stream(node, wire))
        assert await ended(reader) == (4429, "too-many-attempts")


@pytest.mark.parametrize("params", [{"after": "x"}, {"after": "pk.khunjerab.test/ledger=999"}, {"feed": "No Feed"}])
async def test_what_can_be_refused_is_refused_before_the_upgrade(tmp_path: Path, params: dict[str, str]) -> None:
    """A cursor or feed that is none costs no stream; the client polls instead, and learns why."""
    async with node_and_wire(tmp_path) as (_, node, wire):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with raw_stream(node, wire, 0, **params):
                pass
        assert refused.value.status == 400


async def test_the_wire_tells_apart_why_there_is_no_stream(tmp_path: Path) -> None:
    """A session that ended: log in again. No WebSocket on the way: poll. No node: unreachable."""
    async with node_and_wire(tmp_path) as (_, node, wire):
        await wire.session()
        node.sessions._sessions.clear()
        with pytest.raises(Declined, match="session"):
            await anext(wire.stream({}, {}))
        await anext(wire.stream({}, {}))
        with pytest.raises(UpgradeRefused):
            await anext(wire.stream({node.ledger.origin: 10**6}, {}))
    async with Wire(node.config.url) as gone:
        gone._token = ("token", 2**40)
        with pytest.raises(Unreachable):
            await anext(gone.stream({}, {}))


async def test_a_reader_that_goes_away_while_its_stream_begins_is_no_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it is killed at that moment: a line in the log, and no trace."""

    class Late(web.WebSocketResponse):
        async def prepare(self, request: web.BaseRequest) -> Any:
            assert request.transport is not None
            request.transport.abort()
            return await super().prepare(request)

    async with node_and_wire(tmp_path) as (_, _, wire):
        monkeypatch.setattr(web, "WebSocketResponse", Late)
        with capture_logs() as said, pytest.raises(Unreachable):
            await anext(wire.stream({}, {}))
        await until(lambda: any(line["event"] == "refused" for line in said))
        assert {line["code"] for line in said if line["event"] == "refused"} == {"request-timeout"}
        assert "unexpected" not in {line["event"] for line in said}
