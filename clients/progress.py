"""How far a bulletin came, from the signed words that this home verified: with each recipient, and here.

What one bulletin says it does to another is a claim; the rule is checked here, by whoever holds the target, before it
has any effect: a sender cancels and supersedes its own, and only who was asked can answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clients.clock import now_ms
from clients.state import Held, State
from keys.judge import why_not_related
from protocol.policy import Policy
from protocol.statements import ACKNOWLEDGED

CONFIRMED = ("read", "acted")  # what counts as a person's acknowledgement of a cancel


@dataclass(frozen=True, slots=True)
class Reader:
    """One recipient's progress."""

    agency: str
    times: dict[str, int]  # of each state it reached
    due: int
    late: bool
    answered: int | None  # when it answered a request for information

    @property
    def state(self) -> str:
        """The furthest: pending, received, read, acted."""
        return next((state for state in reversed(ACKNOWLEDGED) if state in self.times), "pending")

    def to_json(self) -> dict[str, Any]:
        """As ``status --json`` has it."""
        times = {state: self.times.get(state) for state in ACKNOWLEDGED}
        return {"agency": self.agency, "state": self.state, **times, "due": self.due, "late": self.late}


@dataclass(frozen=True, slots=True)
class Request:
    """A request for information: open, answered by everyone concerned, or overdue."""

    due: int
    state: str
    answered_by: tuple[str, ...]  # names of the answers
    waiting: tuple[str, ...]  # agencies

    def to_json(self) -> dict[str, Any]:
        """As it stands in every listing."""
        return {
            "state": self.state,
            "due": self.due,
            "answered_by": list(self.answered_by),
            "waiting": list(self.waiting),
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """One bulletin as it stands now."""

    held: Held
    state: str  # of this agency with it: sent, new, received, read, acted
    readers: tuple[Reader, ...]  # every recipient for the sender, else this agency alone
    cancelled_by: Held | None
    superseded_by: Held | None
    unconfirmed: tuple[str, ...]  # who was sent a cancel and has acknowledged none
    left_out: tuple[str, ...]  # who had it, and was sent nothing that ends it: to the sender alone
    request: Request | None
    cancels: tuple[str, ...]  # names of what this one cancels

    @property
    def late(self) -> tuple[str, ...]:
        """Whose acknowledgement is or was late."""
        return tuple(reader.agency for reader in self.readers if reader.late)

    @property
    def must_confirm(self) -> bool:
        """Whether a person of this agency has yet to acknowledge that it cancels another."""
        return bool(self.cancels) and not self.held.own and self.state not in CONFIRMED

    @property
    def is_over(self) -> bool:
        """Whether it needs nobody's eyes: expired, superseded, or cancelled and the cancel acknowledged."""
        if self.cancelled_by is not None:
            return not self.unconfirmed and not self.left_out
        return self.superseded_by is not None or (self.held.header.expires <= now_ms() and not self.must_confirm)


def _left_out(held: Held, by: Sequence[Held]) -> tuple[str, ...]:
    """Who had ``held`` and was sent none of what ended it; nobody where nothing did.

    Some could not be sent it at that time; and where the first stands in another ledger, the judge cannot ask for all.
    """
    had = [recipient.agency for recipient in held.header.recipients] if by else []
    return tuple(name for name in had if not any(one.header.is_sent_to(name) for one in by))


class Book:
    """Reads one home's words for one agency under one policy."""

    def __init__(self, state: State, agency: str, policy: Policy) -> None:
        self._state, self._agency, self._policy = state, agency, policy

    def of(self, held: Held) -> Progress:
        """How far ``held`` came."""
        cancels, updates = self._related(held, "cancels"), self._related(held, "supersedes")
        return Progress(
            held=held,
            state="sent" if held.own else self._state.state_with(self._agency, held) or "new",
            readers=self.readers(held),
            cancelled_by=cancels[-1] if cancels else None,
            superseded_by=updates[-1] if updates else None,
            unconfirmed=self._unconfirmed(held, cancels),
            left_out=_left_out(held, cancels or updates) if held.own else (),
            request=self._request(held),
            cancels=tuple(self._targets(held, "cancels")),
        )

    def deadlines(self, held: Held) -> tuple[int, ...]:
        """When it becomes late, and overdue where it asks for an answer."""
        answer_due = held.content.answer_due if held.content else None
        return (self._due(held),) if answer_due is None else (self._due(held), answer_due)

    def _due(self, held: Held) -> int:
        """By when its readers must have acknowledged it."""
        return held.logged + self._policy.deadline_ms(held.header.precedence)

    def readers(self, held: Held) -> tuple[Reader, ...]:
        """Progress with each recipient that this agency may know of."""
        names = [recipient.agency for recipient in held.header.recipients]
        due = self._due(held)
        said: dict[str, dict[str, int]] = {name: {} for name in names if held.own or name == self._agency}
        for agency, state, moment in self._state.acknowledged(held):
            if agency in said:
                said[agency][state] = moment
        answers = {answer.header.sender: answer.logged for answer in self._answers(held)}
        return tuple(
            Reader(name, times, due, (min(times.values()) if times else now_ms()) > due, answers.get(name))
            for name, times in said.items()
        )

    def _related(self, held: Held, kind: str) -> list[Held]:
        """Bulletins that name this one, by its own hash, with a relation of ``kind`` that they may have to it."""
        found = [self._state.bulletin_at(r.origin, r.index) for r in self._state.related(held) if r.kind == kind]
        return [
            other for other in found if other is not None and why_not_related(other.header, kind, held.header) is None
        ]

    def _answers(self, held: Held) -> list[Held]:
        return self._related(held, "answers")

    def _targets(self, held: Held, kind: str) -> Iterator[str]:
        """What a bulletin says it ends; of what is held here only where it may, by place of what is not."""
        for relation in held.header.relations:
            target = self._state.bulletin_at(relation.origin, relation.index) if relation.kind == kind else None
            if (
                target is not None
                and target.leaf == relation.leaf
                and why_not_related(held.header, kind, target.header) is None
            ):
                yield target.header.name
            elif target is None and relation.kind == kind:
                yield f"{relation.origin}#{relation.index}"

    def _unconfirmed(self, held: Held, cancels: Sequence[Held]) -> tuple[str, ...]:
        """Who has acknowledged no cancel, of those who had the first and were sent one."""
        asked = [reader for cancel in cancels for reader in self.readers(cancel)]
        confirmed = {reader.agency for reader in asked if reader.state in CONFIRMED}
        waiting = {reader.agency for reader in asked} - confirmed
        return tuple(recipient.agency for recipient in held.header.recipients if recipient.agency in waiting)

    def _request(self, held: Held) -> Request | None:
        due = held.content.answer_due if held.content else None
        if due is None:
            return None
        readers = self.readers(held)
        waiting = tuple(reader.agency for reader in readers if reader.answered is None)
        late = due < now_ms()
        state = "overdue" if waiting and late else "open" if waiting else "answered"
        return Request(due, state, tuple(answer.header.name for answer in self._answers(held)), waiting)
