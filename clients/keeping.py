"""What becomes of a believed entry in a home: governance, bulletins, words about bulletins, alarms."""

from __future__ import annotations

from clients.clock import now_ms
from clients.drafts import Draft
from clients.opening import Opened, Opener
from clients.outbox import CLOSED
from clients.replica import Believed
from clients.state import Held, State
from protocol.header import Header
from protocol.statements import GOVERNANCE, Acknowledgement, Bulletin, decode


class Keeper:
    """Stores entries of one agency's home. Every call is inside the transaction that moves the cursor."""

    def __init__(self, agency: str, seat_key: bytes, state: State, opener: Opener) -> None:
        self._agency, self._seat_key, self._state, self._opener = agency, seat_key, state, opener

    def keep(self, origin: str, one: Believed, body: bytes | None, wrap: bytes | None) -> None:
        """One entry of ``origin``. What the judge refuses has no effect, and is an alarm: its node let it in."""
        index = one.item.index
        if one.entry.kind in GOVERNANCE:
            self._state.add_governance(origin, index, one.item.entry, body)
        if one.step.accepted is None:
            fault = one.step.faults[0]
            detail = f"a node let in what the judge refuses: {fault.found}"
            self._state.add_alarm(now_ms(), fault.check, origin, index, detail)
            return
        statement = decode(one.entry.kind, one.entry.statement)
        if isinstance(statement, Bulletin):
            self._keep_bulletin((origin, index), one, statement, body, wrap)
        elif isinstance(statement, Acknowledgement):
            self._keep_words((origin, index), statement)

    def _keep_words(self, place: tuple[str, int], said: Acknowledgement) -> None:
        for line in said.lines:
            self._state.add_acknowledged(said.sender, said.to, line, place)
            if said.sender == self._agency:  # from another seat, or from this one before its home was restored
                self._state.settle(line.origin, line.index, line.state)

    def _keep_bulletin(
        self, place: tuple[str, int], one: Believed, bulletin: Bulletin, body: bytes | None, wrap: bytes | None
    ) -> None:
        header = bulletin.header
        own = header.sender == self._agency
        if not own and not header.is_sent_to(self._agency):
            return  # an auditor's page has everything
        opened = self._opener.open(place[1], bulletin, body, wrap, one.item.withheld)
        self._state.add_bulletin(place, header, one.entry, opened.content, opened.problem, own=own)
        for relation in header.relations:
            self._state.add_relation(relation, place)
        self._raise_alarms(place, header, opened)
        if own:
            self._settle_own(header)

    def open_again(self, held: Held, bulletin: Bulletin, body: bytes, wrap: bytes | None) -> bool:
        """Whether a bulletin that stood here unread could be opened after all."""
        opened = self._opener.open(held.index, bulletin, body, wrap)
        self._raise_alarms((held.origin, held.index), bulletin.header, opened)
        if opened.content is not None:
            self._state.set_opened(held, opened.content)
        return opened.content is not None

    def _raise_alarms(self, place: tuple[str, int], header: Header, opened: Opened) -> None:
        """What opening a bulletin showed that must not be."""
        if opened.missing:
            detail = f"{header.sender} had receipts for {opened.missing} more in {header.feed} than ever came here"
            self._state.add_alarm(now_ms(), "denied", *place, detail)
        if opened.problem == "body-altered" or opened.problem.startswith("cannot-open"):
            self._state.add_alarm(now_ms(), "body", *place, opened.problem)

    def _settle_own(self, header: Header) -> None:
        """What stands in the ledger was sent, whatever a home restored from an older copy believes."""
        if header.key_id == self._seat_key:
            self._state.count_receipt(header)
        outgoing = self._state.outgoing(header.id)
        if outgoing and outgoing.state in {"draft", *CLOSED} and is_of(header, outgoing.draft):
            self._state.drop_outgoing(header.id)


def is_of(header: Header, draft: Draft) -> bool:
    """Whether a logged bulletin is the one that a draft describes; what is sealed is sealed anew each time."""
    recipients = tuple(recipient.agency for recipient in header.recipients)
    logged = (header.id, recipients, header.feed, header.label, header.status, header.precedence, header.relations)
    drafted = (draft.id, draft.recipients, draft.feed, draft.label, draft.status, draft.precedence, draft.relations)
    return logged == drafted and (header.created, header.expires) == (draft.created, draft.expires)
