"""protocol/labeltext.py: one grammar for both nations."""

import pytest

from protocol.errors import Malformed
from protocol.label import Label
from protocol.labeltext import format_label, parse_label
from protocol.policy import Policy

EQUIVALENCE = Policy().equivalence
ALPHA3 = {"PK": "PAK", "CN": "CHN"}
BOTH = ("CN", "PK")


def _parse(text: str, own: str = "PK") -> Label:
    return parse_label(text, own, EQUIVALENCE, ALPHA3)


@pytest.mark.parametrize(
    "text, label",
    [
        ("PK:Secret//CONVOY//REL CHN, PAK", Label("PK", "Secret", ("CONVOY",), BOTH)),
        ("CN:机密★2030-01-01//REL CHN, PAK", Label("CN", "机密", (), BOTH, until="2030-01-01")),
        (
            "PK:Top Secret//CONVOY,PERSONNEL//REL PAK//EYES ONLY//ORIGINATOR CONTROLLED",
            Label("PK", "Top Secret", ("CONVOY", "PERSONNEL"), ("PK",), ("EYES ONLY", "ORIGINATOR CONTROLLED")),
        ),
        ("PK:Unclassified//REL NOBODY", Label("PK", "Unclassified", (), ())),
    ],
)
def test_a_label_prints_and_reads(text: str, label: Label) -> None:
    """SPEC 6.4.1."""
    assert format_label(label, ALPHA3) == text
    assert _parse(text) == label
    assert _parse(text, own="CN") == label


@pytest.mark.parametrize(
    "typed, printed",
    [
        ("secret//REL PAK, CHN", "PK:Secret//REL CHN, PAK"),
        ("  TOP SECRET // PERSONNEL , CONVOY // REL PAK,CHN  ", "PK:Top Secret//CONVOY,PERSONNEL//REL CHN, PAK"),
        ("Secret//CONVOY//PERSONNEL//REL PAK, PAK", "PK:Secret//CONVOY,PERSONNEL//REL PAK"),
        ("Secret ★ 2030-01-01//REL PAK//B//A", "PK:Secret★2030-01-01//REL PAK//A//B"),
    ],
)
def test_what_people_type_may_differ_in_case_order_and_blanks(typed: str, printed: str) -> None:
    """It prints in the one form. SPEC 6.4.1."""
    assert format_label(_parse(typed), ALPHA3) == printed


def test_without_a_policy_a_label_is_read_in_the_profile_s_own() -> None:
    """The same glyphs at another desk are another label, or none. SPEC 6.4.2."""
    assert _parse("Restricted//REL PAK", "PK").policy == "PK"
    assert _parse("内部//REL PAK", "CN").policy == "CN"


@pytest.mark.parametrize(
    "text, hint",
    [
        ("机密//REL PAK", "CN:机密 exists"),
        ("PK:机密//REL PAK", "CN:机密 exists"),
        ("Cosmic//REL PAK", "Unclassified, Restricted"),
        ("US:Secret//REL PAK", "no policy"),
        ("pk:Secret//REL PAK", "no policy"),
    ],
)
def test_a_level_that_the_policy_does_not_have_is_refused_with_a_hint(text: str, hint: str) -> None:
    """Nothing is guessed. SPEC 6.4.2."""
    with pytest.raises(Malformed, match=hint):
        _parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Secret",
        "Secret//CONVOY",
        "Secret//REL",
        "Secret//REL ",
        "Secret//RELAY PAK",
        "Secret//REL PK",
        "Secret//REL pak",
        "Secret//REL PAK CHN",
        "Secret//REL PAK, NOBODY",
        "Secret//REL USA",
        "Secret★//REL PAK",
        "Secret★tomorrow//REL PAK",
        "Secret★2030-01-01★2031-01-01//REL PAK",
        "Secret//convoy//REL PAK",
        "Secret////REL PAK",
        "Secret//REL PAK//",
        "//REL PAK",
    ],
)
def test_a_text_that_leaves_something_unsaid_is_refused(text: str) -> None:
    """Who may read is never left to a default, a date never dropped. SPEC 6.4.3."""
    with pytest.raises(Malformed):
        _parse(text)
