"""What a client takes for an answer over HTTP, and what it does not: scripted servers on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.certificate import certificate_hash, make_certificate
from clients import http
from clients.http import Answer, Connections, HttpError, NotConnected, NotPinned, Request, TooLong
from khunjerab.demo.ports import free_port

OK = b"HTTP/1.1 200 OK\r\n"


class Scripted:
    """Answers each request with the next of ``answers``, whatever it is; keeps what it was sent."""

    def __init__(self, *answers: bytes, ends: bool = False) -> None:
        self.answers, self.ends = list(answers), ends
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""
        self.tasks = set[asyncio.Task[None] | None]()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.tasks.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")), 0)
                self.requests.append(head + await reader.readexactly(length))
                writer.write(self.answers.pop(0))
                if self.ends:
                    break
            else:
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def scripted(script: Scripted, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connections]:
    """Connections to a scripted server, and afterwards none."""
    server = await asyncio.start_server(script.take, "127.0.0.1", 0, ssl=tls)
    script.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    connections = Connections(script.url)
    try:
        yield connections
    finally:
        connections.close()
        server.close()
        await asyncio.gather(*filter(None, script.tasks))


async def asked(*answers: bytes, ends: bool = False, bytes_max: int = 100) -> Answer:
    """What one request comes back with."""
    async with scripted(Scripted(*answers, ends=ends)) as connections:
        return await connections.request(Request("GET", "/", {}, bytes_max=bytes_max, seconds=5))


@pytest.mark.parametrize(
    "answer, ends",
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", False),
        (OK + b"content-length:5\r\nX: a\r\nX: b\r\n\r\nhello", False),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n003;x=y\r\nllo\r\n0\r\nTrailer: t\r\n\r\n", False),
        (OK + b"\r\nhello", True),
        (b"HTTP/1.0 200\r\n\r\nhello", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello", False),
    ],
)
async def test_every_way_to_tell_the_end_of_an_answer_is_read(answer: bytes, ends: bool) -> None:
    assert await asked(answer, ends=ends) == (200, b"hello")


@pytest.mark.parametrize("status", [204, 304])
async def test_some_statuses_have_no_body(status: int) -> None:
    assert await asked(b"HTTP/1.1 %d \r\n\r\n" % status) == (status, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000\r\n\r\n",
        b"HTTP/1.1 +20\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Content-Length: 5_0\r\n\r\nhello",
        OK + b"Content-Length: \xb2\r\n\r\nhello",
        OK + b"Content-Length : 5\r\n\r\nhello",
        OK + b" folded\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Content-Length\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nhe\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        OK + b"X: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    ],
)
async def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(HttpError):
        await asked(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        OK,
        OK + b"Content-Length: 5\r\n\r\nhell",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
async def test_an_answer_that_ends_too_early_is_none(answer: bytes) -> None:
    with pytest.raises((HttpError, ConnectionError)):
        await asked(answer, ends=True)


@pytest.mark.parametrize(
    "answer, ends",
    [
        (OK + b"Content-Length: 101\r\n\r\n", False),
        (OK + b"Content-Length: 999999999999999999\r\n\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"3c\r\n" + b"x" * 60 + b"\r\n3c\r\n" + b"x" * 60, False),
        (OK + b"\r\n" + b"x" * 101, True),
    ],
)
async def test_an_answer_beyond_the_bound_is_not_read(answer: bytes, ends: bool) -> None:
    with pytest.raises(TooLong):
        await asked(answer, ends=ends)


async def test_a_connection_is_used_again_and_again() -> None:
    script = Scripted(*[OK + b"Content-Length: 2\r\n\r\nok"] * 3)
    async with scripted(script) as connections:
        for _ in range(3):
            await connections.request(Request("POST", "/a?b=c", {"X": "y"}, b"body"))
    assert script.connections == 1
    host = script.url.removeprefix("http://").encode()
    assert script.requests[2] == (
        b"POST /a?b=c HTTP/1.1\r\nHost: "
        + host
        + b"\r\nAccept-Encoding: identity\r\nX: y\r\nContent-Length: 4\r\n\r\nbody"
    )


@pytest.mark.parametrize(
    "first, ends",
    [
        (OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (OK + b"Content-Length: 0\r\n\r\n", True),
        (OK + b"Content-Length: -1\r\n\r\n", False),
    ],
)
async def test_a_connection_that_ended_or_went_wrong_is_not_used_again(first: bytes, ends: bool) -> None:
    script = Scripted(first, OK + b"Content-Length: 2\r\n\r\nok", ends=ends)
    async with scripted(script) as connections:
        with contextlib.suppress(HttpError):
            await connections.request(Request("GET", "/", {}))
        while any(connection.is_alive for connection in connections._idle):  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0)  # until the end that the server sent has come
        assert (await connections.request(Request("GET", "/", {}))).body == b"ok"
    assert script.connections == 2


async def test_what_was_said_without_being_asked_answers_nothing() -> None:
    """Bytes behind an answer would be taken for the next one."""
    script = Scripted((OK + b"Content-Length: 1\r\n\r\na") * 2, OK + b"Content-Length: 1\r\n\r\nb")
    async with scripted(script) as connections:
        for body in (b"a", b"b"):
            assert await connections.request(Request("GET", "/", {}, seconds=5)) == (200, body)
    assert script.connections == 2


async def test_a_connection_that_has_waited_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(*[OK + b"Content-Length: 2\r\n\r\nok"] * 2)
    async with scripted(script) as connections:
        await connections.request(Request("GET", "/", {}))
        monkeypatch.setattr(http, "_IDLE_SECONDS", 0)
        await connections.request(Request("GET", "/", {}))
    assert script.connections == 2


async def test_requests_at_once_go_on_connections_of_their_own_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECTIONS_MAX", 2)
    script = Scripted(*[OK + b"Content-Length: 2\r\n\r\nok"] * 6)
    async with scripted(script) as connections:
        answers = await asyncio.gather(*(connections.request(Request("GET", "/", {})) for _ in range(6)))
    assert [answer.body for answer in answers] == [b"ok"] * 6
    assert script.connections == 2


async def test_a_node_that_is_silent_is_away() -> None:
    for silent in (b"", OK + b"Content-Length: 5\r\n\r\nhell", OK + b"Transfer-Encoding: chunked\r\n\r\n"):
        async with scripted(Scripted(silent)) as connections:
            with pytest.raises(TimeoutError):
                await connections.request(Request("GET", "/", {}, seconds=0.05))


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/a b", {}),
        Request("GET", "/", {"Authorization": "Bearer x\r\nHost: elsewhere"}),
        Request("GET", "/ü", {}),
    ],
)
async def test_nothing_is_sent_that_would_be_another_request(request_: Request) -> None:
    script = Scripted(OK + b"Content-Length: 0\r\n\r\n")
    async with scripted(script) as connections:
        with pytest.raises(HttpError):
            await connections.request(request_)
    assert not script.requests


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:80", "http://127.0.0.1:port", "http://[::1"])
async def test_what_is_no_url_is_said_to_be_none(url: str) -> None:
    with pytest.raises(HttpError, match="no URL"):
        await Connections(url).request(Request("GET", "/", {}))


async def test_a_request_that_never_left_is_known_from_one_that_may_have_arrived() -> None:
    """A port where nobody listens, and a node that hangs up when it has the request."""
    with pytest.raises(NotConnected):
        await Connections(f"http://127.0.0.1:{free_port()}").request(Request("POST", "/", {}, b"x"))
    async with scripted(Scripted(b"HTTP/1.1 ")) as connections:
        with pytest.raises((HttpError, OSError)) as lost:
            await connections.request(Request("POST", "/", {}, b"x", seconds=0.05))
    assert not isinstance(lost.value, NotConnected)


async def test_a_waiting_request_ends_when_its_connections_are_closed() -> None:
    async with scripted(Scripted(b"")) as connections:
        waiting = asyncio.create_task(connections.request(Request("GET", "/", {})))
        while not connections._open:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0)
        connections.close()
        with pytest.raises((HttpError, ConnectionError)):
            await waiting


# TLS


def pem(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(make_certificate("https://127.0.0.1"))
    return path


@pytest.mark.parametrize(
    "pinned, is_right",
    [
        ("right", True),
        ("other right", True),
        ("other", False),
        ("other cut", False),
    ],
)
async def test_a_certificate_is_one_of_those_pinned_or_nothing_is_sent(
    tmp_path: Path, pinned: str, is_right: bool
) -> None:
    right = pem(tmp_path, "right.pem")
    hashes = {"right": certificate_hash(right), "other": certificate_hash(pem(tmp_path, "other.pem"))}
    hashes["cut"] = hashes["right"][:-1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(right)
    script = Scripted(OK + b"Content-Length: 2\r\n\r\nok")
    async with scripted(script, context):
        connections = Connections(script.url, [hashes[name] for name in pinned.split()])
        if is_right:
            assert (await connections.request(Request("GET", "/", {}))).body == b"ok"
        else:
            with pytest.raises(NotPinned):
                await connections.request(Request("GET", "/", {}))
        connections.close()
    assert len(script.requests) == is_right


async def test_a_certificate_that_nobody_pins_must_be_vouched_for(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem(tmp_path, "own.pem"))
    script = Scripted(OK + b"Content-Length: 2\r\n\r\nok")
    async with scripted(script, context) as connections:
        with pytest.raises(NotConnected, match="certificate verify failed"):
            await connections.request(Request("GET", "/", {}))
    assert not script.requests
