"""The link between two nations' nodes: cut, lossy, slow, gone without a word; requests repeated and out of order.

People are at work in both nations meanwhile. What must hold in the end, whatever happened, is what the record of
everyone says (``tests/support/record.py``): nothing lost, nothing twice, no wrong signature, both nodes clean.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from broker import peering
from broker.http import stream
from broker.witness import asking
from clients import transport
from clients.errors import Unreachable
from clients.transport import Wire
from khunjerab import witnesses
from protocol.content import Version
from tests.support.altering import replace
from tests.support.border import Border, border, near_border
from tests.support.door import logged_in, post, until
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.pair import PEER, live_pair
from tests.support.record import require_clean
from tests.support.relay import Asked, Relay
from tests.support.world import CONTENT, ORIGINS, signing_key

PK = ORIGINS["PK"]


def require_soak() -> None:
    assert os.environ.get("KHUNJERAB_SOAK") == "1", "make soak"


async def _cut_often(folder: Path, times: int) -> None:
    dice = random.Random(times)
    async with border(folder, times) as both, both.at_work():
        for _ in range(times):
            await asyncio.sleep(dice.uniform(0.1, 0.5))  # when it falls, and for how long, is what is drawn here
            await both.cut()
            await asyncio.sleep(dice.uniform(0.0, 0.3))
            both.open()


async def test_a_link_that_is_cut_at_random_under_load(tmp_path: Path) -> None:
    await _cut_often(tmp_path, 5)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_a_link_that_is_cut_fifty_times_under_load(tmp_path: Path) -> None:
    require_soak()
    await _cut_often(tmp_path, 50)


async def _lose(both: Border, connections: int) -> None:
    """Three in ten connections die at a byte that is drawn; and of the others at each piece that is sent."""
    async with both.at_work():
        for link in both.links.values():
            await link.cut()
            link.open()
            link.doomed = link.loss = 0.3
        links = both.links.values()
        await until(lambda: min(link.connections for link in links) >= connections, 3600)


async def test_a_link_that_loses_three_pieces_in_ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both lanes try again and again, and get on meanwhile."""
    for module in (asking, peering):
        monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 0.3)
    async with near_border(tmp_path, 2) as (both, _):
        await _lose(both, 20)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_a_link_that_loses_three_pieces_in_ten_for_long(tmp_path: Path) -> None:
    require_soak()
    async with border(tmp_path, 2) as both:
        await _lose(both, 200)


async def _gone_without_a_word(both: Border, silent_s: float) -> None:
    """Nothing passes, and no end is told; what stood before the silence is lost."""
    async with both.at_work():
        await asyncio.sleep(0.3)
        both.silence()
        await asyncio.sleep(silent_s)
        both.open()


async def test_a_connection_that_is_gone_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each end finds out by itself, as nothing beats any more, and begins anew."""
    for module in (stream, transport):
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 2)
    monkeypatch.setattr(transport, "ANSWER_SECONDS", 5)
    monkeypatch.setattr(witnesses, "ANSWER_SECONDS", 5)
    async with near_border(tmp_path, 3) as (both, pair):
        followed = [link.connections for link in both.links.values()]
        await _gone_without_a_word(both, 1.5)
        assert all(link.connections > before for link, before in zip(both.links.values(), followed, strict=True))
        await until(lambda: all(len(node.subscribers) == 2 for node in pair.nodes.values()))  # the reader, and the peer


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_a_connection_that_is_gone_for_a_minute(tmp_path: Path) -> None:
    require_soak()
    async with border(tmp_path, 4) as both:
        await _gone_without_a_word(both, 60)


async def test_a_silent_node_is_away_and_one_that_was_asked_to_wait_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "ANSWER_SECONDS", 3)
    async with (
        live_node(tmp_path, world_of_today()) as node,
        Relay(int(node.config.url.rpartition(":")[2]), 7) as link,
        Wire(link.url) as reader,
        asyncio.timeout(120),
    ):
        reader.log_in_as(signing_key("pk-liaison/desk"), node.ledger.pin, node.ledger.origin)
        size = node.ledger.head.size
        await reader.deliveries({PK: size}, {PK: size}, wait=2)
        link.silence()
        with pytest.raises(Unreachable, match="does not answer"):
            await reader.deliveries({}, {})


async def test_a_slow_link(tmp_path: Path) -> None:
    """A satellite's: it takes as long as it takes."""
    async with near_border(tmp_path, 5) as (both, _), both.at_work(0.2):
        for link in both.links.values():
            link.delay_s, link.bytes_per_second = 0.05, 64_000
        handed = both.record.handed.values()
        await until(lambda: min(reader.total() for reader in handed) >= 6)


@pytest.mark.parametrize(
    "chars, carries", [(40_000, 250_000), (300_000, 700_000)], ids=["short bodies", "bodies that are fetched"]
)
async def test_a_link_that_never_lasts_for_a_whole_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chars: int, carries: int
) -> None:
    """Every connection ends after so many bytes; a backlog comes over it all the same. SPEC 11.9.7."""
    monkeypatch.setattr(peering, "BACKOFF_SECONDS_MAX", 0.3)
    links = {nation: Relay(0, number) for number, nation in enumerate(PEER)}
    texts = tuple(Version(language, "Long", "x" * 100_000) for language in ("en", "zh", "ur")[: chars // 100_000])
    content = replace(CONTENT, versions=texts or (Version("en", "Short", "x" * chars),))
    async with live_pair(tmp_path, links=links) as pair:
        await pair.level()
        for link in links.values():
            await link.cut()
        async with logged_in(pair.nodes["PK"], "pk-liaison/desk") as wire:
            receipts = [await post(wire, pair.world.bulletin(content=content, created=now_ms())) for _ in range(16)]
        assert sum(len(pair.nodes["PK"].storage.body(receipt.index) or b"") for receipt in receipts) > 2 * carries
        for link in links.values():
            link.carries = carries
            link.open()
        await until(lambda: pair.mirror("CN").head.size > receipts[-1].index)
        bodies = [pair.mirror("CN").storage.body(receipt.index) for receipt in receipts]
        assert bodies == [pair.nodes["PK"].storage.body(receipt.index) for receipt in receipts]
        for link in links.values():
            link.carries = 0
        await require_clean(tmp_path, pair.world, pair.nodes)


class Meddler:
    """Before each request for a cosignature arrives, the same one does, and some that were sent long before."""

    def __init__(self, link: Relay, dice: random.Random) -> None:
        self._link, self._dice = link, dice
        self.requests: list[bytes] = []
        self.answers: list[int] = []

    async def before(self, request: bytes) -> None:
        self.requests.append(request)
        again = [request, *self._dice.sample(self.requests, min(3, len(self.requests)))]
        self._dice.shuffle(again)
        answers = await asyncio.gather(*(self._link.replay(one) for one in again))
        self.answers += [Asked(request, answer).status for answer in answers]


async def _meddle(folder: Path, requests: int) -> None:
    async with near_border(folder, 6) as (both, _), both.at_work():
        meddlers = [Meddler(link, random.Random(number)) for number, link in enumerate(both.links.values())]
        for link, meddler in zip(both.links.values(), meddlers, strict=True):
            link.before = meddler.before
        await until(lambda: min(len(meddler.requests) for meddler in meddlers) >= requests, 3600)
        answers = {answer for meddler in meddlers for answer in meddler.answers}
        assert {200, 409} <= answers <= {200, 409, 429, 503}


async def test_requests_for_cosignatures_repeated_and_out_of_order(tmp_path: Path) -> None:
    """Whatever order they come in, and however often: what is let out is over one history."""
    await _meddle(tmp_path, 4)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_two_hundred_requests_repeated_and_out_of_order(tmp_path: Path) -> None:
    require_soak()
    await _meddle(tmp_path, 200)
