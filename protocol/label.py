"""Labels (SPEC §6, after STANAG 4774): what they say, who may read under them, and how they stand as text.

A label is read in its own policy, never by glyph. ``Equivalence`` holds the directed maps of the directory; what it
does not know is denied.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

import msgspec

from protocol import limits, names, text
from protocol.canonical import check_count, check_sorted
from protocol.errors import Malformed
from protocol.record import Record, WireRecord


class Label(WireRecord):
    """The originator's label, kept verbatim: its policy, level, and three kinds of categories (SPEC §6.1)."""

    policy: str  # the sender's nation
    classification: str  # a value of that policy
    compartments: tuple[str, ...]  # restrictive: the reader must hold every one
    releasable: tuple[str, ...]  # permissive: nations, one of which the reader's must be; empty means nobody
    caveats: tuple[str, ...] = ()  # informative
    until: str | None = None  # declassification date, YYYY-MM-DD (保密期限)

    def check(self) -> None:
        """SPEC §6.1."""
        names.nation(self.policy)
        text.check(self.classification, "label: classification", limits.NAME_CHARS_MAX)
        for what, values, at_most, grammar in (
            ("compartments", self.compartments, limits.COMPARTMENTS_MAX, names.compartment),
            ("releasable", self.releasable, limits.NATIONS_MAX, names.nation),
            ("caveats", self.caveats, limits.CAVEATS_MAX, names.caveat),
        ):
            check_count(values, f"label: {what}", at_most)
            for value in values:
                grammar(value)
            check_sorted(values, f"label: {what}")
        if self.until is not None:
            checked_date(self.until)


def checked_date(value: object) -> str:
    """A declassification date, YYYY-MM-DD."""
    try:
        if isinstance(value, str) and datetime.date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise Malformed("label: until is not a date, YYYY-MM-DD")


class Clearance(Record):
    """What a reader of one nation may see: every level up to one of its own policy, and compartments."""

    policy: str
    classification: str
    compartments: tuple[str, ...] = ()


class Equivalence(Record):
    """The levels of each policy, lowest first, and the directed maps between policies (SPEC §6.3)."""

    levels: Mapping[str, Sequence[str]]
    maps: Mapping[tuple[str, str], Mapping[str, str]] = msgspec.field(default_factory=dict)

    def rank(self, policy: str, value: str) -> int | None:
        """The place of ``value`` among the levels of ``policy``; None where it is not one of them."""
        levels = self.levels.get(policy, ())
        return levels.index(value) if value in levels else None

    def translate(self, policy: str, value: str, to: str) -> str | None:
        """The level of policy ``to`` that protects ``value``; None, which denies, where the map is silent."""
        if policy == to:
            return value if self.rank(policy, value) is not None else None
        return self.maps.get((policy, to), {}).get(value)


def why_denied(label: Label, clearance: Clearance, nation: str | None, equivalence: Equivalence) -> str | None:
    """The stable code of the first reason why ``clearance`` does not dominate ``label``; None if it does (SPEC §6.2).

    (1) translate the classification, unknown is denied; (2) it is in the reader's set; (3) every compartment is held;
    (4) one of the releasable nations is the reader's. ``nation`` None leaves (4) out, for ceilings of feeds.
    """
    translated = equivalence.translate(label.policy, label.classification, clearance.policy)
    rank = None if translated is None else equivalence.rank(clearance.policy, translated)
    ceiling = equivalence.rank(clearance.policy, clearance.classification)
    if rank is None or ceiling is None:
        return "classification-unknown"
    if rank > ceiling:
        return "clearance-too-low"
    if not set(label.compartments) <= set(clearance.compartments):
        return "compartment-missing"
    if nation is not None and nation not in label.releasable:
        return "not-releasable"
    return None
