"""clients/state.py: what is asked for each bulletin that comes takes no longer the more are here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clients.acknowledging import Acknowledger
from clients.replica import ClientLookup
from clients.state import Held, State
from protocol.entry import Entry
from protocol.statements import Bulletin
from tests.support.world import CONTENT, NOW, ORIGINS, World, seed

WORLD, ORIGIN = World.found(), ORIGINS["PK"]
FEW, MANY = 10, 120


class _Counted(State):
    """Counts the steps of SQLite's own machine."""

    def steps(self, ask: Callable[[], object]) -> int:
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1

        self._db.set_progress_handler(step, 1)
        ask()
        self._db.set_progress_handler(None, 1)
        return steps


@pytest.fixture
def state(tmp_path: Path) -> Iterator[_Counted]:
    state = _Counted(tmp_path / "state.db", lambda: seed("store", 32))
    yield state
    state.close()


def _arrive(state: State, indexes: range, **changes: Any) -> Held:
    for index in indexes:
        submission = WORLD.bulletin(**changes)
        entry = Entry(submission.kind, submission.statement, submission.signatures, NOW, None)
        header = Bulletin.decode(submission.statement).header
        state.add_bulletin((ORIGIN, index), header, entry, CONTENT, "", own=False)
        state.count_receipt(header)
    (newest,) = state.bulletins("idx = ?", indexes[-1])
    return newest


@pytest.mark.parametrize(
    "ask",
    [
        lambda state, held: ClientLookup(state, ORIGIN).first(held.header.sender, held.header.id),
        lambda state, held: ClientLookup(state, ORIGIN).entry(held.index),
        lambda state, held: state.bulletin_by_id(held.header.sender, held.header.id),
        lambda state, held: state.state_with("cn-liaison", held),
        lambda state, held: state.acknowledged(held),
        lambda state, held: state.related(held),
        lambda state, held: state.unacknowledged("cn-liaison", held.arrival - 1),
        lambda state, held: state.to_hand_over("print", held.arrival - 1, 64),
        lambda state, held: state.arrived(held.arrival - 1, NOW, 64),
        lambda state, held: state.count_before(ORIGIN, held.header.key_id, held.header.feed, held.index),
        lambda state, held: state.receipts_held("cn-liaison", ORIGIN, held.header.feed, held.header.key_id),
        lambda state, held: state.count_receipt(held.header),
    ],
    ids=[
        "first",
        "entry",
        "by id",
        "state with",
        "acknowledged",
        "related",
        "unacknowledged",
        "to hand over",
        "arrived",
        "count before",
        "receipts held",
        "count receipt",
    ],
)
def test_a_bulletin_costs_what_it_costs_among_few(state: _Counted, ask: Callable[[State, Held], object]) -> None:
    held = _arrive(state, range(FEW))
    among_few = state.steps(lambda: ask(state, held))
    held = _arrive(state, range(FEW, MANY))
    assert among_few > 0
    assert state.steps(lambda: ask(state, held)) <= among_few + FEW


def test_what_another_process_acknowledged_is_looked_through_once(state: _Counted) -> None:
    client: Any = SimpleNamespace(state=state, home=SimpleNamespace(profile=SimpleNamespace(agency="cn-liaison")))
    _arrive(state, range(FEW))
    assert len(Acknowledger(client).note_received()) == FEW
    again = Acknowledger(client)
    first = state.steps(again.note_received)
    assert state.steps(again.note_received) < first / 2
    _arrive(state, range(FEW, FEW + 1))
    assert [held.index for held in again.note_received()] == [FEW]


def test_what_came_before_of_one_key_and_feed_is_counted_where_a_ledger_lost_its_tail_too(state: State) -> None:
    for index, feed in enumerate(("convoys", "roads", "convoys", "convoys", "roads")):
        _arrive(state, range(index, index + 1), feed=feed)
    state.forget_from(ORIGIN, 3, NOW, "cn-liaison")
    first, *_, newest = (_arrive(state, range(index, index + 1)) for index in (3, 5))
    state.set_opened(first, CONTENT)
    key_id = newest.header.key_id
    assert [state.count_before(ORIGIN, key_id, "convoys", index) for index in range(7)] == [0, 1, 1, 2, 3, 3, 4]
    assert [state.count_before(ORIGIN, key_id, "roads", index) for index in range(7)] == [0, 0, 1, 1, 1, 1, 1]
    assert state.count_before(ORIGIN, bytes(32), "convoys", 9) == 0


def test_a_receipt_counts_once_and_no_more_when_it_is_broken(state: State) -> None:
    first, second = (Bulletin.decode(WORLD.bulletin().statement).header for _ in range(2))

    def held() -> int:
        return state.receipts_held("cn-liaison", first.origin, first.feed, first.key_id)

    for header, count in ((first, 1), (first, 1), (second, 2)):
        state.count_receipt(header)
        assert held() == count
    for count in (1, 1):
        state.uncount_receipt(first.origin, first.id)
        assert held() == count
    assert state.receipts_held("cn-embassy", first.origin, first.feed, first.key_id) == 0
