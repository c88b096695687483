"""What a seat has yet to send, and what it holds receipts for: the rows of the outbox."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from clients.drafts import Draft
from clients.store import Store
from protocol.entry import Submission
from protocol.header import PRECEDENCES, Header
from protocol.promise import Promise
from protocol.record import Record
from protocol.treehead import Receipt

OPEN = ("draft", "tried")  # still to be sent
LOGGED = ("receipted", "published")  # kept until they are witnessed: a node that loses one is given it again
CLOSED = ("refused", "expired")  # never sent, until somebody says so
# The most urgent first, then as they were written: ids of one millisecond have no order. None refers to another that
# is still to be sent, so one may overtake another.
_AS_SENT = "ORDER BY urgency DESC, rowid"


class Outgoing(Record):
    """A bulletin in the outbox."""

    draft: Draft
    envelope: bytes | None
    receipt: bytes | None
    state: str
    problem: str


class Posted(Record):
    """A bulletin of the outbox that a receipt is held for."""

    id: bytes
    promise: Promise
    state: str


class Outbox(Store):
    """Drafts, envelopes and receipts, sealed; each leaves when its entry is safe in a witnessed checkpoint."""

    def add_draft(self, draft: Draft) -> None:
        """Keep a draft before anything is tried: from here on it is not lost."""
        values = (draft.id, draft.created, PRECEDENCES.index(draft.precedence), self.seal(draft.encode()))
        self._db.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, NULL, NULL, 'draft', '')", values)

    def outbox(self, *states: str) -> list[Outgoing]:
        """What is in the outbox in these states, as it is sent."""
        marks = ", ".join("?" for _ in states)
        rows = self._db.execute(
            f"SELECT sealed, envelope, receipt, state, problem FROM outbox WHERE state IN ({marks}) {_AS_SENT}",  # noqa: S608
            states,
        )
        return [self._outgoing(*row) for row in rows.fetchall()]

    def waiting(self, *states: str) -> list[bytes]:
        """The ids of what is in these states, or still to be sent, in that order: all of it may be too much to hold."""
        states = states or OPEN
        marks = ", ".join("?" for _ in states)
        query = f"SELECT id FROM outbox WHERE state IN ({marks}) {_AS_SENT}"  # noqa: S608
        return [number for (number,) in self._db.execute(query, states)]

    def outgoing(self, number: bytes) -> Outgoing | None:
        """One bulletin of the outbox."""
        query = "SELECT sealed, envelope, receipt, state, problem FROM outbox WHERE id = ?"
        row = self._db.execute(query, (number,)).fetchone()
        return self._outgoing(*row) if row else None

    def posted(self) -> Iterator[Posted]:
        """What receipts are held for, one after another; nobody needs its text for that, so it stays sealed."""
        for number in self.waiting(*LOGGED):
            row = self._db.execute("SELECT envelope, receipt, state FROM outbox WHERE id = ?", (number,)).fetchone()
            if row is not None and row[2] in LOGGED:  # it may have left meanwhile
                envelope, receipt, state = row
                yield Posted(number, Promise(Submission.decode(self.unseal(envelope)), Receipt.decode(receipt)), state)

    def _outgoing(
        self, sealed: bytes, envelope: bytes | None, receipt: bytes | None, state: str, problem: str
    ) -> Outgoing:
        draft = Draft.decode(self.unseal(sealed))
        return Outgoing(draft, self.unseal(envelope) if envelope else None, receipt, state, problem)

    def set_outgoing(
        self,
        number: bytes,
        state: str,
        *,
        envelope: bytes | None = None,
        receipt: bytes | None = None,
        problem: str = "",
    ) -> None:
        """Move a bulletin of the outbox on; envelope and receipt are kept where none is given."""
        sealed = self.seal(envelope) if envelope else None
        self._db.execute(
            "UPDATE outbox SET state = ?, envelope = coalesce(?, envelope), receipt = coalesce(?, receipt), "
            "problem = ? WHERE id = ?",
            (state, sealed, receipt, problem, number),
        )

    def unseal_outgoing(self, number: bytes, problem: str = "") -> None:
        """An envelope that never left is forgotten: it is a draft again."""
        query = "UPDATE outbox SET state = 'draft', envelope = NULL, problem = ? WHERE id = ?"
        self._db.execute(query, (problem, number))

    def drop_outgoing(self, number: bytes) -> None:
        """It is safe in the ledger, or nobody wants it sent any more."""
        self._db.execute("DELETE FROM outbox WHERE id = ?", (number,))

    # What else was posted

    def add_promised(self, promise: Promise) -> None:
        """Keep a statement that is no bulletin with its receipt; of one posted again the newest receipt."""
        name = hashlib.sha256(promise.submission.statement).digest()
        values = (name, self.seal(promise.submission.encode()), promise.receipt.encode())
        self._db.execute("INSERT OR REPLACE INTO promised VALUES (?, ?, ?)", values)

    def promised(self) -> dict[bytes, Promise]:
        """All of it, by the statement's SHA-256, as it was posted."""
        rows = self._db.execute("SELECT statement, sealed, receipt FROM promised ORDER BY rowid").fetchall()
        return {
            name: Promise(Submission.decode(self.unseal(sealed)), Receipt.decode(receipt))
            for name, sealed, receipt in rows
        }

    def promised_names(self) -> set[bytes]:
        """What ``promised`` is by, without opening it."""
        return {name for (name,) in self._db.execute("SELECT statement FROM promised")}

    def drop_promised(self, name: bytes) -> None:
        """It is safe in the ledger, or will never be."""
        self._db.execute("DELETE FROM promised WHERE statement = ?", (name,))

    # Counts

    def receipts_held(self, recipient: str, origin: str, feed: str, key_id: bytes) -> int:
        """What goes into a wrap: how many bulletins of this seat key to this recipient are known to be logged."""
        query = "SELECT count FROM sent_count WHERE recipient = ? AND origin = ? AND feed = ? AND key_id = ?"
        row = self._db.execute(query, (recipient, origin, feed, key_id)).fetchone()
        return int(row[0]) if row else 0

    def count_receipt(self, header: Header) -> None:
        """One more receipt held, for every recipient of a bulletin; the same one counts once."""
        rows = [(r.agency, header.origin, header.feed, header.key_id, header.id) for r in header.recipients]
        self._db.executemany("INSERT INTO sent VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)

    def uncount_receipt(self, origin: str, number: bytes) -> None:
        """A receipt turned out to be broken: its bulletin is in no ledger."""
        self._db.execute("DELETE FROM sent WHERE origin = ? AND id = ?", (origin, number))
