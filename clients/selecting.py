"""Which bulletins of a home are meant: by text in any language, by distance from a point."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterable

from clients.errors import UsageError
from protocol.content import MICRODEGREES, Content, Place, Point

EARTH_KM = 6371.0088  # mean radius
_KM_PER_DEGREE = math.pi * EARTH_KM / 180


def folded(text: str) -> str:
    """Text as it is compared: compatibility forms and case do not matter (NFKC casefold)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def says(content: Content, wanted: str) -> bool:
    """Whether a title, text, place or measure holds every word of ``wanted``, which is folded."""
    pieces = [piece for version in content.versions for piece in (version.title, version.text)]
    pieces += [name for place in content.places for name in (place.name, place.site)]
    text = folded("\n".join([*pieces, *content.measures, content.persons_at_risk]))
    return all(word in text for word in wanted.split())


def parse_near(value: str) -> tuple[Point, float]:
    """``LAT,LON,KM``. Raises UsageError."""
    try:
        latitude, longitude, km = (float(part) for part in value.split(","))
    except ValueError:
        raise UsageError(f"{value!r} is not LAT,LON,KM", "as in 35.92,74.31,50") from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 <= km < math.inf):  # noqa: PLR2004 - degrees
        raise UsageError(f"{value!r} is out of range", "latitude first, as in 35.92,74.31,50")
    return Point(round(latitude * MICRODEGREES), round(longitude * MICRODEGREES)), km


def is_near(places: Iterable[Place], centre: Point, km: float) -> bool:
    """Whether any place lies within ``km``; what says no place could be anywhere, and counts."""
    located = [place for place in places if place.point or place.polygon]
    return not located or any(_distance(place, centre) <= km for place in located)


def _distance(place: Place, centre: Point) -> float:
    distances = [great_circle(place.point, centre)] if place.point else []
    if place.polygon:
        distances.append(_polygon_distance(place.polygon, centre))
    return min(distances)


def great_circle(one: Point, other: Point) -> float:
    """Kilometres along the surface (haversine)."""
    lat1, lat2 = math.radians(one.latitude / MICRODEGREES), math.radians(other.latitude / MICRODEGREES)
    lon = math.radians((other.longitude - one.longitude) / MICRODEGREES)
    part = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(lon / 2) ** 2
    return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(part)))


def _polygon_distance(polygon: tuple[Point, ...], centre: Point) -> float:
    """Zero inside; else to the nearest point of an edge, on a plane that touches the earth at the centre."""
    corners = [_on_plane(corner, centre) for corner in polygon]
    edges = list(itertools.pairwise(corners))
    if _holds_origin(edges):
        return 0.0
    nearest = [_nearest_to_origin(start, end) for start, end in edges]
    corner_km = min(great_circle(corner, centre) for corner in polygon)
    return min(corner_km, *(math.hypot(*point) for point in nearest))


def _on_plane(point: Point, centre: Point) -> tuple[float, float]:
    """Kilometres east and north of the centre; across the date line the short way."""
    longitude = (point.longitude - centre.longitude) / MICRODEGREES
    longitude = (longitude + 180) % 360 - 180
    shrink = math.cos(math.radians((point.latitude + centre.latitude) / 2 / MICRODEGREES))
    return longitude * _KM_PER_DEGREE * shrink, (point.latitude - centre.latitude) / MICRODEGREES * _KM_PER_DEGREE


def _holds_origin(edges: list[tuple[tuple[float, float], tuple[float, float]]]) -> bool:
    """Even-odd rule: how often a ray to the east crosses an edge."""
    inside = False
    for (x1, y1), (x2, y2) in edges:
        if (y1 > 0) != (y2 > 0) and x1 + (x2 - x1) * -y1 / (y2 - y1) > 0:
            inside = not inside
    return inside


def _nearest_to_origin(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    (x1, y1), (x2, y2) = start, end
    length = (x2 - x1) ** 2 + (y2 - y1) ** 2
    along = 0.0 if not length else max(0.0, min(1.0, -(x1 * (x2 - x1) + y1 * (y2 - y1)) / length))
    return x1 + along * (x2 - x1), y1 + along * (y2 - y1)
