"""Words from a fixed list, as an officer types them: any case will do, and a wrong one is told which there are."""

from __future__ import annotations

from collections.abc import Sequence

from clients.errors import UsageError
from protocol.content import CATEGORIES, CERTAINTIES, SEVERITIES, URGENCIES
from protocol.header import PRECEDENCES, STATUSES

CHOICES: dict[str, Sequence[str]] = {
    "status": STATUSES,
    "precedence": PRECEDENCES,
    "category": CATEGORIES,
    "severity": SEVERITIES,
    "urgency": URGENCIES,
    "certainty": CERTAINTIES,
}


def one_of(name: str, value: str) -> str:
    """The choice that ``value`` names. Raises UsageError."""
    choices = CHOICES[name]
    for choice in choices:
        if choice.casefold() == value.casefold():
            return choice
    import difflib

    near = difflib.get_close_matches(value, choices, 1)
    told = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"{value!r} is no {name}", f"{told}it is one of {', '.join(choices)}")
