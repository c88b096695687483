"""Acknowledgements: what this agency owes to senders, gathered, and sent up to 256 lines at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.clock import now_ms
from clients.errors import Declined
from clients.screen import warn
from clients.state import Held
from protocol import limits
from protocol.entry import Submission
from protocol.signing import encode_signatures
from protocol.statements import ACKNOWLEDGED, Acknowledgement, AcknowledgementLine, Kind

if TYPE_CHECKING:
    from clients.client import Client

URGENT = ("immediate", "flash")  # received is sent at once; else gathered
GATHER_SECONDS = 1.0
# Of one line or its sender: these lines can never be sent. Any other refusal is about this seat, and they wait.
_NEVER = ("agency-unknown", "not-yours", "target-unknown")
_LINES_BYTES_MAX = limits.ENTRY_BYTES_MAX - 8192  # the rest is for the head and a signature of suite 2


class Acknowledger:
    """Says to each sender how far its bulletins came here; a word is owed until it is logged."""

    def __init__(self, client: Client) -> None:
        self._client, self._state = client, client.state
        self._agency = client.home.profile.agency
        self._arrival = 0  # up to which whatever was opened has been acknowledged

    def note(self, held: Held, state: str) -> bool:
        """Owe a word, unless this agency said as much already."""
        said = self._state.state_with(self._agency, held)
        if said and ACKNOWLEDGED.index(said) >= ACKNOWLEDGED.index(state):
            return False
        with self._state.transaction():
            self._owe(held, state)
        return True

    def note_received(self) -> list[Held]:
        """Owe `received` for whatever was opened here; what is new among it."""
        newest = self._state.newest_arrival()
        if newest == self._arrival:
            return []
        received = self._state.unacknowledged(self._agency, self._arrival)
        if received:
            with self._state.transaction():
                for held in received:
                    self._owe(held, "received")
        self._arrival = newest
        return received

    def _owe(self, held: Held, state: str) -> None:
        now = now_ms()
        line = AcknowledgementLine(held.origin, held.index, held.leaf, state, now)
        self._state.owe(held.origin, held.index, state, now)
        self._state.add_acknowledged(self._agency, held.header.sender, line, None)

    async def send(self) -> int:
        """Send what is owed; how many lines were logged. Raises Unreachable, and Declined where the seat is refused."""
        by_sender: dict[str, list[AcknowledgementLine]] = {}
        for origin, index, state, moment in self._state.owed():
            held = self._state.bulletin_at(origin, index)
            if held is not None:  # else a ledger lost it, and it may come again
                line = AcknowledgementLine(origin, index, held.leaf, state, moment)
                by_sender.setdefault(held.header.sender, []).append(line)
        sent = 0
        for sender, lines in by_sender.items():
            for chunk in _chunks(lines):
                sent += await self._send_chunk(sender, chunk)
        return sent

    async def _send_chunk(self, to: str, lines: list[AcknowledgementLine]) -> int:
        client = self._client
        statement = Acknowledgement(
            suite=1,
            exchange=client.pin,
            origin=client.replica.origin,
            sender=self._agency,
            key_id=client.key.public.key_id,
            to=to,
            created=now_ms(),
            lines=tuple(lines),
        ).encode()
        signature = client.key.sign_statement(Kind.ACKNOWLEDGEMENT, statement, 1)
        try:
            await client.post(Submission(Kind.ACKNOWLEDGEMENT, statement, encode_signatures((signature,))))
        except Declined as declined:
            if declined.code not in _NEVER:
                raise
            if len(lines) > 1:  # one of them spoils the others
                return sum([await self._send_chunk(to, [line]) for line in lines])
            warn(f"{to} cannot be told: {declined.detail}")
            self._settle(lines)
            return 0
        self._settle(lines)
        return len(lines)

    def _settle(self, lines: list[AcknowledgementLine]) -> None:
        with self._state.transaction():
            for line in lines:
                self._state.settle(line.origin, line.index, line.state)


def _chunks(lines: list[AcknowledgementLine]) -> list[list[AcknowledgementLine]]:
    """At most as many as one statement may hold, in lines and in bytes."""
    longest = max(len(line.origin.encode()) for line in lines) + 80
    each = max(1, min(limits.ACKNOWLEDGEMENT_LINES_MAX, _LINES_BYTES_MAX // longest))
    return [lines[start : start + each] for start in range(0, len(lines), each)]
