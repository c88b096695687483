"""A node as the witness of its peer's ledger, over HTTP: the transcript of C2SP tlog-witness, and strangers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker.http import server
from broker.node import Node
from broker.witness.store import digest_of
from broker.witness.witness import holds_nothing_to_compare
from keys.lognote import open_checkpoint
from khunjerab.demo.ports import free_port
from khunjerab.reach import reach_with
from protocol import limits
from protocol.addcheckpoint import AddCheckpoint, decode_lines
from protocol.note import Note, SignatureLine
from tests.integration.test_admin import admin, metrics
from tests.support.caller import Answer, Caller
from tests.support.live import live_node, world_of_today
from tests.support.submitting import SubmittingLog, log_signer
from tests.support.world import ORIGINS, node_keys

CN = SubmittingLog.of(node_keys("CN").log)
PATH = f"/mirror/{digest_of(ORIGINS['CN']).hex()}/checkpoint"
STRANGERS = 400


@dataclass
class Site:
    """The node of PK, whose mirror of CN's ledger agrees to all, and somebody who asks it."""

    node: Node
    caller: Caller

    async def submit(self, body: object, **headers: str) -> Answer:
        return await self.caller.ask("POST", "/add-checkpoint", body, **headers)


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    world = world_of_today()
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
        assert node.witness is not None
        node.witness.holds = holds_nothing_to_compare
        yield Site(node, caller)


async def test_the_sequence_of_requests_of_c2sp(site: Site) -> None:
    """Statuses, bodies and types as a log sees them, in the order of the text. SPEC 9.7.1, 9.7.2, 9.7.5."""
    assert (await site.caller.ask("GET", PATH)).problem().code == "not-found"
    transcript = [
        (SubmittingLog.of(log_signer("xx.example/ledger")).request(0, 5), 404, "text/plain; charset=utf-8", None),
        (
            AddCheckpoint(0, (), Note(CN.note(5).text, CN.note(6).lines)).encode(),
            403,
            "text/plain; charset=utf-8",
            None,
        ),
        (CN.request(0, 5).replace(b"old 0", b"old 6"), 400, "text/plain; charset=utf-8", None),
        (CN.request(2, 5), 409, "text/x.tlog.size", b"0\n"),
        (CN.request(0, 5), 200, "text/plain; charset=utf-8", None),
        (CN.request(0, 8), 409, "text/x.tlog.size", b"5\n"),
        (CN.request(5, 8), 200, "text/plain; charset=utf-8", None),
        (CN.request(8, 8), 200, "text/plain; charset=utf-8", None),
        (CN.request(5, 8), 409, "text/x.tlog.size", b"8\n"),
        (CN.forked(7).request(8, 8), 422, "text/plain; charset=utf-8", None),
        (CN.forked(7).request(8, 9), 422, "text/plain; charset=utf-8", None),
    ]
    lines: tuple[SignatureLine, ...] = ()
    for body, status, media_type, data in transcript:
        answer = await site.submit(body)
        assert (answer.status, answer.headers["Content-Type"]) == (status, media_type), answer.data
        assert data is None or answer.data == data
        if status == 200:
            lines = decode_lines(answer.data)
    answer = await site.caller.ask("GET", PATH)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    opened = open_checkpoint(answer.data.decode(), CN.signer.vkeys(), node_keys("PK").cosigner.vkeys())
    assert (opened.checkpoint, len(opened.cosigned)) == (CN.checkpoint(8), 2)
    assert Note.parse(answer.data.decode()).lines[2:] == lines


async def test_a_node_cosigns_its_peers_and_nobody_else(site: Site) -> None:
    """Not its own ledger: it would witness itself. SPEC 9.7.2."""
    assert (await site.submit(SubmittingLog.of(node_keys("PK").log).request(0, 5))).status == 404
    assert (await site.submit(CN.request(0, 5))).status == 200


async def test_a_node_without_a_mirror_cosigns_nothing(tmp_path: Path) -> None:
    """It says that it holds every entry: until it does, 503. SPEC 9.7.2."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
        assert (await caller.ask("POST", "/add-checkpoint", CN.request(0, 5))).status == 503
        assert (await caller.ask("GET", PATH)).problem().code == "not-found"


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/octet-stream", "text/plain; charset=utf-8"])
async def test_any_media_type_will_do(site: Site, media_type: str) -> None:
    """C2SP names none. SPEC 9.7.1."""
    assert (await site.submit(CN.request(0, 5), Content_Type=media_type)).status == 200


async def test_what_is_too_long_or_compressed_is_refused_unread(site: Site) -> None:
    """SPEC 9.7.1."""
    large = bytes(limits.ADD_CHECKPOINT_BYTES_MAX + 1)
    assert (await site.submit(large)).problem().code == "too-large"
    packed = await site.submit(CN.request(0, 5), Content_Encoding="gzip")
    assert packed.problem().code == "unsupported-media-type"


async def test_a_flood_of_strangers_keeps_no_peer_waiting(site: Site) -> None:
    """Junk, unknown logs, forged lines and repeats, many at a time: the peer is cosigned, nothing of theirs is kept.

    SPEC 9.7.6.
    """
    forged = tuple(SignatureLine(line.name, line.key_id, line.signature[::-1]) for line in CN.note(9).lines)
    unknown = SubmittingLog.of(log_signer("xx.example/ledger")).request(0, 9)
    bodies = (b"junk" * 9_000, unknown, AddCheckpoint(0, (), Note(CN.note(9).text, forged)).encode())

    async def stranger(number: int) -> int:
        return (await site.submit(bodies[number % len(bodies)])).status

    flood = [asyncio.create_task(stranger(number)) for number in range(STRANGERS)]
    old = 0
    for size in range(1, 9):
        statuses = [(await site.submit(CN.request(old, size))).status]
        while statuses[-1] == 429:
            statuses.append((await site.submit(CN.request(old, size))).status)
        assert statuses[-1] == 200
        old = size
    assert {*await asyncio.gather(*flood)} <= {400, 403, 404, 429}
    assert site.node.witness is not None
    (kept,) = site.node.witness.store.all()
    assert (kept.origin, kept.size) == (ORIGINS["CN"], 8)


async def test_metrics_and_readiness_tell_what_is_cosigned(site: Site) -> None:
    """By status, and by origin."""
    await site.submit(CN.request(0, 5))
    await site.submit(CN.request(0, 5))
    async with admin(site.node) as url:
        told = await metrics(url)
    assert told["khunjerab_witness_answers_total200"] == told["khunjerab_witness_answers_total409"] == 1
    assert told[f"khunjerab_witness_size{ORIGINS['CN']}"] == 5
    (cosigned,) = site.node.state()["cosigned"]
    assert (cosigned["origin"], cosigned["size"]) == (ORIGINS["CN"], 5)


async def test_a_node_that_has_lost_what_it_cosigned_cosigns_nothing(tmp_path: Path) -> None:
    """As after a restore: an empty store would take any history. SPEC 9.7.2."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
        reach = reach_with(node.keys.receipt, world.pin)
        forgetful = Node(node.config, node.keys, node.storage, node.clock, home=tmp_path, reach=reach)
        listen = f"127.0.0.1:{free_port()}"
        runner = await server.run_application(server.application(forgetful), listen, None)
        try:
            caller.url = f"http://{listen}"
            answer = await caller.ask("POST", "/add-checkpoint", CN.request(0, 5))
            assert (answer.status, b"lost what it cosigned" in answer.data) == (503, True)
            assert (await caller.ask("GET", PATH)).problem().code == "not-found"
        finally:
            await runner.cleanup()
