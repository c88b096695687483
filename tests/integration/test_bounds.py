"""What a node bounds so that no one crowds out the others: connections, sessions, log lines; and its TLS."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from pathlib import Path

import pytest
import structlog

from broker import sessions
from broker.home import NodeConfig, NodeHome
from broker.http import server
from broker.logs import LineLimit
from broker.node import Node
from broker.quota import Budget
from broker.subscribers import Subscriber
from clients.errors import Declined
from clients.transport import Wire
from keys.secret import Secret
from khunjerab.demo.ports import free_port
from khunjerab.reach import reach_with
from tests.support.door import logged_in, post, until
from tests.support.live import PASSPHRASE, live_node, world_of_today
from tests.support.world import ORIGINS, node_keys, signing_key


async def test_one_connection_too_many_is_closed_before_it_costs_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle ones count; when one ends there is room again."""
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 3)
    async with live_node(tmp_path, world_of_today()) as node:
        host, port = server.parse_listen(node.config.listen)
        idle = [await asyncio.open_connection(host, port) for _ in range(3)]
        reader, writer = await asyncio.open_connection(host, port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        idle[0][1].close()

        async def answers() -> bool:
            async with Wire(node.config.url) as wire:
                with contextlib.suppress(Exception):
                    return bool(await wire.json("GET", "/v1/node", login=False))
            return False

        async with asyncio.timeout(120):
            while not await answers():
                pass
        for _, other in idle[1:]:
            other.close()


async def test_a_connection_that_comes_while_a_node_stops_is_closed(tmp_path: Path) -> None:
    """It was accepted, and asyncio had not made it yet."""
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(live_node(tmp_path, world_of_today()))
        with contextlib.closing(socket.create_connection(server.parse_listen(node.config.listen), 20)) as late:
            for _ in range(2):
                await asyncio.sleep(0)
            await stack.aclose()
            assert late.recv(1) == b""
    gc.collect()  # a socket that was lost is told of here


async def test_a_key_that_logs_in_without_end_ends_its_own_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest goes; nobody else's does."""
    monkeypatch.setattr(sessions, "SESSIONS_PER_KEY_MAX", 3)
    async with live_node(tmp_path, world_of_today()) as node, contextlib.AsyncExitStack() as stack:
        other = await stack.enter_async_context(logged_in(node, "cn-liaison/desk"))
        await other.session()
        wires = [await stack.enter_async_context(logged_in(node, "pk-liaison/desk")) for _ in range(5)]
        tokens = [(await wire.session())[0] for wire in wires]
        alive = []
        for token in tokens:
            with contextlib.suppress(Exception):
                node.sessions.check(token)
                alive.append(token)
        assert alive == tokens[2:]
        assert (await other.deliveries({}, {}))[0].items


async def test_a_flood_is_counted_and_not_written() -> None:
    """The disk of the log is not the attacker's; what was left out is told with the next line."""
    now = [0.0]
    limit = LineLimit(Budget(60, lambda: now[0]), 2)

    def line(method: str = "info") -> dict[str, object] | None:
        try:
            return dict(limit(None, method, {"event": "refused"}))
        except structlog.DropEvent:
            return None

    assert [line() is not None for _ in range(5)] == [True, True, False, False, False]
    assert line("critical") is not None
    now[0] = 60.0
    assert line() == {"event": "refused", "dropped_before": 3}
    assert line() == {"event": "refused"}


async def test_over_tls_with_the_certificate_that_is_pinned(tmp_path: Path) -> None:
    """Requests and streams, TLS 1.3; another certificate is refused before anything is said."""
    world, listen = world_of_today(), f"127.0.0.1:{free_port()}"
    config = NodeConfig(ORIGINS["PK"], "PK", f"https://{listen}", listen, "", world.pin.hex())
    home = NodeHome.create(tmp_path / "home", config, PASSPHRASE, Secret(bytes(192)))
    async with live_node(tmp_path, world) as plain:
        reach = reach_with(node_keys("PK").receipt, world.pin)
        node = Node(config, node_keys("PK"), plain.storage, home=tmp_path, reach=reach)
        runner = await server.serve(node, listen, server.tls_context(home.folder / "tls.pem"))
        try:
            async with Wire(config.url, [bytes(32), home.certificate_hash()]) as wire:
                wire.log_in_as(signing_key("cn-liaison/desk"), world.pin, ORIGINS["PK"])
                told = await wire.json("GET", "/v1/node", login=False)
                assert told["tls"]["version"] == "TLSv1.3"
                async with contextlib.aclosing(wire.stream({}, {})) as pages:
                    (part,) = await anext(pages)
                    assert part.items
            async with Wire(config.url, [bytes(32)]) as stranger:
                stranger._token = ("token", 2**40)
                for attempt in (stranger.json("GET", "/v1/node", login=False), anext(stranger.stream({}, {}))):
                    with pytest.raises(Declined) as refused:
                        await attempt
                    assert refused.value.code == "tls-not-pinned"
        finally:
            await runner.cleanup()


async def test_a_narrow_stream_does_not_hold_up_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking through a ledger for one feed is done a page a turn; what is found comes, and the cursor moves on."""
    monkeypatch.setattr("broker.node.PUBLISH_SECONDS", 3600)  # a checkpoint would come too
    world = world_of_today()
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as sender:
        for _ in range(3):
            await sender.post([world.bulletin(created=node.clock()) for _ in range(60)])
        sites = world.bulletin(to=("pk-site-security",), feed="sites", created=node.clock())
        receipt = await post(sender, sites)
        async with logged_in(node, "pk-liaison/desk") as reader:
            token, _ = await reader.session()
            session = node.sessions.check(token)
            subscriber = Subscriber(session, {ORIGINS["PK"]: 7}, {ORIGINS["PK"]: 7}, "sites")
            subscriber.grant(10)
            came: list[int] = []

            async def send(data: bytes) -> None:
                del data
                came.append(subscriber.after[ORIGINS["PK"]])

            running = asyncio.create_task(node.subscribers.run(subscriber, send))
            await until(lambda: bool(came))
            running.cancel()
            assert came == [receipt.index + 1]
            assert subscriber.credit == 9
