"""Clocks that are wrong: a client's at its login, a node's that goes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.node import Node
from clients.archive import Archive
from clients.asked import Asked
from clients.auditor import Auditor, archive_of, site_of
from clients.copies import Copy
from clients.errors import Declined
from clients.transport import Wire
from keys.claims import open_signed
from keys.finding import Report
from protocol.entry import Entry
from tests.support.altering import replace
from tests.support.caller import Caller
from tests.support.checks import check_ledger
from tests.support.live import live_node, now_ms, seat_home
from tests.support.world import NOW, ORIGINS, World, first_directory, open_ledger, signing_key

TEN_MINUTES_MS, HALF_AN_HOUR_MS = 10 * 60_000, 30 * 60_000


class Clock:
    """A node's, which somebody sets."""

    def __init__(self) -> None:
        self.wrong_by_ms = 0

    def __call__(self) -> int:
        return now_ms() + self.wrong_by_ms


class StoppedClock(Clock):
    """One that stands still until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped_ms = now_ms()

    def __call__(self) -> int:
        return self.stopped_ms + self.wrong_by_ms


@pytest.fixture
def world() -> World:
    """One that began long enough ago for every clock here."""
    agencies = tuple(replace(agency, home=ORIGINS["PK"]) for agency in first_directory().agencies)
    return World.found(now_ms() - 4 * HALF_AN_HOUR_MS, agencies=agencies)


@asynccontextmanager
async def _node(folder: Path, world: World, clock: Clock) -> AsyncIterator[tuple[Node, Caller]]:
    """A node, and a caller who is logged in at it whatever its clock says."""
    async with live_node(folder, world, clock=clock) as node, Caller(node.config.url, world) as caller:
        caller.token = (await caller.send_login(caller.login(time=clock()))).json()["token"]
        yield node, caller


@pytest.mark.parametrize("off_ms, words", [(HALF_AN_HOUR_MS, "ahead of"), (-HALF_AN_HOUR_MS, "behind")])
async def test_a_clock_half_an_hour_off_is_told_by_how_much(
    tmp_path: Path, world: World, off_ms: int, words: str
) -> None:
    """In words, and as a number; a minute is let pass. SPEC 11.1.2."""
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
        problem = (await caller.send_login(caller.login(time=now_ms() + off_ms))).problem()
        assert problem.code == "clock-skew"
        skew = problem.extra["skew_ms"]
        assert isinstance(skew, int)
        assert abs(skew - off_ms) < 10_000
        assert problem.detail == f"your clock is {abs(skew) / 1000:.0f} s {words} this node's"
        assert (await caller.send_login(caller.login(time=now_ms() + 50_000))).status == 200


async def test_an_officer_is_told_what_to_do_about_it(tmp_path: Path, world: World) -> None:
    """Set this machine's clock: it is the one that is wrong, for all that anyone can tell."""
    clock, own = StoppedClock(), StoppedClock()
    clock.wrong_by_ms = own.stopped_ms - clock.stopped_ms + HALF_AN_HOUR_MS
    async with live_node(tmp_path, world, clock=clock) as node, Wire(node.config.url, clock=own) as wire:
        wire.log_in_as(signing_key("pk-liaison/desk"), world.pin, node.ledger.origin)
        with pytest.raises(Declined) as caught:
            await wire.session()
    assert caught.value.code == "clock-skew"
    assert "1800 s behind this node's" in str(caught.value)
    assert caught.value.hint == "set this machine's clock"


async def test_a_clock_that_goes_back_moves_no_entry_back(tmp_path: Path, world: World) -> None:
    """Neither before the last entry, nor before the last checkpoint, restart or not. SPEC 9.5.2."""
    clock, signed = Clock(), list[int]()
    for _ in range(2):
        async with _node(tmp_path, world, clock) as (node, caller):
            receipt = await caller.receipt(world.bulletin(created=clock()))
            assert receipt.time >= max(signed, default=0)
            await _sign(node, signed)
            clock.wrong_by_ms += TEN_MINUTES_MS  # in which nothing happens, but that the checkpoint is renewed
            await _sign(node, signed)
            clock.wrong_by_ms -= HALF_AN_HOUR_MS
            for _ in range(2):
                receipt = await caller.receipt(world.bulletin(created=clock()))
                assert receipt.time >= signed[-1], "an entry behind a checkpoint is not older than it"
                await _sign(node, signed)
            clock.wrong_by_ms += HALF_AN_HOUR_MS + TEN_MINUTES_MS
            await _sign(node, signed)
            clock.wrong_by_ms -= HALF_AN_HOUR_MS
            assert signed == sorted(signed)
            entries = [Entry.decode(data) for _, data in node.ledger.entries(0, node.ledger.head.size)]
            assert [entry.time for entry in entries] == sorted(entry.time for entry in entries)
            assert node.not_signing is None
    check_ledger(tmp_path / "pk-ledger.db", world, now=now_ms() + 2 * HALF_AN_HOUR_MS)


def test_a_group_that_was_judged_by_a_clock_going_back(tmp_path: Path) -> None:
    """Entries are in order of time whatever each was judged by."""
    world = World.found()
    ledger = open_ledger(tmp_path, world)
    times = (NOW + 5000, NOW + 3000, NOW + 4000)
    built = ledger.build([ledger.stage(world.bulletin(), now) for now in times])
    assert [entry.time for entry in built.decoded] == [NOW + 5000] * 3
    ledger.storage.close()


async def _sign(node: Node, signed: list[int]) -> None:
    """A checkpoint now; when it says it was signed."""
    await node.publish()
    assert node.publisher.newest is not None
    assert node.publisher.newest.size == node.ledger.head.size
    signed.append(open_signed(node.publisher.newest.note, node.ledger.exchange)[1])


async def test_an_auditor_finds_nothing_wrong_with_a_clock_that_went_back(tmp_path: Path, world: World) -> None:
    """It has kept a checkpoint from before."""
    clock = Clock()
    async with _node(tmp_path, world, clock) as (node, caller):
        home = seat_home(tmp_path, world, "pk-auditor", url=node.config.url)
        assert (await _audit(home.folder, world, node)).findings == ()
        clock.wrong_by_ms = -HALF_AN_HOUR_MS
        for _ in range(3):
            await caller.receipt(world.bulletin(created=clock()))
        await node.publish()
        clock.wrong_by_ms = 0
        assert (await _audit(home.folder, world, node)).findings == ()
        home.close()


async def _audit(folder: Path, world: World, node: Node) -> Report:
    home = seat_home(folder.parent, world, "pk-auditor", url=node.config.url)
    auditor = Auditor(Asked(world.pin), lambda *_: None)
    site = await site_of(home, node.config.url)
    async with site.wire:
        await auditor.audit_copy(Copy(site.wire), archive_of(home, site.origin))
    assert Archive(archive_of(home, site.origin).folder).checkpoint()
    home.close()
    return auditor.report()


async def test_a_clock_that_goes_back_costs_nobody_his_budget(tmp_path: Path, world: World) -> None:
    """Nor a session, nor a login."""
    clock = Clock()
    async with _node(tmp_path, world, clock) as (_, caller):
        await caller.receipt(world.bulletin(created=clock()))
        clock.wrong_by_ms = -HALF_AN_HOUR_MS
        for _ in range(3):
            await caller.receipt(world.bulletin(created=clock()))
        answer = await caller.send_login(caller.login(time=clock()))
        assert answer.status == 200, answer.data


async def test_a_login_is_not_replayed_at_the_next_start(tmp_path: Path, world: World) -> None:
    """However soon: a node forgets its nonces with its life, and takes nothing signed before the next. SPEC 11.1.2."""
    clock = StoppedClock()
    async with live_node(tmp_path, world, clock=clock) as node, Caller(node.config.url, world) as caller:
        clock.wrong_by_ms = 100
        login = caller.login(time=clock())
        assert (await caller.send_login(login)).status == 200
    clock.wrong_by_ms = 300
    async with live_node(tmp_path, world, clock=clock) as node, Caller(node.config.url, world) as caller:
        clock.wrong_by_ms = 400
        assert (await caller.send_login(login)).problem().code == "login-refused"
        assert (await caller.send_login(caller.login(time=clock()))).status == 200
