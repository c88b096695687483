"""clients/state.py: what is asked for each bulletin that comes takes no longer the more are here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.replica import ClientLookup
from clients.state import Held, State
from protocol.entry import Entry
from protocol.statements import Bulletin
from tests.support.world import CONTENT, NOW, ORIGINS, World, seed

WORLD, ORIGIN = World.found(), ORIGINS["PK"]
FEW, MANY = 10, 400


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


def _arrive(state: State, indexes: range) -> Held:
    for index in indexes:
        submission = WORLD.bulletin()
        entry = Entry(submission.kind, submission.statement, submission.signatures, NOW, None)
        header = Bulletin.decode(submission.statement).header
        state.add_bulletin((ORIGIN, index), header, entry, CONTENT, "", own=False)
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
    ],
)
def test_a_bulletin_costs_what_it_costs_among_few(state: _Counted, ask: Callable[[State, Held], object]) -> None:
    held = _arrive(state, range(FEW))
    among_few = state.steps(lambda: ask(state, held))
    held = _arrive(state, range(FEW, MANY))
    assert among_few > 0
    assert state.steps(lambda: ask(state, held)) <= among_few + FEW
