"""A node put back from an old backup: it gets its newest entries from its peer's mirror, and signs nothing before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from broker.storage.contract import Halt
from tests.support.door import logged_in, post, refusal, until
from tests.support.live import now_ms
from tests.support.pair import follow
from tests.support.past import Past
from tests.support.record import require_clean
from tests.support.world import ORIGINS, admit, open_ledger

PK, CN = ORIGINS["PK"], ORIGINS["CN"]


@pytest.fixture
async def past(tmp_path: Path) -> Past:
    past = Past.of(tmp_path)
    world = past.world
    async with past.running("CN") as cn, past.running("PK") as pk, logged_in(pk, "pk-liaison/desk") as sender:
        await post(sender, world.bulletin(created=now_ms()))
        past.back_up()
        for _ in range(70):  # more than a page
            await post(sender, world.bulletin(created=now_ms()))
        async with logged_in(pk, "cn-liaison/identity") as custodian:
            await post(custodian, world.revocation("cn-liaison/duty", created=now_ms()))
        mirror = cn.mirrors.get(PK)
        assert mirror is not None
        await until(lambda: mirror.head.size == pk.ledger.head.size)
        await pk.publish()
        await until(lambda: bool(cn.witness and cn.witness.store.kept(PK).size == pk.ledger.head.size))
        past.remember(pk)
    past.put_back()
    return past


async def test_it_signs_nothing_before_it_has_heard_its_peer(past: Past) -> None:
    """It serves what it has, however long the peer is away; a restart changes nothing."""
    for _ in range(2):
        async with past.running("PK") as pk, logged_in(pk, "cn-auditor/desk") as reader:
            head = pk.ledger.head
            await until(lambda: bool(pk.peers.state()) and pk.peers.state()[0]["error"] != "not tried yet")
            await pk.publish()
            async with logged_in(pk, "pk-liaison/desk") as sender:
                assert (await refusal(sender, past.world.bulletin(created=now_ms()))).code == "not-signing"
            parts = await reader.deliveries({}, {})
            assert [part.head for part in parts if part.head.origin == PK] == [head]
            assert pk.ledger.tree.size < len(past.entries)


async def test_it_gets_the_rest_from_the_peers_mirror_and_signs_again(past: Past) -> None:
    """Entry by entry as they were, with the bodies that the peer's agencies were sent; one history for everybody."""
    async with past.running("CN") as cn, past.running("PK") as pk:
        assert pk.not_signing is not None
        await until(lambda: pk.not_signing is None)
        assert pk.storage.entry_bytes(0, 999) == past.entries
        assert {index: pk.storage.body(index) for index in past.bodies} == past.bodies
        async with logged_in(pk, "pk-liaison/desk") as sender:
            receipt = await post(sender, past.world.bulletin(to=("cn-embassy",), created=now_ms()))
        assert receipt.index == len(past.entries)
        await until(lambda: bool(cn.witness and cn.witness.store.kept(PK).size == receipt.index + 1))
        assert cn.evidence.all() == []
        mirror = cn.mirrors.get(PK)
        assert mirror is not None
        assert mirror.storage.flags() == []
        await require_clean(past.folder, past.world, {"PK": pk, "CN": cn})


async def test_it_is_started_before_its_peer(past: Past) -> None:
    """And waits for it."""
    async with past.running("PK") as pk:
        await until(lambda: bool(pk.peers.state()) and pk.peers.state()[0]["error"] != "not tried yet")
        async with past.running("CN"):
            await until(lambda: pk.not_signing is None)
            assert pk.storage.size() == len(past.entries)


async def test_a_tail_that_this_node_never_signed_is_not_taken(past: Past) -> None:
    """What a peer shows must be of one history with what is here. SPEC 11.2.5."""
    for file in past.folder.glob("pk-ledger.db*"):
        file.unlink()
    ledger = open_ledger(past.folder, past.world, now=now_ms() - 10_000)
    admit(ledger, past.world.bulletin(created=now_ms()), now_ms())
    ledger.storage.halt(Halt("restored from a backup"))
    ledger.storage.close()
    async with past.running("CN"), past.running("PK") as pk:
        size = pk.ledger.tree.size
        await until(lambda: "one history" in pk.peers.recovery.told)
        assert (pk.ledger.tree.size, pk.not_signing) == (size, "restored from a backup")


async def test_a_peer_that_mirrors_nothing_is_not_enough(past: Past) -> None:
    """It cannot say what was promised: the operator has to."""
    shutil.rmtree(past.folder / "cn-home" / "mirrors")
    (past.folder / "cn-witness.db").unlink()
    follow(past.folder, "CN", "")
    async with past.running("CN"), past.running("PK") as pk:
        await until(lambda: "mirrors nothing" in pk.peers.recovery.told)
        assert pk.not_signing is not None


async def test_a_checkpoint_that_the_peer_cosigned_must_be_reached(past: Past) -> None:
    """Where its mirror has lost what it cosigned, nothing is signed over the gap."""
    shutil.rmtree(past.folder / "cn-home" / "mirrors")
    follow(past.folder, "CN", "")
    async with past.running("CN"), past.running("PK") as pk:
        await until(lambda: "was signed that is not of what is here" in pk.peers.recovery.told)
        assert pk.not_signing is not None
