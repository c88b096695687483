"""Which bulletins are meant: words in any language, distances on the earth."""

import pytest

from clients.errors import UsageError
from clients.selecting import folded, great_circle, is_near, parse_near, says
from protocol.content import MICRODEGREES, Content, Place, Point, Version


def point(latitude: float, longitude: float) -> Point:
    return Point(round(latitude * MICRODEGREES), round(longitude * MICRODEGREES))


def area(*corners: tuple[float, float]) -> Place:
    ring = tuple(point(*corner) for corner in (*corners, corners[0]))
    return Place("area", None, ring)


SQUARE = area((35.0, 74.0), (35.0, 75.0), (36.0, 75.0), (36.0, 74.0))


def test_distances_are_along_the_great_circle() -> None:
    """Gilgit to Kashgar, and half way round the equator."""
    assert great_circle(point(35.92, 74.31), point(39.47, 75.99)) == pytest.approx(421, abs=2)
    assert great_circle(point(0, 0), point(0, 180)) == pytest.approx(20015, abs=1)
    assert great_circle(point(0, 179.9), point(0, -179.9)) == pytest.approx(22.2, abs=0.1)


@pytest.mark.parametrize(
    "place, centre, km, near",
    [
        (Place("p", point(35.92, 74.31)), point(35.92, 74.31), 0, True),
        (Place("p", point(35.92, 74.31)), point(36.92, 74.31), 111, False),
        (Place("p", point(35.92, 74.31)), point(36.92, 74.31), 112, True),
        (SQUARE, point(35.5, 74.5), 0, True),  # inside, far from every corner
        (SQUARE, point(35.5, 75.1), 9.2, True),  # nearest to the middle of an edge
        (SQUARE, point(35.5, 75.1), 8.8, False),
        (SQUARE, point(36.1, 75.1), 12, False),  # nearest to a corner
        (SQUARE, point(36.1, 75.1), 15, True),
        (area((-1, 179), (-1, -179), (1, -179), (1, 179)), point(0, 180), 0, True),  # across the date line
        (Place("somewhere"), point(0, 0), 0, True),
    ],
)
def test_what_is_near(place: Place, centre: Point, km: float, near: bool) -> None:
    assert is_near([place], centre, km) is near


def test_nowhere_may_be_anywhere_and_one_place_is_enough() -> None:
    """A bulletin without a place is never hidden; a name beside a place that is far does not bring it nearer."""
    far = Place("far", point(0, 0))
    assert is_near([], point(35, 74), 1)
    assert is_near([far, Place("near", point(35, 74))], point(35, 74), 1)
    assert not is_near([far, Place("no point")], point(35, 74), 1)


@pytest.mark.parametrize("value", ["", "1,2", "1,2,3,4", "91,0,1", "0,181,1", "0,0,-1", "a,b,c", "nan,0,1", "0,0,inf"])
def test_a_circle_is_latitude_longitude_km(value: str) -> None:
    with pytest.raises(UsageError):
        parse_near(value)


@pytest.mark.parametrize(
    "wanted, found",
    [
        ("SOST", True),
        ("road sost", True),  # words in any order
        ("塌方", True),
        ("ｓｏｓｔ", True),  # full width
        ("karimabad", True),
        ("STRASSE", True),
        ("kashgar", False),
        ("sost kashgar", False),
    ],
)
def test_words_are_found_in_every_language(wanted: str, found: bool) -> None:
    versions = (Version("en", "Slide at Sost", "The road is closed."), Version("zh-Hans", "索斯特塌方", ""))
    content = Content(versions, "other", "Minor", "Past", "Likely", "x", (Place("Straße"),), measures=("Karimabad",))
    assert says(content, folded(wanted)) is found
