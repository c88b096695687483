"""The mirror lane of one peer (SPEC §11.9): its ledger, entry by entry as it grows, into the mirror here.

The link may be down for days. Whatever ends a lane, the next begins where the mirror ends; a peer that shows what does
not hold is tried again too, more and more seldom, and nothing of it is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import structlog

from broker.errors import BrokerError
from broker.mirror import Contradicted, Mirror, PartRefused, Taken
from broker.peer import PeerAway, PeerConfig, PeerWire, Portion, Reach, SessionOver
from protocol import limits
from protocol.page import Part

if TYPE_CHECKING:
    from broker.node import Node

BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.2, 5.0  # a bulletin waits as long when the link is back
COMPLETE_SECONDS = 60.0  # between two times that missing bodies are asked for

log = structlog.get_logger()


class Peering:
    """One lane. ``run`` goes on for ever; what it came to is in ``state``."""

    def __init__(
        self,
        config: PeerConfig,
        mirror: Mirror,
        node: Node,
        reach: Reach,
        on_taken: Callable[[Taken], Awaitable[None]],
        on_contradiction: Callable[[Mirror, Contradicted], Awaitable[None]],
    ) -> None:
        self.config, self.mirror, self._node, self._reach = config, mirror, node, reach
        self._on_taken, self._on_contradiction = on_taken, on_contradiction
        self.connected = False
        self.error = "not tried yet"
        self.head_size = mirror.head.size  # the largest that the peer has shown
        self.heard = 0  # when anything last came
        self._portion = Portion()

    async def run(self) -> None:
        """Follow, and follow again."""
        failures = 0
        while True:
            size = self.mirror.size
            try:
                await self._follow()
            except PeerAway as error:
                if self.mirror.size == size:
                    self._portion.broke()
                if not (self.connected and isinstance(error, SessionOver)):  # four times an hour, and nothing is wrong
                    self._note(str(error))
            except Contradicted as error:
                self._note(str(error))
                await self._on_contradiction(self.mirror, error)
            except PartRefused as error:
                self._note(str(error))
                log.warning("part-refused", origin=self.mirror.origin, reason=str(error))
            except BrokerError as error:
                self._note(f"cannot be kept: {error}")
                log.error("mirror-failed", origin=self.mirror.origin, error=str(error))  # noqa: TRY400 - no trace
            failures = 0 if self.connected else failures + 1
            self.connected = False
            pause = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2 ** min(failures, 10))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that two peers do not beat in step

    def _note(self, error: str) -> None:
        if error != self.error:
            log.warning("peer-away", origin=self.mirror.origin, reason=error)
        self.error = error

    def reach(self) -> AbstractAsyncContextManager[PeerWire]:
        """The peer's node, as the directory in force lists it. Raises PeerAway."""
        node = self._node.ledger.exchange.in_force.by_origin.get(self.mirror.origin)
        if node is None:
            raise PeerAway("the directory in force lists no such node")
        return self._reach(node, self.config.url or node.url)

    async def _follow(self) -> None:
        async with self.reach() as wire:
            await self._take_pages(wire)  # a stream tells only news
            completing = asyncio.create_task(self._complete(wire))
            try:
                async with contextlib.aclosing(wire.follow({self.mirror.origin: self.mirror.size})) as pages:
                    async for parts in pages:
                        await self._take(wire, parts)
                        if completing.done():
                            completing.result()  # raises what ended it
            finally:
                completing.cancel()
                await asyncio.gather(completing, return_exceptions=True)

    async def _take_pages(self, wire: PeerWire) -> None:
        """One; and until nothing is left, or until parts are of their full size again."""
        origin, mirror = self.mirror.origin, self.mirror
        more = True
        while more:
            size, most = mirror.size, self._portion.entries
            await self._take(wire, await wire.page({origin: size}, most))
            self._portion.came()
            more = size < mirror.size < self.head_size and most < limits.PAGE_ENTRIES_MAX

    async def _complete(self, wire: PeerWire) -> None:
        """Now and then, what did not come with its entry: a peer that was restored has it back only later."""
        while True:
            filled = self.mirror.filled
            try:
                await self.mirror.complete(wire.body)
            finally:
                if self.mirror.filled > filled:
                    self._node.pages.forget()
                    self._node.news.wake_all()
            await asyncio.sleep(COMPLETE_SECONDS)

    async def _take(self, wire: PeerWire, parts: tuple[Part, ...]) -> None:
        """One page: only its own ledger is the peer's to tell."""
        part = next((part for part in parts if part.head.origin == self.mirror.origin), None)
        if part is None:
            raise PartRefused("its page has no part of its own ledger")
        size = self.mirror.size
        try:
            taken = await self.mirror.take(part, wire.body)
        except BaseException as error:
            if isinstance(error, PartRefused):
                self._doubt(part.checkpoint)
            if self.mirror.size > size:  # it was durable already: no later part tells anybody of it
                self._node.news.wake_all()
            raise
        self.head_size = max(self.head_size, part.head.size)  # its signature holds
        if not self.connected:
            log.info("peer-followed", origin=self.mirror.origin, entries=self.mirror.size, head=self.head_size)
        self.connected, self.error, self.heard = True, "", self._node.clock()
        for flag in taken.flags:
            log.error("entry-flagged", origin=self.mirror.origin, index=flag.index, check=flag.name, step=flag.step)
        await self._on_taken(taken)

    def _doubt(self, checkpoint: str) -> None:
        """A part that does not hold is no alarm; but what the peer's log signed beside it may be another history."""
        published = self.mirror.published
        if published is not None and checkpoint:
            self._node.evidence.suspect(self.mirror.origin, published.note, checkpoint)

    def state(self) -> dict[str, Any]:
        """What ``node peer status`` shows."""
        lag, mirror = max(0, self.head_size - self.mirror.size), self.mirror
        return {
            "origin": mirror.origin,
            "connected": self.connected,
            "error": self.error or None,
            "entries": mirror.size,
            "shown": mirror.head.size,
            "lag_entries": lag,
            "lag_s": round(max(0, self._node.clock() - mirror.time) / 1000, 1) if lag else 0.0,
            "checkpoint": mirror.published.size if mirror.published else 0,
            "flagged": mirror.storage.flag_count(),
            "heard": self.heard or None,
        }
