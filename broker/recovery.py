"""How a node that signs nothing, as its ledger is older than its promises, gets the rest from its peers by itself.

Each peer's mirror is asked for this node's own ledger, page by page, and every page is taken as ``broker/restore.py``
takes any tail: signed by this node's own keys, one history with what is here, admitted again by the one judge. Nothing
is signed before every peer has been heard. What no mirror has comes back from those who posted it, for as long as the
operator has set (``broker/promised.py``). Then every tree that is known to be signed must have been reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import structlog

from broker.errors import BrokerError, LedgerBroken
from broker.ledger import Ledger
from broker.peer import PeerAway, PeerWire, Portion
from broker.peering import Peering
from broker.promised import Promised
from broker.restore import Came, admit_again, require_known_trees
from broker.sealed import split_wraps
from keys.claims import check_head
from keys.errors import BadSignature
from keys.lognote import open_checkpoint
from keys.signing import SignatureCheck
from protocol.errors import ProofFailed, ProtocolError
from protocol.merkle import Frontier, leaf_hash, verify_consistency
from protocol.page import Part
from protocol.treehead import TreeHead

if TYPE_CHECKING:
    from broker.node import Node

T = TypeVar("T")

log = structlog.get_logger()


class Recovery:
    """One node's. ``run`` is called again and again, and does something only while the node signs nothing."""

    def __init__(self, node: Node) -> None:
        self._node, self._ledger = node, node.ledger
        self.promised = Promised(node.ledger, self._require_own, lambda: node.not_signing is None)
        self._heard: float | None = None  # when all peers first were, by the loop's clock
        self._asked = set[str]()  # the peers that were: one that is added while receipts are waited for is heard too
        self.told = ""
        self._portion = Portion()

    async def run(self, lanes: Sequence[Peering]) -> None:
        """Take what peers and senders have; sign again once all were heard. Without peers it is for the operator."""
        node, size = self._node, self._ledger.tree.size
        if node.not_signing is None or not lanes:
            return
        try:
            async with node.writer.lock:
                await self._hear_all([lane for lane in lanes if lane.config.origin not in self._asked])
                self.promised.drop(await self._write(lambda: self.promised.take(node.clock())))
                if self._seconds_left() > 0:
                    return
                self.promised.require_reached()
                self.promised.closed = True
                await self._write(lambda: _lift(self._ledger))
        except (PeerAway, BrokerError, ProtocolError) as error:
            if self._ledger.tree.size == size:
                self._portion.broke()
            if str(error) != self.told:
                log.warning("not-recovered", reason=str(error))
            self.told = str(error)
            return
        else:
            self._heard = None
            self._asked.clear()
            node.resume()
        finally:
            self.promised.closed = False
        log.info("recovered", entries=self._ledger.tree.size)

    async def _hear_all(self, lanes: Sequence[Peering]) -> None:
        for lane in lanes:
            async with lane.reach() as wire:
                await self._hear(wire)
            self._asked.add(lane.config.origin)
        if self._heard is None:
            self._heard = asyncio.get_running_loop().time()
            log.info("peers-heard", entries=self._ledger.tree.size, outbox_wait=self._node.config.outbox_seconds)

    @property
    def waiting(self) -> str:
        """What a node that signs nothing waits for; empty where that is for its operator."""
        if self._heard is None or self._seconds_left() <= 0:
            return self.told
        return f"takes back what senders hold receipts for, for {self._seconds_left():.0f} s more"

    def _seconds_left(self) -> float:
        """How much longer receipts are waited for."""
        heard = asyncio.get_running_loop().time() if self._heard is None else self._heard
        return heard + self._node.config.outbox_seconds - asyncio.get_running_loop().time()

    async def _hear(self, wire: PeerWire) -> None:
        """All that one peer's mirror has beyond what is here, and the largest checkpoint that it has seen."""
        ledger = self._ledger
        while part := await self._page(wire):
            self._require_own(part.head)
            await self._write(lambda part=part: _take(ledger, part))  # type: ignore[misc]
        note = await wire.mirrored_checkpoint(ledger.origin)
        if not note:
            raise LedgerBroken(
                "a peer mirrors nothing of this ledger: khunjerab node peer remove, and node restore --from"
            )
        checkpoint = open_checkpoint(note, self._node.keys.log.vkeys()).checkpoint
        if checkpoint.size > ledger.tree.size or ledger.tree.root(checkpoint.size) != checkpoint.root:
            raise LedgerBroken(f"a checkpoint of {checkpoint.size} entries was signed that is not of what is here")

    async def _page(self, wire: PeerWire) -> Part | None:
        origin = self._ledger.origin
        parts = await wire.page({origin: self._ledger.tree.size}, self._portion.entries)
        self._portion.came()
        return next((part for part in parts if part.head.origin == origin and part.items), None)

    def _require_own(self, head: TreeHead) -> None:
        """What a peer calls this ledger is what this node's receipt key has signed for."""
        if (head.exchange, head.origin) != (self._ledger.pin, self._ledger.origin):
            raise LedgerBroken("another ledger was given for this node's own")
        try:
            self._require_signed(head)
        except (ProtocolError, BadSignature) as error:
            raise LedgerBroken(f"what was given for this ledger was not signed here: {error.detail}") from error

    def _require_signed(self, head: TreeHead) -> None:
        """By the key that this node has, whether its old ledger lists that already or not; or by one that it lists."""
        key = self._node.keys.receipt.public
        if head.signature is not None and head.signature.key_id == key.key_id:
            SignatureCheck(key, head.message(), head.signature, 1).verify()
        else:
            check_head(head, self._ledger.exchange)

    async def _write(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._node.writer.disk, act)


def _take(ledger: Ledger, part: Part) -> None:
    """Entries one by one, each durable: a crash leaves a longer ledger, halted as before."""
    _require_extended(ledger, part)
    for item in part.items:
        admit_again(ledger, item.entry, Came(item.body, split_wraps(item.wrap or b"")))


def _require_extended(ledger: Ledger, part: Part) -> None:
    """What is here and the entries of a page are what its head is over, or what it extends."""
    frontier = Frontier.of(ledger.tree.size, ledger.tree.node)
    for item in part.items:
        if item.index != frontier.size:
            raise LedgerBroken(f"a peer's page does not go on at entry {frontier.size}")
        frontier.append(leaf_hash(item.entry))
    size, head = frontier.size, part.head
    path: tuple[bytes, ...] = ()
    if size < head.size:
        path = next((joint.path for joint in part.consistencies if (joint.old, joint.new) == (size, head.size)), ())
    try:
        verify_consistency(size, head.size, list(path), frontier.root(), head.root)
    except ProofFailed as error:
        raise LedgerBroken(f"what is here and what a peer has are not one history: {error.detail}") from error


def _lift(ledger: Ledger) -> None:
    """What was taken back is signed once it has been read again, as ever (``broker/publisher.py``)."""
    require_known_trees(ledger)
    ledger.storage.halt(None)  # commit point: from here on this node signs
