"""Routes of a witness, C2SP tlog-witness (SPEC §9.7): what logs submit, and what monitors read. Both are open."""

from __future__ import annotations

import re

from aiohttp import web

from broker.http.request import NODE, read_body
from broker.witness.witness import Answer, Witness
from protocol.limits import ADD_CHECKPOINT_BYTES_MAX
from protocol.problem import Problem

WITNESS: web.AppKey[Witness] = web.AppKey("witness", Witness)
_SHA256 = re.compile("[0-9a-f]{64}")
_FORGOTTEN = Answer(503, b"this node has lost what it cosigned, and cosigns nothing before it has new cosigner keys\n")


async def post_checkpoint(request: web.Request) -> web.Response:
    """Cosignature lines for a checkpoint that extends what was cosigned; of any media type, as clients differ."""
    body = await read_body(request, ADD_CHECKPOINT_BYTES_MAX, None)
    witness = request.app.get(WITNESS)
    answer = _FORGOTTEN if witness is None else await witness.add_checkpoint(body)
    return web.Response(body=answer.body, status=answer.status, headers={"Content-Type": answer.content_type})


async def get_cosigned(request: web.Request) -> web.Response:
    """The newest checkpoint of a log that was cosigned here, with its log's lines and ours; or that is mirrored."""
    name, witness = request.match_info["sha256"], request.app.get(WITNESS)
    note = witness.store.note(bytes.fromhex(name)) if witness is not None and _SHA256.fullmatch(name) else None
    mirror = request.app[NODE].mirrors.by_digest(name) if NODE in request.app else None
    if note is None and mirror is not None and mirror.published is not None:
        note = mirror.published.note
    if note is None:
        raise Problem("not-found", "nothing of such a log was cosigned here")
    return web.Response(text=note, content_type="text/plain", charset="utf-8", headers={"Cache-Control": "max-age=1"})


_submission = web.post("/add-checkpoint", post_checkpoint)
routes = (_submission, web.get("/mirror/{sha256}/checkpoint", get_cosigned))  # of a node
routes_alone = (_submission, web.get("/{sha256}/checkpoint", get_cosigned))
