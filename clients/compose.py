"""From what an officer typed or wrote in a file to a draft: nothing that matters is defaulted.

A file (TOML, JSON, or Markdown with TOML front matter) has the same names as the command line's options.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clients.choices import one_of
from clients.drafts import Draft
from clients.errors import Declined, UsageError
from keys.judge import why_not_reader
from protocol import limits, names, text
from protocol.content import MICRODEGREES, Attachment, Content, Place, Point, Version, grade
from protocol.directory import Directory
from protocol.errors import Malformed, ProtocolError
from protocol.header import Relation
from protocol.label import Label
from protocol.labeltext import parse_label
from protocol.times import DAY_MS, format_time

EXPIRES_DAYS_DEFAULT = 7
_PLACE_TAKEN = "a place is NAME@LAT,LON, or a table of name and coordinates = [LON, LAT]"
_PLACE = re.compile(r"(?P<name>[^@]+)(@(?P<lat>-?[0-9]+(\.[0-9]+)?),\s*(?P<lon>-?[0-9]+(\.[0-9]+)?))?")


@dataclass
class Order:
    """A bulletin as it was asked for; one field an option of ``post``."""

    to: list[str] = field(default_factory=list)
    feed: str = ""
    label: str = ""
    status: str = ""
    title: list[str] = field(default_factory=list)  # one for each language, in the order of lang
    text: list[str] = field(default_factory=list)
    lang: list[str] = field(default_factory=list)
    category: str = "other"
    severity: str = "Unknown"
    urgency: str = "Unknown"
    certainty: str = "Unknown"
    precedence: str = "routine"
    place: list[str] = field(default_factory=list)  # NAME@LAT,LON
    area: str = ""  # a GeoJSON file
    begins: str = ""
    until: str = ""
    expires: str = ""
    grade: str = ""
    measure: list[str] = field(default_factory=list)
    at_risk: str = ""
    due: str = ""
    supersedes: str = ""
    cancels: str = ""
    replies_to: str = ""
    answers: str = ""
    attach: list[str] = field(default_factory=list)

    def merged(self, values: dict[str, Any]) -> Order:
        """The order with the members of a file where the command line said nothing. Raises UsageError."""
        blank = Order()
        for typed, value in values.items():
            name = "begins" if typed == "from" else typed.replace("-", "_")
            if name not in vars(blank):
                raise UsageError(f"the file's {name!r} means nothing here", "khunjerab post --template prints one")
            wanted = getattr(blank, name)
            if isinstance(wanted, list):
                plain: object = [_plain(name, item) for item in (value if isinstance(value, list) else [value])]
            else:
                plain = _plain(name, value)
            if getattr(self, name) == wanted:
                setattr(self, name, plain)
        return self


def _plain(name: str, value: object) -> str:
    """A value of a file as it would be typed. A place may be a table, with coordinates in GeoJSON's order."""
    if name == "place" and isinstance(value, dict):
        return _plain_place(value)
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise UsageError(f"the file's {name!r} is no text", "khunjerab post --template prints one")
    return str(value)


def _plain_place(table: dict[str, Any]) -> str:
    named, point = table.get("name"), table.get("coordinates")
    if not isinstance(named, str) or set(table) - {"name", "coordinates"}:
        raise UsageError(_PLACE_TAKEN)
    if point is None:
        return named
    if not isinstance(point, list) or [type(degrees) in {int, float} for degrees in point] != [True, True]:
        raise UsageError(f"{named}: {_PLACE_TAKEN}")
    lon, lat = point
    return f"{named}@{lat:f},{lon:f}"


def read_file(path: str, data: str) -> dict[str, Any]:
    """The members of a bulletin's file. Raises UsageError."""
    try:
        if data.lstrip().startswith("+++"):
            _, front, body = data.lstrip().split("+++", 2)
            return {**tomllib.loads(front), "text": [body.strip()]}
        if data.lstrip().startswith("{"):
            return dict(json.loads(data))
        return tomllib.loads(data)
    except (ValueError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(
            f"{path} is not TOML, JSON, or Markdown: {error}",
            "Markdown begins with TOML between two +++ lines; khunjerab post --template prints TOML",
        ) from None


TIMES = "2026-11-24T08:00Z, or from now +6h, +2d"


def parse_moment(value: str, now: int, taken: str = TIMES) -> int:
    """A time: RFC 3339, or from now, as in +6h or +2d; without a zone it is UTC. Milliseconds. Raises UsageError."""
    value = value.strip()
    relative = re.fullmatch(r"\+([0-9]{1,4})([mhd])", value)
    if relative:
        return now + int(relative[1]) * {"m": 60_000, "h": 3_600_000, "d": DAY_MS}[relative[2]]
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise UsageError(f"{value!r} is no time: {taken}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    time_ms = int(moment.timestamp() * 1000)
    if not 0 <= time_ms <= limits.TIME_MS_MAX:
        raise UsageError(f"{value!r} is not between 1970 and 9999")
    return time_ms


def _micro(value: str, bound: int, what: str) -> int:
    degrees = float(value)
    if not abs(degrees) <= bound:  # which no NaN is
        raise UsageError(f"{what} {value} is out of range", "on the command line it is LAT,LON; in GeoJSON LON, LAT")
    return round(degrees * MICRODEGREES)


def parse_place(value: str) -> Place:
    """``NAME@LAT,LON`` or ``NAME``, in WGS 84."""
    match = _PLACE.fullmatch(value)
    if match is None:
        raise UsageError(f"{value!r} is no place: NAME@LAT,LON")
    if match["lat"] is None:
        return Place(match["name"].strip())
    point = Point(_micro(match["lat"], 90, "latitude"), _micro(match["lon"], 180, "longitude"))
    return Place(match["name"].strip(), point)


def read_area(path: str) -> list[Place]:
    """Polygons of a GeoJSON file: a geometry, a feature or a collection. Raises UsageError."""
    try:
        value = json.loads(Path(path).read_text("utf-8"))
        features = value.get("features", [value])
        return [_polygon(feature) for feature in features]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise UsageError(f"{path} holds no GeoJSON polygon") from None


def _polygon(feature: dict[str, Any]) -> Place:
    geometry = feature.get("geometry", feature)
    if geometry["type"] != "Polygon":
        raise ValueError(geometry["type"])
    ring = geometry["coordinates"][0]
    name = str((feature.get("properties") or {}).get("name", "area"))
    corners = tuple(
        Point(_micro(str(lat), 90, "latitude"), _micro(str(lon), 180, "longitude")) for lon, lat, *_ in ring
    )
    return Place(name, None, corners)


def _attachment(path: str) -> Attachment:
    import mimetypes

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return Attachment(Path(path).name, mimetypes.guess_type(path)[0] or "application/octet-stream", data)


def _grade(value: str) -> str:
    try:
        return grade(value.upper())
    except Malformed as error:
        raise UsageError(error.detail, "reliability A to F, then credibility 1 to 6, as in B2") from None


def content_of(order: Order, officer: str, language: str, now: int) -> Content:
    """The content that the order describes; checked by encoding it and reading it again. Raises UsageError."""
    languages = order.lang or [language]
    if not all(title.strip() for title in order.title):
        raise UsageError("a title is empty", "it is what stands in an inbox")
    if not order.title or not len(order.title) == len(languages) == max(len(order.text), len(languages)):
        raise UsageError(
            "a bulletin has a title, and as many titles and texts as languages",
            "--title … --text … --lang en --title … --text … --lang zh-Hans",
        )
    texts = order.text + [""] * (len(languages) - len(order.text))
    versions = tuple(
        Version(tag, text.clean(title), text.clean(body))
        for tag, title, body in zip(languages, order.title, texts, strict=True)
    )
    content = Content(
        versions=versions,
        category=one_of("category", order.category),
        severity=one_of("severity", order.severity),
        urgency=one_of("urgency", order.urgency),
        certainty=one_of("certainty", order.certainty),
        officer=text.clean(officer),
        places=(*map(parse_place, order.place), *(read_area(order.area) if order.area else [])),
        valid_from=parse_moment(order.begins, now) if order.begins else None,
        valid_until=parse_moment(order.until, now) if order.until else None,
        grade=_grade(order.grade) if order.grade else None,
        measures=tuple(text.clean(measure) for measure in order.measure),
        persons_at_risk=text.clean(order.at_risk),
        answer_due=parse_moment(order.due, now) if order.due else None,
        attachments=tuple(map(_attachment, order.attach)),
    )
    if content.valid_from and content.valid_until and content.valid_until < content.valid_from:
        raise UsageError("it would end before it begins", "--from comes before --until")
    try:
        return Content.decode(content.encode())
    except ProtocolError as error:
        raise UsageError(error.detail) from None


def require_marks(order: Order) -> None:
    """Raise UsageError where label, status, or a recipient or feed is not said."""
    missing = [f"--{name}" for name in ("label", "status") if not getattr(order, name)]
    if not order.to and not order.feed:
        missing.append("--to or --feed")
    if missing:
        raise UsageError(f"{', '.join(missing)} must be said: nothing of the kind is guessed")


def draft_of(
    order: Order,
    directory: Directory,
    agency: str,
    content: Content,
    relations: tuple[Relation, ...],
    now: int,
) -> Draft:
    """The draft. Raises UsageError where label, status, or a recipient or feed is missing or cannot be."""
    require_marks(order)
    own = directory.by_agency.get(agency)
    if own is None:
        raise UsageError(f"{agency} is not in the directory in force")
    try:
        label = parse_label(order.label, own.nation, directory.policy.equivalence, directory.alpha3)
    except Malformed as error:
        raise UsageError(error.detail) from None
    _require_compartments(label, directory)
    feed, recipients = _recipients(order, directory, agency, label)
    expires = parse_moment(order.expires, now) if order.expires else now + EXPIRES_DAYS_DEFAULT * DAY_MS
    if not now < expires <= now + limits.EXPIRES_DAYS_MAX * DAY_MS:
        raise UsageError(
            f"it would expire {format_time(expires)}", f"choose a time within {limits.EXPIRES_DAYS_MAX} days"
        )
    return Draft(
        id=names.new_bulletin_id(now, os.urandom(10)),
        recipients=recipients,
        feed=feed,
        label=label,
        status=one_of("status", order.status),
        precedence=one_of("precedence", order.precedence),
        created=now,
        expires=expires,
        relations=relations,
        content=content,
    )


def _require_compartments(label: Label, directory: Directory) -> None:
    """Nobody holds a compartment that the exchange does not have. Raises Declined."""
    known = directory.policy.compartments
    unknown = [name for name in label.compartments if name not in known]
    if unknown:
        raise Declined(
            f"nobody may read it: {', '.join(unknown)} is no compartment of this exchange",
            f"compartments: {', '.join(known) or 'none'}",
        )


def _recipients(order: Order, directory: Directory, agency: str, label: Label) -> tuple[str, tuple[str, ...]]:
    """The feed and who gets it: its members whom the label admits, or those named with ``--to``."""
    wanted = sorted(set(order.to) - {agency})
    unknown = [name for name in wanted if name not in directory.by_agency]
    if unknown:
        raise UsageError(f"{unknown[0]} is no agency of this exchange", "khunjerab directory show")
    feed = order.feed or _only_feed(directory, [agency, *wanted])
    if feed not in directory.by_feed:
        raise UsageError(f"{feed} is no feed of this exchange", f"feeds: {', '.join(directory.by_feed)}")
    if wanted:
        return feed, tuple(wanted)
    members = [directory.by_agency[name] for name in directory.by_feed[feed].members if name != agency]
    denied = {member.id: why_not_reader(directory, label, member) for member in members}
    admitted = [name for name, reason in denied.items() if reason is None]
    if not admitted:
        told = ", ".join(f"{name} ({reason})" for name, reason in denied.items()) or "it has no other member"
        raise Declined(f"nobody in {feed} may read it under this label: {told}", "change the label, or --feed")
    return feed, tuple(sorted(admitted))


def _only_feed(directory: Directory, members: list[str]) -> str:
    shared = [feed.name for feed in directory.feeds if set(members) <= set(feed.members)]
    if not shared:
        raise UsageError(
            f"no feed has all of them: {_apart(directory, members)}", "khunjerab directory show lists feeds"
        )
    if len(shared) > 1:
        raise UsageError(f"feeds that all of them are in: {', '.join(shared)}", "say which with --feed")
    return shared[0]


def _apart(directory: Directory, members: list[str]) -> str:
    """Who stands in no feed with the sender, who is the first; else that no one feed joins them."""
    own, *others = members
    joined = {name for feed in directory.feeds if own in feed.members for name in feed.members}
    apart = [name for name in others if name not in joined]
    if not joined:
        return f"{own} is in none"
    return f"{', '.join(apart)} in none with {own}" if apart else "post to each feed by itself"
