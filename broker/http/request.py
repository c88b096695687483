"""What every route asks of a request: a bounded body, a media type, a session, parameters; else a problem."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog
from aiohttp import web

from broker.errors import BrokerError
from broker.http.intake import Intake
from broker.node import Node
from broker.sessions import Session
from protocol import problem, text
from protocol.errors import ProtocolError
from protocol.problem import Problem

MEDIA_TYPE = "application/vnd.khunjerab.v1+msgpack"
BODY_SECONDS_MAX = 10
STRANGERS_BYTES_MAX = 8 * 1024 * 1024  # of bodies on their way, from all who have no session
MEMBERS_BYTES_MAX = 24 * 1024 * 1024
NODE: web.AppKey[Node] = web.AppKey("node", Node)
SESSION: web.RequestKey[Session] = web.RequestKey("session", Session)
STRANGERS: web.AppKey[Intake] = web.AppKey("strangers", Intake)
MEMBERS: web.AppKey[Intake] = web.AppKey("members", Intake)

log = structlog.get_logger()


def node_of(request: web.Request) -> Node:
    """The node that this application serves."""
    return request.app[NODE]


async def read_body(request: web.Request, bytes_max: int, media_type: str | None = MEDIA_TYPE) -> bytes:
    """The body, of the one media type or of any, not compressed, no longer than it says, in time. Raises Problem."""
    other = media_type is not None and request.headers.get("Content-Type", "").lower() != media_type
    if other or "Content-Encoding" in request.headers:
        raise Problem("unsupported-media-type", f"send {media_type or 'it'}, not compressed")
    if request.content_length is None:
        raise Problem("length-required", "the request has no Content-Length")
    if request.content_length > bytes_max:
        raise Problem("too-large", f"{request.content_length} bytes where {bytes_max} are allowed")
    if request.content.is_eof():  # a small body came with its head: nothing is waited for or held
        return request.content.read_nowait()
    session = request.get(SESSION)
    who = (session.speaker.agency or session.speaker.nation) if session else ""
    intake = request.app[MEMBERS if session else STRANGERS]
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX) as patience:
            with intake.reading(who, request.content_length, patience):
                # In pieces: one buffer that grows is copied again and again, and memory is left full of holes.
                return b"".join([piece async for piece in request.content.iter_any()])
    except TimeoutError:
        detail = f"the body took over {BODY_SECONDS_MAX} s, or too many others were on their way"
        raise Problem("request-timeout", detail) from None


def session_of(request: web.Request) -> Session:
    """The session of the bearer token. Raises Problem."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("not-logged-in", "the request has no bearer token")
    session = request[SESSION] = node_of(request).sessions.check(token)
    return session


def whole_number(request: web.Request, name: str, default: int, at_most: int) -> int:
    """A query parameter: decimal, within its bound. Raises Problem."""
    value = request.query.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 17) or int(value) > at_most:  # noqa: PLR2004 - < 2**53
        raise Problem("bad-parameter", f"{name} is a whole number of at most {at_most}")
    return int(value)


def answer_problem(found: Problem, allowed: Iterable[str] = ()) -> web.Response:
    """The problem as RFC 9457 JSON; ``allowed`` are the methods that a route has."""
    headers = {"WWW-Authenticate": "Bearer"} if found.status == web.HTTPUnauthorized.status_code else {}
    if allowed:
        headers["Allow"] = ",".join(sorted(allowed))
    return web.Response(body=found.to_json(), status=found.status, headers=headers, content_type=problem.MEDIA_TYPE)


def note_refusal(request: web.Request, found: Problem, session: Session | None = None) -> None:
    """Count a refusal, and log it in one line: which code, of whom, where; never what was sent."""
    node = request.app.get(NODE)
    if node is not None:
        node.metrics.refusals.labels(found.code).inc()
    speaker = session.speaker if session else None
    log.info(
        "refused",
        code=found.code,
        step=found.extra.get("step"),
        agency=(speaker.agency or speaker.nation) if speaker else None,
        method=request.method,
        path=request.rel_url.raw_path,
        detail=text.clean(found.detail),
    )


_HTTP_CODES = {400: "malformed", 404: "not-found", 405: "method-not-allowed", 413: "too-large", 408: "request-timeout"}


def _problem_of(request: web.Request, error: Exception) -> Problem:
    """What a caller is told of an error; only what nobody foresaw leaves a trace, in the log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ProtocolError):
        return Problem(error.code if error.code in problem.CODES else "malformed", error.detail)
    if isinstance(error, BrokerError):
        log.error("storage-failed", path=request.rel_url.raw_path, error=str(error))
        return Problem("storage-unavailable", f"the node cannot read its store: {error}")
    if isinstance(error, web.HTTPException) and error.status in _HTTP_CODES:
        return Problem(_HTTP_CODES[error.status], f"{request.method} {request.path}: {error.reason}")
    log.error("unexpected", exc_info=error, method=request.method, path=request.rel_url.raw_path)
    return Problem("internal-error", "something unexpected; the node's log has it")


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Whatever goes wrong leaves as a problem, and never as a trace."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 - the boundary of HTTP
        found = _problem_of(request, error)
        found.__traceback__ = None  # or it and this frame hold each other, and the body, until some later collection
        note_refusal(request, found, request.get(SESSION))
        return answer_problem(found, getattr(error, "allowed_methods", ()))
