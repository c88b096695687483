"""A peer's node whose code is altered, against an honest node that is a process: over real sockets, with real keys.

Whatever it says, the honest node serves its own people, grows by less than 64 MiB, keeps nothing that was not signed
for, and holds evidence only where there is some.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.mirrors import FOLDER, digest_of
from broker.peer import PeerConfig, save_peers
from broker.storage.mirrored import MirrorStorage
from clients.errors import Declined
from clients.transport import Wire
from keys.fork import Fork, check
from keys.lognote import cosignatures_of
from protocol.addcheckpoint import AddCheckpoint, decode_lines
from protocol.checkpoint import Checkpoint
from protocol.merkle import Frontier, leaf_hash
from protocol.note import Note
from protocol.page import Part
from protocol.statements import Bulletin
from protocol.times import DAY_MS
from protocol.treehead import Receipt
from tests.support import hostile as lies
from tests.support.border import ENDLESS
from tests.support.caller import Caller
from tests.support.checks import check_ledger
from tests.support.door import until
from tests.support.hostile import Hostile, Lie, saying
from tests.support.live import now_ms
from tests.support.mirroring import Site, entry_of, forged, signed_head
from tests.support.pair import world_of_two
from tests.support.process import NodeProcess, make_home
from tests.support.record import audited
from tests.support.world import ORIGINS, World, node_keys, signing_key

PK, CN = ORIGINS["PK"], ORIGINS["CN"]
GROWTH_BYTES_MAX = 64 * 1024 * 1024


@dataclass
class Stand:
    """CN's node, honest, and what stands where PK's should."""

    world: World
    node: NodeProcess
    peer: Hostile
    site: Site
    before: int = 0
    broken: list[tuple[int, str]] = field(default_factory=list)  # index and rule of what the peer did sign for

    @property
    def mirror(self) -> Path:
        """The file of CN's mirror of PK's ledger."""
        return self.node.home / FOLDER / f"{digest_of(PK)}.db"

    def mirrored(self) -> list[bytes]:
        with contextlib.closing(MirrorStorage(self.mirror)) as storage:
            return storage.entry_bytes(0, storage.size())

    def flags(self) -> list[str]:
        with contextlib.closing(MirrorStorage(self.mirror)) as storage:
            return [flag.name for flag in storage.flags()]

    def evidence(self) -> list[Path]:
        return sorted((self.node.home / "evidence").glob("*.json"))

    def said(self, event: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.node.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    async def its_own_people(self) -> None:
        """They post and read as ever."""
        async with Wire(self.node.url) as wire:
            wire.log_in_as(signing_key("cn-liaison/desk"), self.world.pin, CN)
            submission = self.world.bulletin("cn-liaison", ("pk-liaison", "cn-embassy"), created=now_ms())
            (receipt,) = await wire.post([submission])
            assert isinstance(receipt, Receipt), receipt
            parts = {part.head.origin: part for part in await wire.deliveries({CN: receipt.index}, {})}
            assert [item.index for item in parts[CN].items] == [receipt.index]

    async def cosigns(self, entries: list[bytes]) -> None:
        """A checkpoint over these, flagged or not: they are part of the peer's history."""
        tree = Frontier()
        for data in entries:
            tree.append(leaf_hash(data))
        checkpoint, keys = Checkpoint(PK, tree.size, tree.root()), node_keys("PK").log
        note = Note(checkpoint.text(), tuple(keys.lines(checkpoint, now_ms() // 1000)))
        async with Caller(self.node.url, self.world) as caller:
            answer = await caller.ask("POST", "/add-checkpoint", AddCheckpoint(0, (), note).encode())
        assert answer.status == 200, answer.data
        lines = decode_lines(answer.data)
        assert len(cosignatures_of(checkpoint, lines, node_keys("CN").cosigner.vkeys())) == len(lines) == 2

    async def told(self, lie: Lie | None) -> None:
        """Twice, while the node serves its own people and stays small."""
        await self.peer.tell(lie)
        await self.its_own_people()
        await until(lambda: self.peer.lied >= 2)
        await self.its_own_people()
        assert self.node.resident_bytes() - self.before < GROWTH_BYTES_MAX, lie


@asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[Stand]:
    world = world_of_two(policy=ENDLESS)
    home = make_home(folder / "cn-node", world, nation="CN")
    (folder / "pk").mkdir()
    site = Site(folder / "pk", world, now_ms())
    site.post(world.bulletin(created=site.now))
    site.publish()
    await site.take()
    async with Hostile(site) as peer, NodeProcess(home) as node:
        save_peers(home, (PeerConfig(PK, peer.url),))
        made = Stand(world, node, peer, site)
        await until(lambda: made.mirror.exists() and len(made.mirrored()) == site.ledger.tree.size)
        await made.its_own_people()
        made.before = node.resident_bytes()
        yield made
        for nation in ORIGINS:
            report = await audited(folder, world, nation, node.url, abroad=nation == "PK")
            assert [(one.index, one.check) for one in report.findings if one.origin == PK] == made.broken
            assert [one for one in report.findings if one.origin != PK] == []
        assert await node.stop() == 0
    for word in ("Traceback", "lane-died", "unexpected"):
        assert word not in node.log.read_text("utf-8", "replace"), node.words()
    check_ledger(home / "ledger.db", world, "CN", now_ms())
    check_ledger(made.mirror, world, "PK", now_ms())
    site.close()


def _unsigned_for(site: Site) -> Iterator[Part]:
    """Parts of which nothing may be kept."""
    world, honest = site.world, site.part()
    submission = world.bulletin(created=site.now)
    entry = entry_of(site, submission.kind, submission.statement, submission.signatures)
    lie = forged(site, entry)
    yield lie.replace(head=signed_head(lie, lie.head.size, lie.head.root, "CN"))  # signed by somebody else
    yield lie.replace(head=honest.head)  # entries that its head is not over
    yield lie.replace(head=signed_head(lie, lie.head.size + 1, lie.head.root))  # no proof
    yield site.part(after=0)  # entries that are here already
    yield lie.replace(items=(), next=lie.next)  # a cursor ahead of its entries
    yield lie.replace(checkpoint=site.publish().replace("\n\n", "\n\n— x", 1))  # a checkpoint that is none


async def test_what_was_not_signed_for_is_not_kept(tmp_path: Path) -> None:
    """Wrong proofs, foreign entries and heads; no page at all. It raises no alarm: whoever sent it may be anyone."""
    async with stand(tmp_path) as made:
        kept = made.mirrored()
        for part in _unsigned_for(made.site):
            await made.told(saying(part))
        for lie in (lies.no_page, lies.a_word):
            await made.told(lie)
        assert made.mirrored() == kept
        assert (made.flags(), made.evidence()) == ([], [])
        assert made.said("part-refused")


async def test_more_than_anyone_can_hold(tmp_path: Path) -> None:
    """Endless frames, fragments and answers, pages over and over, pages by the byte, a way to somewhere else."""
    async with stand(tmp_path) as made:
        kept = made.mirrored()
        for path in ("/add-checkpoint", "/v1/session", "/v1/deliveries"):
            made.peer.endless = {path}
            await made.told(None)
        made.peer.endless = set()
        for lie in (lies.a_huge_message, lies.an_endless_frame, lies.endless_fragments, lies.a_page_by_the_byte):
            await made.told(lie)
        await made.told(saying(made.site.part(), times=2000))
        made.peer.redirects_to = f"{made.peer.url}/strayed"
        await made.told(None)
        assert made.peer.strayed == 0, "a node goes nowhere that its operator and the directory did not name"
        assert made.mirrored() == kept
        assert (made.flags(), made.evidence()) == ([], [])


async def test_what_was_signed_for_and_breaks_a_rule_is_flagged(tmp_path: Path) -> None:
    """False times, signatures that do not hold, what is no entry: kept, cosigned, named, and delivered to nobody.

    Nor is a body, to somebody who knows its hash. SPEC 11.9.3.
    """
    async with stand(tmp_path) as made:
        site, world = made.site, made.world
        good, other = (world.bulletin(created=site.now, expires=site.now + 3 * DAY_MS) for _ in range(2))
        ahead = site.now + 2 * DAY_MS
        bad = bytearray(good.signatures)
        bad[-2] ^= 1
        lie = forged(
            site,
            b"\x00garbage",
            entry_of(site, good.kind, good.statement, bytes(bad)),
            *(entry_of(site, one.kind, one.statement, one.signatures, time=ahead) for one in (good, other)),
        )
        with_body = lie.items[-1].replace(body=other.body, wrap=b"".join(other.wraps))
        lie = lie.replace(items=(*lie.items[:-1], with_body))
        size = site.mirror.size
        made.peer.truth = lambda after: lie if after == size else lie.replace(items=(), next=after)
        made.peer.endless = {"/v1/bodies/"}
        await made.told(None)
        made.peer.endless = set()
        await until(lambda: len(made.mirrored()) == size + 4)
        assert made.flags() == ["entry-form", "bad-signature", "time-ahead", "time-ahead"]
        await made.cosigns(made.mirrored())
        made.broken = list(enumerate(made.flags(), size))  # the auditors say the same
        async with Wire(made.node.url) as wire:
            wire.log_in_as(signing_key("cn-liaison/desk"), world.pin, CN)
            parts = {part.head.origin: part for part in await wire.deliveries({PK: size}, {PK: size})}
            assert parts[PK].items == ()
            with pytest.raises(Declined, match="not-found"):
                await wire.body(Bulletin.decode(other.statement).body)
        await made.its_own_people()
        assert made.evidence() == []


async def test_a_log_that_forked_is_shown_to_have(tmp_path: Path) -> None:
    """Two heads of one size: kept once, as a file that anybody checks offline; nothing of the other history is kept."""
    async with stand(tmp_path) as made:
        (tmp_path / "fork").mkdir()
        fork = Site(tmp_path / "fork", made.world, made.site.now + 1)
        fork.post(made.world.bulletin(created=made.site.now))
        kept = made.mirrored()
        await made.told(saying(fork.part(after=fork.ledger.tree.size)))
        await until(lambda: bool(made.evidence()))
        await made.told(saying(fork.part(after=fork.ledger.tree.size)))
        (file,) = made.evidence()
        shown = check(Fork.decode(file.read_bytes()), made.world.pin)
        assert (shown.origin, shown.old.size, shown.new.size) == (PK, len(kept), len(kept))
        assert made.mirrored() == kept
        fork.close()
