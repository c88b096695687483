"""Routes of evidence (SPEC §11.8), open to all: whoever reads it believes it for what it shows, not for who has it."""

from __future__ import annotations

import json
import re

from aiohttp import web

from broker.http.log import IMMUTABLE
from broker.http.request import node_of
from protocol.problem import Problem

_SHA256 = re.compile("[0-9a-f]{64}")
routes = web.RouteTableDef()


@routes.get("/v1/evidence")
async def get_list(request: web.Request) -> web.Response:
    """What this node holds against logs, the oldest first."""
    held = [one.to_json() for one in node_of(request).evidence.all()]
    return web.Response(text=json.dumps(held) + "\n", content_type="application/json")


@routes.get("/v1/evidence/{sha256}")
async def get_file(request: web.Request) -> web.FileResponse:
    """One file, from the disk in pieces: it may be large, and anybody may ask."""
    name = request.match_info["sha256"]
    path = node_of(request).evidence.path(bytes.fromhex(name)) if _SHA256.fullmatch(name) else None
    if path is None:
        raise Problem("not-found", "no such evidence is held here")
    return web.FileResponse(path, headers={**IMMUTABLE, "Content-Type": "application/json"})
