"""``state.db``: what a seat has verified, received, sent and still owes. Contents are sealed; headers are not."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import msgspec

from clients.outbox import Outbox, Outgoing
from clients.signed import Signed
from clients.words import Related, Words
from protocol.content import Content
from protocol.entry import Entry
from protocol.header import Header, Relation
from protocol.merkle import EMPTY_ROOT
from protocol.record import Record
from protocol.statements import Bulletin

__all__ = ["Held", "Outgoing", "Related", "State", "Verified"]


class Verified(Record):
    """A ledger as far as this home has verified it; ``next`` is the cursor."""

    origin: str
    size: int = 0
    root: bytes = EMPTY_ROOT
    next: int = 0
    checkpoint: str = ""
    time: int = 0  # admission time of the last entry seen: none that follows is earlier
    witnessed: str = ""  # the newest checkpoint that was witnessed as the policy asks


@dataclass(frozen=True)
class Held:
    """A bulletin in this home, received or sent (``own``)."""

    arrival: int
    origin: str
    index: int
    own: bool
    entry: bytes
    leaf: bytes
    content: Content | None
    problem: str

    @functools.cached_property
    def header(self) -> Header:
        """Its header."""
        return Bulletin.decode(Entry.decode(self.entry).statement).header

    @functools.cached_property
    def logged(self) -> int:
        """Its admission time."""
        return Entry.decode(self.entry).time


class State(Outbox, Signed, Words):
    """Everything a seat keeps but its keys; what is told in one transaction is there whole or not at all."""

    # Ledgers

    def verified(self, origin: str) -> Verified:
        """How far the ledger is verified; nothing of one never seen."""
        row = self._db.execute("SELECT * FROM ledger WHERE origin = ?", (origin,)).fetchone()
        return Verified(*row) if row else Verified(origin)

    def ledgers(self) -> list[Verified]:
        """Every ledger that this home has seen."""
        return [Verified(*row) for row in self._db.execute("SELECT * FROM ledger ORDER BY origin")]

    def set_verified(self, verified: Verified) -> None:
        """Move the cursor; commit it with what was received below it."""
        self._db.execute(
            "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(verified)
        )

    def governance(self, origin: str) -> list[tuple[int, bytes]]:
        """Index and entry of all governance of a ledger, in order."""
        return self._db.execute("SELECT idx, entry FROM governance WHERE origin = ? ORDER BY idx", (origin,)).fetchall()

    def governance_body(self, origin: str, sha256: bytes) -> bytes | None:
        """The JSON of a directory version that stands in the ledger."""
        rows = self._db.execute("SELECT body FROM governance WHERE origin = ? AND body IS NOT NULL", (origin,))
        return next((body for (body,) in rows if hashlib.sha256(body).digest() == sha256), None)

    def add_governance(self, origin: str, index: int, entry: bytes, body: bytes | None) -> None:
        """One governance entry."""
        self._db.execute("INSERT INTO governance VALUES (?, ?, ?, ?)", (origin, index, entry, body))

    # Bulletins

    def add_bulletin(
        self, place: tuple[str, int], header: Header, entry: Entry, content: Content | None, problem: str, *, own: bool
    ) -> None:
        """One bulletin at ``place``, which is origin and index: beyond all others of that origin."""
        sealed = self.seal(content.encode()) if content else None
        nth = self.count_before(place[0], header.key_id, header.feed, place[1]) + 1
        known = (header.sender, header.id, header.key_id, header.feed, nth, own, entry.time, header.expires)
        self._db.execute(
            "INSERT INTO bulletin VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*place, *known, entry.encode(), entry.leaf(), sealed, problem),
        )

    _COLUMNS = "arrival, origin, idx, own, entry, leaf, sealed, problem"

    def _held(self, arrival: int, origin: str, index: int, own: int, *rest: bytes | str | None) -> Held:
        entry, leaf, sealed, problem = rest
        content = Content.decode(self.unseal(sealed)) if isinstance(sealed, bytes) else None
        return Held(arrival, origin, index, bool(own), bytes(entry), bytes(leaf), content, str(problem))  # type: ignore[arg-type]

    def bulletins(self, where: str = "1", *values: object) -> list[Held]:
        """Bulletins in the order in which they were logged; ``where`` is one of our own constants."""
        query = f"SELECT {self._COLUMNS} FROM bulletin WHERE {where} ORDER BY logged, origin, idx"  # noqa: S608
        return [self._held(*row) for row in self._db.execute(query, values).fetchall()]

    def bulletin_at(self, origin: str, index: int) -> Held | None:
        """The bulletin at an index."""
        found = self.bulletins("origin = ? AND idx = ?", origin, index)
        return found[0] if found else None

    def leaf_at(self, origin: str, index: int) -> bytes | None:
        """The leaf hash of the bulletin at an index, whose content stays sealed."""
        row = self._db.execute("SELECT leaf FROM bulletin WHERE origin = ? AND idx = ?", (origin, index)).fetchone()
        return bytes(row[0]) if row else None

    def target_of(self, relation: Relation) -> Held | None:
        """What a relation names, by place and hash."""
        held = self.bulletin_at(relation.origin, relation.index)
        return held if held is not None and held.leaf == relation.leaf else None

    def bulletin_by_id(self, sender: str, number: bytes) -> Held | None:
        """The bulletin under an id: of two in two ledgers, after a move, the first one, or the first that opened."""
        found = self.bulletins("sender = ? AND id = ?", sender, number)
        return next((held for held in found if held.content is not None), found[0] if found else None)

    def count_before(self, origin: str, key_id: bytes, feed: str, index: int) -> int:
        """How many bulletins of one seat key in one feed stand here below ``index``."""
        of_key = "origin = ? AND key_id = ? AND feed = ? AND idx < ?"
        query = f"SELECT nth FROM bulletin WHERE {of_key} ORDER BY idx DESC LIMIT 1"  # noqa: S608
        row = self._db.execute(query, (origin, key_id, feed, index)).fetchone()
        return int(row[0]) if row else 0

    def to_hand_over(self, consumer: str, arrival: int, limit: int) -> list[Held]:
        """What came from others after ``arrival`` and is not handed over yet, in the order in which it came."""
        query = (
            f"SELECT {self._COLUMNS} FROM bulletin AS b WHERE arrival > ? AND own = 0 AND NOT EXISTS "  # noqa: S608
            "(SELECT 1 FROM handed AS h WHERE h.consumer = ? AND h.sender = b.sender AND h.id = b.id "
            "AND h.state IN ('done', 'failed')) ORDER BY arrival LIMIT ?"
        )
        return [self._held(*row) for row in self._db.execute(query, (arrival, consumer, limit)).fetchall()]

    def unopened(self, now: int, limit: int) -> list[Held]:
        """What came from others without its body and has not expired, the newest first."""
        query = (
            f"SELECT {self._COLUMNS} FROM bulletin WHERE own = 0 AND sealed IS NULL AND expires > ? "  # noqa: S608
            "AND (problem LIKE 'withheld: %' OR problem = 'body-missing') ORDER BY arrival DESC LIMIT ?"
        )
        return [self._held(*row) for row in self._db.execute(query, (now, limit)).fetchall()]

    def newest_arrival(self) -> int:
        """Of all that is here; 0 where nothing is."""
        return int(self._db.execute("SELECT coalesce(max(arrival), 0) FROM bulletin").fetchone()[0])

    def arrived(self, arrival: int, now: int, limit: int) -> list[Held]:
        """What came after ``arrival`` and has not expired, whoever sent it, in the order in which it came."""
        query = f"SELECT {self._COLUMNS} FROM bulletin WHERE arrival > ? AND expires > ? ORDER BY arrival LIMIT ?"  # noqa: S608
        return [self._held(*row) for row in self._db.execute(query, (arrival, now, limit)).fetchall()]

    def set_opened(self, held: Held, content: Content) -> None:
        """It could be opened after all: it arrives anew, and is handed over whatever was handed over before."""
        kept = "origin, idx, sender, id, key_id, feed, nth, own, logged, expires, entry, leaf"
        self._db.execute(
            f"REPLACE INTO bulletin SELECT NULL, {kept}, ?, '' FROM bulletin WHERE origin = ? AND idx = ?",  # noqa: S608
            (self.seal(content.encode()), held.origin, held.index),
        )
        self._db.execute("DELETE FROM handed WHERE sender = ? AND id = ?", (held.header.sender, held.header.id))

    def unacknowledged(self, agency: str, arrival: int = 0) -> list[Held]:
        """What came after ``arrival`` and was opened here, and ``agency`` has not yet said that it received it."""
        where = (
            "arrival > ? AND own = 0 AND sealed IS NOT NULL AND NOT EXISTS (SELECT 1 FROM acknowledged AS a "
            "WHERE a.origin = bulletin.origin AND a.target = bulletin.idx AND a.leaf = bulletin.leaf "
            "AND a.addressee = bulletin.sender AND a.agency = ?)"
        )
        return self.bulletins(where, arrival, agency)

    def names(self) -> list[tuple[str, bytes]]:
        """Sender and id of everything here, each once."""
        return self._db.execute("SELECT DISTINCT sender, id FROM bulletin ORDER BY id").fetchall()

    def forget_from(self, origin: str, start: int, time: int, agency: str) -> None:
        """A ledger lost its entries from ``start`` on: they become evidence, and may come again."""
        self._db.execute(
            "INSERT INTO evidence SELECT ?, origin, idx, 'entry', entry FROM bulletin WHERE origin = ? AND idx >= ?",
            (time, origin, start),
        )
        self._db.execute("DELETE FROM bulletin WHERE origin = ? AND idx >= ?", (origin, start))
        self._db.execute("DELETE FROM governance WHERE origin = ? AND idx >= ?", (origin, start))
        self.forget_words(origin, start, agency)
        self.forget_relations(origin, start)

    # Alarms

    def add_alarm(self, time: int, name: str, origin: str, index: int | None, detail: str) -> None:
        """Something that must not be: kept once, and shown on every screen."""
        values = (time, name, origin, -1 if index is None else index, detail)
        self._db.execute("INSERT OR IGNORE INTO alarm VALUES (?, ?, ?, ?, ?)", values)

    def alarms(self) -> list[tuple[int, str, str, int | None, str]]:
        """Time, check, origin, index and detail of every alarm."""
        rows = self._db.execute("SELECT * FROM alarm ORDER BY time").fetchall()
        return [
            (time, name, origin, None if index < 0 else index, detail) for time, name, origin, index, detail in rows
        ]

    def add_evidence(self, time: int, origin: str, index: int, kind: str, data: bytes) -> None:
        """What a node signed and does not hold to."""
        self._db.execute("INSERT INTO evidence VALUES (?, ?, ?, ?, ?)", (time, origin, index, kind, data))

    def evidence(self) -> list[tuple[int, str, int, str, bytes]]:
        """Time, origin, index, kind and bytes of everything that is kept as evidence."""
        return self._db.execute("SELECT * FROM evidence ORDER BY time, idx").fetchall()
