"""The door of a node (SPEC §12.2.10): step (0), before the judge sees anything. It is never replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.ledger import Ledger
from broker.moves import Moves
from broker.quota import Budget
from broker.sessions import Session
from broker.standing import Standing
from broker.writer import Writer
from protocol.entry import Submission
from protocol.errors import ProtocolError
from protocol.problem import Problem
from protocol.signing import decode_signatures
from protocol.statements import Acknowledgement, Bulletin, KeyBundle, Statement, decode
from protocol.treehead import Receipt


class Door:
    """Lets submissions of a session through to the writer, which does (1) to (9)."""

    def __init__(
        self, ledger: Ledger, writer: Writer, moves: Moves, standing: Standing, clock: Callable[[], int]
    ) -> None:
        self._ledger, self._writer, self._moves, self._standing = ledger, writer, moves, standing
        self._attempts = Budget(60, lambda: clock() / 1000)

    def spend_attempt(self, session: Session) -> None:
        """(0) Its budget of attempts is not spent: refused ones count too, broken ones first of all. Raises Problem."""
        speaker, policy = session.speaker, self._ledger.exchange.in_force.policy
        who = speaker.agency or speaker.key.key_id.hex()
        if not self._attempts.spend(who, policy.attempts_per_minute):
            raise Problem("too-many-attempts", f"{who} has used its attempts of this minute", {"step": 0})

    def post(self, session: Session, envelope: bytes) -> asyncio.Future[Receipt]:
        """Admit one submission of a session. Raises Problem and ProtocolError; the future too, where it came so far."""
        self.spend_attempt(session)
        self._standing.require_running()
        self._standing.require_signing()
        submission = Submission.decode(envelope)
        statement = decode(submission.kind, submission.statement)
        _require_speaks_for(session, submission, statement)
        self._require_home(statement)
        return self._writer.submit(submission)

    def post_among(self, session: Session, envelope: bytes) -> asyncio.Future[Receipt]:
        """Admit one of many: whatever refuses it is told by the future, and stops no other."""
        try:
            return self.post(session, envelope)
        except (Problem, ProtocolError) as refused:
            receipt = asyncio.get_running_loop().create_future()
            receipt.set_exception(refused)
            return receipt

    def _require_home(self, statement: Statement) -> None:
        """(0) A bundle is posted at its agency's home; an agency that moved here acts once its old ledger shows it."""
        if isinstance(statement, KeyBundle):
            agency = self._ledger.exchange.agency(statement.agency)
            if agency is not None and agency.home != self._ledger.origin:
                detail = f"the bundles of {agency.id} are posted at its home, {agency.home}"
                raise Problem("not-home", detail, {"step": 0})
        elif not isinstance(statement, Bulletin | Acknowledgement):
            return
        awaited = self._moves.awaited(_actor(statement))
        if awaited is not None:
            detail = f"{awaited}, its old home, has not shown yet that it moved here"
            raise Problem("not-home", detail, {"step": 0})


def _actor(statement: Bulletin | Acknowledgement | KeyBundle) -> str:
    match statement:
        case Bulletin():
            return statement.header.sender
        case Acknowledgement():
            return statement.sender
        case _:
            return statement.agency


def _require_speaks_for(session: Session, submission: Submission, statement: Statement) -> None:
    """(0) A seat posts for its own agency; governance is posted by one of its signers, or a bundle by its own seat."""
    speaker = session.speaker
    if isinstance(statement, Bulletin):
        named = (statement.header.sender, statement.header.key_id)
    elif isinstance(statement, Acknowledgement):
        named = (statement.sender, statement.key_id)
    else:
        signers = {signature.key_id for signature in decode_signatures(submission.signatures)}
        own_bundle = isinstance(statement, KeyBundle) and statement.agency == speaker.agency
        if session.key_id not in signers and not own_bundle:
            raise Problem("not-speaking-for", "governance is posted by one of its signers", {"step": 0})
        return
    if speaker.kind != "seat" or named != (speaker.agency, session.key_id):
        raise Problem("not-speaking-for", f"this session does not speak for {named[0]} with that key", {"step": 0})
