"""What every route asks of a request: a bounded body, a media type, a session, parameters; else a problem."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from broker.node import Node
from broker.sessions import Session
from protocol import problem
from protocol.errors import ProtocolError
from protocol.problem import Problem

MEDIA_TYPE = "application/vnd.khunjerab.v1+msgpack"
BODY_SECONDS_MAX = 10
NODE: web.AppKey[Node] = web.AppKey("node", Node)

log = structlog.get_logger()


def node_of(request: web.Request) -> Node:
    """The node that this application serves."""
    return request.app[NODE]


async def read_body(request: web.Request, bytes_max: int, media_type: str = MEDIA_TYPE) -> bytes:
    """The body, of the one media type, not compressed, no longer than it says, and sent in time."""
    if request.headers.get("Content-Type", "").lower() != media_type or "Content-Encoding" in request.headers:
        raise Problem("unsupported-media-type", f"send {media_type}, not compressed")
    if request.content_length is None:
        raise Problem("length-required", "the request has no Content-Length")
    if request.content_length > bytes_max:
        raise Problem("too-large", f"{request.content_length} bytes where {bytes_max} are allowed")
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await request.read()
    except TimeoutError:
        raise Problem("request-timeout", f"the body took longer than {BODY_SECONDS_MAX} s") from None


def session_of(request: web.Request) -> Session:
    """The session of the bearer token. Raises Problem."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("not-logged-in", "the request has no bearer token")
    return node_of(request).sessions.check(token)


def whole_number(request: web.Request, name: str, default: int, at_most: int) -> int:
    """A query parameter: decimal, within its bound. Raises Problem."""
    value = request.query.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 17) or int(value) > at_most:  # noqa: PLR2004 - < 2**53
        raise Problem("bad-parameter", f"{name} is a whole number of at most {at_most}")
    return int(value)


def answer_problem(found: Problem) -> web.Response:
    """The problem as RFC 9457 JSON."""
    headers = {"WWW-Authenticate": "Bearer"} if found.status == web.HTTPUnauthorized.status_code else {}
    return web.Response(body=found.to_json(), status=found.status, headers=headers, content_type=problem.MEDIA_TYPE)


_HTTP_CODES = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 408: "request-timeout"}


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Whatever goes wrong leaves as a problem, and never as a trace."""
    try:
        return await handler(request)
    except Problem as found:
        return answer_problem(found)
    except ProtocolError as error:
        return answer_problem(Problem(error.code if error.code in problem.CODES else "malformed", error.detail))
    except web.HTTPException as error:
        code = _HTTP_CODES.get(error.status)
        if code is None:
            raise
        return answer_problem(Problem(code, f"{request.method} {request.path}: {error.reason}"))
    except Exception:
        log.exception("unexpected", method=request.method, path=request.path)
        return answer_problem(Problem("internal-error", "something unexpected; the node's log has it"))
