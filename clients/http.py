"""HTTP/1.1 as a client needs it of one node: a request, and an answer of bounded length, on connections that are kept.

h11 reads and writes it (RFC 9112); here are the sockets, the bounds and the patience. No redirects, no cookies, no
compression: whatever is not the answer that was asked for is the caller's to refuse. Nothing is sent before a
certificate was found to be one of those that the directory lists.

Streams go by aiohttp (``clients/transport.py``), which takes longer to import than all that a command at a prompt does.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import h11

CONNECT_SECONDS, ANSWER_SECONDS = 5, 30
CONNECTIONS_MAX = 100  # a request beyond them waits for its turn
_IDLE_SECONDS = 15  # the node may close a connection that has waited longer just when it is used again
_BYTES_A_SECOND_LEAST = 4096  # a link that is slower than that is no link
_HEAD_BYTES_MAX = 64 * 1024
_READ_BYTES = 256 * 1024
_INTERIM_MAX = 8  # answers that only announce another


class HttpError(Exception):
    """What came is no HTTP, or the connection ended before it was whole."""


class NotConnected(HttpError):
    """There is no connection, so that nothing was sent."""


class TooLong(Exception):
    """An answer beyond what the caller reads."""


class NotPinned(Exception):
    """Another certificate than those that were pinned: somebody else answers there."""


class Answer(NamedTuple):
    """What came back, whatever its status."""

    status: int
    body: bytes


class Request(NamedTuple):
    """``seconds`` is for how long the node may be silent."""

    method: str
    target: str  # path and query
    headers: Mapping[str, str]
    body: bytes | None = None
    bytes_max: int = 1 << 20
    seconds: float = ANSWER_SECONDS


class HasCertificate(Protocol):
    """What a TLS connection is asked for here."""

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        """The certificate that was shown, in DER."""


def is_pinned(tls: HasCertificate | None, digests: Sequence[bytes]) -> bool:
    """Whether a certificate's SHA-256 is one that the directory lists: of up to two, as they are rotated."""
    shown = tls.getpeercert(binary_form=True) if tls is not None else None
    return shown is not None and any(hmac.compare_digest(hashlib.sha256(shown).digest(), one) for one in digests)


@functools.cache
def tls_context(*, pinned: bool) -> ssl.SSLContext:
    """Where certificates are pinned nobody else vouches for them; else the system's authorities do."""
    if not pinned:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # ``is_pinned`` is asked after the handshake, before a byte is sent
    return context


class Connections:
    """To one node. ``request`` raises HttpError, TooLong, NotPinned, OSError and TimeoutError."""

    def __init__(self, url: str, pins: Sequence[bytes] = ()) -> None:
        self._url, self._pins = url, pins
        self._few = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()

    async def request(self, request: Request) -> Answer:
        """The node's answer. A connection on which anything went wrong is not used again."""
        async with self._few:
            connection = self._waiting() or await self._connect()
            try:
                answer = await connection.exchange(request)
            except BaseException:
                self._drop(connection)
                raise
            if connection.is_kept:
                self._idle.append(connection)
            else:
                self._drop(connection)
            return answer

    def close(self) -> None:
        """End every connection, also one that is waited at."""
        for connection in list(self._open):
            self._drop(connection)
        self._idle.clear()

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def _waiting(self) -> Connection | None:
        """The one used last, as it is the likeliest to be alive."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive:
                return connection
            self._drop(connection)
        return None

    async def _connect(self) -> Connection:
        try:
            parts = urlsplit(self._url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except (ValueError, KeyError):
            raise NotConnected("this is no URL of a node") from None
        tls = tls_context(pinned=bool(self._pins)) if parts.scheme == "https" else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls, limit=_HEAD_BYTES_MAX)
        except OSError as error:  # TimeoutError and ssl.SSLError are such
            raise NotConnected(str(error) or type(error).__name__) from None
        connection = Connection(reader, writer, parts.netloc.rpartition("@")[2], parts.path)
        if tls is not None and self._pins and not is_pinned(writer.get_extra_info("ssl_object"), self._pins):
            connection.close()
            raise NotPinned
        self._open.add(connection)
        return connection


class Connection:
    """One connection, for one request after the other. ``is_kept`` says whether another may follow."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, prefix: str) -> None:
        self._reader, self._writer = reader, writer
        self._host, self._prefix = host, prefix
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self._used = time.monotonic()
        self.is_kept = True

    @property
    def is_alive(self) -> bool:
        """Whether it may be used again, as far as is known here."""
        fresh = time.monotonic() - self._used < _IDLE_SECONDS
        return fresh and not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        """At once: whoever reads or writes gets an error."""
        self._writer.transport.abort()

    async def exchange(self, request: Request) -> Answer:
        """Send a request, read its answer."""
        try:
            sent = self._encoded(request)
            self._writer.write(sent)
            async with asyncio.timeout(request.seconds + len(sent) / _BYTES_A_SECOND_LEAST):
                head = await self._head()
            if int(dict(head.headers).get(b"content-length", b"0")) > request.bytes_max:
                raise TooLong
            data = await self._body(request.bytes_max, request.seconds)
            self._end()
        except h11.ProtocolError as error:
            raise HttpError(str(error)) from None
        return Answer(head.status_code, data)

    def _encoded(self, request: Request) -> bytes:
        headers = {"Host": self._host, "Accept-Encoding": "identity", **request.headers}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        target = self._prefix + request.target
        try:
            head = h11.Request(method=request.method, target=target, headers=list(headers.items()))
        except UnicodeEncodeError:
            raise HttpError("the URL, or the session's token, cannot stand in a request") from None
        body = h11.Data(request.body or b"")
        return b"".join(self._http.send(event) or b"" for event in (head, body, h11.EndOfMessage()))

    async def _head(self) -> h11.Response:
        """Of the final answer."""
        for _ in range(_INTERIM_MAX):
            event = await self._event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                break
        raise HttpError("this is no answer, or it is announced without end")

    async def _body(self, bytes_max: int, seconds: float) -> bytes:
        parts: list[bytes] = []
        room = bytes_max
        while True:
            async with asyncio.timeout(seconds):
                event = await self._event()
            if not isinstance(event, h11.Data):
                return b"".join(parts)
            room -= len(event.data)
            if room < 0:
                raise TooLong
            parts.append(bytes(event.data))

    async def _event(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
            raise HttpError("the connection ended")
        return event

    def _end(self) -> None:
        """Be ready for the next request, where both sides are."""
        self._used = time.monotonic()
        ready = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        said_more = bool(self._http.trailing_data[0])  # which would be taken for the answer to the next
        self.is_kept = ready and not said_more and not self._writer.transport.get_write_buffer_size()
        if self.is_kept:
            self._http.start_next_cycle()
