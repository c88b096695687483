"""The content of a bulletin (SPEC §8): what recipients read and nodes do not.

Its words are CAP 1.2's where CAP has them. Coordinates are integers, millionths of a degree in WGS 84, so that nothing
signed holds a float.
"""

from __future__ import annotations

import re

from protocol import canonical, limits
from protocol.canonical import Fields, Wire
from protocol.errors import Malformed
from protocol.record import Record

CATEGORIES = (
    "attack",
    "kidnapping",
    "terrorism",
    "ied",
    "armed-robbery",
    "sabotage",
    "protest",
    "road-closure",
    "insider",
    "natural-hazard",
    "information-request",
    "other",
)
SEVERITIES = ("Unknown", "Minor", "Moderate", "Severe", "Extreme")
URGENCIES = ("Unknown", "Past", "Future", "Expected", "Immediate")
CERTAINTIES = ("Unknown", "Unlikely", "Possible", "Likely", "Observed")
MICRODEGREES = 1_000_000
_GRADE = re.compile(r"[A-F][1-6]")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")


def grade(value: str) -> str:
    """A source grade, Admiralty code: reliability A to F, credibility 1 to 6."""
    if not _GRADE.fullmatch(value):
        raise Malformed(f"{value[:20]!r} is not a source grade, A1 to F6")
    return value


def language(value: str) -> str:
    """A language tag (RFC 5646): ``en``, ``ur``, ``zh-Hans``."""
    if not _LANGUAGE.fullmatch(value):
        raise Malformed(f"{value[:20]!r} is not a language tag such as en, ur or zh-Hans")
    return value


class Point(Record):
    """WGS 84, in millionths of a degree."""

    latitude: int
    longitude: int

    def to_wire(self) -> Wire:
        """[latitude, longitude]."""
        return [self.latitude, self.longitude]

    @classmethod
    def from_wire(cls, value: object) -> Point:
        """[latitude, longitude]."""
        f = Fields(value, "point", 2)
        latitude = f.integer("latitude", -90 * MICRODEGREES, 90 * MICRODEGREES)
        return cls(latitude, f.integer("longitude", -180 * MICRODEGREES, 180 * MICRODEGREES))


class Version(Record):
    """Title and text in one language."""

    language: str
    title: str
    text: str

    def to_wire(self) -> Wire:
        """[language, title, text]."""
        return [self.language, self.title, self.text]

    @classmethod
    def from_wire(cls, value: object) -> Version:
        """[language, title, text]."""
        f = Fields(value, "language version", 3)
        return cls(
            f.matching("language", language),
            f.text("title", limits.TITLE_CHARS_MAX),
            f.text("text", limits.TEXT_CHARS_MAX, lines=True),
        )


class Place(Record):
    """A named place: a point, a closed polygon of at least four points (first = last), a site's code, or several."""

    name: str
    point: Point | None = None
    polygon: tuple[Point, ...] = ()
    site: str = ""

    def to_wire(self) -> Wire:
        """[name, point, polygon, site]."""
        point = self.point.to_wire() if self.point else None
        return [self.name, point, [corner.to_wire() for corner in self.polygon], self.site]

    @classmethod
    def from_wire(cls, value: object) -> Place:
        """[name, point, polygon, site]."""
        f = Fields(value, "place", 4)
        place = cls(
            f.text("name", limits.TITLE_CHARS_MAX),
            f.optional(Point.from_wire),
            f.array("polygon", limits.POLYGON_POINTS_MAX, Point.from_wire),
            f.text("site", limits.NAME_CHARS_MAX),
        )
        corners_min = 4  # three and the first again, as CAP and GeoJSON have it
        if place.polygon and (len(place.polygon) < corners_min or place.polygon[0] != place.polygon[-1]):
            raise Malformed("place: a polygon has at least four points, the last the same as the first")
        return place


class Attachment(Record):
    """A file that comes with the bulletin, inside the same sealed body."""

    name: str
    media_type: str
    data: bytes

    def to_wire(self) -> Wire:
        """[name, media type, data]."""
        return [self.name, self.media_type, self.data]

    @classmethod
    def from_wire(cls, value: object) -> Attachment:
        """[name, media type, data]."""
        f = Fields(value, "attachment", 3)
        return cls(
            f.text("name", limits.TITLE_CHARS_MAX),
            f.text("media type", limits.TITLE_CHARS_MAX),
            f.bytes("data", limits.ATTACHMENT_INLINE_BYTES_MAX),
        )


class Content(Record):
    """SPEC §8.1, in wire order."""

    versions: tuple[Version, ...]
    category: str
    severity: str
    urgency: str
    certainty: str
    officer: str
    places: tuple[Place, ...] = ()
    valid_from: int | None = None
    valid_until: int | None = None
    grade: str | None = None
    measures: tuple[str, ...] = ()
    persons_at_risk: str = ""
    answer_due: int | None = None  # set on a request for information
    attachments: tuple[Attachment, ...] = ()

    def encode(self) -> bytes:
        """The bytes that are padded and sealed."""
        return canonical.encode(
            [
                [version.to_wire() for version in self.versions],
                self.category,
                self.severity,
                self.urgency,
                self.certainty,
                self.officer,
                [place.to_wire() for place in self.places],
                self.valid_from,
                self.valid_until,
                self.grade,
                list(self.measures),
                self.persons_at_risk,
                self.answer_due,
                [attachment.to_wire() for attachment in self.attachments],
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Content:
        """Raises Malformed or TooLarge."""
        f = Fields(
            canonical.decode(data, bytes_max=limits.CONTENT_BYTES_MAX, array_max=limits.POLYGON_POINTS_MAX),
            "content",
            14,
        )
        content = cls(
            versions=f.array("versions", limits.LANGUAGES_MAX, Version.from_wire, at_least=1),
            category=f.choice("category", CATEGORIES),
            severity=f.choice("severity", SEVERITIES),
            urgency=f.choice("urgency", URGENCIES),
            certainty=f.choice("certainty", CERTAINTIES),
            officer=f.text("officer", limits.TITLE_CHARS_MAX),
            places=f.array("places", limits.PLACES_MAX, Place.from_wire),
            valid_from=f.optional(_time),
            valid_until=f.optional(_time),
            grade=f.optional(_grade),
            measures=f.array("measures", limits.MEASURES_MAX, _line),
            persons_at_risk=f.text("persons at risk", limits.REASON_CHARS_MAX),
            answer_due=f.optional(_time),
            attachments=f.array("attachments", limits.ATTACHMENTS_MAX, Attachment.from_wire),
        )
        languages = [version.language for version in content.versions]
        if len(set(languages)) != len(languages):
            raise Malformed("content: a language comes twice")
        return content


def _time(value: object) -> int:
    return Fields([value], "content", 1).time("time")


def _grade(value: object) -> str:
    return Fields([value], "content", 1).matching("grade", grade)


def _line(value: object) -> str:
    return Fields([value], "content", 1).text("measure", limits.REASON_CHARS_MAX, lines=True)
