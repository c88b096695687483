"""HTTP/1.1 as a client needs it of one node: a request, and an answer of bounded length, on connections that are kept.

What an answer may look like is RFC 9112 without its leniencies: its end is told by one length, by chunks, or by the end
of the connection. No redirects, no cookies, no compression: whatever is not the answer that was asked for is the
caller's to refuse. Nothing is sent before a certificate was found to be one of those that the directory lists.

Streams go by aiohttp (``clients/transport.py``), which takes longer to import than all that a command at a prompt does.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import ssl
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
CONNECT_SECONDS, ANSWER_SECONDS = 5, 30
CONNECTIONS_MAX = 100  # a request beyond them waits for its turn
_IDLE_SECONDS = 15  # the node may close a connection that has waited longer just when it is used again
_BYTES_A_SECOND_LEAST = 4096  # a link that is slower than that is no link
_HEAD_BYTES_MAX = 64 * 1024
_READ_BYTES = 256 * 1024
_INTERIM_MAX = 8  # answers that only announce another
_TRAILERS_MAX = 64
_NO_BODY = frozenset({204, 304})
_HEX = frozenset(b"0123456789abcdefABCDEF")


class HttpError(Exception):
    """What came is no HTTP, or the connection ended before it was whole."""


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
            raise HttpError("this is no URL of a node") from None
        tls = tls_context(pinned=bool(self._pins)) if parts.scheme == "https" else None
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls, limit=_HEAD_BYTES_MAX)
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
        self._seconds = 0.0
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
        self._seconds = request.seconds
        body = request.body or b""
        self._writer.write(self._head(request) + body)
        try:
            async with asyncio.timeout(request.seconds + len(body) / _BYTES_A_SECOND_LEAST):
                status, headers = await self._answered()
            data = await self._body(status, headers, request.bytes_max)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            ended = isinstance(error, asyncio.IncompleteReadError)
            raise HttpError("the connection ended" if ended else "a line is too long") from None
        self._used = time.monotonic()
        return Answer(status, data)

    def _head(self, request: Request) -> bytes:
        headers = {"Host": self._host, "Accept-Encoding": "identity", **request.headers}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        lines = [f"{request.method} {self._prefix}{request.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if lines[0].count(" ") != 2 or not all(line.isascii() and line.isprintable() for line in lines):  # noqa: PLR2004
            raise HttpError("the URL, or the session's token, cannot stand in a request")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def _answered(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the final answer."""
        for _ in range(_INTERIM_MAX):
            status, is_kept, headers = _parse_head(await self._reader.readuntil(b"\r\n\r\n"))
            if status >= 200:  # noqa: PLR2004 - what is below announces another
                self.is_kept = is_kept and not self._writer.transport.get_write_buffer_size()
                return status, headers
        raise HttpError("it announces answers without end")

    async def _body(self, status: int, headers: dict[str, str], bytes_max: int) -> bytes:
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if status in _NO_BODY:
            return b""
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise HttpError("it does not say where its answer ends")
            return await self._chunks(bytes_max)
        if length is None:
            self.is_kept = False
            return await self._until_end(bytes_max)
        if not (length.isascii() and length.isdigit()) or len(length) > 18:  # noqa: PLR2004 - more is no length
            raise HttpError("its length is no number")
        if int(length) > bytes_max:
            raise TooLong
        return await self._exactly(int(length))

    async def _chunks(self, bytes_max: int) -> bytes:
        parts, room = [], bytes_max
        while size := await self._chunk_size():
            room -= size
            if room < 0:
                raise TooLong
            parts.append(await self._exactly(size))
            if await self._patiently(self._reader.readexactly(2)) != b"\r\n":
                raise HttpError("a chunk is longer than it says")
        for _ in range(_TRAILERS_MAX):
            if await self._patiently(self._reader.readuntil(b"\r\n")) == b"\r\n":
                return b"".join(parts)
        raise HttpError("its trailers have no end")

    async def _chunk_size(self) -> int:
        line = await self._patiently(self._reader.readuntil(b"\r\n"))
        digits = line[:-2].partition(b";")[0].rstrip(b" \t")
        if not 0 < len(digits) <= 8 or not _HEX.issuperset(digits):  # noqa: PLR2004 - more is longer than anything
            raise HttpError("the size of a chunk is no number")
        return int(digits, 16)

    async def _until_end(self, bytes_max: int) -> bytes:
        parts, room = [], bytes_max
        while part := await self._patiently(self._reader.read(_READ_BYTES)):
            room -= len(part)
            if room < 0:
                raise TooLong
            parts.append(part)
        return b"".join(parts)

    async def _exactly(self, length: int) -> bytes:
        """So many bytes; nothing is allocated before it has come."""
        parts = []
        while length:
            part = await self._patiently(self._reader.read(min(length, _READ_BYTES)))
            if not part:
                raise HttpError("the connection ended within an answer")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    async def _patiently(self, reading: Awaitable[T]) -> T:
        async with asyncio.timeout(self._seconds):
            return await reading


def _parse_head(data: bytes) -> tuple[int, bool, dict[str, str]]:
    """Status, whether the connection is kept, and headers by their names in lower case."""
    first, *lines = data[:-4].decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    digits = rest[:3]
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not _is_number(digits) or rest[3:4] not in {"", " "}:
        raise HttpError("this is no HTTP/1.1")
    headers = dict[str, str]()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\n" in line or "\r" in line:
            raise HttpError("a header of its answer is none")
        name = name.lower()
        if name in headers and name in {"content-length", "transfer-encoding"}:
            raise HttpError("it tells the end of its answer twice")
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    options = [option.strip().lower() for option in headers.get("connection", "").split(",")]
    return int(digits), version == "HTTP/1.1" and "close" not in options, headers


def _is_number(digits: str) -> bool:
    return len(digits) == 3 and digits.isascii() and digits.isdigit()  # noqa: PLR2004 - a status
