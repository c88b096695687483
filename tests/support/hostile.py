"""A peer's node that lies: a server under PK's address that says whatever a test tells it to say to CN's node."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

from khunjerab.demo.ports import free_port
from protocol.page import Part, encode_page, parse_cursor
from protocol.problem import Problem
from tests.support.live import now_ms
from tests.support.mirroring import Site
from tests.support.world import ORIGINS

_ZEROS = bytes(64 * 1024)
Lie = Callable[["Hostile", web.WebSocketResponse], Awaitable[None]]


class Hostile:
    """``async with``. On each stream it tells the truth first, up to where its ledger ends; then it tells its lie."""

    def __init__(self, site: Site) -> None:
        self.site, self.port = site, free_port()
        self.truth: Callable[[int], Part] = lambda after: site.part(after=after)
        self.lie: Lie | None = None
        self.lied = 0  # how often a lie was told, to its end or as far as it was listened to
        self.endless: set[str] = set()  # paths whose answer never ends
        self.redirects_to = ""
        self.strayed = 0  # requests that came where nobody was sent but by a redirect
        self._standing: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/v1/session", self._session)
        application.router.add_get("/v1/deliveries", self._deliveries)
        application.router.add_route("*", "/{rest:.*}", self._anything)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """For ``peers.toml``."""
        return f"http://127.0.0.1:{self.port}"

    async def tell(self, lie: Lie | None) -> None:
        """From now on; a stream that stands is ended, so that the node comes again."""
        self.lie, self.lied = lie, 0
        for socket in list(self._standing):
            await socket.close()

    async def _session(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        if request.path in self.endless:
            return await self._endless(request)
        return web.json_response({"token": "t" * 43, "expires": now_ms() + 900_000})

    async def _deliveries(self, request: web.Request) -> web.StreamResponse:
        if self.redirects_to and request.headers.get("Upgrade") == "websocket":
            self.lied += 1
            raise web.HTTPTemporaryRedirect(self.redirects_to)
        if request.path in self.endless:
            return await self._endless(request)
        page = encode_page((self.truth(parse_cursor(request.query["after"]).get(ORIGINS["PK"], 0)),))
        if request.headers.get("Upgrade") != "websocket":
            return web.Response(body=page)
        socket = web.WebSocketResponse(timeout=0.2)
        await socket.prepare(request)
        self._standing.add(socket)
        try:
            await socket.send_bytes(page)
            if self.lie is None:
                await _until_closed(socket)
            else:
                await self.lie(self, socket)
                self.lied += 1
        except ConnectionError:
            self.lied += 1
        finally:
            self._standing.discard(socket)
        await socket.close()
        return socket

    async def _anything(self, request: web.Request) -> web.StreamResponse:
        self.strayed += request.path == "/strayed"
        if any(request.path.startswith(path) for path in self.endless):
            return await self._endless(request)
        return web.Response(status=404, body=Problem("not-found", "not here").to_json())

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(_ZEROS)
        self.lied += 1
        return answer


async def _until_closed(socket: web.WebSocketResponse) -> None:
    async for _ in socket:  # credit, which is not looked at
        pass


# Lies that need no ledger


def saying(*parts: Part, times: int = 1) -> Lie:
    """These parts, so often."""

    async def lie(hostile: Hostile, socket: web.WebSocketResponse) -> None:
        for _ in range(times):
            for part in parts:
                await socket.send_bytes(encode_page((part,)))

    return lie


async def no_page(hostile: Hostile, socket: web.WebSocketResponse) -> None:
    """Bytes of no sort."""
    await socket.send_bytes(b"\x91\xdd\xff\xff\xff\xff")


async def a_word(hostile: Hostile, socket: web.WebSocketResponse) -> None:
    """Text, where pages are bytes."""
    await socket.send_str("hello")


async def a_huge_message(hostile: Hostile, socket: web.WebSocketResponse) -> None:
    """In one frame, of 32 MiB."""
    await socket.send_bytes(bytes(32 << 20))


async def an_endless_frame(hostile: Hostile, socket: web.WebSocketResponse) -> None:
    """It says that it has a gibibyte, and goes on and on."""
    await _raw(socket, b"\x82\x7f" + struct.pack(">Q", 1 << 30), 2048)


async def endless_fragments(hostile: Hostile, socket: web.WebSocketResponse) -> None:
    """Each of them small enough."""
    piece = b"\x7f" + struct.pack(">Q", len(_ZEROS)) + _ZEROS
    await _raw(socket, b"\x02" + piece, 0)
    for _ in range(2048):
        await _raw(socket, b"\x00" + piece, 0)


async def a_page_by_the_byte(hostile: Hostile, socket: web.WebSocketResponse) -> None:
    """It would be a page in a few hours."""
    page = encode_page((hostile.truth(0),))
    await _raw(socket, b"\x82\x7f" + struct.pack(">Q", len(page)), 0)
    for at in range(20):
        await _raw(socket, page[at : at + 1], 0)
        await asyncio.sleep(0.02)
    raise ConnectionError


async def _raw(socket: web.WebSocketResponse, head: bytes, zeros: int) -> None:
    """Past every rule of WebSocket, as long as the other side listens."""
    transport = socket._req.transport if socket._req is not None else None
    for piece in (head, *[_ZEROS] * zeros):
        if transport is None or transport.is_closing():
            raise ConnectionError
        transport.write(piece)
        while transport.get_write_buffer_size() > 4 * len(_ZEROS) and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await asyncio.sleep(0)
