"""A flood from those who may not even log in: memory stays within 64 MiB of what it was, and posts go through.

The node is a real process, so that what is measured is its own.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.http.exchange import LOGIN_BYTES_MAX
from broker.submitters import SUBMITTERS_PER_SPEAKER_MAX
from protocol.addcheckpoint import AddCheckpoint
from protocol.limits import ADD_CHECKPOINT_BYTES_MAX, MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX
from protocol.note import Note, SignatureLine
from protocol.policy import Policy
from protocol.problem import Problem
from tests.support.caller import MEDIA_TYPE, Caller
from tests.support.checks import check_ledger
from tests.support.live import now_ms, world_of_today
from tests.support.process import NodeProcess, make_home
from tests.support.record import audited
from tests.support.submitting import SubmittingLog, log_signer
from tests.support.world import World, node_keys

GROWTH_BYTES_MAX = 64 * 1024 * 1024
IDLE, SLOW_HEADERS, SLOW_BODIES, JUNK = 1000, 200, 200, 2000
FILES_WANTED = 2 * (IDLE + SLOW_HEADERS + SLOW_BODIES)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def world() -> World:
    return world_of_today(policy=Policy(attempts_per_minute=10**6))


@pytest.fixture
async def node(tmp_path: Path, world: World) -> AsyncIterator[NodeProcess]:
    """With as many open files allowed, here and there, as the flood takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, FILES_WANTED)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    async with NodeProcess(make_home(tmp_path / "node", world)) as node:
        yield node
        for nation in ("PK", "CN"):
            assert (await audited(tmp_path, world, nation, node.url)).findings == ()
    check_ledger(node.home / "ledger.db", world, now=now_ms())


@asynccontextmanager
async def flood(node: NodeProcess, messages: Iterator[bytes]) -> AsyncIterator[list[Connection]]:
    """A connection for each message, which stays open."""
    host, _, port = node.config.listen.rpartition(":")
    connections: list[Connection] = []
    try:
        for message in messages:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(message)
            connections.append((reader, writer))
        yield connections
    finally:
        for _, writer in connections:
            writer.close()


def _slow(path: str, length: int, sent: int, token: str = "") -> bytes:
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\n{bearer}Content-Length: {length}\r\n\r\n"
    return head.encode() + bytes(sent)


async def _post_still_works(node: NodeProcess, caller: Caller) -> None:
    """A login and a bulletin, from somebody new."""
    async with Caller(node.url, caller.world, "pk-liaison/duty") as newcomer:
        await newcomer.log_in()
    assert (await caller.receipt(caller.world.bulletin(created=now_ms()))).index


async def test_a_thousand_idle_connections_and_those_who_never_end(node: NodeProcess, world: World) -> None:
    """Idle ones, half a header, all but the last byte of the largest login: all at once."""
    async with Caller(node.url, world) as caller:
        await caller.log_in()
        await _post_still_works(node, caller)
        before = node.resident_bytes()
        messages = itertools.chain(
            itertools.repeat(b"", IDLE),
            itertools.repeat(b"GET /v1/node HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 4000, SLOW_HEADERS),
            itertools.repeat(_slow("/v1/session", LOGIN_BYTES_MAX, LOGIN_BYTES_MAX - 1), SLOW_BODIES),
        )
        async with flood(node, messages):
            for _ in range(10):
                await _post_still_works(node, caller)
            assert node.resident_bytes() - before < GROWTH_BYTES_MAX
        await _post_still_works(node, caller)


async def test_large_bodies_that_never_end(node: NodeProcess, world: World) -> None:
    """Strangers' are not read at all; one agency has not the memory of all others."""
    async with Caller(node.url, world) as caller:
        await caller.log_in()
        await _post_still_works(node, caller)
        async with Caller(node.url, world, "cn-liaison/desk") as other:
            token = (await other.log_in()).token
        before = node.resident_bytes()
        messages = itertools.chain(
            itertools.repeat(_slow("/v1/entries", REQUEST_BYTES_MAX, 500_000), 20),
            itertools.repeat(_slow("/v1/entries", REQUEST_BYTES_MAX, REQUEST_BYTES_MAX - 1, token), 20),
        )
        async with flood(node, messages):
            for _ in range(10):
                await _post_still_works(node, caller)
            assert node.resident_bytes() - before < GROWTH_BYTES_MAX
        await _post_still_works(node, caller)


async def test_junk(node: NodeProcess, world: World) -> None:
    """Refused, each with its code, and forgotten."""
    dice = random.Random(4)
    async with Caller(node.url, world) as caller:
        await caller.log_in()
        await _post_still_works(node, caller)
        before = node.resident_bytes()

        async def throw() -> None:
            for _ in range(JUNK // 20):
                head = dice.choice([b"", b"\x91\xc6", b"\x95\xc4\x01\x01", b"\x91\xdd\xff\xff\xff\xff", b"\x91" * 1000])
                path, junk = dice.choice(["/v1/session", "/v1/entries"]), head + dice.randbytes(dice.randrange(4000))
                answer = await caller.ask("POST", path, junk)
                assert answer.problem().code == "malformed"

        async with asyncio.timeout(300):
            await asyncio.gather(*(throw() for _ in range(20)))
        assert node.resident_bytes() - before < GROWTH_BYTES_MAX
        await _post_still_works(node, caller)
        (refused,) = await caller.post(world.bulletin(created=now_ms() + 10**9))
        assert isinstance(refused, Problem)
    assert "Traceback" not in node.words()


async def test_strangers_at_add_checkpoint(node: NodeProcess, world: World) -> None:
    """Junk, too much of it, unknown logs, forged lines, what a log did sign, over and over. SPEC 9.7.6."""
    peer, unknown = SubmittingLog.of(node_keys("CN").log), SubmittingLog.of(log_signer("xx.example/ledger"))
    forged = tuple(SignatureLine(line.name, line.key_id, line.signature[::-1]) for line in peer.note(9).lines)
    bodies = (
        bytes(ADD_CHECKPOINT_BYTES_MAX),
        bytes(ADD_CHECKPOINT_BYTES_MAX + 1),
        unknown.request(0, 9),
        AddCheckpoint(0, (), Note(peer.note(9).text, forged)).encode(),
        peer.request(0, 9),
    )
    async with Caller(node.url, world) as caller:
        await caller.log_in()
        await _post_still_works(node, caller)
        before = node.resident_bytes()

        async def throw(body: bytes) -> set[int]:
            return {(await caller.ask("POST", "/add-checkpoint", body, token="")).status for _ in range(JUNK // 20)}

        async with asyncio.timeout(300):
            flood = asyncio.gather(*(throw(body) for body in bodies * 4))
            await _post_still_works(node, caller)
            answers = set[int]().union(*await flood)
        assert answers <= {400, 403, 404, 413, 429, 503}
        assert node.resident_bytes() - before < GROWTH_BYTES_MAX
        await _post_still_works(node, caller)
    assert "Traceback" not in node.words()


async def test_streams_with_a_message_that_never_ends(node: NodeProcess, world: World) -> None:
    """Every agency opens as many as it may, and sends all but the last byte of the longest message on each."""
    upgrade = (
        "GET /v1/entries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2h1bmplcmFiIHBhc3MgIQ==\r\n\r\n"
    )
    frame = bytes([0x82, 0x80 | 127]) + MESSAGE_BYTES_MAX.to_bytes(8, "big") + bytes(4 + MESSAGE_BYTES_MAX - 1)
    async with Caller(node.url, world) as caller:
        await caller.log_in()
        await _post_still_works(node, caller)
        tokens = []
        for agency in world.bundles:
            async with Caller(node.url, world, f"{agency}/desk") as member:
                tokens.append((await member.log_in()).token)
        before = node.resident_bytes()
        openings = [upgrade.format(token).encode() for token in tokens for _ in range(SUBMITTERS_PER_SPEAKER_MAX)]
        async with flood(node, iter(openings)) as connections:
            for reader, writer in connections:
                assert b" 101 " in await reader.readuntil(b"\r\n")
                writer.write(frame)
                await writer.drain()
            for _ in range(10):
                await _post_still_works(node, caller)
            assert node.resident_bytes() - before < GROWTH_BYTES_MAX
        await _post_still_works(node, caller)
