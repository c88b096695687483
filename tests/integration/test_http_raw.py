"""Bytes on a socket that are no request, or one that never ends: 400 or 408, no trace, and the connection is closed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from broker.http import request as http_request
from broker.http import server
from broker.node import Node
from protocol.problem import Problem
from tests.support.caller import MEDIA_TYPE, Caller
from tests.support.live import live_node, now_ms, world_of_today

SESSION = f"POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\n".encode()
NODE = b"GET /v1/node HTTP/1.1\r\nHost: x\r\n"
END = b"\r\n\r\n"

NO_REQUESTS = {
    "binary": b"\x00\x01garbage" + END,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "HTTP 9.9": b"GET / HTTP/9.9\r\nHost: x" + END,
    "HTTP 2": b"PRI * HTTP/2.0\r\n\r\nSM" + END,
    "a method of its own": b"BREW /v1/node HTTP/1.1\r\nHost: x" + END,
    "bare newlines": b"GET /v1/node HTTP/1.1\nHost: x\n\n",
    "no host": b"GET /v1/node HTTP/1.1" + END,
    "two hosts": NODE + b"Host: y" + END,
    "a space in a name": NODE + b"X Y: z" + END,
    "a NUL in a value": NODE + b"X: y\0z" + END,
    "bytes in the path": b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x" + END,
    "bytes in the query": b"GET /v1/deliveries?after=\xff HTTP/1.1\r\nHost: x" + END,
    "a long header": NODE + b"X: " + b"a" * 70_000 + END,
    "many headers": NODE + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + END,
    "a long line": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x" + END,
    "length and chunks": SESSION + b"Content-Length: 5\r\nTransfer-Encoding: chunked" + END + b"0" + END,
    "chunks and length": SESSION + b"Transfer-Encoding: chunked\r\nContent-Length: 5" + END + b"0" + END,
    "two lengths": SESSION + b"Content-Length: 5\r\nContent-Length: 6" + END + b"abcdef",
    "a negative length": SESSION + b"Content-Length: -5" + END + b"abcde",
    "a signed length": SESSION + b"Content-Length: +5" + END + b"abcde",
    "an endless length": SESSION + b"Content-Length: 99999999999999999999" + END,
    "an unknown coding": SESSION + b"Transfer-Encoding: xchunked" + END + b"zz\r\n",
    "a broken chunk": SESSION + b"Transfer-Encoding: chunked" + END + b"zz\r\n",
}
pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def connection(node: Node) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare socket to the node."""
    host, _, port = node.config.listen.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """All that comes; TimeoutError where the node does not close."""
    async with asyncio.timeout(120):
        try:
            return await reader.read()
        except ConnectionError:  # reset, as bytes of ours were still on their way
            return b""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    async with live_node(tmp_path_factory.mktemp("raw"), world_of_today()) as node:
        yield node


@pytest.mark.parametrize("name", NO_REQUESTS)
async def test_what_is_no_request_is_cut_off(node: Node, name: str) -> None:
    """With a line of text at most, and nothing of a trace; a request behind it is never read as one."""
    async with connection(node) as (reader, writer):
        writer.write(NO_REQUESTS[name] + NODE + END)
        answer = await until_closed(reader)
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 411 ")) or answer == b""
    assert not any(word in answer for word in (b"Traceback", b".py", b'"origin"'))
    assert len(answer) < 2000


@pytest.mark.parametrize("length", [200_000, 2**40, 2**62])
async def test_a_body_too_large_is_refused_unread(node: Node, length: int) -> None:
    """By what it says of itself."""
    async with connection(node) as (reader, writer):
        writer.write(SESSION + b"Content-Length: %d" % length + END + b"begin")
        async with asyncio.timeout(120):
            head = await reader.readuntil(END)
            body = await reader.read(4000)
    assert head.startswith(b"HTTP/1.1 413 ")
    assert Problem.from_json(body).code == "too-large"


async def test_a_body_longer_than_it_says_is_no_part_of_the_next_request(node: Node) -> None:
    """What is left over is a request of its own, and here it is none."""
    async with connection(node) as (reader, writer):
        writer.write(SESSION + b"Content-Length: 3" + END + b"abcdefgh" + END + NODE + END)
        answer = await until_closed(reader)
    assert set(re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", answer)) == {b"400"}


async def test_a_client_that_goes_away_in_the_middle_harms_nobody(node: Node) -> None:
    """Half a body is no body."""
    for _ in range(20):
        async with connection(node) as (_, writer):
            writer.write(SESSION + b"Content-Length: 1000" + END + bytes(500))
            await writer.drain()
    async with connection(node) as (reader, writer):
        writer.write(NODE + END)
        async with asyncio.timeout(120):
            assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of a second, so that tests need none."""
    monkeypatch.setattr(server, "KEEPALIVE_SECONDS", 1)
    monkeypatch.setattr(http_request, "BODY_SECONDS_MAX", 1)


@pytest.mark.asyncio(loop_scope="function")
async def test_slowness_has_an_end(tmp_path: Path, hurried: None) -> None:
    """Headers that drip, none at all, an idle connection, a body that drips: each is cut off, all at once here."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:

        async def drip(first: bytes, drop: bytes) -> bytes:
            async with connection(node) as (reader, writer):
                writer.write(first)
                answer = asyncio.create_task(until_closed(reader))
                while not answer.done():
                    writer.write(drop)
                    await asyncio.wait([answer], timeout=0.2)
                return await answer

        nothing, headers, idle, body = await asyncio.gather(
            drip(b"", b""),
            drip(NODE, b"X: y\r\n"),
            drip(NODE + END, b""),
            drip(SESSION + b"Content-Length: 1000" + END, b"x"),
        )
        assert (nothing, headers) == (b"", b"")
        assert idle.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body.startswith(b"HTTP/1.1 408 ")
        assert b'"code": "request-timeout"' in body
        await caller.log_in()
        assert (await caller.receipt(world.bulletin(created=now_ms()))).index
