"""clients/agenda.py: what becomes late is told once, when its time has passed; nothing else is read then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clients import progress
from clients.agenda import Agenda
from clients.state import Held, State
from protocol.entry import Entry
from protocol.policy import Policy
from protocol.statements import AcknowledgementLine, Bulletin
from tests.support.world import CONTENT, NOW, ORIGINS, World, seed

WORLD, POLICY, ORIGIN = World.found(), Policy(), ORIGINS["PK"]
FLASH, ROUTINE = (NOW + POLICY.deadline_ms(precedence) for precedence in ("flash", "routine"))


class _Counted(State):
    """Counts the contents that were opened."""

    opened = 0

    def unseal(self, sealed: bytes) -> bytes:
        self.opened += 1
        return super().unseal(sealed)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[_Counted]:
    """The state of the sender."""
    state = _Counted(tmp_path / "state.db", lambda: seed("store", 32))
    yield state
    state.close()


def _arrive(state: State, index: int, answer_due: int | None = None, **changes: Any) -> None:
    content = msgspec.structs.replace(CONTENT, answer_due=answer_due)
    submission = WORLD.bulletin(content=content, **changes)
    entry = Entry(submission.kind, submission.statement, submission.signatures, NOW, None)
    header = Bulletin.decode(submission.statement).header
    state.add_bulletin((ORIGIN, index), header, entry, content, "", own=True)


def _told(agenda: Agenda, now: int, policy: Policy = POLICY) -> list[tuple[str, int, str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "now_ms", lambda: now)
        return [(event.name, event.progress.held.index, event.agency) for event in agenda.passed(policy, now)]


def test_each_is_told_when_its_own_time_has_passed_and_once(state: _Counted) -> None:
    for index, precedence in enumerate(("routine", "flash", "flash")):
        _arrive(state, index, precedence=precedence)
    agenda = Agenda(state, "pk-liaison")
    assert _told(agenda, FLASH) == []
    assert _told(agenda, FLASH + 1) == [("late", 1, "cn-liaison"), ("late", 2, "cn-liaison")]
    assert _told(agenda, FLASH + 1) == []
    assert _told(agenda, ROUTINE + 1) == [("late", 0, "cn-liaison")]
    assert _told(Agenda(state, "pk-liaison"), ROUTINE + 1) == []  # another process


def test_a_request_is_looked_at_again_when_its_answer_is_due(state: _Counted) -> None:
    _arrive(state, 0, answer_due=ROUTINE + 5)
    agenda = Agenda(state, "pk-liaison")
    assert _told(agenda, ROUTINE + 1) == [("late", 0, "cn-liaison")]
    assert _told(agenda, ROUTINE + 6) == [("overdue", 0, "cn-liaison")]


def test_what_is_not_due_is_not_opened_again(state: _Counted) -> None:
    for index in range(100):
        _arrive(state, index)
    agenda = Agenda(state, "pk-liaison")
    assert _told(agenda, NOW) == []
    opened = state.opened
    assert opened == 100
    _arrive(state, 100, precedence="flash")
    assert _told(agenda, FLASH + 1) == [("late", 100, "cn-liaison")]
    assert state.opened == opened + 2  # the new one, as it came and as it was due


def test_what_was_acknowledged_in_time_or_has_expired_is_not_told(state: _Counted) -> None:
    _arrive(state, 0)
    _arrive(state, 1, expires=ROUTINE)
    (held, _) = state.bulletins()
    line = AcknowledgementLine(ORIGIN, 0, held.leaf, "received", NOW)
    state.add_acknowledged("cn-liaison", "pk-liaison", line, (ORIGIN, 2))
    agenda = Agenda(state, "pk-liaison")
    assert _told(agenda, NOW) == []
    assert _told(agenda, ROUTINE + 1) == []


def test_what_has_expired_is_not_looked_through_again(state: _Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    agenda, arrived, asked = Agenda(state, "pk-liaison"), state.arrived, list[int]()

    def counted(arrival: int, now: int, limit: int) -> list[Held]:
        asked.append(arrival)
        return arrived(arrival, now, limit)

    monkeypatch.setattr(state, "arrived", counted)
    _arrive(state, 0)
    _arrive(state, 1, expires=NOW + 1)
    assert _told(agenda, NOW + 2) == []
    before = len(asked)
    assert before > 0
    assert _told(agenda, NOW + 3) == []
    assert len(asked) == before
    _arrive(state, 2, precedence="flash")
    assert _told(agenda, FLASH + 1) == [("late", 2, "cn-liaison")]


def test_another_policy_sets_other_deadlines_for_what_is_here(state: _Counted) -> None:
    _arrive(state, 0)
    agenda = Agenda(state, "pk-liaison")
    assert _told(agenda, NOW + 3_600_000) == []
    sooner = Policy(deadlines_seconds=(60, 60, 60, 60))
    assert _told(agenda, NOW + 3_600_000, sooner) == [("late", 0, "cn-liaison")]


def test_what_its_ledger_lost_is_not_told(state: _Counted) -> None:
    _arrive(state, 0)
    _arrive(state, 1)
    agenda = Agenda(state, "pk-liaison")
    assert _told(agenda, NOW) == []
    state.forget_from(ORIGIN, 1, NOW, "pk-liaison")
    assert _told(agenda, ROUTINE + 1) == [("late", 0, "cn-liaison")]


def test_what_is_opened_at_last_arrives_after_all_that_ever_came(state: _Counted) -> None:
    """Even after what came later and was lost: whoever reads by arrival has passed that already."""
    for index in range(3):
        _arrive(state, index)
    (first, _, last) = state.bulletins()
    state.forget_from(ORIGIN, 1, NOW, "pk-liaison")
    state.set_opened(first, CONTENT)
    (again,) = state.arrived(last.arrival, NOW, 10)
    assert (again.index, again.content, again.entry) == (0, CONTENT, first.entry)
