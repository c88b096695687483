"""Routes of the ledgers, C2SP tlog-tiles: checkpoint and hash tiles are open, entry bundles need the role audit."""

from __future__ import annotations

from aiohttp import web

from broker.deliveries import Shown
from broker.http.request import node_of, session_of
from broker.mirror import Mirror
from protocol.limits import TILE_HASHES
from protocol.problem import Problem
from protocol.tiles import TilePath, encode_bundle, parse_tile_path, partial_width

IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
routes = web.RouteTableDef()


@routes.get("/checkpoint")
async def get_checkpoint(request: web.Request) -> web.Response:
    """The newest signed checkpoint."""
    published = node_of(request).ledger.published
    if published is None:
        raise Problem("not-found", "no checkpoint is signed yet")
    return web.Response(
        text=published.note, content_type="text/plain", charset="utf-8", headers={"Cache-Control": "max-age=1"}
    )


@routes.get("/tile/{rest:.+}")
async def get_tile(request: web.Request) -> web.Response:
    """A tile of the published tree. Partial tiles are cut from the rows that make them: there are none to clean up."""
    ledger = node_of(request).ledger
    return _tile(request, ledger, ledger.published.size if ledger.published else 0)


@routes.get("/mirror/{sha256}/tile/{rest:.+}")
async def get_mirrored_tile(request: web.Request) -> web.Response:
    """A tile of a peer's ledger, derived here from its entries."""
    mirror = _mirror(request)
    return _tile(request, mirror, mirror.size)


def _mirror(request: web.Request) -> Mirror:
    mirror = node_of(request).mirrors.by_digest(request.match_info["sha256"])
    if mirror is None:
        raise Problem("not-found", "this node mirrors no ledger with that SHA-256")
    return mirror


def _tile(request: web.Request, shown: Shown, size: int) -> web.Response:
    path = parse_tile_path(f"tile/{request.match_info['rest']}")
    if path.width > partial_width(size, path.level or 0, path.index):
        raise Problem("not-found", "the published tree has no such tile")
    if path.level is None:
        return _bundle(request, shown, path)
    data = shown.tree.tile_data(path.level, path.index, path.width)
    return web.Response(body=data, content_type="application/octet-stream", headers=IMMUTABLE)


def _bundle(request: web.Request, shown: Shown, path: TilePath) -> web.Response:
    if not session_of(request).speaker.audits:
        raise Problem("role-missing", "entry bundles need the role audit")
    start = path.index * TILE_HASHES
    entries = shown.storage.entry_bytes(start, start + path.width)
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    return web.Response(body=encode_bundle(entries), content_type="application/octet-stream", headers=headers)
