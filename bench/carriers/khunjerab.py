"""Our node, as an operator runs it, and our wire. What proves an entry is verified at both ends, as a client does."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path

from bench.carriers.contract import Arrived, Publish, Served
from clients.submitting import Answered, submitting
from clients.transport import Wire
from keys.signing import SignatureCheck
from protocol import merkle
from protocol.entry import Entry, Submission
from protocol.page import Part
from protocol.statements import Kind
from protocol.treehead import Receipt, TreeHead
from tests.support.process import NodeProcess, make_home
from tests.support.world import ORIGINS, World, node_keys, signing_key

ORIGIN = ORIGINS["PK"]


class Khunjerab:
    """A stream of messages of up to ``batch`` bulletins; a stream of pages."""

    name = "khunjerab"
    batch = 8

    def __init__(self, world: World, sender: str, reader: str) -> None:
        self._world, self._sender, self._reader = world, sender, reader

    @contextlib.contextmanager
    def serving(self, folder: Path) -> Iterator[Served]:
        """``khunjerab node serve``, killed at the end."""
        node = NodeProcess(make_home(folder / "node", self._world))
        asyncio.run(node.start())
        try:
            yield Served(node.url, node.pid)
        finally:
            node.kill()

    @contextlib.asynccontextmanager
    async def logged_in(self, served: Served, agency: str) -> AsyncIterator[Wire]:
        """The wire of an agency's desk."""
        async with Wire(served.url) as wire:
            wire.log_in_as(signing_key(f"{agency}/desk"), self._world.pin, ORIGIN)
            await wire.session()
            yield wire

    @contextlib.asynccontextmanager
    async def publishing(self, served: Served) -> AsyncIterator[Publish]:
        """Each receipt leads to a head that the node signed, which is verified once for all that share it."""
        async with self.logged_in(served, self._sender) as wire, submitting(wire) as stream:
            waiting = deque[tuple[int, asyncio.Future[None]]]()

            async def publish(submissions: Sequence[Submission]) -> None:
                landed = asyncio.get_running_loop().create_future()
                waiting.append((len(submissions), landed))
                await stream.send(submissions)
                await landed

            async def take() -> None:
                answered = 0
                while True:
                    answered += _verified(await stream.answers())
                    while waiting and answered >= waiting[0][0]:
                        count, landed = waiting.popleft()
                        answered -= count
                        landed.set_result(None)

            taking = asyncio.create_task(take())
            try:
                yield publish
            finally:
                taking.cancel()

    async def arriving(self, served: Served) -> AsyncGenerator[list[Arrived], None]:
        """Each page's head and every entry's path are verified."""
        async with (
            self.logged_in(served, self._reader) as wire,
            contextlib.aclosing(wire.stream({ORIGIN: 0}, {ORIGIN: 0})) as pages,
        ):
            async for part, *_ in pages:
                yield arrived_in(part)


def _verified(answered: Sequence[Answered]) -> int:
    """How many were logged, all of them, under heads that the node signed."""
    heads = set[TreeHead]()
    for submission, receipt in answered:
        if not isinstance(receipt, Receipt):
            raise receipt
        receipt.leaf_of(Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link))
        heads.add(receipt.head)
    for head in heads:
        _verify(head)
    return len(answered)


def arrived_in(part: Part) -> list[Arrived]:
    """The bulletins of a page's part, its head and every path verified."""
    _verify(part.head)
    come = []
    for item in part.items:
        leaf = merkle.leaf_hash(item.entry)
        merkle.verify_inclusion(leaf, item.index, part.head.size, list(item.path), part.head.root)
        entry = Entry.decode(item.entry)
        if entry.kind is Kind.BULLETIN and item.wrap and item.body:
            come.append(Arrived(entry.statement, entry.signatures, item.wrap, item.body))
    return come


def _verify(head: TreeHead) -> None:
    assert head.signature is not None
    key = next(node_keys(nation).receipt.public for nation, origin in ORIGINS.items() if origin == head.origin)
    SignatureCheck(key, head.message(), head.signature, 1).verify()
