"""The policy part of a directory (SPEC §10.7): levels and maps, suites, deadlines, retention, quotas, grace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from protocol import limits, names
from protocol.errors import Malformed
from protocol.header import PRECEDENCES
from protocol.label import Equivalence
from protocol.record import Record
from protocol.strictjson import Json, Members

_YEAR_DAYS = 36_500
_RATE_MAX = 10**9
PAKISTAN = ("Unclassified", "Restricted", "Confidential", "Secret", "Top Secret")
CHINA = ("公开", "内部", "秘密", "机密", "绝密")


class Policy(Record):
    """What all nations agreed for the whole exchange. The defaults are what `directory new` begins with."""

    equivalence: Equivalence = msgspec.field(
        default_factory=lambda: Equivalence(
            {"PK": PAKISTAN, "CN": CHINA},
            {
                ("PK", "CN"): dict(zip(PAKISTAN, CHINA, strict=True)),
                ("CN", "PK"): dict(zip(CHINA, PAKISTAN, strict=True)),
            },
        )
    )
    compartments: tuple[str, ...] = ("CONVOY", "PERSONNEL")
    suite_2_from_rank: int = 3
    # Seconds within which `received` is due, by precedence (ACP 121 handling times)
    deadlines_seconds: tuple[int, ...] = (6 * 3600, 3 * 3600, 1800, 600)
    retention_days: int = 365
    grace_days: int = 30
    attempts_per_minute: int = 6_000  # of one agency at one node, refused ones too
    bulletins_per_hour: int = 20_000  # of one agency

    def to_json(self) -> Json:
        """SPEC §10.7."""
        return {
            "levels": {policy: list(levels) for policy, levels in self.equivalence.levels.items()},
            "maps": [
                {"from": source, "to": target, "values": dict(values)}
                for (source, target), values in self.equivalence.maps.items()
            ],
            "compartments": list(self.compartments),
            "suite_2_from_rank": self.suite_2_from_rank,
            "deadlines_seconds": dict(zip(PRECEDENCES, self.deadlines_seconds, strict=True)),
            "retention_days": self.retention_days,
            "grace_days": self.grace_days,
            "attempts_per_minute": self.attempts_per_minute,
            "bulletins_per_hour": self.bulletins_per_hour,
        }

    @classmethod
    def from_json(cls, value: Any) -> Policy:
        """SPEC §10.7."""
        m = Members(value, "policy")
        levels = m.get("levels", dict)
        maps = m.array("maps", limits.NATIONS_MAX**2, _map)
        compartments = m.array("compartments", limits.COMPARTMENTS_MAX, _compartment)
        suite_2_from_rank = m.uint("suite_2_from_rank", 0, limits.LEVELS_PER_POLICY_MAX)
        deadlines = Members(m.get("deadlines_seconds", dict), "deadlines")
        policy = cls(
            Equivalence({names.nation(k): _levels(v) for k, v in levels.items()}, dict(maps)),
            compartments,
            suite_2_from_rank,
            tuple(deadlines.uint(precedence, 1, _RATE_MAX) for precedence in PRECEDENCES),
            m.uint("retention_days", 1, _YEAR_DAYS),
            m.uint("grace_days", 0, limits.DIRECTORY_LIFE_DAYS_MAX),
            m.uint("attempts_per_minute", 1, _RATE_MAX),
            m.uint("bulletins_per_hour", 1, _RATE_MAX),
        )
        deadlines.end()
        m.end()
        if len(set(compartments)) != len(compartments):
            raise Malformed("policy: a compartment stands in it twice")
        if len(maps) != len(policy.equivalence.maps):
            raise Malformed("policy: a map stands in it twice")
        return policy

    def check(self, nations: list[str]) -> None:
        """Raise Malformed unless each nation has levels, and each map holds (SPEC §10.2)."""
        equivalence = self.equivalence
        if sorted(equivalence.levels) != sorted(nations):
            raise Malformed("policy: levels are not given for each nation once")
        for (source, target), values in equivalence.maps.items():
            if source == target:
                raise Malformed(f"policy: {source} needs no map to itself")
            _check_map(equivalence, source, target, values)

    def deadline_ms(self, precedence: str) -> int:
        """Milliseconds after its admission within which a bulletin of ``precedence`` is to be received."""
        return self.deadlines_seconds[PRECEDENCES.index(precedence)] * 1000

    def suite_for(self, policy: str, classification: str) -> int:
        """The lowest suite that a bulletin of this classification may be signed with."""
        rank = self.equivalence.rank(policy, classification)
        return 1 if rank is not None and rank < self.suite_2_from_rank else 2


def _check_map(equivalence: Equivalence, source: str, target: str, values: Mapping[str, str]) -> None:
    """A map names levels, keeps their order, and no round trip comes out lower."""
    ranks: dict[int, int] = {}
    for value, translated in values.items():
        rank, there = equivalence.rank(source, value), equivalence.rank(target, translated)
        if rank is None or there is None:
            raise Malformed(f"policy: the map {source} to {target} names a level that does not exist")
        ranks[rank] = there
        back = equivalence.translate(target, translated, source)
        if back is not None and (equivalence.rank(source, back) or 0) < rank:
            raise Malformed(f"policy: {source}:{value} comes back from {target} as {back}, which is lower")
    upward = [ranks[rank] for rank in sorted(ranks)]
    if upward != sorted(upward):
        raise Malformed(f"policy: the map {source} to {target} turns the order of two levels round")


def _levels(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= limits.LEVELS_PER_POLICY_MAX:
        raise Malformed("policy: the levels of a nation are not a list, lowest first")
    levels = tuple(Members({"level": level}, "policy").text("level", limits.NAME_CHARS_MAX) for level in value)
    if len({level.casefold() for level in levels}) != len(levels):
        raise Malformed("policy: a level stands in its list twice")
    if any(level != level.strip() or not level or re.search("[:★]|//", level) for level in levels):
        raise Malformed("policy: a level is empty, or holds what means something else in the text of a label")
    return levels


def _map(value: Any) -> tuple[tuple[str, str], dict[str, str]]:
    m = Members(value, "map")
    ends = (m.matching("from", names.nation), m.matching("to", names.nation))
    values = m.get("values", dict)
    m.end()
    if not all(type(translated) is str for translated in values.values()):
        raise Malformed("map: a value is not text")
    return ends, dict(values)


def _compartment(value: Any) -> str:
    return Members({"name": value}, "compartment").matching("name", names.compartment)
