"""Two nations that do not know the same: clocks that are apart, and a key that one has ended while the link is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.node import Node
from tests.faults.test_clock import Clock
from tests.support.border import Border, near_border
from tests.support.door import until
from tests.support.pair import PEER
from tests.support.world import ORIGINS

PK, CN = ORIGINS["PK"], ORIGINS["CN"]


def _told(node: Node) -> str:
    """Why a node does not follow its peer."""
    (state,) = node.peers.state()
    return str(state["error"] or "")


async def _both_post(both: Border) -> None:
    for desk in both.desks.values():
        desk.seal(3)
        await desk.drain()


@pytest.mark.parametrize("wrong_by_ms", [-90_000, 70_000])
async def test_clocks_that_are_apart(tmp_path: Path, wrong_by_ms: int) -> None:
    """Neither node follows the other, and both say why; at home all goes on; once they agree everything arrives."""
    clock = Clock()
    async with near_border(tmp_path, 10, {"CN": clock}) as (both, pair):
        await _both_post(both)
        await both.settle()
        await both.cut()
        clock.wrong_by_ms = wrong_by_ms
        both.open()
        await until(lambda: all("clock-skew" in _told(node) for node in pair.nodes.values()))
        sizes = [pair.mirror(nation).size for nation in PEER]
        await _both_post(both)
        assert sizes == [pair.mirror(nation).size for nation in PEER]
        clock.wrong_by_ms = 0
        await both.finish()
        assert [_told(node) for node in pair.nodes.values()] == ["", ""]


@pytest.mark.parametrize("wrong_by_ms", [-70_000, 70_000])
async def test_a_clock_that_goes_wrong_while_a_peer_is_followed(tmp_path: Path, wrong_by_ms: int) -> None:
    """What is dated ahead of a node's clock is left until that shows its time, and is not lost."""
    clock = Clock()
    async with near_border(tmp_path, 11, {"CN": clock}) as (both, pair):
        await both.settle()
        clock.wrong_by_ms = wrong_by_ms
        ahead, behind = ("PK", "CN") if wrong_by_ms < 0 else ("CN", "PK")
        size = pair.mirror(behind).size
        both.desks[ahead].seal(2)
        await both.desks[ahead].drain()
        await until(lambda: "clock-skew" in _told(pair.nodes[behind]))
        assert (pair.mirror(behind).size, pair.mirror(behind).flagged) == (size, [])
        clock.wrong_by_ms = 0
        await both.finish()
