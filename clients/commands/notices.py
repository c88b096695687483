"""What every officer's screen begins or ends with: the link, alarms, what expired unsent, a directory near its end."""

from __future__ import annotations

from clients.client import Client, now_ms
from clients.errors import Declined, Tampering, Unreachable
from clients.screen import alarm, format_moment, warn
from protocol.names import format_id
from protocol.times import DAY_MS

WARNED_DAYS = 60


async def try_sync(client: Client) -> bool:
    """Fetch what is there, if the node answers; if it does not, what is known must do."""
    try:
        await client.sync()
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
    _show_directory(client)
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


def _show_directory(client: Client) -> None:
    directory = client.exchange.directory
    if directory is None:
        return
    left = (directory.expires - now_ms()) // DAY_MS
    if left < 0:
        days = (client.exchange.grace_ends() - now_ms()) // DAY_MS
        warn(f"the directory has expired: no bulletin is admitted in {days} days unless the next version is published")
    elif left < WARNED_DAYS:
        warn(f"the directory expires in {left} days: the custodians of both nations publish the next version")
