"""A stream of submissions over a WebSocket (SPEC §11.7): batches in, answers out in order, many under one head."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from broker.http.request import node_of, note_refusal, session_of
from broker.http.stream import close, receive, upgrade, why_ended
from broker.node import Node
from broker.sessions import Session
from broker.submitters import Submitter
from broker.subscribers import send_in_time
from protocol import limits
from protocol.entry import decode_batch
from protocol.errors import ProtocolError
from protocol.problem import Problem
from protocol.stream import encode_answers
from protocol.treehead import Receipt


async def submissions(request: web.Request) -> web.WebSocketResponse:
    """Serve one stream until the client goes away or something ends it; what was taken is answered in any case."""
    node, session = node_of(request), session_of(request)
    with session.wait(), node.submitters.opened(session) as submitter:
        socket = await upgrade(request, limits.MESSAGE_BYTES_MAX)
        reading = asyncio.create_task(_read(node, socket, submitter))
        try:
            async for outcomes in submitter.answers():
                for message in encode_answers([answer_of(request, session, outcome) for outcome in outcomes]):
                    await send_in_time(socket.send_bytes, message)
            why = submitter.why
        except Exception as error:  # noqa: BLE001 - a slow reader, or a defect: it ends this stream alone
            why = why_ended(error) or submitter.why
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        await close(request, socket, why, session)
    return socket


async def _read(node: Node, socket: web.WebSocketResponse, submitter: Submitter) -> None:
    """Take batches until the client closes or something ends the stream; which the submitter is told."""
    why = None
    try:
        while (message := await receive(socket, WSMsgType.BINARY)) is not None:
            if submitter.ended:
                return
            node.sessions.recheck(submitter.session)
            submitter.take(node.door, _envelopes(node, submitter.session, message))
    except Exception as error:  # noqa: BLE001 - the same
        why = why_ended(error)
    if why is None:
        submitter.leave()
    else:
        submitter.end(why)


def _envelopes(node: Node, session: Session, message: bytes) -> list[bytes]:
    try:
        return decode_batch(message)
    except ProtocolError:
        node.door.spend_attempt(session)
        raise


def answer_of(request: web.Request, session: Session, outcome: Receipt | BaseException) -> Receipt | Problem:
    """What the client is told of one of many; a defect is raised."""
    if isinstance(outcome, Receipt):
        return outcome
    if isinstance(outcome, ProtocolError):
        outcome = Problem(outcome.code, outcome.detail, {"step": 1})
    if not isinstance(outcome, Problem):
        raise outcome
    note_refusal(request, outcome, session)
    return outcome
