"""`khunjerab follow`: bulletins as they arrive, to a screen, a pipe or a command."""

from __future__ import annotations

import shlex
import shutil
from typing import Annotated

import typer

from clients.agenda import Event
from clients.client import Client
from clients.commands.context import AsJson, open_seat, run
from clients.commands.notices import finish
from clients.commands.show import Desk, print_line, title_of, to_json
from clients.errors import UsageError
from clients.executing import execute
from clients.finding import find
from clients.following import Alarm, Follower
from clients.progress import Progress
from clients.screen import alarm, emit, format_moment, out, say, warn


@run
async def follow(
    ctx: typer.Context,
    command: Annotated[
        str | None,
        typer.Option(
            "--exec",
            metavar="CMD",
            help="Run this for each, with its JSON on stdin and KHUNJERAB_ID set; a list of words, never a shell.",
            show_default=False,
        ),
    ] = None,
    exercises: Annotated[bool, typer.Option("--exercises", help="With --exec: exercises and tests too.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List what --exec failed on five times, and end.")] = False,
    retry: Annotated[
        str, typer.Option("--retry", metavar="ID", help="Hand this one to --exec again; `all` for all of them.")
    ] = "",
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0 for never.", show_default=False)] = 0,
    as_json: AsJson = False,
) -> None:
    """Hand over bulletins as they arrive, each at least once under its stable id; tells senders `received`.

    Goes on where it stopped, and through restarts of the node. A command that fails is tried five times, then its
    bulletin is set aside and the next goes on.
    """
    async with Client(open_seat(ctx)) as client:
        if failed or retry:
            _set_aside(client, retry, as_json=as_json)
            return
        words = [] if command is None else _words(command)
        screen = _Screen(client, words, as_json=as_json)
        consumer = "exec" if words else "print"
        exercises = exercises or not words
        follower = Follower(
            client, consumer, screen.hand, screen.tell, screen.warn_of, exercises=exercises, count=count
        )
        await follower.run()
        finish(client)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--exec {command!r}: {error}") from None
    if not words:
        raise UsageError("--exec names no command")
    if shutil.which(words[0]) is None:  # else bulletin after bulletin would be set aside for it
        raise UsageError(f"--exec: there is no command {words[0]}", "name it with its path")
    return words


class _Screen:
    """Where ``follow`` hands bulletins over: a screen, JSON lines, or a command."""

    def __init__(self, client: Client, words: list[str], *, as_json: bool) -> None:
        self._client, self._words, self._as_json = client, words, as_json

    async def hand(self, progress: Progress) -> None:
        """One bulletin. Raises HandOverFailed."""
        desk = Desk.of(self._client)
        value = {**to_json(progress, desk), "event": "bulletin"}
        if self._words:
            await execute(self._words, progress.held.header.name, value)
        elif self._as_json:
            emit(value)
        else:
            print_line(progress, desk)
            out.file.flush()

    def warn_of(self, found: Alarm) -> None:
        """What must never be, as soon as it is found."""
        moment, name, origin, index, detail = found
        if self._as_json and not self._words:
            told = {"event": "alarm", "check": name, "origin": origin, "index": index}
            emit({**told, "time": moment, "detail": detail})
        else:
            place = origin if index is None else f"{origin}#{index}"
            alarm(f"{name} at {place}, {format_moment(moment)}: {detail}")

    def tell(self, event: Event) -> None:
        """An event; a command is given bulletins alone, and its terminal is told."""
        held = event.progress.held
        header = held.header
        if self._as_json and not self._words:
            place = {"origin": held.origin, "index": held.index}
            told = {"event": event.name, "agency": event.agency, "due": event.due}
            emit({"status": header.status, "id": header.name, **place, **told})
            return
        title = title_of(held, self._client.home.profile.language)
        warn(
            f"{header.status.upper()} {header.name} is {event.name} with {event.agency}, "
            f"due {format_moment(event.due)}: {title}"
        )


def _set_aside(client: Client, retry: str, *, as_json: bool) -> None:
    """List what was set aside, or hand it over again at the next turn."""
    held = [client.state.bulletin_by_id(*name) for name in client.state.handed_in("exec", "failed")]
    found = [one for one in held if one is not None]
    if retry and retry != "all":
        wanted = find(client.state, retry)
        found = [one for one in found if one.header.name == wanted.header.name]
        if not found:
            raise UsageError(f"{wanted.header.name} is not set aside", "khunjerab follow --failed lists what is")
    if not found:
        say("nothing is set aside")
    desk = Desk.of(client)
    for one in found:
        if retry:
            with client.state.transaction():
                client.state.hand("exec", one.header.sender, one.header.id, 0, "again")
            say(f"{one.header.name} is handed over again")
        elif as_json:
            emit(to_json(desk.book.of(one), desk))
        else:
            print_line(desk.book.of(one), desk)
