"""A case before the judge (SPEC §12): one statement, the state it meets, what may be asked, and the two verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from keys.exchange import Exchange
from keys.signing import SignatureCheck, signed_message
from protocol import limits
from protocol.directory import Directory
from protocol.entry import Entry
from protocol.parties import Agency
from protocol.record import Record
from protocol.signing import PublicKey, Signature
from protocol.statements import Kind, Statement, statement_hash

SKEW_MS = limits.CLOCK_SKEW_SECONDS_MAX * 1000


class Signed(Protocol):
    """What is judged: a submission before it is an entry, or an entry after."""

    @property
    def kind(self) -> Kind:
        """Which of the six."""

    @property
    def statement(self) -> bytes:
        """The signed bytes."""

    @property
    def signatures(self) -> bytes:
        """Theirs, encoded."""


class First(Record):
    """The bulletin that holds a (sender, id): where it stands and what it is known by."""

    index: int
    statement_hash: bytes


class NotSentToMe:
    """A client's answer about an entry that it was rightly never given; only a client may say so."""


NOT_SENT_TO_ME = NotSentToMe()


class Lookup(Protocol):
    """What the judge asks of single entries of the same ledger; refused entries do not exist for it."""

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """The accepted bulletin of ``sender`` under this id."""

    def seen(self, digest: bytes) -> int | None:
        """The index of an accepted statement other than a bulletin, by its hash."""

    def entry(self, index: int) -> Entry | NotSentToMe | None:
        """An accepted entry."""

    def directory(self, sha256: bytes) -> bytes | None:
        """The JSON of a directory version."""


class Accepted(Record):
    """The statement may stand, once ``checks`` hold; ``apply`` gives the exchange after it."""

    statement: Statement
    signed: Signed
    checks: tuple[SignatureCheck, ...]
    directory: Directory | None = None

    @property
    def digest(self) -> bytes:
        """What the statement is known by."""
        return statement_hash(self.signed.kind, self.signed.statement)


class Refused(Exception):
    """A verdict, raised inside the judge and returned by it: the step that refused, a stable code, a sentence.

    ``index`` is where it first stands, ``names`` are whom it concerns.
    """

    def __init__(
        self, step: int, code: str, detail: str, index: int | None = None, names: tuple[str, ...] = ()
    ) -> None:
        super().__init__(f"({step}) {code}: {detail}")
        self.step, self.code, self.detail, self.index, self.names = step, code, detail, index, names


class Case(Record):
    """One statement before the judge."""

    exchange: Exchange
    statement: Any
    signed: Signed
    signatures: tuple[Signature, ...]
    time: int
    lookup: Lookup

    @property
    def digest(self) -> bytes:
        """What the statement is known by: asked for where something else is known by the same name, or may be."""
        return statement_hash(self.signed.kind, self.signed.statement)

    def accept(self, signers: Iterable[tuple[PublicKey, Signature]], suite: int) -> Accepted:
        """(8) The signatures that are still to be checked."""
        message = signed_message(self.signed.kind, self.signed.statement)
        checks = tuple([SignatureCheck(key, message, signature, suite) for key, signature in signers])
        return Accepted(self.statement, self.signed, checks)

    def only_signature(self, key_id: bytes) -> Signature:
        """(4) The one signature, made with the key that the statement names."""
        if len(self.signatures) != 1 or self.signatures[0].key_id != key_id:
            raise Refused(4, "wrong-signer", "it is not signed by the one key that it names")
        return self.signatures[0]

    def refuse_repeat(self) -> None:
        """(2) For every kind but bulletins: known by the statement's hash."""
        index = self.lookup.seen(self.digest)
        if index is not None:
            raise Refused(2, "seen-before", "this statement stands in the ledger already", index)

    def refuse_other_exchange(self, exchange: bytes) -> None:
        """(3) A statement of another exchange means nothing here."""
        if exchange != self.exchange.pin:
            raise Refused(3, "wrong-exchange", "it belongs to another exchange")

    def refuse_future(self, created: int) -> None:
        """(3) ``created`` may be old, but not ahead of this clock by more than the skew."""
        if created > self.time + SKEW_MS:
            ahead = (created - self.time) // 1000
            raise Refused(3, "created-in-future", f"it was created {ahead} s after this node's clock: check yours")

    def home_agency(self, name: str, origin: str) -> Agency:
        """(3) This ledger is the one that the statement names, and its agency's home."""
        exchange = self.exchange
        if origin != exchange.origin:
            raise Refused(3, "wrong-origin", f"it is meant for the ledger {origin}, this is {exchange.origin}")
        agency = self.agency(name)
        if agency.home != exchange.origin:
            raise Refused(3, "not-home", f"{name} is at home in {agency.home}, not in {exchange.origin}")
        return agency

    def agency(self, name: str) -> Agency:
        """(4) An agency of the directory in force."""
        agency = self.exchange.agency(name)
        if agency is None:
            raise Refused(4, "agency-unknown", f"{name} is no agency of the directory in force")
        return agency

    def seat(self, agency: Agency, key_id: bytes, role: str) -> PublicKey:
        """(4) A seat's key in force, of an agency that is not suspended and holds ``role``."""
        if self.exchange.is_suspended(agency.id):
            raise Refused(4, "agency-suspended", f"{agency.id} is suspended by its nation")
        key = self.exchange.seat_key(agency.id, key_id, self.time)
        if key is None:
            if self.exchange.is_revoked(agency.id, key_id):
                raise Refused(4, "key-revoked", f"this seat of {agency.id} is revoked")
            raise Refused(4, "key-not-in-force", f"no running key bundle of {agency.id} lists this seat")
        if role not in agency.roles:
            raise Refused(4, "role-missing", f"{agency.id} does not have the role {role}")
        return key
