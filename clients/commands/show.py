"""How a bulletin looks: on a screen, and as a JSON object."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from clients.screen import format_moment, out
from clients.state import Held
from protocol.content import MICRODEGREES, Content, Place
from protocol.directory import Directory
from protocol.header import Header
from protocol.label import Label
from protocol.labeltext import format_label

_STATUS_STYLE = {"actual": "bold", "exercise": "black on yellow", "test": "black on cyan"}
_PRECEDENCE_STYLE = {"flash": "bold white on red", "immediate": "bold red", "priority": "yellow", "routine": "dim"}


def equivalent(label: Label, directory: Directory, nation: str) -> str:
    """The label in the reader's own policy, beside the original; empty for its own."""
    if nation in {label.policy, ""}:
        return ""
    translated = directory.policy.equivalence.translate(label.policy, label.classification, nation)
    return f"= {nation}:{translated}" if translated else f"= no equivalent in {nation}"


def to_json(held: Held, directory: Directory, nation: str) -> dict[str, Any]:
    """A bulletin as one object (DESIGN §8); ``status`` stands first."""
    header = held.header
    value: dict[str, Any] = {
        "status": header.status,
        "id": header.name,
        "origin": held.origin,
        "index": held.index,
        "sender": header.sender,
        "recipients": [recipient.agency for recipient in header.recipients],
        "feed": header.feed,
        "label": format_label(header.label, directory.alpha3),
        "equivalent": equivalent(header.label, directory, nation),
        "precedence": header.precedence,
        "created": header.created,
        "logged": held.logged,
        "expires": header.expires,
        "state": held.state,
        "relation": held.relation,
        "relations": [{"kind": r.kind, "origin": r.origin, "index": r.index} for r in header.relations],
    }
    if held.problem:
        value["problem"] = held.problem
    if held.content:
        value["content"] = content_to_json(held.content)
    return value


def content_to_json(content: Content) -> dict[str, Any]:
    """The content; coordinates in degrees, in GeoJSON order inside ``polygon``."""
    return {
        "versions": [{"lang": v.language, "title": v.title, "text": v.text} for v in content.versions],
        "category": content.category,
        "severity": content.severity,
        "urgency": content.urgency,
        "certainty": content.certainty,
        "officer": content.officer,
        "places": [_place_to_json(place) for place in content.places],
        "from": content.valid_from,
        "until": content.valid_until,
        "grade": content.grade,
        "measures": list(content.measures),
        "at_risk": content.persons_at_risk,
        "due": content.answer_due,
        "attachments": [{"name": a.name, "type": a.media_type, "bytes": len(a.data)} for a in content.attachments],
    }


def _place_to_json(place: Place) -> dict[str, Any]:
    value: dict[str, Any] = {"name": place.name, "site": place.site}
    if place.point:
        value["lat"], value["lon"] = place.point.latitude / MICRODEGREES, place.point.longitude / MICRODEGREES
    if place.polygon:
        value["polygon"] = [[p.longitude / MICRODEGREES, p.latitude / MICRODEGREES] for p in place.polygon]
    return value


def title_of(held: Held, language: str) -> str:
    """The title in the reader's language, else the first."""
    if held.content is None:
        return f"[{held.problem}]"
    versions = held.content.versions
    return next((version.title for version in versions if version.language == language), versions[0].title)


def print_line(held: Held, language: str) -> None:
    """One line of an inbox: status first unless it is actual."""
    header = held.header
    status = "" if header.status == "actual" else f"[{_STATUS_STYLE[header.status]}]{header.status.upper()}[/] "
    relation = f" [bold red]{escape(held.relation)}[/]" if held.relation else ""
    out.print(
        f"{status}[{_PRECEDENCE_STYLE[header.precedence]}]{header.precedence}[/] {escape(header.name)} "
        f"({held.state}){relation} {escape(title_of(held, language))}"
    )


def print_bulletin(held: Held, directory: Directory, nation: str) -> None:
    """The whole bulletin, every language, status and label first."""
    header = held.header
    out.print(
        f"[{_STATUS_STYLE[header.status]}]{header.status.upper()}[/]  [{_PRECEDENCE_STYLE[header.precedence]}]{header.precedence.upper()}[/]"
    )
    out.print(
        f"[bold]{escape(format_label(header.label, directory.alpha3))}[/]  {escape(equivalent(header.label, directory, nation))}"
    )
    _print_header(held, header)
    if held.content is None:
        out.print(f"[bold red]not readable here: {escape(held.problem)}[/]")
        return
    _print_content(held.content)
    out.print(f"[bold]{escape(format_label(header.label, directory.alpha3))}[/]")


def _print_header(held: Held, header: Header) -> None:
    out.print(f"id        {escape(header.name)}")
    out.print(f"from      {header.sender} to {', '.join(r.agency for r in header.recipients)} on {header.feed}")
    out.print(f"logged    {format_moment(held.logged)} at {held.origin}#{held.index}")
    out.print(f"expires   {format_moment(header.expires)}")
    if held.relation:
        out.print(f"[bold red]{escape(held.relation)}[/]")
    for relation in header.relations:
        out.print(f"{relation.kind:<10}{relation.origin}#{relation.index}")


def _print_content(content: Content) -> None:
    out.print(f"what      {content.category}, {content.severity}, {content.urgency}, {content.certainty}")
    if content.grade:
        out.print(f"source    {content.grade}")
    if content.valid_from or content.valid_until:
        out.print(f"valid     {format_moment(content.valid_from)} to {format_moment(content.valid_until)}")
    if content.answer_due:
        out.print(f"answer by {format_moment(content.answer_due)}")
    for place in content.places:
        point = place.point
        at = f" {point.latitude / MICRODEGREES:.6f},{point.longitude / MICRODEGREES:.6f}" if point else ""
        corners = f" area of {len(place.polygon) - 1} corners" if place.polygon else ""
        out.print(f"where     {escape(place.name)}{at}{corners}")
    for version in content.versions:
        out.print(f"\n[bold]{escape(version.title)}[/]  ({version.language})")
        if version.text:
            out.print(escape(version.text))
    for measure in content.measures:
        out.print(f"  - {escape(measure)}")
    if content.persons_at_risk:
        out.print(f"at risk   {escape(content.persons_at_risk)}")
    for attachment in content.attachments:
        out.print(f"attached  {escape(attachment.name)}, {len(attachment.data)} bytes")
    out.print(f"officer   {escape(content.officer)}")
