"""Two nodes in this process, PK's and CN's, each following the other; agencies are at home in their nation's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker.mirror import Mirror
from broker.mirrors import digest_of
from broker.node import Node
from broker.peer import PeerConfig, save_peers
from khunjerab.demo.ports import free_port
from tests.support.door import until
from tests.support.live import live_node, now_ms
from tests.support.relay import Relay
from tests.support.world import ORIGINS, World, first_directory

PEER = {"PK": "CN", "CN": "PK"}


def world_of_two(**changes: object) -> World:
    """A world whose directory and bundles run now, also by a clock that is some minutes behind."""
    return World.found(now_ms() // 1000 * 1000 - 600_000, **{"agencies": first_directory().agencies} | changes)


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


def mirror_path(home: Path, origin: str) -> Path:
    """Where a node keeps its mirror of a ledger."""
    return home / "mirrors" / f"{digest_of(origin)}.db"


def follow(folder: Path, at: str, url: str) -> None:
    """Let the node of a nation follow its peer at ``url``; nobody where it is empty."""
    home = folder / f"{at.lower()}-home"
    home.mkdir(exist_ok=True)
    save_peers(home, (PeerConfig(ORIGINS[PEER[at]], url),) if url else ())


@contextlib.asynccontextmanager
async def live_pair(
    folder: Path,
    world: World | None = None,
    links: Mapping[str, Relay] | None = None,
    clocks: Mapping[str, Callable[[], int]] | None = None,
) -> AsyncIterator[Pair]:
    """Both nodes on real sockets and real files, following each other.

    By nation, ``links`` are what its node reaches its peer through, and ``clocks`` what it tells the time by.
    """
    world, links, clocks = world or world_of_two(), links or {}, clocks or {}
    ports = {nation: free_port() for nation in PEER}
    async with contextlib.AsyncExitStack() as stack:
        for nation, peer in PEER.items():
            if nation in links:
                links[nation].target = ports[peer]
                await stack.enter_async_context(links[nation])
            follow(folder, nation, links[nation].url if nation in links else f"http://127.0.0.1:{ports[peer]}")
        nodes = {}
        for nation, port in ports.items():
            live = live_node(folder, world, port, clocks.get(nation, now_ms), nation=nation, ask=True)
            nodes[nation] = await stack.enter_async_context(live)
        yield Pair(world, nodes)
