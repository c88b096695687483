"""Three nations' nodes in this process, each following both others; agencies are at home in their nation's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.node import Node
from broker.peer import PeerConfig, save_peers
from keys.witnessing import policy_of, witnessed
from khunjerab.demo.ports import free_port
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.label import Equivalence
from protocol.policy import CHINA, PAKISTAN, Policy
from protocol.treehead import Receipt
from tests.support.altering import replace
from tests.support.door import logged_in, post, until
from tests.support.live import live_node, now_ms
from tests.support.world import World, agency, first_directory, nation, node, origin_of

TAJIKISTAN = ("Ошкор", "Барои хизмат", "Махфӣ", "Комилан махфӣ", "Махсусан муҳим")
LEVELS = {"PK": PAKISTAN, "CN": CHINA, "TJ": TAJIKISTAN}
NATIONS = tuple(LEVELS)


def world_of_three(ports: Mapping[str, int]) -> World:
    """Two nations as ever and the third, whose nodes have their ports on loopback."""
    nodes = tuple(node(nation, f"http://127.0.0.1:{ports[nation]}") for nation in NATIONS)
    return World.found(now_ms() // 1000 * 1000 - 60_000, **with_the_third(first_directory()), nodes=nodes)


def with_the_third(two: Directory) -> dict[str, Any]:
    """What the third nation brings into a directory but its node: a liaison, an auditor, and maps to each other one."""
    maps = {
        (source, target): dict(zip(LEVELS[source], LEVELS[target], strict=True))
        for source in NATIONS
        for target in NATIONS
        if source != target
    }
    third = (agency("tj-liaison", "Комилан махфӣ", "CONVOY"), agency("tj-auditor", "Ошкор", roles=("audit",)))
    return {
        "nations": (*two.nations, nation("TJ", "TJK", "Тоҷикистон")),
        "agencies": (*two.agencies, *third),
        "feeds": tuple(replace(feed, members=(*feed.members, "tj-liaison")) for feed in two.feeds),
        "policy": Policy(Equivalence(LEVELS, maps)),
    }


@dataclass
class Three:
    """The nodes that run, by nation."""

    folder: Path
    world: World
    ports: Mapping[str, int]
    nodes: dict[str, Node] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def running(self, *nations: str) -> AsyncIterator[None]:
        """The nodes of these nations, as long as it lasts."""
        async with contextlib.AsyncExitStack() as stack:
            for at in nations:
                live = live_node(self.folder, self.world, self.ports[at], nation=at, ask=True)
                self.nodes[at] = await stack.enter_async_context(live)
                stack.callback(self.nodes.pop, at)
            yield

    async def level(self) -> None:
        """Wait until each mirror that a running node has shows all that its peer has promised, copies included."""
        await until(lambda: all(self._shown(at, of) for at in self.nodes for of in self.nodes if at != of))

    def _shown(self, at: str, of: str) -> bool:
        mirror = self.nodes[at].mirrors.get(origin_of(of))
        return mirror is not None and mirror.head.size == self.nodes[of].ledger.head.size


def others(than: str) -> list[str]:
    """The other two nations."""
    return [nation for nation in NATIONS if nation != than]


@contextlib.asynccontextmanager
async def live_three(folder: Path, running: Sequence[str] = NATIONS) -> AsyncIterator[Three]:
    """On real sockets and real files; who is not ``running`` is known to the others, and away."""
    ports = {nation: free_port() for nation in NATIONS}
    three = Three(folder, world_of_three(ports), ports)
    for at in NATIONS:
        home = folder / f"{at.lower()}-home"
        home.mkdir()
        save_peers(home, tuple(PeerConfig(origin_of(of)) for of in others(at)))
    async with three.running(*running):
        yield three


def is_witnessed(node: Node) -> bool:
    """Whether both others have cosigned all that is in a node's ledger."""
    shown, origin, directory = node.publisher.newest, node.ledger.origin, node.ledger.exchange.in_force
    if shown is None or shown.size < node.ledger.head.size:
        return False
    found = witnessed(shown.note, origin, directory, policy_of(directory, origin))
    return found.enough and {*found.by, origin} == {origin_of(nation) for nation in NATIONS}


async def enter(node: Node, who: str, submission: Submission) -> Receipt:
    """Post a statement of one's own, at a node."""
    async with logged_in(node, who) as wire:
        return await post(wire, submission)
