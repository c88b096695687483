"""Bulletins from a publisher through a broker to a subscriber, three processes: sealed, signed, verified, opened.

The same cryptography whoever carries them. So many are in flight at a time: each until it is acknowledged and opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.carriers.contract import Arrived, Carrier, Publish, Served
from keys import kem, sealing
from keys.signing import SignatureCheck, signed_message
from protocol.entry import Submission
from protocol.names import new_bulletin_id
from protocol.signing import decode_signatures
from protocol.statements import Bulletin, Kind
from protocol.times import DAY_MS
from tests.support.live import now_ms
from tests.support.world import CONTENT, World, kem_key, kem_seed, label, seed, signing_key

SENDER, READER = "pk-site-security", "cn-embassy"  # of one seat each: two wraps, 4 KB
SECONDS_MAX = 120
Moments = dict[bytes, float]  # a bulletin's id to a moment of the machine's clock


class Plan(NamedTuple):
    """What is to be carried: so many bulletins, so many in flight."""

    world: World
    count: int
    in_flight: int
    suite: int


@dataclass(frozen=True, slots=True)
class Carried:
    """One run: bulletins a second from the first begun to the last opened; seconds for each, in order of sending."""

    rate: float
    latencies: list[float]

    @property
    def p50(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.latencies)


def carry(carrier: Carrier, plan: Plan, folder: Path) -> Carried:
    """Run the broker, the subscriber and the publisher; every bulletin that was begun must be opened."""
    context: Any = multiprocessing.get_context("fork")
    landed, tell = context.Pipe(duplex=False)  # a byte for each that was opened
    with (
        landed,
        tell,
        carrier.serving(folder) as served,
        _process(context, _subscribe, carrier, served, tell.fileno(), plan) as subscriber,
        _process(context, _publish, carrier, served, landed.fileno(), plan) as publisher,
    ):
        for other in (subscriber, publisher):
            assert _hear(other) == "ready"
        publisher.send("go")
        begun: Moments = _hear(publisher)
        opened: Moments = _hear(subscriber)
    assert begun.keys() == opened.keys(), "what was opened is not what was sent"
    seconds = max(opened.values()) - min(begun.values())
    return Carried(plan.count / seconds, [opened[one] - moment for one, moment in begun.items()])


@contextlib.contextmanager
def _process(context: Any, target: Any, *arguments: Any) -> Iterator[Any]:
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.kill()  # a fork has its parent's signal handlers, whatever those are
        process.join()


def _hear(connection: Any) -> Any:
    if not connection.poll(SECONDS_MAX):
        raise TimeoutError("the other end of a run says nothing")
    return connection.recv()


# The publisher


def _publish(told: Any, carrier: Carrier, served: Served, landed: int, plan: Plan) -> None:
    uvloop.run(_publishing(told, carrier, served, landed, plan))


async def _publishing(told: Any, carrier: Carrier, served: Served, landed: int, plan: Plan) -> None:
    sealer, begun = Sealer(plan.world, plan.suite), Moments()
    batch = min(carrier.batch, plan.in_flight)
    left = iter(range(0, plan.count, batch))
    free = asyncio.Semaphore(plan.in_flight // batch)
    opened = 0

    def note_opened() -> None:
        nonlocal opened
        before, opened = opened, opened + len(os.read(landed, 4096))
        for _ in range(opened // batch - before // batch):
            free.release()

    async def work(publish: Publish) -> None:
        for start in left:
            await free.acquire()
            submissions = []
            for _ in range(min(batch, plan.count - start)):
                moment = time.perf_counter()
                id_, submission = sealer.seal()
                begun[id_] = moment
                submissions.append(submission)
            await publish(submissions)

    async with carrier.publishing(served) as publish:
        told.send("ready")
        await asyncio.to_thread(told.recv)
        asyncio.get_running_loop().add_reader(landed, note_opened)
        await asyncio.gather(*(work(publish) for _ in range(plan.in_flight // batch)))
        told.send(begun)
        await asyncio.to_thread(told.recv)  # until it is ended


class Sealer:
    """One seat's bulletins to one other, alike but for their ids."""

    def __init__(self, world: World, suite: int) -> None:
        marked = label("Restricted")
        created = now_ms()
        self._header = world.header(
            SENDER, (READER,), suite=suite, label=marked, created=created, expires=created + DAY_MS
        )
        self._seats, self._key = world.seats(self._header), signing_key(f"{SENDER}/desk")

    def seal(self) -> tuple[bytes, Submission]:
        """A new one, and its id."""
        moment = time.time_ns()
        id_ = new_bulletin_id(moment // 1_000_000, seed(f"carried/{moment}", 10).reveal())
        return id_, sealing.seal(self._header.replace(id=id_), CONTENT, self._seats, self._key)


# The subscriber


def _subscribe(told: Any, carrier: Carrier, served: Served, tell: int, plan: Plan) -> None:
    uvloop.run(_subscribing(told, carrier, served, tell, plan))


async def _subscribing(told: Any, carrier: Carrier, served: Served, tell: int, plan: Plan) -> None:
    opened = Moments()
    async with contextlib.aclosing(carrier.arriving(served)) as arriving:
        await anext(arriving)
        told.send("ready")
        async for group in arriving:
            for one in group:
                opened[verified_and_opened(one, plan.suite)] = time.perf_counter()
                os.write(tell, b".")
            if len(opened) >= plan.count:
                break
    told.send(opened)
    await asyncio.to_thread(told.recv)


def verified_and_opened(one: Arrived, suite: int) -> bytes:
    """What every reader does, whoever brought it: signature, wrap, body. The bulletin's id."""
    bulletin = Bulletin.decode(one.statement)
    (signature,) = decode_signatures(one.signatures)
    message = signed_message(Kind.BULLETIN, one.statement)
    SignatureCheck(signing_key(f"{SENDER}/desk").public, message, signature, suite).verify()
    own = kem_key(f"{READER}/desk/1").key_id
    (stated,) = (wrap.hash for wrap in bulletin.wraps if wrap.kem_key_id == own)
    assert hashlib.sha256(one.wrap).digest() == stated
    assert hashlib.sha256(one.body).digest() == bulletin.body
    wrap = sealing.open_wrap(one.wrap, bulletin.header_bytes, READER, _reader_key(), own)
    sealing.open_body(one.body, bulletin.header_bytes, wrap.content_key)
    return bulletin.header.id


@functools.cache
def _reader_key() -> kem.PrivateKey:
    return kem.PrivateKey(kem_seed(f"{READER}/desk/1"))
