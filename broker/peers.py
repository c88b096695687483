"""Everything between a node and its peers: their mirrors, the lanes that follow them, what comes of each part."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from broker.copies import Copies
from broker.deliveries import Deliveries
from broker.errors import BrokerError, NodeHomeError
from broker.mirror import Contradicted, Mirror, Taken
from broker.peer import FILE, PeerAway, PeerConfig, Reach, load_peers
from broker.peering import Peering
from broker.recovery import Recovery
from protocol.checkpoint import Checkpoint
from protocol.tiles import TilePath, partial_width

if TYPE_CHECKING:
    from broker.node import Node

REFRESH_SECONDS = 1.0
HELD_SECONDS_MAX = 2.0  # that a peer waits for a cosignature of what is on its way here

log = structlog.get_logger()


class Peers:
    """The lanes that ``peers.toml`` asks for: a change of the file takes effect within a second."""

    def __init__(self, node: Node, home: Path, reach: Reach) -> None:
        """Of ``node``, whose folder is ``home``; mirrors that were made before are served at once."""
        self._node, self._ledger, self.mirrors = node, node.ledger, node.mirrors
        self._home, self._reach = home, reach
        self._copies, self.recovery = Copies(node.ledger, node.writer), Recovery(node)
        self._lanes: dict[str, tuple[Peering, asyncio.Task[None]]] = {}
        self._failed: dict[str, str] = {}  # mirrors that cannot be opened, and why
        self._read: object = None  # what the file was when it was last read
        versions = self._ledger.exchange.versions.values()
        origins = {listed.origin for directory in versions for listed in directory.nodes}
        self.mirrors.open_all(sorted(origins - {self._ledger.origin}))
        for mirror in self.mirrors:
            self._serve(mirror)

    def _serve(self, mirror: Mirror) -> None:
        node = self._node
        if node.pages.of(mirror.origin) is None:
            node.pages.serve(Deliveries(mirror, node.ledger, node.standing, node.evidence.against, node.clock))

    async def run(self) -> None:
        """Keep the lanes those of the file, and the copies complete."""
        try:
            while True:
                self._refresh()
                await self._enter_copies()
                await self.recovery.run([lane for lane, _ in self._lanes.values()])
                await asyncio.sleep(REFRESH_SECONDS)
        finally:
            for _, lane in self._lanes.values():
                lane.cancel()
            await asyncio.gather(*(lane for _, lane in self._lanes.values()), return_exceptions=True)

    async def _enter_copies(self) -> None:
        """What could not be entered when it came."""
        try:
            for mirror in self.mirrors:
                await self._copies.enter(mirror)
            await self._copies.retry()
        except BrokerError as error:  # a file that cannot be read now: the next round tries again
            log.error("copies-failed", error=str(error))  # noqa: TRY400 - no trace in the log

    def _refresh(self) -> None:
        path = self._home / FILE
        stamp = path.stat().st_mtime_ns if path.exists() else None
        died = [origin for origin, (_, lane) in self._lanes.items() if lane.done()]
        for origin in died:
            _, lane = self._lanes.pop(origin)
            log.error("lane-died", origin=origin, error=repr(lane.exception()))
        if stamp == self._read and not died and not self._failed:
            return
        self._read = stamp
        try:
            configs = {config.origin: config for config in load_peers(self._home)}
        except NodeHomeError as error:
            log.error("peers-unread", error=str(error))  # noqa: TRY400 - no trace in the log
            return
        configs.pop(self._ledger.origin, None)
        self._failed = {origin: error for origin, error in self._failed.items() if origin in configs}
        for origin in [origin for origin, (lane, _) in self._lanes.items() if configs.get(origin) != lane.config]:
            self._lanes.pop(origin)[1].cancel()
        for origin, config in configs.items():
            if origin not in self._lanes:
                self._begin(config)

    def _begin(self, config: PeerConfig) -> None:
        try:
            mirror = self.mirrors.open(config.origin)
        except BrokerError as error:  # tried again each second, told once
            if self._failed.get(config.origin) != str(error):
                log.error("mirror-failed", origin=config.origin, error=str(error))  # noqa: TRY400 - the same
            self._failed[config.origin] = str(error)
            return
        self._failed.pop(config.origin, None)
        mirror.on_governance = self._copies.enter  # nothing is served by a state that another nation has ended
        self._serve(mirror)
        lane = Peering(config, mirror, self._node, self._reach, self._on_taken, self._on_contradiction)
        self._lanes[config.origin] = lane, asyncio.create_task(lane.run(), name=f"peer {config.origin}")

    async def _on_taken(self, taken: Taken) -> None:
        """Whoever waits for it hears of it."""
        if taken.readers:
            self._node.news.announce(taken.readers)
        if taken.checkpoint:
            self._node.subscribers.wake_uncovered()

    async def _on_contradiction(self, mirror: Mirror, found: Contradicted) -> None:
        """A refusal that may be evidence: what was signed before, against what is shown now."""
        log.error("peer-contradicts-itself", origin=mirror.origin, size=found.size, reason=str(found))
        for ours in (mirror.published and mirror.published.note, mirror.head if mirror.head.signature else None):
            if ours and await self._node.evidence.contradicted(mirror.origin, ours, found.signed):
                return

    def url_of(self, origin: str) -> str:
        """Where its operator said that a peer is reached; empty for where the directory lists it."""
        lane = self._lanes.get(origin)
        return lane[0].config.url if lane else ""

    async def read_tile(self, origin: str, path: TilePath) -> bytes | None:
        """A hash tile of a peer's ledger, from its node."""
        lane = self._lanes.get(origin)
        if lane is None:
            return None
        with contextlib.suppress(PeerAway):
            async with lane[0].reach() as wire:
                return await wire.tile(path)
        return None

    async def read_mirrored_tile(self, origin: str, path: TilePath) -> bytes | None:
        """A hash tile of a peer's ledger, as it was derived here."""
        mirror = self.mirrors.get(origin)
        if mirror is None or path.level is None or path.width > partial_width(mirror.size, path.level, path.index):
            return None
        return mirror.tree.tile_data(path.level, path.index, path.width)

    async def holds(self, checkpoint: Checkpoint) -> bytes | None:
        """The root that the mirror derived at a checkpoint's size; its entries are waited for a moment."""
        mirror = self.mirrors.get(checkpoint.origin)
        if mirror is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HELD_SECONDS_MAX):
                await mirror.grown_to(checkpoint.size)
        return mirror.tree.root(checkpoint.size) if mirror.size >= checkpoint.size else None

    def state(self) -> list[dict[str, Any]]:
        """A row for each peer that is followed."""
        return [lane.state() for lane, _ in self._lanes.values()]
