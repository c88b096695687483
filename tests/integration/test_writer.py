"""Two groups at once: one on its way to the disk, the next judged meanwhile by what is promised (SPEC §12.5)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.errors import StorageError
from broker.node import Node
from protocol.problem import Problem
from protocol.signing import encode_signatures
from protocol.treehead import Receipt
from tests.support.altering import replace
from tests.support.door import until
from tests.support.live import live_node, world_of_today
from tests.support.world import World, signing_key


class Held:
    """A store whose first append is done, and does not return before ``go``; or fails then."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.go, self.done = threading.Event(), False
        self.failure: StorageError | None = None

    def append(self, *rows: Any) -> None:
        if self.failure is None:
            self._storage.append(*rows)
        self.done = True
        assert self.go.wait(120)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


@pytest.fixture
def world() -> World:
    return world_of_today()


@pytest.fixture
async def node(tmp_path: Path, world: World) -> AsyncIterator[Node]:
    async with live_node(tmp_path, world, wrap=Held) as node:
        yield node
        node.storage.go.set()  # type: ignore[attr-defined]


async def _on_its_way(node: Node, world: World) -> tuple[Any, asyncio.Future[Receipt]]:
    """A bulletin whose commit has happened and is not known to have."""
    first = world.bulletin(created=node.clock())
    receipt = node.writer.submit(first)
    await until(lambda: node.storage.done)  # type: ignore[attr-defined]
    return first, receipt


async def _release(node: Node, *receipts: asyncio.Future[Receipt]) -> list[Any]:
    await asyncio.sleep(0.05)
    assert not any(receipt.done() for receipt in receipts)
    node.storage.go.set()  # type: ignore[attr-defined]
    async with asyncio.timeout(120):
        return await asyncio.gather(*receipts, return_exceptions=True)


async def test_the_next_group_is_judged_meanwhile_and_follows(node: Node, world: World) -> None:
    size = node.ledger.head.size
    _, first = await _on_its_way(node, world)
    next_ones = [node.writer.submit(world.bulletin(created=node.clock())) for _ in range(40)]
    late = node.writer.submit(world.bulletin(created=node.clock() - 7_200_000, expires=node.clock() - 1))
    with pytest.raises(Problem, match="expired"):  # told at once, though the disk is busy
        async with asyncio.timeout(60):
            await late
    receipts = await _release(node, first, *next_ones)
    assert [receipt.index for receipt in receipts] == list(range(size, size + 41))
    assert receipts[0].head.size < receipts[1].head.size


async def test_the_same_again_waits_and_has_the_first_receipt(node: Node, world: World) -> None:
    """Though it is durable already, it is not promised yet."""
    submission, first = await _on_its_way(node, world)
    again = node.writer.submit(submission)
    one, other = await _release(node, first, again)
    assert other == replace(one, head=other.head, path=other.path, entry=other.entry)
    assert other.entry is not None


async def test_governance_waits_for_what_is_under_way_and_is_waited_for(node: Node, world: World) -> None:
    """What comes after it is judged by it."""
    _, first = await _on_its_way(node, world)
    revocation = node.writer.submit(world.revocation("pk-liaison/desk", created=node.clock()))
    after = node.writer.submit(world.bulletin(created=node.clock()))
    one, two, refused = await _release(node, first, revocation, after)
    assert two.index == one.index + 1
    assert refused.code == "key-revoked"


async def test_what_is_badly_signed_holds_nobody_up(node: Node, world: World) -> None:
    """Its true twin was waiting for it."""
    _, first = await _on_its_way(node, world)
    good = world.bulletin(created=node.clock())
    forged = signing_key("cn-liaison/desk").sign(b"another", 1)
    forged = replace(forged, key_id=signing_key("pk-liaison/desk").public.key_id)
    bad = node.writer.submit(replace(good, signatures=encode_signatures((forged,))))
    true = node.writer.submit(good)
    with pytest.raises(Problem, match="does not verify"):
        async with asyncio.timeout(60):
            await bad
    _, receipt = await _release(node, first, true)
    assert isinstance(receipt, Receipt)


async def test_a_group_that_fails_takes_no_other_with_it(node: Node, world: World) -> None:
    """The next stands in its place."""
    size = node.ledger.head.size
    node.storage.failure = StorageError("I/O error")  # type: ignore[attr-defined]
    _, first = await _on_its_way(node, world)
    following = node.writer.submit(world.bulletin(created=node.clock()))
    failed, receipt = await _release(node, first, following)
    assert failed.code == "storage-unavailable"
    assert receipt.index == size
