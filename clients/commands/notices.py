"""What every officer's screen begins or ends with: the link, alarms, what expired unsent, what will run out."""

from __future__ import annotations

from clients.client import Client, now_ms
from clients.errors import Declined, Tampering, Unreachable
from clients.expiry import warnings_of
from clients.screen import alarm, format_moment, warn
from protocol.names import format_id


async def try_sync(client: Client) -> bool:
    """Fetch what is there and send what waits, if the node answers; if it does not, what is known must do."""
    try:
        await client.sync()
        await client.flush_waiting()
    except Unreachable as error:
        if client.exchange.directory is None:
            raise
        warn(f"{error.detail}; going on with what is known here")
        return False
    return True


async def try_send_owed(client: Client) -> bool:
    """Tell senders what is owed to them; what cannot be sent now goes with a later command."""
    try:
        await client.send_owed()
    except (Unreachable, Declined) as error:
        warn(f"{error.detail}; acknowledgements go with the next command")
        return False
    return True


def finish(client: Client) -> None:
    """Show what must not be missed. Raises Tampering where this command found something that must never be."""
    show_expired(client)
    for line in warnings_of(client.exchange, client.home, now_ms(), client.ledgers.other_exchanges()):
        warn(line)
    alarms = client.state.alarms()
    for moment, name, origin, index, detail in alarms:
        place = origin if index is None else f"{origin}#{index}"
        alarm(f"{name} at {place}, {format_moment(moment)}: {detail}")
    if len(alarms) > client.alarms_at_start:
        raise Tampering(alarms[-1][1], f"{len(alarms) - client.alarms_at_start} new: see above")


def show_expired(client: Client) -> None:
    """What never went is loud until somebody says that it may be forgotten."""
    for draft in client.sender.expire():
        name = format_id(client.agency, draft.id)
        alarm(
            f"{name} {draft.content.versions[0].title!r} EXPIRED UNSENT: nobody got it (khunjerab outbox drop {name})"
        )
