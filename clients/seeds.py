"""The end of KEM seeds: all the forward secrecy there is.

A seat keeps each until its bundle's end, the longest life of a bulletin and a week, then destroys it.
"""

from __future__ import annotations

from clients.home import Home
from clients.replica import ClientLookup
from keys.exchange import Exchange
from keys.replay import Replay
from protocol import limits
from protocol.entry import Entry
from protocol.statements import KeyBundle, Kind
from protocol.times import DAY_MS

KEPT_MS = (limits.EXPIRES_DAYS_MAX + 7) * DAY_MS


def destroy_old_seeds(home: Home, now: int) -> int:
    """Forget the KEM seeds whose time is over; how many. The keyring is replaced whole."""
    held = {bytes.fromhex(name) for name in home.keyring.names("kem")}
    claimed = _ends(home, accepted_only=False) if held else {}
    if not any(ends + KEPT_MS < now for key_id, ends in claimed.items() if key_id in held):
        return 0  # nearly always
    over = {key_id for key_id, ends in _ends(home, accepted_only=True).items() if ends + KEPT_MS < now} & held
    keyring = home.read_keyring_anew()
    for key_id in over:
        keyring = keyring.without(f"kem/{key_id.hex()}")
    if over:
        home.save_keyring(keyring)
    return len(over)


def _ends(home: Home, *, accepted_only: bool) -> dict[bytes, int]:
    """When the last bundle that lists a KEM key ends.

    A node cannot end a seed early with a bundle of its own making: in the end only those that the judge accepts count.
    """
    ends: dict[bytes, int] = {}
    profile, state = home.profile, home.state
    replay = Replay(Exchange(profile.origin, bytes.fromhex(profile.pin)))
    lookup = ClientLookup(state, profile.origin)
    for index, data in state.governance(profile.origin):
        accepted = replay.step(index, data, lookup).accepted if accepted_only else None
        entry = Entry.decode(data)
        if entry.kind is not Kind.KEY_BUNDLE or (accepted_only and accepted is None):
            continue
        bundle = KeyBundle.decode(entry.statement)
        for seat in bundle.seats if bundle.agency == profile.agency else ():
            ends[seat.kem.key_id] = max(bundle.ends, ends.get(seat.kem.key_id, 0))
    return ends
