"""protocol/content.py: what recipients read."""

from typing import Any

import pytest

from protocol import canonical, limits
from protocol.content import CATEGORIES, Attachment, Content, Place, Point, Version
from protocol.errors import ProtocolError, TooLarge
from tests.support.altering import replace

SOST = Point(36_691_000, 74_824_000)
AREA = (SOST, Point(36_700_000, 74_824_000), Point(36_700_000, 74_830_000), SOST)
CONTENT = Content(
    versions=(
        Version("en", "Road closed at Sost", "A slide.\nUse no side road."),
        Version("zh-Hans", "封路", "山体滑坡"),
    ),
    category="road-closure",
    severity="Severe",
    urgency="Immediate",
    certainty="Observed",
    officer="A. Karim",
    places=(Place("Sost", SOST, AREA, "KKH-12"), Place("Khunjerab")),
    valid_from=1_795_507_200_000,
    valid_until=None,
    grade="B2",
    measures=("Wait at Sost.",),
    persons_at_risk="about 40",
    answer_due=1_795_593_600_000,
    attachments=(Attachment("slide.jpg", "image/jpeg", b"\xff\xd8"),),
)


def _wire() -> list[Any]:
    return canonical.decode(CONTENT.encode(), bytes_max=9_999)


def test_content_is_its_fourteen_fields_in_order() -> None:
    """SPEC 8.1.1."""
    sost = [36_691_000, 74_824_000]
    assert _wire() == [
        [["en", "Road closed at Sost", "A slide.\nUse no side road."], ["zh-Hans", "封路", "山体滑坡"]],
        *("road-closure", "Severe", "Immediate", "Observed", "A. Karim"),
        [
            ["Sost", sost, [sost, [36_700_000, 74_824_000], [36_700_000, 74_830_000], sost], "KKH-12"],
            ["Khunjerab", None, [], ""],
        ],
        *(1_795_507_200_000, None, "B2", ["Wait at Sost."], "about 40", 1_795_593_600_000),
        [["slide.jpg", "image/jpeg", b"\xff\xd8"]],
    ]
    assert Content.decode(CONTENT.encode()) == CONTENT


@pytest.mark.parametrize(
    "at, value",
    [
        (0, []),
        (0, [["en", "a", "b"], ["en", "c", "d"]]),
        (0, [["en", "two\nlines", ""]]),
        (0, [["en", "", "e\u0301"]]),
        (1, "Attack"),
        (2, "severe"),
        (3, None),
        (4, "Certain"),
        (5, "a\x1b[2Jb"),
        (7, -1),
        (9, "G1"),
        (9, "B7"),
        (10, ["x" * 501]),
        (10, ["x"] * 65),
        (11, "x" * 501),
        (12, "soon"),
        (13, [["a", "b"]]),
        (13, [["a", "b", b""]] * 17),
    ],
)
def test_each_field_has_its_type_and_bound(at: int, value: Any) -> None:
    """One at a time. SPEC 8.1.1."""
    wire = _wire()
    wire[at] = value
    with pytest.raises(ProtocolError):
        Content.decode(canonical.encode(wire))


@pytest.mark.parametrize(
    "place",
    [
        ["Sost", [90_000_001, 0], [], ""],
        ["Sost", [0, -180_000_001], [], ""],
        ["Sost", [36.691, 74.824], [], ""],
        ["Sost", [1], [], ""],
        ["Sost", None, [[0, 0]], ""],
        ["Sost", None, [[0, 0], [0, 1], [0, 0]], ""],
        ["Sost", None, [[0, 0], [0, 1], [1, 1], [1, 0]], ""],
        ["Sost", None, [[0, 0]] * 1001, ""],
    ],
)
def test_a_place_is_on_the_earth_and_its_polygon_closed(place: Any) -> None:
    """In millionths of a degree, never in floats. SPEC 8.1.2."""
    wire = _wire()
    wire[6] = [place]
    with pytest.raises(ProtocolError):
        Content.decode(canonical.encode(wire))


def test_a_polygon_may_have_a_thousand_points() -> None:
    """And the poles and the date line are places. SPEC 8.1.2."""
    corner = Point(-90_000_000, 180_000_000)
    content = replace(CONTENT, places=(Place("round", None, (corner,) * limits.POLYGON_POINTS_MAX),))
    assert Content.decode(content.encode()) == content


@pytest.mark.parametrize("tag", ["", "EN", "english", "zh-hans", "zh_Hans", "zh-Hans-cn", "en-", "en\n"])
def test_a_language_has_one_spelling(tag: str) -> None:
    """SPEC 8.1.3."""
    with pytest.raises(ProtocolError):
        Content.decode(replace(CONTENT, versions=(Version(tag, "a", "b"),)).encode())


@pytest.mark.parametrize("tag", ["en", "ur", "zh-Hans", "zh-Hans-CN", "en-PK", "bsk"])
def test_the_languages_of_the_road_can_be_named(tag: str) -> None:
    """SPEC 8.1.3."""
    content = replace(CONTENT, versions=(Version(tag, "a", "b"),))
    assert Content.decode(content.encode()) == content


def test_content_and_attachments_are_bounded() -> None:
    """An attachment of 256 KiB passes, a content over 512 KiB does not. SPEC 2.1.1, 8.1.1."""
    largest = Attachment("a", "b", bytes(limits.ATTACHMENT_INLINE_BYTES_MAX))
    one = replace(CONTENT, attachments=(largest,))
    assert Content.decode(one.encode()) == one
    for attachments in ((largest, largest), (replace(largest, data=largest.data + b"\0"),)):
        with pytest.raises(TooLarge):
            Content.decode(replace(CONTENT, attachments=attachments).encode())


def test_every_category_is_a_word() -> None:
    """Each decodes. SPEC 8.1.1."""
    for category in CATEGORIES:
        assert Content.decode(replace(CONTENT, category=category).encode()).category == category
