"""Two nodes in this process, PK's and CN's, each following the other; agencies are at home in their nation's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from broker.mirror import Mirror
from broker.mirrors import digest_of
from broker.node import Node
from broker.peer import PeerConfig, save_peers
from tests.support.door import until
from tests.support.live import free_port, live_node, now_ms
from tests.support.world import ORIGINS, World, first_directory

PEER = {"PK": "CN", "CN": "PK"}


def world_of_two(**changes: object) -> World:
    """A world whose directory and bundles run now."""
    return World.found(now_ms() // 1000 * 1000 - 60_000, **{"agencies": first_directory().agencies} | changes)


@dataclass
class Pair:
    """The nodes, by nation."""

    world: World
    nodes: dict[str, Node]

    def mirror(self, at: str) -> Mirror:
        """What the node of a nation holds of its peer's ledger."""
        mirror = self.nodes[at].mirrors.get(ORIGINS[PEER[at]])
        assert mirror is not None
        return mirror

    def digest(self, nation: str) -> str:
        """What a nation's ledger is called in paths."""
        return digest_of(ORIGINS[nation])

    async def level(self) -> None:
        """Wait until each mirror shows all that its peer has promised, copies included."""
        await until(lambda: all(self._is_level(at) for at in self.nodes))

    def _is_level(self, at: str) -> bool:
        mirror = self.nodes[at].mirrors.get(ORIGINS[PEER[at]])
        return mirror is not None and mirror.head.size == self.nodes[PEER[at]].ledger.head.size


def follow(folder: Path, at: str, url: str) -> None:
    """Let the node of a nation follow its peer at ``url``; nobody where it is empty."""
    home = folder / f"{at.lower()}-home"
    home.mkdir(exist_ok=True)
    save_peers(home, (PeerConfig(ORIGINS[PEER[at]], url),) if url else ())


@contextlib.asynccontextmanager
async def live_pair(folder: Path, world: World | None = None) -> AsyncIterator[Pair]:
    """Both nodes on real sockets and real files, following each other."""
    world = world or world_of_two()
    ports = {nation: free_port() for nation in PEER}
    for nation, peer in PEER.items():
        follow(folder, nation, f"http://127.0.0.1:{ports[peer]}")
    async with contextlib.AsyncExitStack() as stack:
        nodes = {
            nation: await stack.enter_async_context(live_node(folder, world, ports[nation], nation=nation, ask=True))
            for nation in PEER
        }
        yield Pair(world, nodes)
