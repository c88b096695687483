"""The one seam between a client and the wire: TLS pinned by the directory, a session, bytes in and out."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlencode

from clients.clock import now_ms
from clients.errors import ClientError, Declined, Unreachable, UpgradeRefused
from clients.http import ANSWER_SECONDS, Connections, HttpError, NotConnected, NotPinned, Request, TooLong
from keys.signing import SigningKey
from protocol import canonical, limits
from protocol.entry import Submission, encode_batch
from protocol.errors import Malformed, ProtocolError
from protocol.login import NONCE_BYTES, Login, encode_signed
from protocol.page import PAGE_BYTES_READ_MAX, Cursor, Part, decode_page, format_cursor
from protocol.problem import Problem
from protocol.promise import Promise, Word, encode_promises
from protocol.stream import format_credit, problem_of_close
from protocol.treehead import Receipt

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

MEDIA_TYPE = "application/vnd.khunjerab.v1+msgpack"
_RENEW_SECONDS = 60
HEARTBEAT_SECONDS = 20


class Wire:
    """A node, over HTTP. ``async with``; every method raises Unreachable or Declined (with the problem's code)."""

    def __init__(self, url: str, tls: Sequence[bytes] = (), clock: Callable[[], int] = now_ms) -> None:
        self.url, self._clock = url.rstrip("/"), clock
        self._tls = tls
        self._http: Connections | None = None
        self._streams: aiohttp.ClientSession | None = None
        self._token: tuple[str, float] | None = None
        self._login: tuple[SigningKey, bytes, str, str] | None = None

    async def __aenter__(self) -> Self:
        self._http = Connections(self.url, self._tls)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._http is not None:
            self._http.close()
        if self._streams is not None:
            await self._streams.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        login: bool = True,
        bytes_max: int = 1 << 20,
        **params: str | int,
    ) -> bytes:
        """The answer's body. A session that ended is opened once more."""
        for last in (False, True):
            headers = {"Authorization": f"Bearer {await self._bearer()}"} if login else {}
            if body is not None:
                headers["Content-Type"] = MEDIA_TYPE
            try:
                return await self._exchange(method, path, body, headers, bytes_max, params)
            except Declined as declined:
                if declined.code != "not-logged-in" or last or not login:
                    raise
                self._token = None
        raise AssertionError

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        bytes_max: int,
        params: dict[str, str | int],
    ) -> bytes:
        if self._http is None:
            msg = "use the wire in `async with`"
            raise RuntimeError(msg)
        target = f"{path}?{urlencode(params)}" if params else path
        seconds = ANSWER_SECONDS + int(params.get("wait", 0))
        try:
            answer = await self._http.request(Request(method, target, headers, body, bytes_max, seconds))
        except TooLong:
            raise Declined(f"the node's answer is over {bytes_max} bytes") from None
        except NotPinned:
            raise self._not_pinned() from None
        except (HttpError, TimeoutError, OSError) as error:
            unreachable = self._unreachable(error)
            unreachable.unsent = isinstance(error, NotConnected)
            raise unreachable from None
        if answer.status == 200:  # noqa: PLR2004 - the one success of SPEC §11
            return answer.body
        raise _declined(answer.status, answer.body)

    def _not_pinned(self) -> Declined:
        """Somebody else answers, with a certificate of his own."""
        declined = Declined(
            f"{self.url} shows a certificate that the directory does not list",
            "nothing was sent; if its operator has changed it, join again with the newer directory",
            "tls-not-pinned",
        )
        declined.unsent = True
        return declined

    def _unreachable(self, error: Exception) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(f"{self.url} does not answer: {reason}", "check the link and the node")

    async def json(
        self, method: str, path: str, *, body: bytes | None = None, login: bool = True, **params: str | int
    ) -> dict[str, Any]:
        """An answer that is a JSON object."""
        data = await self.request(method, path, body=body, login=login, bytes_max=8 << 20, **params)
        try:
            value = json.loads(data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Declined("the node's answer is no JSON object")
        return value

    # Sessions

    def log_in_as(self, key: SigningKey, exchange: bytes, origin: str, checkpoint: str = "") -> None:
        """With which key to log in, when it is first needed; and the newest checkpoint seen there."""
        self._login = (key, exchange, origin, checkpoint)

    async def _bearer(self) -> str:
        """The token; where there is none, nothing of what it is for has left."""
        if self._token is None or self._token[1] < self._clock() / 1000 + _RENEW_SECONDS:
            try:
                self._token = await self._open_session()
            except ClientError as error:
                error.unsent = True
                raise
        return self._token[0]

    async def _open_session(self) -> tuple[str, float]:
        if self._login is None:
            raise ClientError("this request needs a login, and no key was given")
        key, exchange, origin, checkpoint = self._login
        login = Login(exchange, origin, self._clock(), os.urandom(NONCE_BYTES), checkpoint)
        body = encode_signed(login, key.sign(login.message(), 2))
        match await self.json("POST", "/v1/session", body=body, login=False):
            case {"token": str(token), "expires": int(expires)}:
                return token, expires / 1000
        raise Declined("the node's answer is no session")

    async def session(self) -> tuple[str, float]:
        """A token and when it ends: for `khunjerab session` alone."""
        await self._bearer()
        if self._token is None:
            raise AssertionError
        return self._token

    # The exchange

    async def post(self, submissions: Sequence[Submission]) -> list[Receipt | Problem]:
        """A receipt or a problem for each; Unreachable when it is unknown what happened."""
        body = encode_batch(list(submissions))
        try:
            data = await self.request("POST", "/v1/entries", body=body, bytes_max=16 << 20)
        except Declined as declined:
            if len(submissions) == 1 and isinstance(declined.__cause__, Problem) and not declined.unsent:
                return [declined.__cause__]
            raise
        answers = self._read(_decode_answers, data, "receipt")
        if len(answers) != len(submissions):
            raise Unreachable(f"{self.url} gives {len(answers)} answers to {len(submissions)} submissions")
        return answers

    async def deliveries(
        self,
        after: Cursor,
        known: Cursor,
        *,
        wait: int = 0,
        limit: int = limits.PAGE_ENTRIES_MAX,
    ) -> tuple[Part, ...]:
        """One page, unverified."""
        data = await self.request(
            "GET",
            "/v1/deliveries",
            bytes_max=PAGE_BYTES_READ_MAX,
            after=format_cursor(after),
            known=format_cursor(known),
            wait=wait,
            limit=limit,
        )
        return self._read(decode_page, data, "page")

    async def stream(
        self, after: Cursor, known: Cursor, *, credit: int = limits.PAGE_ENTRIES_MAX
    ) -> AsyncGenerator[tuple[Part, ...], None]:
        """Pages as they are pushed, unverified. What came is given back as credit when the next one is asked for.

        Ends only by raising: Declined where the session has ended, which the next call opens anew; Unreachable; or
        UpgradeRefused. Close it (``contextlib.aclosing``) when done.
        """
        params = {"after": format_cursor(after), "known": format_cursor(known)}
        async with self.socket("/v1/deliveries", PAGE_BYTES_READ_MAX, **params) as socket:
            while True:
                if credit:
                    await socket.send_str(format_credit(credit))
                parts = self._read(decode_page, self.message_of(await socket.receive()), "page")
                yield parts
                credit = sum(len(part.items) for part in parts)

    @asynccontextmanager
    async def socket(self, path: str, bytes_max: int, **params: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket at the node, in this session. Raises as ``stream`` does."""
        import aiohttp

        headers = {"Authorization": f"Bearer {await self._bearer()}"}
        opening = self._session().ws_connect(
            self.url + path, headers=headers, params=params, heartbeat=HEARTBEAT_SECONDS, max_msg_size=bytes_max + 1
        )
        try:
            async with opening as socket:
                yield socket
        except aiohttp.WSServerHandshakeError as error:
            raise self._why_not_upgraded(error.status) from None
        except aiohttp.ServerFingerprintMismatch:
            raise self._not_pinned() from None
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
            raise self._unreachable(error) from None

    def _session(self) -> aiohttp.ClientSession:
        """For WebSockets."""
        from clients.sockets import open_session  # imports aiohttp, which takes longer than a command at a prompt

        if self._streams is None:
            self._streams = open_session(self._tls)
        return self._streams

    def message_of(self, message: aiohttp.WSMessage) -> bytes:
        """What a node sent on a WebSocket. Raises why it ended, where it did."""
        if message.type.name != "BINARY":
            raise self._why_ended(message)
        return bytes(message.data)

    def _why_ended(self, message: aiohttp.WSMessage) -> ClientError:
        """What a stream that was ended comes to; a session that ended is opened anew at the next request."""
        code = message.data if message.type.name == "CLOSE" else None
        try:
            error = error_of(problem_of_close(code, str(message.extra)))
        except Malformed as malformed:
            return Unreachable(f"{self.url}: {malformed.detail}", "check the link and the node")
        if isinstance(error, Declined) and error.code == "not-logged-in":
            self._token = None
        return error

    def _why_not_upgraded(self, status: int) -> ClientError:
        if status == 401:  # noqa: PLR2004 - the session ended on the way
            self._token = None
            return Declined(f"{self.url} does not know this session", "log in again", "not-logged-in")
        if status >= 500:  # noqa: PLR2004 - server errors
            return Unreachable(f"{self.url} answers with status {status}", "try again soon")
        return UpgradeRefused(f"{self.url} passes no WebSocket (status {status})", "polling instead")

    async def show(self, promises: Sequence[Promise]) -> list[Word]:
        """Show what receipts are held for, at most a batch: a word of the node for each (SPEC §11.10)."""
        words = (await self.json("POST", "/v1/receipts", body=encode_promises(promises))).get("receipts")
        if not isinstance(words, list) or len(words) != len(promises) or not {*map(str, words)} <= {*Word}:
            raise Unreachable(f"{self.url} does not say of each receipt whether it stands")
        return [Word(word) for word in words]

    async def body(self, sha256: bytes) -> tuple[bytes, bytes | None]:
        """A body and this seat's wrap, unverified."""
        data = await self.request("GET", f"/v1/bodies/{sha256.hex()}", bytes_max=2 << 20)
        return self._read(_decode_body, data, "body")

    def _read(self, decode: Callable[[bytes], T], data: bytes, what: str) -> T:
        """What the node answered. Raises Unreachable for what no node answers: nobody can go on from there."""
        try:
            return decode(data)
        except ProtocolError as error:
            raise Unreachable(f"{self.url} answers what is no {what}: {error.detail}") from error


def _decode_answers(data: bytes) -> list[Receipt | Problem]:
    answers = canonical.decode(data, bytes_max=16 << 20, array_max=limits.PAGE_ENTRIES_MAX)
    if not isinstance(answers, list):
        raise Malformed("answers come in an array")
    return [Receipt.decode(a) if type(a) is bytes else Problem.from_json(str(a).encode()) for a in answers]


def _decode_body(data: bytes) -> tuple[bytes, bytes | None]:
    match canonical.decode(data, bytes_max=2 << 20):
        case [bytes(body), (bytes() | None) as wrap]:
            return body, wrap
    raise Malformed("a body comes as [body, wrap or nil]")


def _declined(status: int, data: bytes) -> ClientError:
    try:
        problem = Problem.from_json(data)
    except Malformed:
        return Unreachable(f"the node answers with status {status} and no problem of ours", "is this a node?")
    return error_of(problem)


def error_of(problem: Problem) -> ClientError:
    """A node's problem as what a person is told; the problem is its cause."""
    if problem.status >= 500:  # noqa: PLR2004 - server errors: whether it happened is unknown
        error: ClientError = Unreachable(f"{problem.code}: {problem.detail}", problem.hint)
    else:
        error = Declined(f"{problem.code}: {problem.detail}", problem.hint, problem.code)
    error.__cause__ = problem
    return error
