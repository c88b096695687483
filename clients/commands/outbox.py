"""`khunjerab outbox`: what waits to be sent, what was refused or expired unsent, and what to do about it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from clients.client import Client
from clients.commands.context import AsJson, open_seat, run
from clients.commands.notices import finish, try_send_owed, try_sync
from clients.errors import Declined, Unreachable, UsageError
from clients.finding import find_outgoing
from clients.outbox import CLOSED, LOGGED, OPEN
from clients.screen import emit, format_moment, out, say
from clients.state import Outgoing
from protocol.names import format_id
from protocol.treehead import Receipt

app = typer.Typer(help="What waits to be sent; with `send` it goes.", invoke_without_command=True)
_TOLD = {
    "draft": "waits",
    "tried": "waits, may be logged already, the same bytes go again",
    "receipted": "logged, kept until a checkpoint has it",
    "published": "logged and published, kept until it is witnessed",
}


@app.callback()
def outbox(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the outbox, with states and reasons."""
    if ctx.invoked_subcommand is None:
        client = Client(open_seat(ctx))
        client.sender.expire()
        _list(client, as_json=as_json)
        finish(client)


def _list(client: Client, *, as_json: bool) -> None:
    listed = client.state.outbox(*OPEN, *LOGGED, *CLOSED)
    if not listed:
        say("nothing in the outbox")
    for outgoing in listed:
        name = format_id(client.agency, outgoing.draft.id)
        if as_json:
            emit(_to_json(outgoing, name))
            continue
        draft = outgoing.draft
        told = ": ".join(filter(None, (_TOLD.get(outgoing.state, ""), outgoing.problem)))
        out.print(
            f"{draft.status.upper()} {draft.precedence} {name} {outgoing.state}: {told}; "
            f"expires {format_moment(draft.expires)}: {draft.content.versions[0].title}",
            markup=False,
        )
    owed = len(client.state.owed())
    if owed and not as_json:
        say(f"{owed} acknowledgements wait too")


def _to_json(outgoing: Outgoing, name: str) -> dict[str, Any]:
    draft = outgoing.draft
    receipt = Receipt.decode(outgoing.receipt) if outgoing.receipt and outgoing.state in LOGGED else None
    return {
        "status": draft.status,
        "id": name,
        "origin": receipt.head.origin if receipt else None,
        "index": receipt.index if receipt else None,
        "state": outgoing.state,
        "problem": outgoing.problem,
        "queued": outgoing.state in OPEN,
        "precedence": draft.precedence,
        "created": draft.created,
        "expires": draft.expires,
        "recipients": list(draft.recipients),
        "title": draft.content.versions[0].title,
    }


def _outgoing(client: Client, value: str) -> Outgoing:
    """The bulletin of the outbox that ``value`` names. Raises UsageError."""
    found = find_outgoing(client.state, value, *OPEN, *LOGGED, *CLOSED)
    found = [one for one in found if format_id(client.agency, one.draft.id).endswith(value)]  # never another sender's
    if not found:
        raise UsageError(f"no bulletin {value} in the outbox", "khunjerab outbox lists what is")
    if len(found) > 1:
        raise UsageError(f"{value!r} fits {len(found)} bulletins of the outbox", "type more of it")
    return found[0]


@app.command()
@run
async def send(
    ctx: typer.Context,
    bulletin: Annotated[
        str | None, typer.Argument(metavar="ID", help="One that was refused, to be tried again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send what waits, the most urgent first; exit status 4 if the node does not answer, 3 if it refused something."""
    async with Client(open_seat(ctx)) as client:
        if bulletin is not None:
            _reopen(client, _outgoing(client, bulletin))
        before = {outgoing.draft.id for outgoing in client.state.outbox(*OPEN)}
        reached = await try_sync(client)
        waiting = client.state.outbox(*OPEN)
        reached = reached and await try_send_owed(client)
        closed = [one for one in client.state.outbox(*CLOSED) if one.draft.id in before]
        gone = len(before) - len(waiting) - len(closed)
        if as_json:
            _list(client, as_json=True)
        say(f"{gone} sent, {len(waiting)} still wait, {len(closed)} will not go")
        finish(client)
        if closed:
            raise Declined(f"{len(closed)} were refused or have expired", "khunjerab outbox says why")
        if waiting and client.sender.refused is not None:
            raise Declined(f"{len(waiting)} still wait: {client.sender.refused.detail}", "khunjerab outbox send, later")
        if waiting or not reached:
            raise Unreachable(f"{len(waiting)} still wait in the outbox", "khunjerab outbox send")


def _reopen(client: Client, outgoing: Outgoing) -> None:
    if outgoing.state != "refused":
        raise UsageError(f"it is {outgoing.state}: only what was refused is sent again by name")
    with client.state.transaction():
        client.state.set_outgoing(outgoing.draft.id, "tried" if outgoing.envelope else "draft")


@app.command()
@run
async def drop(ctx: typer.Context, bulletin: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Forget a bulletin that was refused, has expired, or was never tried."""
    client = Client(open_seat(ctx))
    with client.state.transaction():  # so that no other terminal begins to send it meanwhile
        outgoing = _outgoing(client, bulletin)
        if outgoing.state not in {"draft", *CLOSED}:
            raise Declined(f"it is {outgoing.state}: it may be logged already", "cancel it: khunjerab post --cancels")
        client.state.drop_outgoing(outgoing.draft.id)
    say(f"{outgoing.draft.status.upper()} {format_id(client.agency, outgoing.draft.id)} is forgotten: nobody got it")
