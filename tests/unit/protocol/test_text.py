"""protocol/text.py: text reads as it is stored."""

import pytest

from protocol import text
from protocol.errors import Malformed, TooLarge


@pytest.mark.parametrize(
    "value", ["", "Sost–Khunjerab", "喀喇昆仑公路封闭", "شاہراہِ قراقرم بند ہے", "a\u200fb", "👩‍🚒"]
)
def test_what_people_write_passes(value: str) -> None:
    """In any script; marks that only order neighbours are needed for Urdu. SPEC 3.4.1, 3.4.2."""
    text.check(value, "title", 300)


def test_text_that_is_not_in_form_c_is_refused() -> None:
    """Two spellings of one word would be two labels. SPEC 3.4.1."""
    with pytest.raises(Malformed, match="form C"):
        text.check("e\u0301", "title", 300)
    assert text.clean("e\u0301") == "é"


@pytest.mark.parametrize(
    "char", [*"\x00\x07\x1b\x7f\x80\x9b\x9f\r\u2028\u2029\u202a\u202d\u202e\u2066\u2067\u2068\u2069\ud800\udcff"]
)
@pytest.mark.parametrize("lines", [False, True])
def test_controls_overrides_and_surrogates_are_refused_everywhere(char: str, lines: bool) -> None:
    """They make a terminal act, or a line read otherwise than it is stored. SPEC 3.4.2."""
    with pytest.raises(Malformed):
        text.check(f"a{char}b", "title", 300, lines=lines)
    assert text.clean(f"a{char}b") == "ab"


def test_newline_and_tab_stand_in_lines_only() -> None:
    """A title is one line. SPEC 3.4.2."""
    text.check("a\n\tb", "text", 300, lines=True)
    for char in "\n\t":
        with pytest.raises(Malformed):
            text.check(f"a{char}b", "title", 300)


def test_bounds_count_characters() -> None:
    """Not bytes: Chinese has the same room. SPEC 3.4.3."""
    text.check("封" * 300, "title", 300)
    with pytest.raises(TooLarge):
        text.check("封" * 301, "title", 300)


def test_what_is_cleaned_passes_the_check() -> None:
    """Whatever was typed or pasted."""
    cleaned = text.clean("a\r\nb\u202e\x1b[31m e\u0301\ud800")
    text.check(cleaned, "text", 300, lines=True)
    assert cleaned == "a\nb[31m é"
