"""A home reads every ledger that its node serves: each by its own cursor, and each judged for itself."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from clients.client import Client
from clients.errors import Tampering
from protocol.page import Part
from protocol.statements import Bulletin
from tests.support.altering import replace
from tests.support.live import now_ms
from tests.support.twoledgers import TwoLedgers, node_of
from tests.support.world import ORIGINS, World, first_directory, node

PK, CN = ORIGINS["PK"], ORIGINS["CN"]


@pytest.fixture
def two(tmp_path: Path) -> TwoLedgers:
    return TwoLedgers(tmp_path)


def _post(two: TwoLedgers, sender: str = "pk-liaison", to: str = "cn-liaison", **changes: object) -> tuple[str, int]:
    """Where it stands now."""
    feed = "sites" if sender[:2] == to[:2] else "convoys"
    submission = two.world.bulletin(sender, (to,), created=now_ms(), feed=feed, **changes)
    (receipt,) = two.admit(sender[:2].upper(), submission)
    return receipt.head.origin, receipt.index


def _alarms(client: Client) -> list[tuple[str, str]]:
    """Check and origin of each."""
    return [(check, origin) for _, check, origin, _, _ in client.state.alarms()]


def _spoiled(part: Part) -> Part:
    """Another root under the same signature."""
    return part.replace(head=part.head.replace(root=bytes(32)))


async def test_a_bulletin_posted_in_one_ledger_is_opened_by_a_reader_at_home_in_another(two: TwoLedgers) -> None:
    """Nobody has to know where it was posted; each ledger has its own cursor. SPEC 11.2.4."""
    place, own = _post(two), _post(two, "cn-embassy")
    with two.seat("cn-liaison") as reader:
        assert await reader.sync() > 0
        for origin, index in (place, own):
            held = reader.state.bulletin_at(origin, index)
            assert held is not None
            assert held.content is not None
        sizes = {origin: ledger.head.size for origin, ledger in two.ledgers.items()}
        assert {one.origin: one.next for one in reader.state.ledgers()} == sizes
        assert await reader.sync() == 0
        assert node_of(reader).asked[-1] == sizes
        assert reader.state.alarms() == []
        assert reader.replica.origin == CN


async def test_the_first_page_of_a_new_ledger_begins_at_its_beginning(two: TwoLedgers) -> None:
    """Whenever its node begins to serve it: the pinned directory in it says who may sign. SPEC 11.3.1."""
    with two.seat("cn-liaison") as reader:
        node_of(reader).mirrors = set()
        await reader.sync()
        assert [one.origin for one in reader.state.ledgers()] == [CN]
        place = _post(two)
        node_of(reader).mirrors = {PK}
        await reader.sync()
        assert node_of(reader).asked[-1].get(PK, 0) == 0
        assert reader.state.bulletin_at(*place) is not None


async def test_a_mirror_that_is_served_no_more_is_no_tampering_and_goes_on_where_it_was(two: TwoLedgers) -> None:
    """The home's own ledger alone must be there. SPEC 11.3.4."""
    with two.seat("cn-liaison") as reader:
        await reader.sync()
        known = reader.state.verified(PK)
        node_of(reader).mirrors = set()
        own = _post(two, "cn-embassy")
        assert await reader.sync() == 1
        assert reader.state.bulletin_at(*own) is not None
        assert reader.state.verified(PK) == known
        assert reader.state.alarms() == []
        place = _post(two)
        node_of(reader).mirrors = {PK}
        assert await reader.sync() == 1
        assert reader.state.bulletin_at(*place) is not None


async def test_a_page_without_the_home_ledger_is_tampering(two: TwoLedgers) -> None:
    """A node that answers for others only is not this home's. SPEC 11.3.4."""
    with two.seat("cn-liaison") as reader:
        await reader.sync()
        del two.ledgers[CN]
        with pytest.raises(Tampering) as caught:
            await reader.sync()
        assert (caught.value.check, caught.value.origin) == ("tree-head", CN)


async def test_a_ledger_whose_node_no_directory_lists_is_not_read(tmp_path: Path) -> None:
    """Whatever a node serves beside its own; it is no alarm, as an older directory may just be behind. SPEC 11.3.4."""
    homes = tuple(replace(agency, home=PK) for agency in first_directory().agencies)
    world = World.found(now_ms() // 1000 * 1000 - 60_000, agencies=homes, nodes=(node("PK"),))
    two = TwoLedgers(tmp_path, world)
    with two.seat("pk-liaison") as reader:
        await reader.sync()
        assert [one.origin for one in reader.state.ledgers()] == [PK]
        assert reader.state.alarms() == []
        two.world = world.with_directory(nodes=(node("PK"), node("CN")))
        two.govern(two.world.publication())
        await reader.sync()
        assert [one.origin for one in reader.state.ledgers()] == [CN, PK]


async def test_tampering_in_another_ledger_names_it_and_the_home_ledger_is_read_on(two: TwoLedgers) -> None:
    """Nothing of the bad part is kept; once it holds again, it is taken from the same cursor. SPEC 11.3.4."""
    with two.seat("cn-liaison") as reader:
        await reader.sync()
        place, own = _post(two), _post(two, "cn-embassy")
        node_of(reader).spoil[PK] = _spoiled
        await reader.sync()
        assert _alarms(reader) == [("tree-head", PK)]
        assert reader.state.bulletin_at(*own) is not None
        assert reader.state.bulletin_at(*place) is None
        another = _post(two, "cn-embassy")
        await reader.sync()
        assert reader.state.bulletin_at(*another) is not None
        node_of(reader).spoil.clear()
        await reader.sync()
        assert reader.state.bulletin_at(*place) is not None
        assert _alarms(reader) == [("tree-head", PK)]


async def test_tampering_in_the_home_ledger_ends_the_sync(two: TwoLedgers) -> None:
    """Whatever the others say. SPEC 11.3.2."""
    with two.seat("cn-liaison") as reader:
        await reader.sync()
        _post(two, "cn-embassy")
        node_of(reader).spoil[CN] = _spoiled
        with pytest.raises(Tampering):
            await reader.sync()
        assert _alarms(reader) == [("tree-head", CN)]


async def test_another_ledger_is_judged_by_its_own_governance(two: TwoLedgers) -> None:
    """A revocation that only one ledger has yet changes no verdict in the other. SPEC 11.3.4, 12.1.1."""
    two.admit("CN", two.world.revocation("pk-liaison/desk"))
    place = _post(two)
    with two.seat("cn-liaison") as reader:
        await reader.sync()
        held = reader.state.bulletin_at(*place)
        assert held is not None
        assert held.content is not None
        assert reader.state.alarms() == []


async def test_a_mirrored_ledger_that_lost_what_was_promised_is_believed_as_far_as_its_checkpoint(
    two: TwoLedgers,
) -> None:
    """As the home's own is: what was lost is evidence, and the home ledger is not touched. SPEC 11.3.4."""
    with two.seat("cn-liaison") as reader:
        first = _post(two)
        await reader.sync()
        signed = two.note(PK)
        lost, own = _post(two), _post(two, "cn-embassy")
        node_of(reader).spoil[PK] = lambda part: part.replace(checkpoint=signed)
        await reader.sync()
        assert reader.state.bulletin_at(*lost) is not None
        two.fork("PK", lost[1])
        again = _post(two)
        node_of(reader).spoil.clear()
        await reader.sync()
        assert again == lost
        assert ("broken-promise", PK) in _alarms(reader)
        assert all(origin == PK for _, origin in _alarms(reader))
        assert reader.state.bulletin_at(*first) is not None
        assert reader.state.bulletin_at(*own) is not None
        entry = two.ledgers[PK].storage.entry(again[1])
        held = reader.state.bulletin_at(*again)
        assert entry is not None
        assert held is not None
        assert held.header == Bulletin.decode(entry.statement).header


async def test_a_mirrored_ledger_that_breaks_its_checkpoint_is_an_alarm_and_keeps_what_was_verified(
    two: TwoLedgers,
) -> None:
    """There is no way back behind what the log key has signed; both trees are evidence. SPEC 11.3.4."""
    with two.seat("cn-liaison") as reader:
        lost = _post(two)
        await reader.sync()
        two.fork("PK", lost[1])
        _post(two)
        own = _post(two, "cn-embassy")
        await reader.sync()
        assert set(_alarms(reader)) == {("consistency", PK), ("fork", PK)}
        assert reader.state.bulletin_at(*lost) is not None
        assert reader.state.bulletin_at(*own) is not None


async def test_a_stream_brings_both_ledgers_and_survives_a_bad_part_of_one(two: TwoLedgers) -> None:
    """The bad ledger is left be until the next stream; the home's bulletins go on coming. SPEC 11.3.4, 11.6.1."""
    with two.seat("cn-liaison") as reader:
        async with contextlib.aclosing(reader.listen()) as pages:
            assert await anext(pages) > 0
            place = _post(two)
            assert await _next_news(two, pages) == 1
            assert reader.state.bulletin_at(*place) is not None
            node_of(reader).spoil[PK] = _spoiled
            bad, own = _post(two), _post(two, "cn-embassy")
            assert await _next_news(two, pages) == 1
            assert reader.state.bulletin_at(*own) is not None
            node_of(reader).spoil.clear()
            _post(two)
            another = _post(two, "cn-embassy")
            while reader.state.bulletin_at(*another) is None:
                await _next_news(two, pages)
            assert reader.state.bulletin_at(*bad) is None
            assert _alarms(reader) == [("tree-head", PK)]
            assert len(node_of(reader).streams) == 1
        async with contextlib.aclosing(reader.listen()) as pages:
            await anext(pages)
            assert reader.state.bulletin_at(*bad) is not None
            assert _alarms(reader) == [("tree-head", PK)]


async def _next_news(two: TwoLedgers, pages: object) -> int:
    async def tell() -> None:
        while True:
            await two.tell()
            await asyncio.sleep(0)

    telling = asyncio.create_task(tell())
    try:
        async with asyncio.timeout(120):
            return await anext(pages)  # type: ignore[call-overload, no-any-return]
    finally:
        telling.cancel()


async def test_two_terminals_of_a_home_take_each_ledger_once(two: TwoLedgers) -> None:
    """Whoever is later keeps nothing of that part, and reads the ledger anew. SPEC 11.3.4."""
    with two.seat("cn-liaison") as one, two.seat("cn-liaison") as other:
        await one.sync()
        await other.sync()
        place, own = _post(two), _post(two, "cn-embassy")
        parts = await one.receiver.fetch()
        await other.sync()
        taken = await one.receiver.take_page(parts)
        assert (taken.entries, taken.more, taken.moved) == (0, True, True)
        assert await one.sync() == 0
        assert one.state.bulletin_at(*place) is not None
        assert one.state.bulletin_at(*own) is not None
        assert one.state.alarms() == []


async def test_evidence_that_a_part_names_is_handed_on_as_it_is(two: TwoLedgers) -> None:
    """Of whichever ledger, before the part is judged. SPEC 11.2.1."""
    heard: list[tuple[str, bytes]] = []

    async def hear(origin: str, sha256: bytes) -> None:
        heard.append((origin, sha256))

    with two.seat("cn-liaison") as reader:
        reader.receiver.on_evidence = hear
        node_of(reader).spoil[PK] = lambda part: _spoiled(part).replace(evidence=bytes(32))
        await reader.sync()
        assert heard == [(PK, bytes(32))]
