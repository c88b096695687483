"""Two nodes that mirror each other cosign each other: what is posted is witnessed abroad, and a fork is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

from broker.node import Node
from keys.witnessing import policy_of, witnessed
from protocol.addcheckpoint import AddCheckpoint
from protocol.checkpoint import Checkpoint
from protocol.names import format_id
from protocol.note import Note
from protocol.statements import Bulletin
from tests.support.caller import Caller
from tests.support.door import logged_in, post, until
from tests.support.pair import PEER, Pair, live_pair
from tests.support.world import ORIGINS, node_keys


def _witnessed(node: Node) -> bool:
    """Whether the newest checkpoint covers the ledger and is what the default policy asks for."""
    shown, directory, origin = node.publisher.newest, node.ledger.exchange.in_force, node.ledger.origin
    if shown is None or shown.size < node.ledger.head.size:
        return False
    return witnessed(shown.note, origin, directory, policy_of(directory, origin)).enough


async def _grow(pair: Pair, nation: str) -> str:
    """A bulletin more in a nation's ledger; its address."""
    node, sender = pair.nodes[nation], f"{nation.lower()}-liaison"
    bulletin = pair.world.bulletin(sender, to=(f"{PEER[nation].lower()}-liaison",), created=node.clock())
    async with logged_in(node, f"{sender}/desk") as wire:
        await post(wire, bulletin)
    header = Bulletin.decode(bulletin.statement).header
    return f"/v1/bulletins/{format_id(header.sender, header.id)}"


async def test_what_is_posted_is_witnessed_abroad(tmp_path: Path) -> None:
    """In both directions, by the entries that were mirrored; and its sender is told. SPEC 9.7.2, 9.7.7, 11.5.1."""
    async with live_pair(tmp_path) as pair:
        for nation in PEER:
            path = await _grow(pair, nation)
            await until(lambda nation=nation: _witnessed(pair.nodes[nation]))  # type: ignore[misc]
            witness = pair.nodes[PEER[nation]].witness
            assert witness is not None
            kept = next(row for row in witness.store.all() if row.origin == ORIGINS[nation])
            mirror = pair.mirror(PEER[nation])
            assert kept.root == mirror.tree.root(kept.size)
            async with logged_in(pair.nodes[nation], f"{nation.lower()}-liaison/desk") as wire:
                assert (await wire.json("GET", path))["witnessed_by"] == [ORIGINS[PEER[nation]]]


async def test_a_fork_of_what_was_mirrored_is_not_cosigned(tmp_path: Path) -> None:
    """Signed by both keys of the log, at once or later: refused, and what is true goes on. SPEC 9.7.2, 9.7.3."""
    async with live_pair(tmp_path) as pair:
        pk, cn = pair.nodes["PK"], pair.nodes["CN"]
        await _grow(pair, "PK")
        await until(lambda: _witnessed(pk))
        size = pk.ledger.head.size
        keys = node_keys("PK").log
        async with Caller(cn.config.url, pair.world) as caller:
            for larger in (0, 1):
                forged = Checkpoint(ORIGINS["PK"], size + larger, hashlib.sha256(b"another tree").digest())
                note = Note(forged.text(), tuple(keys.lines(forged, pk.clock() // 1000)))
                answer = await caller.ask("POST", "/add-checkpoint", AddCheckpoint(size, (), note).encode())
                assert answer.status == 422, answer.data
        await _grow(pair, "PK")
        await until(lambda: _witnessed(pk) and pk.ledger.head.size == size + 1)
