"""The text form of labels (SPEC §6.4), one grammar for every nation.

    [POLICY:]LEVEL[★DATE][//COMPARTMENT,…]//REL XXX[, YYY][//CAVEAT…]

``PK:Secret//CONVOY//REL CHN, PAK`` and ``CN:机密★2030-01-01//REL CHN, PAK//ORIGINATOR CONTROLLED``.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol import names
from protocol.errors import Malformed
from protocol.label import Equivalence, Label, checked_date

NOBODY = "NOBODY"


def format_label(label: Label, alpha3: Mapping[str, str]) -> str:
    """``label`` as people read it; ``alpha3`` gives the three-letter code of each nation of the exchange."""
    head = f"{label.policy}:{label.classification}" + (f"★{label.until}" if label.until else "")
    released = sorted(alpha3.get(nation, nation) for nation in label.releasable)
    parts = [head]
    if label.compartments:
        parts.append(",".join(label.compartments))
    parts.append("REL " + (", ".join(released) or NOBODY))
    return "//".join(parts + list(label.caveats))


def parse_label(text: str, own_policy: str, equivalence: Equivalence, alpha3: Mapping[str, str]) -> Label:
    """The label that ``text`` names. Raises Malformed with a hint for a value that the policy does not have."""
    head, *rest = [part.strip() for part in text.strip().split("//")]
    level, star, until = head.partition("★")
    policy, colon, value = level.partition(":")
    if not colon:
        policy, value = own_policy, level
    before, released, caveats = _split_at_rel(rest)
    return Label(
        policy=policy,
        classification=_level(policy, value.strip(), equivalence),
        releasable=_nations(released, alpha3),
        compartments=tuple(sorted({names.compartment(name.strip()) for part in before for name in part.split(",")})),
        caveats=tuple(sorted({names.caveat(caveat) for caveat in caveats})),
        until=checked_date(until.strip()) if star else None,
    )


def _split_at_rel(parts: list[str]) -> tuple[list[str], str, list[str]]:
    for place, part in enumerate(parts):
        if part == "REL" or part.startswith("REL "):
            return parts[:place], part[3:].strip(), parts[place + 1 :]
    raise Malformed("the label says nobody may read it: add //REL and nations, as in Secret//REL CHN, PAK")


def _level(policy: str, value: str, equivalence: Equivalence) -> str:
    levels = equivalence.levels.get(policy)
    if levels is None:
        raise Malformed(f"{policy!r} is no policy of this exchange: {', '.join(equivalence.levels)}")
    for level in levels:
        if level.casefold() == value.casefold():
            return level
    owners = [name for name, its in equivalence.levels.items() if value.casefold() in [v.casefold() for v in its]]
    hint = f"; {owners[0]}:{value} exists" if owners else ""
    raise Malformed(f"{policy} has no level {value!r}: {', '.join(levels)}{hint}")


def _nations(text: str, alpha3: Mapping[str, str]) -> tuple[str, ...]:
    if text == NOBODY:
        return ()
    alpha2 = {code: nation for nation, code in alpha3.items()}
    wanted = [code.strip() for code in text.split(",")]
    unknown = [code for code in wanted if code not in alpha2]
    if unknown:
        raise Malformed(f"REL {unknown[0]!r} is no nation of this exchange: {', '.join(sorted(alpha2))}")
    return tuple(sorted({alpha2[code] for code in wanted}))
