"""Routes of the exchange: node, directory, session, entries, deliveries, bulletins, bodies (SPEC §11)."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from typing import Any

from aiohttp import web

from broker import states
from broker.deliveries import Deliveries
from broker.http.request import MEDIA_TYPE, node_of, read_body, session_of, whole_number
from broker.http.stream import stream, wants_stream
from broker.http.submissions import answer_of, submissions
from broker.metrics import hybrid_tls
from broker.node import Node
from broker.sessions import Session, reader_of
from protocol import canonical, limits, names
from protocol.directory import Directory
from protocol.entry import decode_batch
from protocol.errors import ProtocolError
from protocol.header import Header
from protocol.login import decode_signed
from protocol.page import parse_cursor
from protocol.problem import Problem
from protocol.promise import Word, decode_promise, decode_promises
from protocol.statements import Bulletin
from protocol.treehead import Receipt

VERSION = "0.1.0"
routes = web.RouteTableDef()
LOGIN_BYTES_MAX = limits.NOTE_BYTES_MAX + 16 * 1024  # a checkpoint and what is around it
_SHA256 = re.compile("[0-9a-f]{64}")


def _json(value: dict[str, Any]) -> web.Response:
    return web.Response(text=json.dumps(value, ensure_ascii=False) + "\n", content_type="application/json")


def _msgpack(data: bytes) -> web.Response:
    return web.Response(body=data, headers={"Content-Type": MEDIA_TYPE})


@routes.get("/v1/node")
async def get_node(request: web.Request) -> web.Response:
    """Who this node is: open to all."""
    node = node_of(request)
    head, directory = node.ledger.head, node.ledger.exchange.in_force
    return _json(
        {
            "origin": head.origin,
            "nation": node.config.nation,
            "exchange": node.ledger.pin.hex(),
            "directory": directory.version,
            "size": head.size,
            "mirrors": [{"origin": mirror.origin, "size": mirror.head.size} for mirror in node.mirrors],
            "vkeys": [key.encode() for key in node.keys.log.vkeys()],
            "receipt_key": node.keys.receipt.public.key_id.hex(),
            "time": node.clock(),
            "version": VERSION,
            "tls": _tls_of(request),
            "limits": {
                "entry_bytes": limits.ENTRY_BYTES_MAX,
                "request_bytes": limits.REQUEST_BYTES_MAX,
                "batch": limits.BATCH_SUBMISSIONS_MAX,
            },
        }
    )


def _tls_of(request: web.Request) -> dict[str, Any] | None:
    """How this connection is protected. Whether its key exchange is post-quantum hangs on the host's OpenSSL."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport else None
    if tls is None:
        return None
    return {"version": tls.version(), "library": ssl.OPENSSL_VERSION, "post_quantum": hybrid_tls()}


@routes.get("/v1/directory")
@routes.get("/v1/directory/{version}")
async def get_directory(request: web.Request) -> web.Response:
    """One version as it was signed: open, as it authenticates itself."""
    node = node_of(request)
    wanted = request.match_info.get("version")
    directory = _version(node, wanted)
    indexes = node.storage.directory_indexes(directory.hash)
    entry = node.storage.entry(indexes[0]) if indexes else None
    if entry is None:
        raise Problem("not-found", "there is no such directory version")
    return _json(
        {
            "version": directory.version,
            "sha256": directory.hash.hex(),
            "statement": base64.b64encode(entry.statement).decode(),
            "signatures": base64.b64encode(entry.signatures).decode(),
            "directory": directory.encode().decode(),
        }
    )


def _version(node: Node, wanted: str | None) -> Directory:
    exchange = node.ledger.exchange
    if wanted is None:
        return exchange.in_force
    for directory in exchange.versions.values():
        if str(directory.version) == wanted:
            return directory
    raise Problem("not-found", "there is no such directory version")


@routes.post("/v1/session")
async def post_session(request: web.Request) -> web.Response:
    """A signed login becomes a bearer token."""
    node = node_of(request)
    login, signature = decode_signed(await read_body(request, LOGIN_BYTES_MAX))
    node.standing.require_running()
    token, session = node.sessions.open(login, signature)
    await node.promises.hear(login.checkpoint)
    speaker = session.speaker
    return _json(
        {
            "token": token,
            "expires": session.expires,
            "kind": speaker.kind,
            "agency": speaker.agency,
            "nation": speaker.nation,
            "roles": list(speaker.roles),
        }
    )


@routes.post("/v1/entries")
async def post_entries(request: web.Request) -> web.Response:
    """One envelope, answered by its receipt or problem; or a batch, answered by an array with one of each for each."""
    node, session = node_of(request), session_of(request)
    try:
        envelopes = decode_batch(await read_body(request, limits.REQUEST_BYTES_MAX))
    except (Problem, ProtocolError):
        node.door.spend_attempt(session)
        raise
    if len(envelopes) == 1:
        receipt = await node.door.post(session, envelopes[0])
        return _msgpack(canonical.encode([receipt.encode()]))
    receipts = [node.door.post_among(session, envelope) for envelope in envelopes]
    outcomes = await asyncio.gather(*receipts, return_exceptions=True)
    answers = [answer_of(request, session, outcome) for outcome in outcomes]
    each = [one.encode() if isinstance(one, Receipt) else one.to_json().decode() for one in answers]
    return _msgpack(canonical.encode(each))


@routes.get("/v1/entries")
async def get_entries(request: web.Request) -> web.StreamResponse:
    """As a WebSocket, a stream of batches; entries are read elsewhere."""
    session_of(request)
    if not wants_stream(request):
        raise web.HTTPMethodNotAllowed(request.method, ["POST"])
    return await submissions(request)


@routes.post("/v1/receipts")
async def post_receipts(request: web.Request) -> web.Response:
    """Receipts that are held, and what was posted for them: whether they stand, or what becomes of them."""
    node, session = node_of(request), session_of(request)
    pairs = decode_promises(await read_body(request, limits.REQUEST_BYTES_MAX))
    words = []
    for pair in pairs:
        node.door.spend_attempt(session)
        try:
            words.append(node.peers.recovery.promised.hear(decode_promise(pair)))
        except ProtocolError:
            words.append(Word.FOREIGN)
    return _json({"receipts": words})


@routes.get("/v1/deliveries")
async def get_deliveries(request: web.Request) -> web.StreamResponse:
    """A page from ``after``; with ``wait`` it is held until there is something. As a WebSocket, a stream of pages."""
    node, session = node_of(request), session_of(request)
    after, known = (parse_cursor(request.query.get(name, "")) for name in ("after", "known"))
    limit = whole_number(request, "limit", limits.PAGE_ENTRIES_MAX, limits.PAGE_ENTRIES_MAX) or 1
    seconds = whole_number(request, "wait", 0, limits.WAIT_SECONDS_MAX)
    feed = request.query.get("feed")
    if feed is not None:
        names.feed(feed)
    if wants_stream(request):
        return await stream(request, after, known, feed)
    if seconds and not node.pages.has_news(session, after):
        with session.wait():
            await node.news.wait(reader_of(session), seconds)
        node.standing.require_running()
        session = node.sessions.recheck(session)
    return _msgpack(node.pages.page(session, after, known, limit, feed).data)


@routes.get("/v1/bulletins/{sender}/{uuid}")
async def get_bulletin(request: web.Request) -> web.Response:
    """How far a bulletin came, for those it concerns."""
    node, session = node_of(request), session_of(request)
    sender, number = names.parse_id(f"{request.match_info['sender']}/{request.match_info['uuid']}")
    return _json(states.state_of(node, session, sender, number))


@routes.get("/v1/bodies/{sha256}")
async def get_body(request: web.Request) -> web.Response:
    """A body with the caller's wrap; ciphertext alone for the role audit."""
    node, session = node_of(request), session_of(request)
    if not _SHA256.fullmatch(request.match_info["sha256"]):
        raise Problem("bad-parameter", "a body is named by its SHA-256 in lower-case hexadecimal")
    digest = bytes.fromhex(request.match_info["sha256"])
    refused = Problem("not-found", "there is no such body for you")
    for deliveries in node.pages.all():
        for index in deliveries.shown.storage.body_indexes(digest):
            entry = deliveries.shown.storage.entry(index) if deliveries.delivers(session, index) else None
            if entry is None:
                continue
            try:
                return _body(deliveries, session, index, Bulletin.decode(entry.statement).header)
            except Problem as problem:  # whoever posts another's body anew keeps it from nobody
                refused = problem if refused.code == "not-found" else refused
    raise refused


def _body(deliveries: Deliveries, session: Session, index: int, header: Header) -> web.Response:
    withheld = deliveries.why_withheld(session, header)
    if withheld == "not-a-recipient":
        raise Problem("not-found", "there is no such body for you")
    if withheld:
        raise Problem("withheld", f"the body is withheld: {withheld}", {"reason": withheld})
    body = deliveries.shown.storage.body(index)
    if body is None:
        if deliveries.why_gone(header) == "expunged":
            raise Problem("expunged", "the body was expunged at the end of its retention")
        raise Problem("not-found", "this node lacks the body, until its sender posts it again or a peer has it")
    return _msgpack(canonical.encode([body, deliveries.wrap_for(session, index, header)]))
