"""How a bulletin looks: on a screen, and as a JSON object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clients.client import Client
from clients.ledgers import Ledgers
from clients.progress import Book, Progress
from clients.screen import escape, format_moment, out
from clients.state import Held
from clients.witnesses import Witnesses
from protocol.content import MICRODEGREES, Content, Place
from protocol.directory import Directory
from protocol.header import Header
from protocol.label import Label
from protocol.labeltext import format_label

_STATUS_STYLE = {"actual": "bold", "exercise": "black on yellow", "test": "black on cyan"}
_PRECEDENCE_STYLE = {"flash": "bold white on red", "immediate": "bold red", "priority": "yellow", "routine": "dim"}
_LOUD = "bold white on red"


@dataclass(frozen=True)
class Desk:
    """What a home needs to show a bulletin: whose it is, and the newest governance."""

    agency: str
    nation: str
    language: str
    directory: Directory
    book: Book
    ledgers: Ledgers
    witnesses: Witnesses

    @classmethod
    def of(cls, client: Client) -> Desk:
        """The desk of a client."""
        exchange, profile = client.exchange, client.home.profile
        agency = exchange.agency(profile.agency)
        book = Book(client.state, profile.agency, exchange.in_force.policy)
        nation = agency.nation if agency else ""
        known = exchange.in_force, book, client.ledgers, client.witnesses
        return cls(profile.agency, nation, profile.language, *known)

    def suspicion(self, held: Held) -> str:
        """A warning where the key that signed it has ended since, as far as any ledger says; empty where it has not."""
        revoked = self.ledgers.revoked(held.header.sender, held.header.key_id)
        if revoked is None:
            return ""
        suspect = revoked.suspect
        since = f", suspect since {suspect.origin}#{suspect.index}" if suspect else ""
        within = suspect is not None and suspect.origin == held.origin and held.index >= suspect.index
        return f"valid when logged, key since revoked{since}" + (": THIS BULLETIN IS SUSPECT" if within else "")

    def witnessed(self, held: Held) -> dict[str, Any]:
        """Who has cosigned a checkpoint that has it, and whether that is what the policy of its ledger asks."""
        return {"witnessed": self.witnesses.has_witnessed(held), "witnessed_by": list(self.witnesses.of(held))}

    def witnessed_in_words(self, held: Held) -> str:
        """The same for a screen."""
        by = f"by {', '.join(self.witnesses.of(held))}" if self.witnesses.of(held) else ""
        if not self.witnesses.has_witnessed(held):
            return f"not yet{f', only {by}' if by else ''}"
        return by or "by nobody else: there is no other nation's node to ask, and it is published"


def equivalent(label: Label, directory: Directory, nation: str) -> str:
    """The label in the reader's own policy, beside the original; empty for its own."""
    if nation in {label.policy, ""}:
        return ""
    translated = directory.policy.equivalence.translate(label.policy, label.classification, nation)
    return f"{nation}:{translated}" if translated else f"no equivalent in {nation}"


# JSON


def to_json(progress: Progress, desk: Desk) -> dict[str, Any]:
    """A bulletin as one object (docs/officer.md); ``status`` stands first."""
    held = progress.held
    header, directory = held.header, desk.directory
    value: dict[str, Any] = {
        "status": header.status,
        "id": header.name,
        "origin": held.origin,
        "index": held.index,
        "sender": header.sender,
        "recipients": [recipient.agency for recipient in header.recipients],
        "feed": header.feed,
        "label": format_label(header.label, directory.alpha3),
        "equivalent": equivalent(header.label, directory, desk.nation),
        "precedence": header.precedence,
        "created": header.created,
        "logged": held.logged,
        "expires": header.expires,
        "state": progress.state,
        **desk.witnessed(held),
        "due": held.logged + directory.policy.deadline_ms(header.precedence),
        "late": list(progress.late),
        "relations": [{"kind": r.kind, "origin": r.origin, "index": r.index} for r in header.relations],
        **endings_to_json(progress),
    }
    if desk.suspicion(held):
        value["warning"] = desk.suspicion(held)
    if held.problem:
        value["problem"] = held.problem
    if held.content:
        value["content"] = content_to_json(held.content)
    return value


def endings_to_json(progress: Progress) -> dict[str, Any]:
    """What became of it: cancelled, superseded, a request that is open, answered or overdue."""
    cancelled, superseded = progress.cancelled_by, progress.superseded_by
    return {
        "cancelled_by": cancelled.header.name if cancelled else None,
        "unconfirmed": list(progress.unconfirmed),
        "superseded_by": superseded.header.name if superseded else None,
        "left_out": list(progress.left_out),
        "request": progress.request.to_json() if progress.request else None,
    }


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


def state_to_json(progress: Progress, desk: Desk) -> dict[str, Any]:
    """How far it came with each recipient."""
    held = progress.held
    return {
        "status": held.header.status,
        "id": held.header.name,
        "origin": held.origin,
        "index": held.index,
        "logged": held.logged,
        **desk.witnessed(held),
        "recipients": [reader.to_json() for reader in progress.readers],
        **endings_to_json(progress),
    }


# Screens


def title_of(held: Held, language: str) -> str:
    """The title in the reader's language, else the first."""
    if held.content is None:
        return f"[{held.problem}]"
    versions = held.content.versions
    return next((version.title for version in versions if version.language == language), versions[0].title)


def _marks(progress: Progress) -> list[str]:
    """What nobody may miss about it, loudest first."""
    marks = []
    if progress.cancelled_by is not None:
        waiting = f", not acknowledged by {', '.join(progress.unconfirmed)}" if progress.unconfirmed else ""
        marks.append(f"CANCELLED by {progress.cancelled_by.header.name}{waiting}")
    if progress.must_confirm:
        marks.append(f"CANCELS {', '.join(progress.cancels)}: acknowledge it with khunjerab ack")
    if progress.superseded_by is not None:
        marks.append(f"SUPERSEDED by {progress.superseded_by.header.name}")
    if progress.left_out:
        marks.append(f"NOT SENT TO {', '.join(progress.left_out)}, who had it")
    request = progress.request
    if request is not None:
        waiting = f", waiting for {', '.join(request.waiting)}" if request.waiting else ""
        marks.append(f"REQUEST {request.state.upper()}, due {format_moment(request.due)}{waiting}")
    if progress.late:
        marks.append(f"LATE {', '.join(progress.late)}")
    return marks


def print_line(progress: Progress, desk: Desk) -> None:
    """One line of an inbox: status first, however it is."""
    held = progress.held
    header = held.header
    marks = "".join(f" [{_LOUD}]{escape(f'[{mark}]')}[/]" for mark in _marks(progress))  # a pipe has no colour
    out.print(
        f"[{_STATUS_STYLE[header.status]}]{header.status.upper()}[/] "
        f"[{_PRECEDENCE_STYLE[header.precedence]}]{header.precedence}[/] {escape(header.name)} "
        f"({progress.state}){marks} {escape(title_of(held, desk.language))}"
    )


def print_bulletin(progress: Progress, desk: Desk) -> None:
    """The whole bulletin, every language, status and label first."""
    held = progress.held
    header, directory = held.header, desk.directory
    label = f"[bold]{escape(format_label(header.label, directory.alpha3))}[/]"
    out.print(
        f"[{_STATUS_STYLE[header.status]}]{header.status.upper()}[/]  "
        f"[{_PRECEDENCE_STYLE[header.precedence]}]{header.precedence.upper()}[/]"
    )
    ours = equivalent(header.label, directory, desk.nation)
    out.print(f"{label}  {escape(f'= {ours}' if ours else '')}")
    for mark in _marks(progress):
        out.print(f"[{_LOUD}]{escape(mark)}[/]")
    if desk.suspicion(held):
        out.print(f"[{_LOUD}]{escape(desk.suspicion(held))}[/]")
    _print_header(progress, header)
    out.print(f"witnessed {escape(desk.witnessed_in_words(held))}")
    if held.content is None:
        out.print(f"[bold red]not readable here: {escape(held.problem)}[/]")
        return
    _print_content(held.content)
    out.print(label)


def _print_header(progress: Progress, header: Header) -> None:
    held = progress.held
    out.print(f"id        {escape(header.name)}  ({progress.state})")
    out.print(f"from      {header.sender} to {', '.join(r.agency for r in header.recipients)} on {header.feed}")
    out.print(f"logged    {format_moment(held.logged)} at {held.origin}#{held.index}")
    out.print(f"expires   {format_moment(header.expires)}")
    for relation in header.relations:
        out.print(f"{relation.kind:<10}{relation.origin}#{relation.index}")
    if progress.request:
        for answer in progress.request.answered_by:
            out.print(f"answered  by {escape(answer)}")


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
        site = f" site {place.site}" if place.site else ""
        out.print(f"where     {escape(place.name)}{at}{corners}{escape(site)}")
    for version in content.versions:
        out.print(f"\n[bold]{escape(version.title)}[/]  ({version.language})")
        if version.text:
            out.print(escape(version.text))
    for measure in content.measures:
        out.print(f"  - {escape(measure)}")
    if content.persons_at_risk:
        out.print(f"at risk   {escape(content.persons_at_risk)}")
    for attachment in content.attachments:
        out.print(f"attached  {escape(attachment.name)}, {len(attachment.data)} bytes: show --save DIR")
    out.print(f"officer   {escape(content.officer)}")


def print_state(progress: Progress, desk: Desk) -> None:
    """How far it came, a recipient a line; what is missing is loud."""
    header = progress.held.header
    out.print(
        f"[{_STATUS_STYLE[header.status]}]{header.status.upper()}[/] {escape(header.name)} "
        f"logged {format_moment(progress.held.logged)}, witnessed {escape(desk.witnessed_in_words(progress.held))}"
    )
    for mark in _marks(progress):
        out.print(f"[{_LOUD}]{escape(mark)}[/]")
    for reader in progress.readers:
        late = f"  [{_LOUD}]LATE[/]" if reader.late else ""
        times = ", ".join(f"{state} {format_moment(moment)}" for state, moment in reader.times.items())
        answered = f", answered {format_moment(reader.answered)}" if reader.answered else ""
        out.print(
            f"{escape(reader.agency):<24}{reader.state:<10}due {format_moment(reader.due)}{late}  {times}{answered}"
        )
