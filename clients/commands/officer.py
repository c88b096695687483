"""The officer's commands: post, inbox, show, ack, status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from clients import compose
from clients.client import Client, now_ms
from clients.commands.context import AsJson, open_home, run
from clients.commands.show import print_bulletin, print_line, to_json
from clients.compose import Order
from clients.drafts import Draft
from clients.errors import Declined, Unreachable, UsageError
from clients.finding import find
from clients.home import Home
from clients.screen import alarm, emit, err, format_moment, out, say, warn
from protocol.content import CATEGORIES, CERTAINTIES, SEVERITIES, URGENCIES
from protocol.header import PRECEDENCES, STATUSES, Relation
from protocol.labeltext import format_label
from protocol.names import format_id
from protocol.policy import Policy

RELATION_OPTIONS = {"supersedes": "supersedes", "cancels": "cancels", "replies_to": "replies", "answers": "answers"}
Text = Annotated[str, typer.Option(show_default=False)]
Texts = Annotated[list[str] | None, typer.Option(show_default=False)]


def register(app: typer.Typer) -> None:
    """Put these commands at the top of the program."""
    for command in (post, inbox, show, ack, status):
        app.command()(command)


@run
async def post(  # noqa: PLR0913 - one parameter an option
    ctx: typer.Context,
    file: Annotated[str | None, typer.Argument(help="TOML, JSON or Markdown file, or - for stdin.")] = None,
    to: Annotated[list[str] | None, typer.Option(help="Recipient agency; repeat for more.")] = None,
    feed: Annotated[str, typer.Option(help="Feed; without --to its members whom the label admits.")] = "",
    label: Annotated[str, typer.Option(help="'[POLICY:]LEVEL//REL XXX, YYY', as in 'Secret//REL CHN, PAK'.")] = "",
    status: Annotated[str, typer.Option(help=" | ".join(STATUSES))] = "",
    title: Annotated[list[str] | None, typer.Option(help="Title, one for each --lang.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="Text, one for each --lang.")] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Language: en, ur, zh-Hans.")] = None,
    category: Annotated[str, typer.Option(help=" | ".join(CATEGORIES))] = "other",
    severity: Annotated[str, typer.Option(help=" | ".join(SEVERITIES))] = "Unknown",
    urgency: Annotated[str, typer.Option(help=" | ".join(URGENCIES))] = "Unknown",
    certainty: Annotated[str, typer.Option(help=" | ".join(CERTAINTIES))] = "Unknown",
    precedence: Annotated[str, typer.Option(help=" | ".join(PRECEDENCES))] = "routine",
    place: Annotated[
        list[str] | None,
        typer.Option(help="NAME@LAT,LON in WGS 84; Chinese maps use GCJ-02, hundreds of metres off."),
    ] = None,
    area: Annotated[str, typer.Option(help="GeoJSON file with polygons (LON, LAT).")] = "",
    begins: Annotated[str, typer.Option("--from", help="Valid from: RFC 3339, or +6h.")] = "",
    until: Annotated[str, typer.Option(help="Valid until.")] = "",
    expires: Annotated[str, typer.Option(help="When it expires; 7 days without.")] = "",
    grade: Annotated[str, typer.Option(help="Source grade, A1 to F6.")] = "",
    measure: Annotated[list[str] | None, typer.Option(help="What people should do; repeat for more.")] = None,
    at_risk: Annotated[str, typer.Option(help="Persons at risk.")] = "",
    due: Annotated[str, typer.Option(help="Makes it a request for information, answered by then.")] = "",
    supersedes: Annotated[str, typer.Option(help="ID that it replaces.")] = "",
    cancels: Annotated[str, typer.Option(help="ID that it cancels.")] = "",
    replies_to: Annotated[str, typer.Option(help="ID that it replies to.")] = "",
    answers: Annotated[str, typer.Option(help="ID of the request that it answers.")] = "",
    attach: Annotated[list[str] | None, typer.Option(help="File to attach, up to 256 KiB; repeat for more.")] = None,
    template: Annotated[bool, typer.Option("--template", help="Print a file to fill in.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say who could read it; send nothing.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Leave out recipients who could not read it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write, mark and send a bulletin."""
    if template:
        out.print(TEMPLATE, end="", markup=False)
        return
    order = Order(
        to or [], feed, label, status, title or [], text or [], lang or [], category, severity, urgency, certainty,
        precedence, place or [], area, begins, until, expires, grade, measure or [], at_risk, due, supersedes,
        cancels, replies_to, answers, attach or [],
    )  # fmt: skip
    if file is not None:
        order.merged(compose.read_file(file, sys.stdin.read() if file == "-" else _read(file)))
    home = open_home(ctx)
    async with Client(home) as client:
        await _try_sync(client)
        draft = _draft(order, home, client)
        draft = _check_readers(client, draft, partial=partial)
        _confirm(draft, client, yes=yes, dry_run=dry_run)
        if dry_run:
            return
        with home.state.transaction():
            home.state.add_draft(draft)
        await _send(client, draft, as_json=as_json)


TEMPLATE = """\
# A threat bulletin. Lines that begin with # say nothing; delete what does not apply.
status = "exercise"                 # actual | exercise | test
label = "Restricted//REL CHN, PAK"  # [POLICY:]LEVEL//REL NATIONS
feed = "corridor"
# to = ["cn-embassy"]
precedence = "routine"              # routine | priority | immediate | flash
lang = ["en"]
title = ["Convoy at risk between Dasu and Chilas"]
text = ["What was seen, when, by whom; what is expected."]
category = "attack"
severity = "Severe"
urgency = "Expected"
certainty = "Likely"
grade = "B2"
place = ["Dasu@35.2920,73.2900"]
measure = ["Hold the convoy at Dasu until escorted."]
until = "+12h"
"""


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None


async def _try_sync(client: Client) -> None:
    """The newest keys, if the node answers; if it does not, what is known must do."""
    try:
        await client.sync()
    except Unreachable as error:
        warn(f"{error.detail}; going on with what is known here")
        if client.exchange.directory is None:
            raise


def _draft(order: Order, home: Home, client: Client) -> Draft:
    now = now_ms()
    profile = home.profile
    relations = tuple(
        _relation(client, kind, getattr(order, option))
        for option, kind in RELATION_OPTIONS.items()
        if getattr(order, option)
    )
    if order.cancels or order.supersedes:
        _as_first(order, client, order.cancels or order.supersedes)
    content = compose.content_of(order, profile.officer or profile.seat, profile.language, now)
    return compose.draft_of(order, client.exchange.in_force, profile.agency, content, relations, now)


def _relation(client: Client, kind: str, value: str) -> Relation:
    held = find(client.state, value)
    return Relation(kind, held.origin, held.index, held.leaf)


def _as_first(order: Order, client: Client, value: str) -> None:
    """A cancel or update goes where the first went, if nobody says otherwise."""
    first = find(client.state, value).header
    if not order.to and not order.feed:
        order.feed, order.to = first.feed, [recipient.agency for recipient in first.recipients]


def _check_readers(client: Client, draft: Draft, *, partial: bool) -> Draft:
    """Say by name who could not read it and why; send to the others only where --partial says so."""
    denied = client.sender.who_cannot_read(draft)
    if not denied:
        return draft
    for name, reason in denied.items():
        warn(f"{name} could not read it: {reason}")
    if not partial:
        raise Declined("nothing was sent", "leave them out with --to, change the label, or say --partial")
    rest = tuple(name for name in draft.recipients if name not in denied)
    if not rest:
        raise Declined("nobody could read it: nothing was sent")
    return Draft(**{name: getattr(draft, name) for name in Draft.__slots__} | {"recipients": rest})


def _confirm(draft: Draft, client: Client, *, yes: bool, dry_run: bool) -> None:
    """Show where it goes; above Restricted ask, or want --yes where nobody can be asked."""
    directory = client.exchange.in_force
    marked = format_label(draft.label, directory.alpha3)
    status = "" if draft.status == "actual" else f"{draft.status.upper()} "
    say(f"{status}{draft.precedence} {marked} to {', '.join(draft.recipients)} on {draft.feed}")
    rank = directory.policy.equivalence.rank(draft.label.policy, draft.label.classification) or 0
    if dry_run or yes or rank <= ASKED_ABOVE_RANK:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{marked} is above Restricted and there is no terminal to ask at", "say --yes")
    err.print("Send it? [y/N] ", end="", markup=False)
    if input().strip().lower() not in {"y", "yes"}:
        raise Declined("not sent")


ASKED_ABOVE_RANK = 1


async def _send(client: Client, draft: Draft, *, as_json: bool) -> None:
    name = format_id(client.home.profile.agency, draft.id)
    try:
        await client.flush_before(draft.id)
        receipt = await client.sender.send(draft.id)
    except Unreachable as error:
        if as_json:
            emit({"status": draft.status, "id": name, "origin": client.replica.origin, "index": None, "queued": True})
        raise Unreachable(f"{error.detail}: {name} waits in the outbox", "khunjerab outbox send") from None
    if as_json:
        emit(
            {
                "status": draft.status,
                "id": name,
                "origin": receipt.head.origin,
                "index": receipt.index,
                "receipt": receipt.encode().hex(),
            }
        )
    else:
        out.print(name)
        say(f"logged at {receipt.head.origin}#{receipt.index}, {format_moment(receipt.time)}")


@run
async def inbox(
    ctx: typer.Context,
    unread: Annotated[bool, typer.Option("--unread", help="Only what nobody here has read.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also what is expired, cancelled or superseded.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch and list what was sent to this agency; sends `received` for what it opens."""
    home = open_home(ctx)
    async with Client(home) as client:
        await _try_sync(client)
        directory = client.exchange.in_force
        agency = directory.by_agency.get(home.profile.agency)
        nation = agency.nation if agency else ""
        for held in client.state.bulletins("state <> 'sent'"):
            if held.state == "new" and held.content is not None:
                await client.acknowledge(held.index, "received", held.origin)
        await _try_send_owed(client)
        for held in client.state.bulletins("state <> 'sent'"):
            if unread and held.state not in {"new", "received"}:
                continue
            if not everything and (held.header.expires <= now_ms() or held.relation.startswith("supersedes")):
                continue
            if as_json:
                emit(to_json(held, directory, nation))
            else:
                print_line(held, home.profile.language)
        show_alarms(client)


def show_alarms(client: Client) -> None:
    """What must never be is shown on every screen."""
    for moment, name, origin, index, detail in client.state.alarms():
        alarm(f"{name} at {origin}#{index}, {format_moment(moment)}: {detail}")


async def _try_send_owed(client: Client) -> None:
    try:
        await client.send_owed()
    except Unreachable as error:
        warn(f"{error.detail}; acknowledgements go with the next command")


@run
async def show(
    ctx: typer.Context, bulletin: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False
) -> None:
    """Show one bulletin as it is held here; sends nothing."""
    home = open_home(ctx)
    client = Client(home)
    held = find(home.state, bulletin)
    directory = client.exchange.in_force
    agency = directory.by_agency.get(home.profile.agency)
    nation = agency.nation if agency else ""
    if as_json:
        emit(to_json(held, directory, nation))
    else:
        print_bulletin(held, directory, nation)
    show_alarms(client)


@run
async def ack(
    ctx: typer.Context,
    bulletin: Annotated[str, typer.Argument(metavar="ID")],
    acted: Annotated[bool, typer.Option("--acted", help="Somebody acted on it, not only read it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell the sender that a person here has read it, or acted on it."""
    home = open_home(ctx)
    async with Client(home) as client:
        held = find(home.state, bulletin)
        if held.state == "sent":
            raise UsageError(f"{held.header.name} was sent by this agency: it has nothing to acknowledge")
        state = "acted" if acted else "read"
        await client.acknowledge(held.index, state, held.origin)
        await client.send_owed()
        if as_json:
            emit(
                {
                    "status": held.header.status,
                    "id": held.header.name,
                    "origin": held.origin,
                    "index": held.index,
                    "state": state,
                }
            )
        else:
            say(f"{held.header.name}: {state}")


@run
async def status(
    ctx: typer.Context, bulletin: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False
) -> None:
    """How far a bulletin came with each recipient."""
    home = open_home(ctx)
    async with Client(home) as client:
        await client.sync()
        held = find(home.state, bulletin)
        value = state_of(client, held.origin, held.index)
    if as_json:
        emit(value)
        return
    say(
        f"{'' if value['status'] == 'actual' else value['status'].upper() + ' '}{value['id']} logged {format_moment(value['logged'])}"
    )
    for one in value["recipients"]:
        late = "  LATE" if one["late"] else ""
        out.print(f"{one['agency']:<24}{one['state']:<10}due {format_moment(one['due'])}{late}", markup=False)


def state_of(client: Client, origin: str, index: int) -> dict[str, object]:
    """The state of a bulletin from the signed acknowledgements that this home verified (DESIGN §8)."""
    held = client.state.bulletin_at(origin, index)
    if held is None:
        raise UsageError("no such bulletin here")
    header = held.header
    policy: Policy = client.exchange.in_force.policy
    due = held.logged + policy.deadline_ms(header.precedence)
    said: dict[str, dict[str, int]] = {}
    for agency, state, moment in client.state.acknowledged(origin, index):
        said.setdefault(agency, {})[state] = moment
    recipients = []
    for recipient in header.recipients:
        times = said.get(recipient.agency, {})
        reached = [state for state in ("received", "read", "acted") if state in times]
        recipients.append(
            {
                "agency": recipient.agency,
                "state": reached[-1] if reached else "pending",
                "received": times.get("received"),
                "read": times.get("read"),
                "acted": times.get("acted"),
                "due": due,
                "late": (min(times.values()) if times else now_ms()) > due,
            }
        )
    return {
        "status": header.status,
        "id": header.name,
        "origin": origin,
        "index": index,
        "logged": held.logged,
        "witnessed_by": [],
        "recipients": recipients,
    }
