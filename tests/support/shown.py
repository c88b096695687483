"""What two nodes show an auditor, on real sockets, from ledgers that a test can steer: own, mirrored, altered."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from broker.ledger import Ledger
from broker.tree import Tree
from khunjerab.demo.ports import free_port
from protocol.checkpoint import Checkpoint
from protocol.note import Note
from protocol.tiles import encode_bundle, parse_tile_path, partial_width
from tests.support.altering import replace
from tests.support.live import now_ms
from tests.support.world import ORIGINS, World, node_keys


@dataclass
class View:
    """A ledger at a checkpoint, as somebody shows it."""

    ledger: Ledger
    note: str
    size: int
    tiles: Tree | None = None  # of another ledger, in the place of its own

    def tile(self, path: str) -> bytes | None:
        """Hash tile or bundle; None where the tree of this size has none."""
        wanted = parse_tile_path(f"tile/{path}")
        if wanted.width > partial_width(self.size, wanted.level or 0, wanted.index):
            return None
        if wanted.level is None:
            start = wanted.index * 256
            return encode_bundle(self.ledger.storage.entry_bytes(start, start + wanted.width))
        return (self.tiles or self.ledger.tree).tile_data(wanted.level, wanted.index, wanted.width)


def view(ledger: Ledger, size: int = 0, cosigned_by: str = "", forged: bytes = b"") -> View:
    """``ledger`` at its own size or a smaller one, signed by its log; ``forged`` is a root that it never had."""
    size = size or ledger.tree.size
    nation = next(name for name, origin in ORIGINS.items() if origin == ledger.origin)
    checkpoint = Checkpoint(ledger.origin, size, forged or ledger.tree.root(size))
    lines = [*node_keys(nation).log.lines(checkpoint, now_ms() // 1000)]
    if cosigned_by:
        lines += node_keys(cosigned_by).cosigner.lines(checkpoint, now_ms() // 1000)
    return View(ledger, Note(checkpoint.text(), tuple(lines)).encode(), size)


@dataclass
class ShownNode:
    """A nation's node: its own ledger, and by origin those that it mirrors."""

    own: View
    mirrors: dict[str, View] = field(default_factory=dict)
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def application(self) -> web.Application:
        """The routes that an audit asks."""
        app = web.Application()
        app.router.add_get("/v1/node", self._node)
        app.router.add_post("/v1/session", self._session)
        app.router.add_get("/v1/directory/{version}", self._directory)
        app.router.add_get("/checkpoint", self._checkpoint)
        app.router.add_get("/tile/{rest:.+}", self._tile)
        app.router.add_get("/mirror/{sha256}/checkpoint", self._checkpoint)
        app.router.add_get("/mirror/{sha256}/tile/{rest:.+}", self._tile)
        return app

    def _view(self, request: web.Request) -> View:
        name = request.match_info.get("sha256")
        self.asked.append(request.path)
        for origin, shown in self.mirrors.items():
            if name == hashlib.sha256(origin.encode()).hexdigest():
                return shown
        if name is not None:
            raise web.HTTPNotFound
        return self.own

    async def _node(self, request: web.Request) -> web.Response:
        del request
        mirrors = [{"origin": origin, "size": shown.size} for origin, shown in self.mirrors.items()]
        return web.json_response({"origin": self.own.ledger.origin, "mirrors": mirrors})

    async def _session(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"token": "for anybody", "expires": now_ms() + 900_000})

    async def _directory(self, request: web.Request) -> web.Response:
        for directory in self.own.ledger.exchange.versions.values():
            if str(directory.version) == request.match_info["version"]:
                return web.json_response({"directory": directory.encode().decode()})
        raise web.HTTPNotFound

    async def _checkpoint(self, request: web.Request) -> web.Response:
        return web.Response(text=self._view(request).note)

    async def _tile(self, request: web.Request) -> web.Response:
        data = self._view(request).tile(request.match_info["rest"])
        if data is None:
            raise web.HTTPNotFound
        return web.Response(body=data)


@contextlib.asynccontextmanager
async def served(*nodes: ShownNode) -> AsyncIterator[None]:
    """All of them, each under its ``url``."""
    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            runner = web.AppRunner(node.application())
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            port = int(node.url.rpartition(":")[2])
            await web.TCPSite(runner, "127.0.0.1", port).start()
        yield


def world_of_two(now: int) -> tuple[World, dict[str, str]]:
    """A world of today whose directory lists both nodes where they will be served, and their URLs by nation."""
    urls = {nation: f"http://127.0.0.1:{free_port()}" for nation in ORIGINS}
    plain = World.found(now)
    nodes = tuple(replace(node, url=urls[node.nation]) for node in plain.directory.nodes)
    changes: dict[str, Any] = {"nodes": nodes}
    return World.found(now, **changes), urls
