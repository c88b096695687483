"""What a mirror is in memory is what is in its file, whoever fails or waits meanwhile; what a lying part may cost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker import mirror as module
from broker import peering
from broker.copies import Copies
from broker.errors import LedgerBroken, StorageError
from broker.mirror import PartRefused
from broker.peer import PeerAway, PeerConfig
from broker.peering import Peering
from broker.recovery import Recovery
from clients.errors import Unreachable
from clients.transport import Wire
from keys.replay import Replay
from khunjerab.peering import _told
from protocol import canonical, limits
from protocol.content import Version
from protocol.entry import Submission
from protocol.page import Cursor, Part
from protocol.statements import Bulletin, Kind
from tests.support.altering import replace
from tests.support.mirroring import Site, entry_of, forged, signed_head
from tests.support.world import CONTENT, ORIGINS, open_ledger, signing_key

LONG = replace(CONTENT, versions=(Version("en", "Long", "x" * 90_000),))


async def never(*_: object) -> None:
    """What is not to be called."""
    raise AssertionError


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


async def test_lanes_of_one_mirror_take_turns_however_many_wait(site: Site) -> None:
    """Each time that its address is changed a lane is begun anew, and the one before may still be at it."""
    await site.take()
    at_work, most = 0, 0
    real = site.mirror._take

    async def counted(part: Part, fetch: module.Fetch) -> module.Taken:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        try:
            await asyncio.sleep(0)
            taken = await real(part, fetch)
            await asyncio.sleep(0)
            return taken
        finally:
            at_work -= 1

    site.mirror._take = counted  # type: ignore[method-assign]
    site.post(site.world.bulletin())
    part, nothing = site.part(), site.part(after=site.ledger.tree.size)
    first, second = (asyncio.create_task(site.take(one)) for one in (part, nothing))
    await first
    await asyncio.gather(second, *(site.take(nothing) for _ in range(3)))
    assert most == 1


async def test_governance_counts_once_it_is_durable(site: Site) -> None:
    """What a part says is believed by nobody while a body of it is still fetched. SPEC 11.9.6."""
    await site.take()
    before, reached, go_on = site.mirror.exchange, asyncio.Event(), asyncio.Event()
    site.post(site.world.bulletin(content=LONG))
    site.post(site.world.revocation("pk-liaison/duty"))

    async def away(sha256: bytes) -> tuple[bytes, bytes] | None:
        reached.set()
        await go_on.wait()
        return await site.fetch(sha256)

    taking = asyncio.create_task(site.mirror.take(site.part(), away))
    await reached.wait()
    assert site.mirror.exchange is before
    go_on.set()
    await taking
    assert site.mirror.exchange.is_revoked("pk-liaison", signing_key("pk-liaison/duty").public.key_id)


async def test_lies_that_hang_on_each_other_cost_two_passes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is refused as a second one only until the one before it turns out to be unsigned. SPEC 11.9.1."""
    await site.take()
    good = site.world.bulletin()
    broken = bytearray(good.signatures)
    broken[-2] ^= 1
    entries = [entry_of(site, good.kind, good.statement, bytes(broken)) for _ in range(24)]
    entries.append(entry_of(site, good.kind, good.statement, good.signatures))
    part, steps, real = forged(site, *entries), 0, Replay.step

    def counted(replay: Replay, *arguments: object) -> object:
        nonlocal steps
        steps += 1
        return real(replay, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Replay, "step", counted)
    await site.take(part)
    assert steps == 2 * len(entries)
    assert [flag.name for flag in site.mirror.storage.flags()] == ["bad-signature"] * 24
    header = Bulletin.decode(good.statement).header
    assert site.mirror.storage.first(header.sender, header.id) is not None


async def test_a_body_that_nobody_has_keeps_no_other_from_being_asked_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many such there are. SPEC 11.9.3."""
    monkeypatch.setattr(module, "LACKING_MAX", 2)
    await site.take()
    lost = [site.post(site.world.bulletin()) for _ in range(2)]
    had = site.post(site.world.bulletin())
    part = site.part()
    await site.take(
        part.replace(items=tuple(item.replace(body=None, wrap=None, withheld="missing") for item in part.items))
    )
    gone = {Bulletin.decode(e.statement).body for r in lost if (e := site.ledger.storage.entry(r.index)) is not None}

    async def some(sha256: bytes) -> tuple[bytes, bytes] | None:
        return None if sha256 in gone else await site.fetch(sha256)

    assert [await site.mirror.complete(some) for _ in range(2)] == [0, 1]
    assert site.mirror.storage.lacking(0, 9) == [receipt.index for receipt in lost]
    assert site.mirror.storage.body(had.index) is not None
    gone.clear()
    assert await site.mirror.complete(some) == 2


async def test_what_came_before_the_link_broke_is_kept_and_asked_for_no_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it may break each time. SPEC 11.9.3."""
    await site.take()
    receipts = [site.post(site.world.bulletin()) for _ in range(3)]
    part = site.part()
    await site.take(
        part.replace(items=tuple(item.replace(body=None, wrap=None, withheld="missing") for item in part.items))
    )

    async def one_only(sha256: bytes) -> tuple[bytes, bytes] | None:
        if site.asked:
            raise PeerAway("the link is cut")
        return await site.fetch(sha256)

    monkeypatch.setattr(peering, "COMPLETE_SECONDS", 0)
    told: list[int] = []
    pages, news = SimpleNamespace(forget=int), SimpleNamespace(wake_all=lambda: told.append(site.mirror.filled))
    node: Any = SimpleNamespace(pages=pages, news=news)
    lane = Peering(PeerConfig(ORIGINS["PK"]), site.mirror, node, *(never,) * 3)  # type: ignore[arg-type]
    wire: Any = SimpleNamespace(body=one_only)
    for filled in (1, 2):
        site.asked.clear()
        with pytest.raises(PeerAway):
            await lane._complete(wire)
        assert told[-1] == site.mirror.filled == filled
        assert len(site.mirror.storage.lacking(0, 9)) == len(receipts) - filled


async def test_a_peer_whose_keys_were_rotated_is_caught_up_with(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It signs with the new ones for what is from before; this node's own ledger knows them already. SPEC 11.9.1."""
    nodes = tuple(
        replace(node, receipt=signing_key("PK/receipt-2").public) if node.origin == ORIGINS["PK"] else node
        for node in site.world.directory.nodes
    )
    rotated = site.world.with_directory(nodes=nodes)
    for _ in range(4):
        site.post(site.world.bulletin())
    site.post(rotated.publication())
    part = site.part(limit=4)
    head = part.head.replace(signature=None)
    head = head.replace(signature=signing_key("PK/receipt-2").sign(head.message(), 1))
    with pytest.raises(module.PartRefused):
        await site.take(part.replace(head=head))
    site.mirror._known = lambda: {rotated.directory.hash: rotated.directory}
    assert (await site.take(part.replace(head=head))).entries == 4


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


class _Taking:
    """A writer that says yes to everything."""

    def __init__(self) -> None:
        self.taken: list[Kind] = []

    async def submit(self, submission: Submission) -> None:
        self.taken.append(submission.kind)


async def test_a_bundle_from_before_a_move_is_entered(site: Site, tmp_path: Path) -> None:
    """Though the move came with it: without it no later one of its agency would follow here. SPEC 11.9.4."""
    world = site.world.with_bundle("pk-site-security", starts=site.now)
    site.post(world.key_bundle("pk-site-security"))
    moved = world.with_agency("pk-site-security", home=ORIGINS["CN"])
    site.post(moved.publication())
    foreign = moved.with_bundle("cn-embassy", starts=site.now)
    site.post(foreign.key_bundle("cn-embassy"))  # past the door: it is not at home there
    await site.take()
    own = open_ledger(_made(tmp_path / "own"), site.world, "CN", site.now)
    writer = _Taking()
    await Copies(own, writer).enter(site.mirror)  # type: ignore[arg-type]
    assert writer.taken == [Kind.KEY_BUNDLE, Kind.DIRECTORY]
    own.storage.close()


async def test_what_was_just_written_is_no_copy_yet(site: Site, tmp_path: Path) -> None:
    """What is refused of it is not known before the mirror has grown. SPEC 11.9.4."""
    await site.take()
    size = site.mirror.size
    site.post(site.world.revocation("pk-liaison/duty"))
    site.post(site.world.revocation("pk-liaison/desk"))
    await site.take()
    site.mirror.size = size + 1
    own, writer = open_ledger(_made(tmp_path / "own"), site.world, "CN", site.now), _Taking()
    await Copies(own, writer).enter(site.mirror)  # type: ignore[arg-type]
    assert writer.taken == [Kind.REVOCATION]
    own.storage.close()


@pytest.mark.parametrize("answer", [[b"body"], [1, None], [b"body", "wrap"], {}, b"body"])
async def test_a_body_in_another_form_is_none(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that answers so is away; it ends no lane. SPEC 11.4.1."""
    wire = Wire("http://127.0.0.1:9")

    async def request(*_: object, **__: object) -> bytes:
        return canonical.encode(answer)

    monkeypatch.setattr(wire, "request", request)
    with pytest.raises(Unreachable):
        await wire.body(bytes(32))


async def test_what_became_durable_before_its_lane_ended_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is woken, though the part came to nothing else: the next one says nothing of it."""
    await site.take()
    woken: list[int] = []
    node: Any = SimpleNamespace(news=SimpleNamespace(wake_all=lambda: woken.append(site.mirror.size)))
    wire: Any = SimpleNamespace(body=site.fetch)

    lane = Peering(PeerConfig(ORIGINS["PK"]), site.mirror, node, never, never, never)  # type: ignore[arg-type]
    receipt = site.post(site.world.bulletin())
    site.publish()

    def full(*_: object) -> None:
        raise StorageError

    monkeypatch.setattr(site.mirror.storage, "record_root", full)
    with pytest.raises(StorageError):
        await lane._take(wire, (site.part(),))
    assert woken == [receipt.index + 1]
    monkeypatch.undo()
    with pytest.raises(PartRefused):
        await lane._take(wire, (site.part(after=0),))
    assert len(woken) == 1
    assert (await site.take()).checkpoint


async def test_parts_grow_again_as_they_come(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until they are of their full size, which a stream goes on with; or nothing is left. SPEC 11.9.7."""
    monkeypatch.setattr(limits, "PAGE_ENTRIES_MAX", 8)
    asked: list[int] = []

    async def page(after: Cursor, limit: int) -> tuple[Part, ...]:
        assert after == {ORIGINS["PK"]: site.mirror.size}
        asked.append(limit)
        return (site.part(limit),)

    async def taken(*_: object) -> None: ...

    node: Any = SimpleNamespace(clock=site.clock)
    wire: Any = SimpleNamespace(body=site.fetch, page=page)
    lane = Peering(PeerConfig(ORIGINS["PK"]), site.mirror, node, never, taken, never)  # type: ignore[arg-type]
    for _ in range(20):
        site.post(site.world.bulletin())
    lane._portion.entries = 1
    await lane._take_pages(wire)
    assert asked == [1, 2, 4, 8]
    assert site.mirror.size == sum(asked) < site.ledger.tree.size
    lane._portion.entries = 2
    for _ in range(3):
        await lane._take_pages(wire)
    assert asked[4:] == [2, 4, 8, 8, 8]
    assert site.mirror.size == site.ledger.tree.size
    lane._portion.entries = 1
    await lane._take_pages(wire)
    assert asked[9:] == [1]


async def test_what_the_peer_has_shown_and_is_not_here_yet_is_the_lag(site: Site) -> None:
    """In entries, and in seconds since the newest that is here; both shrink as the backlog comes."""

    async def taken(*_: object) -> None: ...

    node: Any = SimpleNamespace(clock=site.clock)
    wire: Any = SimpleNamespace(body=site.fetch)
    lane = Peering(PeerConfig(ORIGINS["PK"]), site.mirror, node, never, taken, never)  # type: ignore[arg-type]
    began, founding = site.now, site.ledger.tree.size
    for _ in range(10):
        site.now += 1000
        site.post(site.world.bulletin(created=site.now))
    for entries, lag, lag_s in ((founding, 10, 10.0), (4, 6, 6.0), (5, 1, 1.0), (1, 0, 0.0)):
        await lane._take(wire, (site.part(limit=entries),))
        told = lane.state()
        assert (told["lag_entries"], told["lag_s"]) == (lag, lag_s)
        shown = [line for line in _told(told) if "behind" in line]
        assert shown == ([f"  behind by {lag} entries, {lag_s} s"] if lag else [])
    assert site.now - began == 10_000


async def test_a_size_that_nobody_signed_is_no_lag(site: Site) -> None:
    """What `node peer status` shows is what the peer's node has put its name to."""
    node: Any = SimpleNamespace(evidence=SimpleNamespace(suspect=lambda *_: None), clock=site.clock)
    wire: Any = SimpleNamespace(body=site.fetch)

    lane = Peering(PeerConfig(ORIGINS["PK"]), site.mirror, node, never, never, never)  # type: ignore[arg-type]
    part = site.part()
    with pytest.raises(PartRefused):
        await lane._take(wire, (part.replace(head=part.head.replace(size=2**50)),))
    assert lane.state()["lag_entries"] == 0


async def test_a_restored_node_knows_its_own_newest_key(site: Site) -> None:
    """Its old ledger does not list it yet, and what its peers hold was signed with it. SPEC 9.4.1."""
    await site.take()
    keys = SimpleNamespace(receipt=signing_key("PK/receipt-2"))
    node: Any = SimpleNamespace(ledger=site.ledger, keys=keys)
    recovery = Recovery(node)
    for signer in ("PK", "PK/receipt-2"):
        recovery._require_own(signed_head(site.part(), 1, bytes(32), signer))
    with pytest.raises(LedgerBroken):
        recovery._require_own(signed_head(site.part(), 1, bytes(32), "CN"))
