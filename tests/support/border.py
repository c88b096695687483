"""Two nations' nodes with people at work in both, and the two links between them, which a test holds in its hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from broker.peer import PeerConfig, save_peers
from protocol.policy import Policy
from tests.support.pair import PEER, Pair, live_pair, world_of_two
from tests.support.process import NodeProcess, make_home
from tests.support.record import Desk, Kept, Record
from tests.support.relay import Relay
from tests.support.world import ORIGINS, World

STILL_SECONDS_MAX = 200  # without anything that comes to anybody
_POLL_SECONDS = 0.05
_FAULTS = ("Traceback", "lane-died", "unexpected", "log-forked", "peer-contradicts-itself", "entry-flagged")
ENDLESS = Policy(attempts_per_minute=10**9, bulletins_per_hour=10**9)


@dataclass
class Border:
    """By nation: where its node is reached and keeps what it has, its desk, and its node's link to the peer."""

    folder: Path
    record: Record
    urls: dict[str, str]
    links: dict[str, Relay]
    kept: dict[str, Kept]
    desks: dict[str, Desk] = field(init=False)
    processes: dict[str, NodeProcess] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.desks = {nation: Desk(self.record, nation, url) for nation, url in self.urls.items()}

    async def cut(self) -> None:
        """Both ways."""
        for link in self.links.values():
            await link.cut()

    def silence(self) -> None:
        """Both ways."""
        for link in self.links.values():
            link.silence()

    def open(self) -> None:
        """Both ways, and without loss."""
        for link in self.links.values():
            link.open()
            link.delay_s = link.doomed = link.loss = link.bytes_per_second = link.carries = 0

    @contextlib.asynccontextmanager
    async def at_work(self, pause_s: float = 0.1) -> AsyncIterator[None]:
        """Both desks post all the time; in the end the link is well, everything settles, and the record is checked."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for desk in self.desks.values():
                group.create_task(desk.work(over, pause_s))
            yield
            over.set()
        self.open()
        await self.finish()

    async def settle(self) -> None:
        """Everything that waits is posted, mirrored, handed over and acknowledged, in both nations."""
        await asyncio.gather(*(desk.drain() for desk in self.desks.values()))
        came = -1
        async with asyncio.timeout(None) as patience:
            while not all([await self._is_settled(nation) for nation in PEER]):
                if came != (came := self.record.came()):
                    patience.reschedule(asyncio.get_running_loop().time() + STILL_SECONDS_MAX)
                await asyncio.sleep(_POLL_SECONDS)

    async def _is_settled(self, nation: str) -> bool:
        if not self.record.is_served(nation):
            return False
        own, there = await asyncio.gather(*(asyncio.to_thread(_node, self.urls[at]) for at in (nation, PEER[nation])))
        return [own["size"]] == [mirror["size"] for mirror in there["mirrors"]]

    async def finish(self) -> None:
        """Settle, audit both nodes, and hold what they keep against the record of everyone."""
        await self.settle()
        await self.record.audit(self.folder, self.urls)
        for node in self.processes.values():
            assert await node.stop() == 0
            said = node.log.read_text("utf-8", "replace")
            assert not [word for word in _FAULTS if word in said], node.words()
        self.record.see_asked(self.links)
        self.record.check_everything(self.kept)


@contextlib.asynccontextmanager
async def border(folder: Path, seed: int, world: World | None = None) -> AsyncIterator[Border]:
    """The nodes are processes, to be killed."""
    record = Record(world or world_of_two(policy=ENDLESS))
    async with contextlib.AsyncExitStack() as stack:
        homes = {nation: make_home(folder / f"{nation.lower()}-node", record.world, nation=nation) for nation in PEER}
        nodes = {nation: NodeProcess(home) for nation, home in homes.items()}
        links = links_of(seed)
        for nation, peer in PEER.items():
            links[nation].target = int(nodes[peer].config.listen.rpartition(":")[2])
            await stack.enter_async_context(links[nation])
            save_peers(homes[nation], (PeerConfig(ORIGINS[peer], links[nation].url),))
        await asyncio.gather(*(stack.enter_async_context(node) for node in nodes.values()))
        urls = {nation: node.url for nation, node in nodes.items()}
        kept = {nation: Kept(home / "ledger.db", home) for nation, home in homes.items()}
        made = Border(folder, record, urls, links, kept, processes=nodes)
        await stack.enter_async_context(_people(made))
        yield made


@contextlib.asynccontextmanager
async def near_border(
    folder: Path, seed: int, clocks: Mapping[str, Callable[[], int]] | None = None
) -> AsyncIterator[tuple[Border, Pair]]:
    """The nodes are in this process, to be looked into."""
    record, links = Record(world_of_two(policy=ENDLESS)), links_of(seed)
    async with live_pair(folder, record.world, links, clocks) as pair:
        urls = {nation: node.config.url for nation, node in pair.nodes.items()}
        kept = {
            nation: Kept(folder / f"{nation.lower()}-ledger.db", folder / f"{nation.lower()}-home") for nation in PEER
        }
        made = Border(folder, record, urls, links, kept)
        for nation, clock in (clocks or {}).items():
            made.desks[nation].clock = clock
        async with _people(made):
            yield made, pair


def links_of(seed: int) -> dict[str, Relay]:
    """By the nation whose node reaches its peer through it; where that is, is told later."""
    return {nation: Relay(0, seed + number) for number, nation in enumerate(PEER)}


@contextlib.asynccontextmanager
async def _people(made: Border) -> AsyncIterator[None]:
    """Each nation's liaison follows at home, and a monitor watches both nodes."""
    async with contextlib.AsyncExitStack() as stack:
        for nation, url in made.urls.items():
            await stack.enter_async_context(made.record.reader(made.folder, nation, url))
        watching = asyncio.create_task(made.record.watch(list(made.urls.values())), name="monitor")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def _node(url: str) -> dict[str, Any]:
    with urlopen(f"{url}/v1/node", timeout=60) as answer:  # noqa: S310 - a node of this test's
        told: dict[str, Any] = json.load(answer)
    return told
