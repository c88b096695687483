"""Two nodes of ours: posted at one nation's, read at the other's, which mirrors and judges it on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from bench.carriers.contract import Arrived, Served
from bench.carriers.khunjerab import Khunjerab, arrived_in
from broker.peer import PeerConfig, save_peers
from clients.transport import Wire
from tests.support.process import NodeProcess, make_home
from tests.support.world import ORIGINS, World, signing_key


def two_homes(folder: Path, world: World) -> dict[str, Path]:
    """Of both nations' nodes, each following the other."""
    homes = {nation: make_home(folder / nation, world, admin=True, nation=nation) for nation in ORIGINS}
    urls = {nation: NodeProcess(home).url for nation, home in homes.items()}
    for nation, peer in (("PK", "CN"), ("CN", "PK")):
        save_peers(homes[nation], (PeerConfig(ORIGINS[peer], urls[peer]),))
    return homes


class Pair(Khunjerab):
    """As one node, but the reader is attached to the other."""

    name = "two nodes"

    @contextlib.contextmanager
    def serving(self, folder: Path) -> Iterator[Served]:
        """Both, killed at the end."""
        nodes = [NodeProcess(home) for home in two_homes(folder, self._world).values()]
        for node in nodes:
            asyncio.run(node.start())
        pk, self._abroad = nodes
        try:
            yield Served(pk.url, pk.pid)
        finally:
            for node in nodes:
                node.kill()

    async def arriving(self, served: Served) -> AsyncGenerator[list[Arrived], None]:
        """At the other node: its page has a part for each ledger."""
        del served
        async with Wire(self._abroad.url) as wire:
            wire.log_in_as(signing_key(f"{self._reader}/desk"), self._world.pin, ORIGINS["CN"])
            beginning = dict.fromkeys(ORIGINS.values(), 0)
            async with contextlib.aclosing(wire.stream(beginning, beginning)) as pages:
                async for parts in pages:
                    yield [one for part in parts for one in arrived_in(part)]
