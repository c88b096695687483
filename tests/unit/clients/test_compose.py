"""clients/compose.py: what an officer types or writes is a bulletin, or a mistake that is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from clients.compose import Order, content_of, parse_moment, parse_place, read_area, read_file
from clients.errors import UsageError

NOW = 1_795_507_200_000


@pytest.mark.parametrize("title", ["", "  \t"])
def test_a_bulletin_without_a_title_is_refused(title: str) -> None:
    with pytest.raises(UsageError, match="a title is empty"):
        content_of(Order(title=[title]), "A. Karim", "en", NOW)


@pytest.mark.parametrize("typed", ["9999-12-31T23:59-23:00", "1970-01-01T00:00+01:00", "0001-01-01T00:00+23:00"])
def test_a_time_is_one_that_can_be_written(typed: str) -> None:
    """Wherever its zone puts it."""
    with pytest.raises(UsageError, match="between 1970 and 9999"):
        parse_moment(typed, NOW)
    assert parse_moment("9999-12-31T23:59Z", NOW) == 253_402_300_740_000


@pytest.mark.parametrize("corner", ["Infinity", "-Infinity", "NaN", "1e999", "181", '"x"', "null"])
def test_an_area_of_corners_that_are_nowhere_is_refused(tmp_path: Path, corner: str) -> None:
    area = tmp_path / "area.geojson"
    ring = f"[[{corner}, 35], [74, 35], [74, 36], [{corner}, 35]]"
    area.write_text(f'{{"type": "Polygon", "coordinates": [{ring}]}}')
    with pytest.raises(UsageError):
        read_area(str(area))
    with pytest.raises(UsageError, match="out of range"):
        parse_place(f"Dasu@{'9' * 400},74")


@pytest.mark.parametrize("coordinates", [[1], [1, 2, 3], "ab", 3, ["a", "b"], [True, 2], {"lat": 1, "lon": 2}])
def test_a_place_as_a_table_has_two_numbers(coordinates: Any) -> None:
    with pytest.raises(UsageError, match=r"coordinates = \[LON, LAT\]"):
        Order().merged({"place": [{"name": "Dasu", "coordinates": coordinates}]})


def test_a_place_as_a_table_is_in_the_order_of_geojson() -> None:
    """Or it has a name alone."""
    tables = json.loads('[{"name": "Dasu", "coordinates": [73.29, 35.292]}, {"name": "Sost"}]')
    assert Order().merged({"place": tables}).place == ["Dasu@35.292000,73.290000", "Sost"]


@pytest.mark.parametrize("opening", ["[", '{"a":', "a = ["])
def test_what_is_nested_without_end_is_no_file_of_ours(tmp_path: Path, opening: str) -> None:
    file = tmp_path / "nested"
    file.write_text(opening + "[" * 100_000)
    with pytest.raises(UsageError):
        read_file(str(file), file.read_text())
    with pytest.raises(UsageError):
        read_area(str(file))
