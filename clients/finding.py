"""Finding a bulletin by what a person types: SENDER/UUID, or its last six or more characters where they fit one."""

from __future__ import annotations

from collections.abc import Iterable

from clients.errors import UsageError
from clients.outbox import CLOSED, OPEN, Outgoing
from clients.state import Held, State
from protocol.errors import ProtocolError
from protocol.names import format_id, parse_id

SHORT_CHARS_MIN = 6


def find(state: State, value: str) -> Held:
    """The bulletin that ``value`` names. Raises UsageError where there is none, or more than one."""
    try:
        held = state.bulletin_by_id(*parse_id(value))
    except ProtocolError:
        held = _by_ending(state, value)
    if held is None:
        for outgoing in find_outgoing(state, value, *OPEN, *CLOSED):
            told = "waits in the outbox" if outgoing.state in OPEN else f"is in the outbox, {outgoing.state}"
            raise UsageError(f"{value} is in no ledger: it {told}", "khunjerab outbox says more; outbox send, or drop")
        raise UsageError(f"no bulletin {value} here", "khunjerab inbox --all lists what is")
    return held


def find_outgoing(state: State, value: str, *states: str) -> list[Outgoing]:
    """What ``value`` may name in this agency's outbox."""
    waiting = state.outbox(*states)
    try:
        _, number = parse_id(value)
    except ProtocolError:
        if len(value) < SHORT_CHARS_MIN:
            return []
        return [one for one in waiting if format_id("", one.draft.id).endswith(value)]
    return [one for one in waiting if one.draft.id == number]


def each_once(found: Iterable[Held]) -> list[Held]:
    """Each bulletin once: after a move the same may stand in two ledgers. The first one, or the first that opened."""
    chosen: dict[str, Held] = {}
    for held in found:
        before = chosen.setdefault(held.header.name, held)
        if before.content is None and held.content is not None:
            chosen[held.header.name] = held
    return list(chosen.values())


def _by_ending(state: State, value: str) -> Held | None:
    if len(value) < SHORT_CHARS_MIN:
        raise UsageError(f"{value!r} is too short for an id", f"its last {SHORT_CHARS_MIN} or more characters will do")
    found = [known for known in state.names() if format_id(*known).endswith(value)]
    if len(found) > 1:
        told = ", ".join(format_id(*known) for known in found[:3])
        raise UsageError(f"{value!r} fits {len(found)} bulletins: {told}", "type more of it")
    return state.bulletin_by_id(*found[0]) if found else None
