"""A link that a test holds in its hand: a TCP proxy that can be cut, silent, slow, or lose what is on its way.

Whoever reaches a node through it notices nothing, until something is done to it. What is drawn is drawn from a seed, so
that a failure repeats as far as the order of the world allows. Of what is asked at ``/add-checkpoint`` a copy is kept,
with what was answered: a test sends it again, and a checker sees every cosignature that ever came back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from protocol.addcheckpoint import AddCheckpoint, decode_lines
from protocol.checkpoint import Checkpoint
from protocol.note import SignatureLine

_CHUNK_BYTES = 32 * 1024
_ASKS = b"POST /add-checkpoint "
_Note = Callable[[bytes], Awaitable[None]]
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: an RST, and nothing of what waits


@dataclass(frozen=True)
class Asked:
    """A request for a cosignature as it went over the link, and the whole answer; empty where none came back."""

    request: bytes
    answer: bytes

    @property
    def status(self) -> int:
        """Of the answer; 0 where there is none."""
        return int(self.answer[9:12]) if self.answer else 0

    @property
    def submission(self) -> AddCheckpoint:
        """What was asked."""
        return AddCheckpoint.parse(_body(self.request))

    def cosignatures(self) -> tuple[Checkpoint, tuple[SignatureLine, ...]]:
        """What was let out, and over which checkpoint."""
        lines = decode_lines(_body(self.answer)) if self.status == 200 else ()
        return self.submission.checkpoint, lines


class Relay:
    """The one way to ``127.0.0.1:target``. ``async with``; what a test sets holds from then on."""

    def __init__(self, target: int, seed: int) -> None:
        self.target = target
        self.dice = random.Random(seed)
        self.port = 0
        self.delay_s = 0.0
        self.bytes_per_second = 0  # 0: as fast as it goes
        self.doomed = 0.0  # of new connections, this part is reset at a byte that is drawn
        self.carries = 0  # bytes, after which each new connection is reset; 0: any number
        self.loss = 0.0  # of what is read at once, this part is cut short, and the connection with it
        self.connections = 0  # that were ever taken
        self.asked: list[Asked] = []
        self.before: Callable[[bytes], Awaitable[None]] | None = None  # called with each request for a cosignature
        self._state = "open"
        self._passes = asyncio.Event()
        self._passes.set()
        self._server: asyncio.Server | None = None
        self._live: dict[asyncio.Task[None], _Life] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._end_all()

    @property
    def url(self) -> str:
        """For ``peers.toml``."""
        return f"http://127.0.0.1:{self.port}"

    # What a test does to it

    async def cut(self) -> None:
        """Every connection is reset, and so is every new one."""
        self._state = "cut"
        await self._end_all()

    def silence(self) -> None:
        """Half-open: connections stand, new ones are taken, nothing passes either way, and nobody is told."""
        self._state = "silent"
        self._passes.clear()

    def open(self) -> None:
        """As if nothing had been. What stood silent is lost, and nobody is told: each end has to find out by itself."""
        if self._state == "silent":
            for life in self._live.values():
                life.is_lost = True
        self._state = "open"
        self._passes.set()

    async def replay(self, request: bytes) -> bytes:
        """Ask the node again what was asked once; the whole answer, which is kept like any other."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            writer.write(request)
            answer = b""
            while not (whole := _first_message(answer)):
                piece = await reader.read(_CHUNK_BYTES)
                if not piece:
                    raise ConnectionError(f"no whole answer: {answer[:100]!r}")
                answer += piece
        finally:
            writer.close()
        self.asked.append(Asked(request, whole))
        return whole

    # What it does

    async def _end_all(self) -> None:
        tasks = set(self._live)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        life = self._draw_life()
        task = asyncio.create_task(self._serve(reader, writer, life), name="link")
        self._live[task] = life
        task.add_done_callback(self._live.pop)
        task.add_done_callback(lambda _: _reset(writer))  # also where it was cancelled before it began

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, life: _Life) -> None:
        writers = [writer]
        try:
            if self._state == "cut":
                return
            await self._let_pass(life)
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(back)
            record = _Conversation(self)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, back, life, record.said))
                pumps.create_task(self._pump(there, writer, life, record.answered))
        except* (OSError, _Ended):
            pass
        finally:
            for one in writers:
                _reset(one)

    def _draw_life(self) -> _Life:
        if self.carries or self.dice.random() >= self.doomed:
            return _Life(self.carries or None)
        return _Life(int(2 ** self.dice.uniform(0, 18)))

    async def _let_pass(self, life: _Life) -> None:
        await self._passes.wait()
        if life.is_lost:
            await asyncio.Event().wait()  # until it is ended from outside

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, life: _Life, note: _Note) -> None:
        while piece := await source.read(_CHUNK_BYTES):
            await self._let_pass(life)
            if self.delay_s or self.bytes_per_second:
                await asyncio.sleep(self.delay_s + len(piece) / (self.bytes_per_second or 1e12))
            if self.loss and self.dice.random() < self.loss:
                life.left = self.dice.randrange(len(piece))
            arrives = life.take(piece)
            await note(arrives)
            sink.write(arrives)
            await sink.drain()
            if life.left == 0:
                break
        await self._let_pass(life)
        raise _Ended


@dataclass
class _Life:
    """Of one connection."""

    left: int | None  # bytes that it still carries, both ways together; None for any number
    is_lost: bool = False

    def take(self, piece: bytes) -> bytes:
        """What of a piece arrives."""
        if self.left is not None:
            piece = piece[: self.left]
            self.left -= len(piece)
        return piece


class _Ended(Exception):
    """One side has closed, or the connection was doomed: the other side is reset too."""


class _Conversation:
    """What goes over one connection, if it is about cosignatures: whole requests, and whole answers in their order."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._said, self._answered = b"", b""
        self._requests: list[bytes] = []
        self._is_asking = True

    async def said(self, piece: bytes) -> None:
        """By who asks."""
        if not self._is_asking:
            return
        self._said += piece
        self._is_asking = self._said.startswith(_ASKS[: len(self._said)])
        while self._is_asking and (whole := _first_message(self._said)):
            self._said = self._said[len(whole) :]
            self._requests.append(whole)
            if self._relay.before is not None:
                await self._relay.before(whole)

    async def answered(self, piece: bytes) -> None:
        """By the node."""
        if not self._is_asking:
            return
        self._answered += piece
        while self._requests and (whole := _first_message(self._answered)):
            self._answered = self._answered[len(whole) :]
            self._relay.asked.append(Asked(self._requests.pop(0), whole))


def _first_message(data: bytes) -> bytes:
    """The first whole HTTP/1.1 message; empty where it is not whole. Both our ends say how long a body is."""
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        return b""
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return head + separator + rest[:length] if len(rest) >= length else b""


def _body(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[2]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Like a cable that is pulled by a firewall: an RST, at once."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
