"""protocol/label.py: who may read under a label."""

from typing import Any

import pytest

from protocol import canonical, limits
from protocol.errors import ProtocolError
from protocol.label import Clearance, Equivalence, Label, why_denied
from protocol.policy import Policy
from tests.support.altering import replace

EQUIVALENCE = Policy().equivalence
LABEL = Label("PK", "Secret", ("CONVOY",), ("CN", "PK"), ("ORIGINATOR CONTROLLED",), "2030-01-01")
CLEARED = Clearance("CN", "机密", ("CONVOY", "PERSONNEL"))


def _why(label: Label = LABEL, clearance: Clearance = CLEARED, nation: str | None = "CN") -> str | None:
    return why_denied(label, clearance, nation, EQUIVALENCE)


def test_a_label_has_six_fields_in_their_order() -> None:
    """SPEC 6.1.1."""
    assert LABEL.to_wire() == [*("PK", "Secret", ["CONVOY"], ["CN", "PK"], ["ORIGINATOR CONTROLLED"], "2030-01-01")]
    assert Label.from_wire(LABEL.to_wire()) == LABEL
    assert Label.from_wire(["PK", "Secret", [], [], [], None]) == Label("PK", "Secret", (), ())


@pytest.mark.parametrize(
    "at, value",
    [
        (0, "PAK"),
        (1, None),
        (1, "Sec\u202eret"),
        (1, "S" * 65),
        (2, ["CONVOY", "A"]),
        (2, ["A", "A"]),
        (2, [f"C{n:02}" for n in range(limits.COMPARTMENTS_MAX + 1)]),
        (3, ["PK", "CN"]),
        (3, ["PAK"]),
        (4, ["no"]),
        (4, [f"C{n:02}" for n in range(limits.CAVEATS_MAX + 1)]),
        (5, "2030-02-30"),
        (5, "20300101"),
        (5, "2030-01-01T00:00"),
        (5, 0),
    ],
)
def test_a_label_of_another_form_is_refused(at: int, value: Any) -> None:
    """Sets that are not sorted, names outside their grammar, dates that do not exist. SPEC 6.1.1, 4.3.1."""
    wire: Any = LABEL.to_wire()
    wire[at] = value
    with pytest.raises(ProtocolError):
        Label.from_wire(canonical.decode(canonical.encode([wire]), bytes_max=9_999)[0])


def test_a_clearance_that_dominates_reads() -> None:
    """Its own nation's level or a higher one, every compartment, one of the releasable. SPEC 6.2.1."""
    assert _why() is None
    assert _why(clearance=replace(CLEARED, classification="绝密")) is None
    assert _why(clearance=Clearance("PK", "Secret", ("CONVOY",)), nation="PK") is None


@pytest.mark.parametrize(
    "label, clearance, code",
    [
        (replace(LABEL, classification="Cosmic"), CLEARED, "classification-unknown"),
        (LABEL, replace(CLEARED, classification="秘密"), "clearance-too-low"),
        (LABEL, replace(CLEARED, compartments=("PERSONNEL",)), "compartment-missing"),
        (replace(LABEL, releasable=("PK",)), CLEARED, "not-releasable"),
    ],
)
def test_each_step_of_the_decision_denies_by_its_own_code(label: Label, clearance: Clearance, code: str) -> None:
    """The first that fails is told. SPEC 6.2.1."""
    assert _why(label, clearance) == code
    worse = replace(label, classification="Cosmic", releasable=())
    assert _why(worse, replace(clearance, compartments=())) == "classification-unknown"


def test_a_ceiling_is_judged_without_the_nation() -> None:
    """A feed carries what it carries, to whomever. SPEC 6.2.1."""
    assert _why(replace(LABEL, releasable=()), nation=None) is None
    assert _why(clearance=replace(CLEARED, classification="内部"), nation=None) == "clearance-too-low"


def test_an_empty_releasable_means_nobody() -> None:
    """Not even the sender's own nation, at the lowest level. SPEC 6.2.2."""
    label = Label("PK", "Unclassified", (), ())
    for policy, top in (("PK", "Top Secret"), ("CN", "绝密")):
        assert _why(label, Clearance(policy, top), policy) == "not-releasable"


def test_what_the_directory_does_not_know_denies() -> None:
    """A policy, a level, a map, a clearance. SPEC 6.2.3."""
    assert _why(replace(LABEL, policy="XX")) == "classification-unknown"
    assert _why(replace(LABEL, classification="机密")) == "classification-unknown"
    assert _why(clearance=replace(CLEARED, classification="Secret")) == "classification-unknown"
    one_way = Equivalence(EQUIVALENCE.levels, {("PK", "CN"): EQUIVALENCE.maps["PK", "CN"]})
    assert why_denied(LABEL, CLEARED, "CN", one_way) is None
    back = Label("CN", "公开", (), ("PK",))
    assert why_denied(back, Clearance("PK", "Top Secret"), "PK", one_way) == "classification-unknown"


def test_a_label_is_read_by_the_maps_and_never_by_its_glyphs() -> None:
    """Two policies may share a word and mean two levels. SPEC 6.3.1."""
    levels = {"PK": ("open", "secret"), "CN": ("secret", "open")}
    maps = {("PK", "CN"): {"open": "secret", "secret": "open"}}
    equivalence = Equivalence(levels, maps)
    assert (
        why_denied(Label("PK", "secret", (), ("CN",)), Clearance("CN", "secret"), "CN", equivalence)
        == "clearance-too-low"
    )
    assert why_denied(Label("PK", "open", (), ("CN",)), Clearance("CN", "secret"), "CN", equivalence) is None


def test_within_its_own_policy_a_level_is_itself() -> None:
    """No map is asked. SPEC 6.3.1."""
    assert EQUIVALENCE.translate("PK", "Secret", "PK") == "Secret"
    assert EQUIVALENCE.translate("PK", "机密", "PK") is None
    assert EQUIVALENCE.translate("CN", "机密", "PK") == "Secret"


def test_caveats_and_the_date_decide_nothing() -> None:
    """They inform. SPEC 6.2.4."""
    assert _why(replace(LABEL, caveats=(), until="1999-01-01")) is None
