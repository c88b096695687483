"""The officer's commands: inbox, show, ack, status, search; post, follow and outbox have modules of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from clients.choices import one_of
from clients.client import Client, now_ms
from clients.commands.context import AsJson, open_seat, run
from clients.commands.notices import finish, try_send_owed, try_sync
from clients.commands.show import Desk, print_bulletin, print_line, print_state, state_to_json, to_json
from clients.compose import parse_moment
from clients.errors import UsageError
from clients.finding import each_once, find
from clients.progress import Progress
from clients.screen import emit, say
from clients.selecting import folded, is_near, parse_near, says
from keys.keyring import write_private
from protocol.content import CATEGORIES, SEVERITIES

Id = Annotated[str, typer.Argument(metavar="ID", help="SENDER/UUID, or its last 6 or more characters.")]
Test = Callable[[Progress], bool]


def _listed(progresses: Sequence[Progress], desk: Desk, *, as_json: bool) -> None:
    if not progresses:
        say("nothing to list")
    for progress in progresses:
        if as_json:
            emit(to_json(progress, desk))
        else:
            print_line(progress, desk)


@run
async def inbox(
    ctx: typer.Context,
    *,
    unread: Annotated[bool, typer.Option("--unread", help="Only what nobody here has read.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is expired, cancelled or superseded, and what this agency sent.")
    ] = False,
    severity: Annotated[str, typer.Option(help="At least: " + " | ".join(SEVERITIES[1:]))] = "",
    category: Annotated[list[str] | None, typer.Option(help=" | ".join(CATEGORIES) + "; repeat for more.")] = None,
    since: Annotated[str, typer.Option(help="Logged since: 2026-11-24T08:00Z, or as long ago as 6h, 2d.")] = "",
    near: Annotated[
        str, typer.Option(help="LAT,LON,KM: places and areas within KM; what names no place counts too.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Fetch and list what was sent to this agency; tells senders `received` for what was opened."""
    tests = _tests(severity, category or [], since, near)
    async with Client(open_seat(ctx)) as client:
        await try_sync(client)
        client.acknowledger.note_received()
        await try_send_owed(client)
        desk = Desk.of(client)
        kept = client.state.bulletins("1" if everything else "own = 0")
        found = [desk.book.of(held) for held in each_once(kept)]
        if unread:
            found = [progress for progress in found if progress.state in {"new", "received"}]
        if not everything:
            found = [progress for progress in found if not progress.is_over]
        _listed([one for one in found if all(test(one) for test in tests)], desk, as_json=as_json)
        finish(client)


def _tests(severity: str, categories: list[str], since: str, near: str) -> list[Test]:
    """What a bulletin must meet to be listed; one that could not be opened here is never filtered by its content."""
    tests: list[Test] = []
    if severity:
        least = SEVERITIES.index(one_of("severity", severity))
        tests.append(lambda p: p.held.content is None or SEVERITIES.index(p.held.content.severity) >= least)
    if categories:
        wanted = {one_of("category", category) for category in categories}
        tests.append(lambda p: p.held.content is None or p.held.content.category in wanted)
    if since:
        moment = _since(since)
        tests.append(lambda p: p.held.logged >= moment)
    if near:
        centre, km = parse_near(near)
        tests.append(lambda p: p.held.content is None or is_near(p.held.content.places, centre, km))
    return tests


def _since(value: str) -> int:
    now, taken = now_ms(), "2026-11-24T08:00Z, or as long ago as 6h, 2d"
    ago = re.fullmatch(r"[-+]?([0-9]{1,4}[mhd])", value)
    if ago:
        return 2 * now - parse_moment(f"+{ago[1]}", now)
    return parse_moment(value, now, taken)


@run
async def search(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words, in any of a bulletin's languages.")],
    as_json: AsJson = False,
) -> None:
    """Search what is kept here, in titles, texts, places and measures; asks no node."""
    client = Client(open_seat(ctx))
    desk, wanted = Desk.of(client), folded(text)
    if not wanted.strip():
        raise UsageError("there is nothing to search for")
    held = [one for one in client.state.bulletins() if one.content is not None and says(one.content, wanted)]
    _listed([desk.book.of(one) for one in each_once(held)], desk, as_json=as_json)
    finish(client)


@run
async def show(
    ctx: typer.Context,
    bulletin: Id,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write its attachments into this folder.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one bulletin as it is kept here, in all its languages; sends nothing."""
    client = Client(open_seat(ctx))
    desk = Desk.of(client)
    progress = desk.book.of(find(client.state, bulletin))
    if as_json:
        emit(to_json(progress, desk))
    else:
        print_bulletin(progress, desk)
    if save is not None:
        _save(progress, save)
    finish(client)


def _save(progress: Progress, folder: Path) -> None:
    """Attachments as files of this user alone; names from outside are file names here and nothing more."""
    content = progress.held.content
    for number, attachment in enumerate(content.attachments if content else ()):
        name = Path(attachment.name.replace("\\", "/")).name.lstrip(".") or f"attachment-{number + 1}"
        try:
            write_private(folder / name, attachment.data)
        except FileExistsError:
            raise UsageError(f"{folder / name} is there already", "name another folder") from None
        say(f"saved {folder / name}")


@run
async def ack(
    ctx: typer.Context,
    bulletin: Id,
    acted: Annotated[bool, typer.Option("--acted", help="Somebody acted on it, not only read it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell the sender that a person here has read it, or acted on it."""
    async with Client(open_seat(ctx)) as client:
        await try_sync(client)
        held = find(client.state, bulletin)
        header = held.header
        if held.own:
            raise UsageError(f"{header.name} was sent by this agency: it has nothing to acknowledge")
        client.acknowledger.note(held, "acted" if acted else "read")
        state = client.state.state_with(client.agency, held)  # acted stands, whatever is said after it
        await client.send_owed()
        if as_json:
            place = {"origin": held.origin, "index": held.index}
            emit({"status": header.status, "id": header.name, **place, "state": state})
        else:
            say(f"{header.status.upper()} {header.name}: {state}")
        finish(client)


@run
async def status(ctx: typer.Context, bulletin: Id, as_json: AsJson = False) -> None:
    """How far a bulletin came with each recipient, from the signed words that this home verified."""
    async with Client(open_seat(ctx)) as client:
        await try_sync(client)
        desk = Desk.of(client)
        progress = desk.book.of(find(client.state, bulletin))
        if as_json:
            emit(state_to_json(progress, desk))
        else:
            print_state(progress, desk)
        finish(client)
