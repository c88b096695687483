"""`khunjerab post`: write, mark and send a bulletin."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients import compose
from clients.asking import ask
from clients.client import Client, now_ms
from clients.commands.context import AsJson, open_seat, run
from clients.commands.notices import finish, try_sync
from clients.compose import Order
from clients.drafts import Draft
from clients.errors import Declined, Unreachable, UsageError
from clients.finding import find
from clients.outbox import OPEN
from clients.screen import emit, format_moment, out, say, show_error, warn
from clients.sending import AT_THE_DOOR, Logged
from protocol.content import CATEGORIES, CERTAINTIES, SEVERITIES, URGENCIES
from protocol.header import ENDINGS, PRECEDENCES, STATUSES, Relation
from protocol.labeltext import format_label
from protocol.names import format_id

if TYPE_CHECKING:
    from clients.commands.editor import Editor

RELATION_OPTIONS = {"supersedes": "supersedes", "cancels": "cancels", "replies_to": "replies", "answers": "answers"}
ASKED_ABOVE_RANK = 1
Ready = tuple[Draft, dict[str, str]]
WHO, WHAT, WHERE, HOW = "Who and how", "What", "Where and when", "Sending"


def _option(help_text: str, panel: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel, show_default=False)


File = Annotated[str | None, typer.Argument(help="TOML, JSON or Markdown file, or - for stdin; see --template.")]
To = Annotated[list[str] | None, _option("Recipient agency; repeat for more. Alone: on the one feed all are in.", WHO)]
Feed = Annotated[str, _option("Feed; without --to it goes to all members whom the label admits.", WHO)]
LabelText = Annotated[str, _option(r"[POLICY:]LEVEL\[//COMPARTMENT]//REL NATIONS, as in 'Secret//REL CHN, PAK'.", WHO)]
Status = Annotated[str, _option(" | ".join(STATUSES) + ". Never guessed.", WHO)]
Precedence = Annotated[str, _option(" | ".join(PRECEDENCES) + "; routine without.", WHO)]
Title = Annotated[list[str] | None, _option("Title, one for each --lang.", WHAT)]
Text = Annotated[list[str] | None, _option("Text, one for each --lang.", WHAT)]
Lang = Annotated[
    list[str] | None, _option("Language of title and text: en, ur, zh-Hans; your profile's without.", WHAT)
]
Category = Annotated[str, _option(" | ".join(CATEGORIES), WHAT)]
Severity = Annotated[str, _option(" | ".join(SEVERITIES), WHAT)]
Urgency = Annotated[str, _option(" | ".join(URGENCIES), WHAT)]
Certainty = Annotated[str, _option(" | ".join(CERTAINTIES), WHAT)]
Grade = Annotated[str, _option("Source grade: reliability A to F, credibility 1 to 6, as in B2.", WHAT)]
Measure = Annotated[list[str] | None, _option("What people should do; repeat for more.", WHAT)]
AtRisk = Annotated[str, _option("Persons at risk.", WHAT)]
Attach = Annotated[list[str] | None, _option("File to attach, sealed with it, up to 256 KiB; repeat for more.", WHAT)]
PlaceText = Annotated[
    list[str] | None,
    _option("NAME@LAT,LON in WGS 84. Chinese maps show GCJ-02, hundreds of metres off: convert first.", WHERE),
]
Area = Annotated[str, _option("GeoJSON file with polygons (LON, LAT).", WHERE)]
Begins = Annotated[str, _option("Valid from: 2026-11-24T08:00Z, or from now +6h, +2d.", WHERE, "--from")]
Until = Annotated[str, _option("Valid until.", WHERE)]
Expires = Annotated[str, _option("When it expires, within 30 days; 7 days without.", WHERE)]
Due = Annotated[str, _option("Makes it a request for information, to be answered by then.", WHO)]
Supersedes = Annotated[str, _option("ID of your bulletin that it replaces.", WHO)]
Cancels = Annotated[str, _option("ID of your bulletin that it cancels; all who had that one must acknowledge.", WHO)]
RepliesTo = Annotated[str, _option("ID that it replies to.", WHO)]
Answers = Annotated[str, _option("ID of the request for information that it answers.", WHO)]
Template = Annotated[bool, _option("Print a file to fill in.", HOW, "--template")]
DryRun = Annotated[bool, _option("Say who could read it and who not; send nothing.", HOW, "--dry-run")]
Partial = Annotated[bool, _option("Leave out recipients who could not read it.", HOW, "--partial")]
Yes = Annotated[bool, _option("Do not ask before sending above Restricted.", HOW, "--yes")]


@run
async def post(
    ctx: typer.Context,
    file: File = None,
    *,
    to: To = None,
    feed: Feed = "",
    label: LabelText = "",
    status: Status = "",
    precedence: Precedence = "routine",
    due: Due = "",
    supersedes: Supersedes = "",
    cancels: Cancels = "",
    replies_to: RepliesTo = "",
    answers: Answers = "",
    title: Title = None,
    text: Text = None,
    lang: Lang = None,
    category: Category = "other",
    severity: Severity = "Unknown",
    urgency: Urgency = "Unknown",
    certainty: Certainty = "Unknown",
    grade: Grade = "",
    measure: Measure = None,
    at_risk: AtRisk = "",
    attach: Attach = None,
    place: PlaceText = None,
    area: Area = "",
    begins: Begins = "",
    until: Until = "",
    expires: Expires = "",
    template: Template = False,
    dry_run: DryRun = False,
    partial: Partial = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Write, mark and send a bulletin. Without arguments at a terminal it opens $EDITOR.

    Label, status and a feed or recipients must be said. If one recipient could not read it, nothing is sent and the
    exit status is 3; if the node does not answer, it waits in the outbox and the status is 4.
    """
    if template:
        out.print(_blank(), end="", markup=False)
        return
    order = Order(
        to or [], feed, label, status, title or [], text or [], lang or [], category, severity, urgency, certainty,
        precedence, place or [], area, begins, until, expires, grade, measure or [], at_risk, due, supersedes,
        cancels, replies_to, answers, attach or [],
    )  # fmt: skip
    if file is not None:
        order.merged(compose.read_file(file, sys.stdin.read() if file == "-" else _read(file)))
    editor = _editor() if file is None and order == Order() else None
    async with Client(open_seat(ctx)) as client:  # a wrong passphrase is told before anything is written
        ready = functools.partial(_ready, client, partial=partial, sure=yes or dry_run)
        draft, denied = await (_written(editor, ready) if editor else ready(order))
        if dry_run:
            if as_json:
                emit(_dry(draft, denied))
            return
        with client.state.transaction():
            client.state.add_draft(draft)
        await _send(client, draft, as_json=as_json)
        await try_sync(client)  # so that it can be shown and searched here too
        finish(client)


def _editor() -> Editor:
    from clients.commands.editor import Editor

    return Editor(_blank())


async def _written(editor: Editor, ready: Callable[[Order], Awaitable[Ready]]) -> Ready:
    """What is written in $EDITOR until it is ready to be sent: no mistake and no refusal costs a text."""
    with editor:
        while True:
            editor.run()
            try:
                written = compose.read_file(editor.path.name, _read(str(editor.path)))
                return await ready(Order().merged(written))
            except (UsageError, Declined) as mistake:
                show_error(mistake)
                if not ask("Edit it again?"):
                    raise Declined("not sent") from None


async def _ready(client: Client, order: Order, *, partial: bool, sure: bool) -> Ready:
    """A draft that every recipient can read and that may go out, and who is left out and why. Nothing is kept yet."""
    await _fetch_keys(client)
    draft, denied = _check_readers(client, _draft(order, client), partial=partial)
    _check_left_out(client, draft)
    if not order.to:
        denied |= _say_who_is_kept_out(client, draft, denied)
    _say_where(draft, client)
    if not sure:
        _confirm(draft, client)
    return draft, denied


async def _fetch_keys(client: Client) -> None:
    """The newest keys, if the node gives them. A shut door, as to a wrong clock, is no reason to lose a text."""
    try:
        await try_sync(client)
    except Declined as declined:
        if declined.code not in AT_THE_DOOR or client.exchange.directory is None:
            raise
        warn(f"{declined.detail}; going on with what is known here")


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None


def _blank() -> str:
    from importlib.resources import files

    return files("clients").joinpath("template.toml").read_text()


# The draft


def _draft(order: Order, client: Client) -> Draft:
    now, profile = now_ms(), client.home.profile
    given = {option: getattr(order, option) for option in RELATION_OPTIONS if getattr(order, option)}
    relations = tuple(_relation(client, RELATION_OPTIONS[option], value) for option, value in given.items())
    for option, value in given.items():
        _follow_first(order, client, option, value)
    compose.require_marks(order)
    content = compose.content_of(order, profile.officer or profile.seat, profile.language, now)
    draft = compose.draft_of(order, client.exchange.in_force, profile.agency, content, relations, now)
    if order.answers:
        asker = find(client.state, order.answers).header.sender
        if asker not in draft.recipients:
            raise UsageError(f"{asker} asked, and would not get the answer", f"add --to {asker}")
    return draft


def _relation(client: Client, kind: str, value: str) -> Relation:
    held = find(client.state, value)
    return Relation(kind, held.origin, held.index, held.leaf)


def _follow_first(order: Order, client: Client, option: str, value: str) -> None:
    """Where nobody says otherwise a cancel or update goes to all who had the first, and an answer to the asker."""
    held = find(client.state, value)
    first = held.header
    ends = option in ENDINGS
    if ends and not held.own:
        raise Declined(f"{first.name} is not yours: only {first.sender} {option} it", "reply with --replies-to")
    if ends and order.status and first.status != order.status.lower():
        raise UsageError(f"{first.name} is of status {first.status}", f"say --status {first.status}")
    if option == "answers" and (held.content is None or held.content.answer_due is None):
        raise UsageError(f"{first.name} asks nothing", "reply with --replies-to")
    if not order.to and not order.feed:
        had = [recipient.agency for recipient in first.recipients]
        order.feed, order.to = first.feed, _still_there(had, client) if held.own else [first.sender]


def _still_there(names: list[str], client: Client) -> list[str]:
    """Those that are agencies yet. Raises Declined where none is: a feed alone would go to others."""
    left = [name for name in names if name in client.exchange.in_force.by_agency]
    if not left:
        raise Declined(f"nobody who had it is in this exchange yet: {', '.join(names)}", "say whom to tell with --to")
    return left


def _check_readers(client: Client, draft: Draft, *, partial: bool) -> tuple[Draft, dict[str, str]]:
    """Say by name who could not read it and why; go on with the others only where --partial says so."""
    denied = client.sender.who_cannot_read(draft)
    for name, reason in denied.items():
        warn(f"{name} could not read it: {reason}")
    if denied and not partial:
        raise Declined("nothing was sent", "leave them out with --to, change the label, or say --partial")
    rest = tuple(name for name in draft.recipients if name not in denied)
    if not rest:
        raise Declined("nobody could read it: nothing was sent")
    return draft.replace(recipients=rest), denied


def _say_who_is_kept_out(client: Client, draft: Draft, told: dict[str, str]) -> dict[str, str]:
    """Where a feed alone was named: those of its members whom the label keeps out, and why. It goes to the others."""
    members = client.exchange.in_force.by_feed[draft.feed].members
    others = tuple(name for name in members if name not in {client.agency, *draft.recipients, *told})
    denied = client.sender.who_cannot_read(draft.replace(recipients=others))
    for name, reason in denied.items():
        warn(f"{name} is in {draft.feed} and could not read it: {reason}")
    return denied


def _check_left_out(client: Client, draft: Draft) -> None:
    """Whoever had what it ends must have this; who cannot be sent it is named, as nobody else will tell him."""
    left_out = client.sender.who_is_left_out(draft)
    missed = [name for name, reason in left_out.items() if reason is None]
    if missed:
        raise Declined(
            f"{', '.join(missed)} had the first and must have this: nothing was sent",
            "without --to it goes to all who had it; the label must admit them",
        )
    for name, reason in left_out.items():
        warn(f"{name} had the first and is not sent this: {reason}")


def _say_where(draft: Draft, client: Client) -> None:
    marked = format_label(draft.label, client.exchange.in_force.alpha3)
    say(f"{draft.status.upper()} {draft.precedence} {marked} to {', '.join(draft.recipients)} on {draft.feed}")


def _confirm(draft: Draft, client: Client) -> None:
    """Above Restricted ask, or want --yes where nobody can be asked."""
    policy, label = client.exchange.in_force.policy, draft.label
    rank = policy.equivalence.rank(label.policy, label.classification) or 0
    if rank <= ASKED_ABOVE_RANK:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{label.classification} is above Restricted and there is no terminal to ask at", "say --yes")
    if not ask("Send it?"):
        raise Declined("not sent")


def _dry(draft: Draft, denied: dict[str, str]) -> dict[str, Any]:
    return {
        "status": draft.status,
        "dry_run": True,
        "feed": draft.feed,
        "recipients": list(draft.recipients),
        "denied": denied,
    }


async def _send(client: Client, draft: Draft, *, as_json: bool) -> None:
    name = format_id(client.agency, draft.id)
    try:
        logged = await client.sender.send(draft.id)
    except (Unreachable, Declined) as error:
        kept = client.state.outgoing(draft.id)
        if kept is None or kept.state not in OPEN:
            raise
        if as_json:
            emit({"status": draft.status, "id": name, "origin": client.replica.origin, "index": None, "queued": True})
        error.detail, error.hint = f"{error.detail}: {name} waits in the outbox", "khunjerab outbox send"
        raise
    if as_json:
        emit(_sent(draft, name, logged))
    else:
        out.print(name, markup=False)
        say(f"logged at {logged.origin}#{logged.index}, {format_moment(logged.time)}")


def _sent(draft: Draft, name: str, logged: Logged) -> dict[str, Any]:
    receipt = logged.receipt.encode().hex() if logged.receipt else None
    return {"status": draft.status, "id": name, "origin": logged.origin, "index": logged.index, "receipt": receipt}
