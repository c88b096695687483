"""A stream of deliveries over a WebSocket (SPEC §11.6): pages out, credit in."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import WSMessage, WSMsgType, web

from broker.errors import BrokerError
from broker.http.request import node_of, note_refusal, session_of
from broker.sessions import Session
from broker.subscribers import Subscriber
from protocol.errors import ProtocolError
from protocol.page import Cursor
from protocol.problem import Problem
from protocol.stream import CREDIT_MESSAGE_BYTES_MAX, close_code, parse_credit

HEARTBEAT_SECONDS = 20
CLOSE_SECONDS = 3
BUFFER_BYTES = 64 * 1024

log = structlog.get_logger()


def wants_stream(request: web.Request) -> bool:
    """Whether the request asks to become a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def stream(request: web.Request, after: Cursor, known: Cursor, feed: str | None) -> web.WebSocketResponse:
    """Serve one stream until the reader goes away or something ends it; everything that can be refused is, before."""
    node, session = node_of(request), session_of(request)
    subscriber = Subscriber(session, after, known, feed)
    node.pages.require_served(after, known)  # a cursor that cannot be served is refused before the upgrade
    socket = await upgrade(request, CREDIT_MESSAGE_BYTES_MAX)
    pushing = asyncio.create_task(node.subscribers.run(subscriber, socket.send_bytes))
    reading = asyncio.create_task(_read_credit(socket, subscriber))
    try:
        await asyncio.wait((pushing, reading), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = pushing if pushing.done() else reading
        for task in (pushing, reading):
            task.cancel()
        results = await asyncio.gather(pushing, reading, return_exceptions=True)
    await close(request, socket, why_ended(results[0 if ended is pushing else 1]), session)
    return socket


async def upgrade(request: web.Request, message_bytes_max: int) -> web.WebSocketResponse:
    """The socket of a stream, by the settings of all. Raises Problem where nobody is there any more."""
    socket = web.WebSocketResponse(
        max_msg_size=message_bytes_max + 1,  # a message of exactly the limit is refused
        compress=False,
        heartbeat=HEARTBEAT_SECONDS,
        timeout=CLOSE_SECONDS,
        writer_limit=BUFFER_BYTES,
        decode_text=False,  # bytes that are not UTF-8 are malformed like any others
    )
    try:
        await socket.prepare(request)
    except ConnectionError as error:
        raise Problem("request-timeout", "whoever asked for a stream went away before it began") from error
    return socket


async def close(request: web.Request, socket: web.WebSocketResponse, why: Problem | None, session: Session) -> None:
    """End a stream, and say why where the client did not end it."""
    if why is None:
        await socket.close()
        return
    note_refusal(request, why, session)
    if why.code == "request-timeout" and request.transport is not None:
        request.transport.abort()  # what lies in its buffer would wait for the reader too
    await socket.close(code=close_code(why), message=why.code.encode())


def why_ended(result: BaseException | None) -> Problem | None:
    """None where the client went away."""
    match result:
        case None | ConnectionError():
            return None
        case Problem():
            return result
        case ProtocolError():
            return Problem(result.code, result.detail)
        case BrokerError():
            return Problem("storage-unavailable", f"the store cannot be read: {result}")
        case _:
            log.error("unexpected", error=repr(result))
            return Problem("internal-error", "something unexpected; the node's log has it")


async def _read_credit(socket: web.WebSocketResponse, subscriber: Subscriber) -> None:
    """Take credit until the reader closes. Raises Malformed or Problem for any other message."""
    while (message := await receive(socket, WSMsgType.TEXT)) is not None:
        subscriber.grant(parse_credit(message))


async def receive(socket: web.WebSocketResponse, kind: WSMsgType) -> bytes | None:
    """The next message, which must be text or binary as told; None where the client closed. Raises Problem."""
    message: WSMessage = await socket.receive()
    if message.type is kind:
        return bytes(message.data)
    if message.type in {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED}:
        return None
    if message.type is WSMsgType.ERROR:  # its data is an exception: too long, or a broken frame
        raise Problem("malformed", "a message that is broken, or longer than any that belongs here")
    raise Problem("malformed", f"on this stream messages are {kind.name.lower()}")
