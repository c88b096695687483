"""protocol/policy.py: what both nations agreed."""

import json
from typing import Any

import pytest

from protocol.errors import Malformed, ProtocolError
from protocol.label import Equivalence
from protocol.policy import CHINA, PAKISTAN, Policy
from tests.support.altering import replace
from tests.support.edits import edited

POLICY = Policy()
LEVELS = {"PK": PAKISTAN, "CN": CHINA}


def test_a_policy_is_its_members_in_order() -> None:
    """SPEC 10.7.1."""
    value = POLICY.to_json()
    assert list(value) == [
        *("levels", "maps", "compartments", "suite_2_from_rank", "deadlines_seconds", "retention_days"),
        *("grace_days", "attempts_per_minute", "bulletins_per_hour"),
    ]
    assert list(value["deadlines_seconds"]) == ["routine", "priority", "immediate", "flash"]
    assert list(value["maps"][0]) == ["from", "to", "values"]
    assert Policy.from_json(json.loads(json.dumps(value))) == POLICY


@pytest.mark.parametrize(
    "place, value",
    [
        ("levels/pk", ["Secret"]),
        ("levels/PK", "Secret"),
        ("levels/PK", [1]),
        ("levels/PK", []),
        ("levels/PK", [f"L{number}" for number in range(17)]),
        ("maps", [{"from": "PK", "to": "CN", "values": {}}] * 2),
        ("maps", [{}] * 300),
        ("maps/0/values", {"Secret": 3}),
        ("maps/0/extra", 1),
        ("compartments", ["convoy"]),
        ("suite_2_from_rank", -1),
        ("deadlines_seconds/flash", ...),
        ("deadlines_seconds/flash", 0),
        ("grace_days", 401),
        ("attempts_per_minute", 0),
        ("extra", 1),
    ],
)
def test_a_member_of_another_form_is_refused(place: str, value: Any) -> None:
    """SPEC 10.7.1, 10.2.9."""
    policy = edited(json.loads(json.dumps(POLICY.to_json())), place, value)
    with pytest.raises(ProtocolError):
        Policy.from_json(policy)


@pytest.mark.parametrize(
    "levels",
    [
        ["Secret", "Secret"],
        ["Secret", "SECRET"],
        [""],
        [" Secret"],
        ["Se:cret"],
        ["Secret★"],
        ["NATO//Secret"],
        ["a\nb"],
    ],
)
def test_a_level_can_be_told_from_all_that_a_label_s_text_holds(levels: list[str]) -> None:
    """Else what an officer types could come out as a lower one. SPEC 10.2.9."""
    value = json.loads(json.dumps(POLICY.to_json()))
    value["levels"]["PK"] = levels
    with pytest.raises(Malformed):
        Policy.from_json(value)


def test_levels_are_given_for_each_nation_and_no_other() -> None:
    """SPEC 10.2.9."""
    POLICY.check(["CN", "PK"])
    for nations in (["PK"], ["CN", "PK", "UZ"], []):
        with pytest.raises(Malformed, match="levels"):
            POLICY.check(nations)


@pytest.mark.parametrize(
    "maps",
    [
        {("PK", "CN"): {"Cosmic": "机密"}},
        {("PK", "CN"): {"Secret": "Secret"}},
        {("PK", "XX"): {"Secret": "机密"}},
        {("PK", "PK"): {"Secret": "Secret"}},
        {("PK", "CN"): {"Secret": "机密"}, ("CN", "PK"): {"机密": "Confidential"}},
        {("PK", "CN"): {"Restricted": "公开"}, ("CN", "PK"): {"公开": "Unclassified"}},
        {("PK", "CN"): {"Restricted": "秘密", "Secret": "内部"}},
    ],
)
def test_a_map_names_levels_keeps_their_order_and_brings_none_back_lower(maps: Any) -> None:
    """Nor leads from a policy to itself, which would say that a level is another. SPEC 6.3.2, 10.2.9."""
    with pytest.raises(Malformed):
        replace(POLICY, equivalence=Equivalence(LEVELS, maps)).check(["CN", "PK"])


def test_many_to_one_rounds_up() -> None:
    """Where the other side has fewer levels, a label comes back higher. SPEC 6.3.2."""
    maps = {("PK", "CN"): {"Restricted": "秘密", "Confidential": "秘密"}, ("CN", "PK"): {"秘密": "Confidential"}}
    policy = replace(POLICY, equivalence=Equivalence(LEVELS, maps))
    policy.check(["CN", "PK"])
    assert policy.equivalence.translate("CN", "秘密", "PK") == "Confidential"


def test_the_suite_follows_the_rank_and_unknown_is_the_strong_one() -> None:
    """SPEC 10.7.2."""
    ranks = [POLICY.suite_for("PK", level) for level in PAKISTAN]
    assert ranks == [1, 1, 1, 2, 2]
    assert POLICY.suite_for("CN", "机密") == POLICY.suite_for("PK", "机密") == POLICY.suite_for("XX", "open") == 2


def test_a_deadline_is_given_for_each_precedence() -> None:
    """Shorter the more urgent. SPEC 10.7.1."""
    deadlines = [POLICY.deadline_ms(precedence) for precedence in ("routine", "priority", "immediate", "flash")]
    assert deadlines == [21_600_000, 10_800_000, 1_800_000, 600_000]
