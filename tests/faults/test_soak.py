"""`make soak`: a node under steady work for an hour, or KHUNJERAB_SOAK_SECONDS; its memory stays flat."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clients.errors import ClientError
from clients.transport import Wire
from protocol.policy import Policy
from protocol.treehead import Receipt
from tests.support.checks import check_ledger
from tests.support.live import now_ms, world_of_today
from tests.support.process import NodeProcess, make_home
from tests.support.world import ORIGINS, World, signing_key

ORIGIN = ORIGINS["PK"]
SECONDS = float(os.environ.get("KHUNJERAB_SOAK_SECONDS", "3600"))
GROWTH_BYTES_MAX = 32 * 1024 * 1024  # in the second half: by then what is kept for speed is full
POSTS_PER_SECOND = 20
SAMPLES = 200


@dataclass
class Work:
    """What is done at once, over and over, until the time is up."""

    node: NodeProcess
    world: World
    ends: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    receipts: dict[bytes, int] = field(default_factory=dict)  # by statement
    streamed: set[int] = field(default_factory=set)

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.ends

    def wire(self, name: str) -> Wire:
        """As whoever is called so."""
        wire = Wire(self.node.url)
        wire.log_in_as(signing_key(name), self.world.pin, ORIGIN)
        return wire

    async def post(self) -> None:
        """New bulletins, and some of them twice."""
        async with self.wire("pk-liaison/desk") as wire:
            while not self.over:
                began = time.monotonic()
                batch = [self.world.bulletin(created=now_ms()) for _ in range(POSTS_PER_SECOND)]
                for submission, answer in zip(batch, await wire.post(batch), strict=True):
                    assert isinstance(answer, Receipt), answer
                    self.receipts[submission.statement] = answer.index
                (again,) = await wire.post(batch[:1])
                assert isinstance(again, Receipt)
                assert again.index == self.receipts[batch[0].statement]
                await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))

    async def stream(self) -> None:
        """A reader who never leaves, but when its session ends."""
        after, known = 0, 0
        async with self.wire("cn-liaison/desk") as wire:
            while not self.over:
                with contextlib.suppress(ClientError):
                    async with contextlib.aclosing(wire.stream({ORIGIN: after}, {ORIGIN: known})) as parts:
                        async for (part,) in parts:
                            self.streamed.update(item.index for item in part.items)
                            after, known = part.next, part.head.size

    async def poll(self) -> None:
        """A reader who comes and goes, and begins again each time."""
        while not self.over:
            async with self.wire("cn-liaison/duty") as wire:
                after = 0
                for _ in range(20):
                    (part,) = await wire.deliveries({ORIGIN: after}, {}, wait=1)
                    after = part.next

    async def audit(self) -> None:
        """One who reads everything, and asks for what there is not."""
        async with self.wire("pk-auditor/desk") as wire:
            while not self.over:
                (part,) = await wire.deliveries({ORIGIN: 0}, {}, limit=256)
                await wire.request("GET", "/checkpoint", login=False)
                with contextlib.suppress(ClientError):
                    await wire.request("GET", f"/tile/entries/{part.head.size:03d}", bytes_max=32 << 20)
                await asyncio.sleep(0.5)

    async def measure(self, samples: list[int]) -> None:
        """The node's resident memory, all the time."""
        while not self.over:
            samples.append(self.node.resident_bytes())
            await asyncio.sleep(SECONDS / SAMPLES)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_memory_stays_flat(tmp_path: Path) -> None:
    assert os.environ.get("KHUNJERAB_SOAK") == "1", "make soak"
    world = world_of_today(policy=Policy(attempts_per_minute=10**9, bulletins_per_hour=10**9))
    samples: list[int] = []
    async with NodeProcess(make_home(tmp_path / "node", world)) as node:
        work = Work(node, world)
        tasks: list[Callable[[], Awaitable[None]]] = [work.post, work.poll, work.poll, work.audit]
        streams = [asyncio.create_task(work.stream()) for _ in range(4)]
        await asyncio.gather(work.measure(samples), *(task() for task in tasks))
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        half = len(samples) // 2
        grown = max(samples[-len(samples) // 10 :]) - max(samples[half - len(samples) // 10 : half])
        assert grown < GROWTH_BYTES_MAX, [size >> 20 for size in samples[:: len(samples) // 20]]
        assert await node.stop() == 0
        assert "Traceback" not in node.words()
    report = check_ledger(node.home / "ledger.db", world, now=now_ms())
    assert report.entries == len(world.founding()) + len(work.receipts)
    assert work.streamed >= set(list(work.receipts.values())[: -10 * POSTS_PER_SECOND])
