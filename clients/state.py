"""``state.db``: what a seat has verified, received, sent and still owes. Contents are sealed; headers are not."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import nacl.secret

from clients.drafts import Draft
from clients.errors import UsageError
from keys.secret import Secret
from protocol.content import Content
from protocol.entry import Entry
from protocol.header import Header
from protocol.merkle import EMPTY_ROOT
from protocol.statements import Bulletin

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Verified:
    """A ledger as far as this home has verified it; ``next`` is the cursor."""

    origin: str
    size: int = 0
    root: bytes = EMPTY_ROOT
    next: int = 0
    checkpoint: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A bulletin in this home, received or sent."""

    origin: str
    index: int
    entry: bytes
    leaf: bytes
    content: Content | None
    problem: str
    state: str
    relation: str

    @property
    def header(self) -> Header:
        """Its header."""
        return Bulletin.decode(Entry.decode(self.entry).statement).header

    @property
    def logged(self) -> int:
        """Its admission time."""
        return Entry.decode(self.entry).time


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A bulletin in the outbox."""

    draft: Draft
    envelope: bytes | None
    receipt: bytes | None
    state: str
    problem: str


class State:
    """One connection; every change of several rows is one transaction (``with state.transaction()``)."""

    def __init__(self, path: Path, store: Secret) -> None:
        self._box = nacl.secret.SecretBox(store.reveal())
        new = not path.exists()
        if new:
            path.touch(mode=0o600)
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            schema = files("clients").joinpath("schema.sql").read_text()
            self._db.executescript(f"BEGIN; {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise UsageError(f"{path} is of version {version}, this program writes {SCHEMA_VERSION}")

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; two terminals of one seat wait for each other here."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _seal(self, data: bytes) -> bytes:
        return bytes(self._box.encrypt(data))

    def _open(self, sealed: bytes) -> bytes:
        return self._box.decrypt(sealed)

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
        values = (verified.origin, verified.size, verified.root, verified.next, verified.checkpoint)
        self._db.execute("INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?)", values)

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
        self,
        origin: str,
        index: int,
        header: Header,
        entry: bytes,
        leaf: bytes,
        content: Content | None,
        problem: str,
        state: str,
    ) -> None:
        """One bulletin; its relation is set by ``relate`` when another touches it."""
        sealed = self._seal(content.encode()) if content else None
        self._db.execute(
            "INSERT INTO bulletin VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '')",
            (origin, index, header.sender, header.id, header.key_id, header.feed, entry, leaf, sealed, problem, state),
        )

    _COLUMNS = "origin, idx, entry, leaf, sealed, problem, state, relation"

    def _held(self, row: tuple[str, int, bytes, bytes, bytes | None, str, str, str]) -> Held:
        origin, index, entry, leaf, sealed, problem, state, relation = row
        content = Content.decode(self._open(sealed)) if sealed else None
        return Held(origin, index, entry, leaf, content, problem, state, relation)

    def bulletins(self, where: str = "1", *values: object) -> list[Held]:
        """Bulletins by id, which is by the time they were written; ``where`` is one of our own constants, never text from outside."""
        query = f"SELECT {self._COLUMNS} FROM bulletin WHERE {where} ORDER BY id, origin, idx"  # noqa: S608
        return [self._held(row) for row in self._db.execute(query, values)]

    def bulletin_at(self, origin: str, index: int) -> Held | None:
        """The bulletin at an index."""
        found = self.bulletins("origin = ? AND idx = ?", origin, index)
        return found[0] if found else None

    def bulletin_by_id(self, sender: str, number: bytes) -> Held | None:
        """The first bulletin under an id, across origins."""
        found = self.bulletins("sender = ? AND id = ?", sender, number)
        return found[0] if found else None

    def count_before(self, origin: str, key_id: bytes, feed: str, index: int) -> int:
        """How many bulletins of one seat key in one feed stand here below ``index``."""
        query = "SELECT count(*) FROM bulletin WHERE origin = ? AND key_id = ? AND feed = ? AND idx < ?"
        return int(self._db.execute(query, (origin, key_id, feed, index)).fetchone()[0])

    def set_state(self, origin: str, index: int, state: str) -> None:
        """How far this reader came with it."""
        self._db.execute("UPDATE bulletin SET state = ? WHERE origin = ? AND idx = ?", (state, origin, index))

    def relate(self, origin: str, index: int, relation: str) -> None:
        """That it was superseded or cancelled, and by which."""
        self._db.execute("UPDATE bulletin SET relation = ? WHERE origin = ? AND idx = ?", (relation, origin, index))

    def set_handed(self, origin: str, index: int, handed: int = 1) -> None:
        """That it was handed over: 1 done, 2 set aside after its tries."""
        self._db.execute("UPDATE bulletin SET handed = ? WHERE origin = ? AND idx = ?", (handed, origin, index))

    # Acknowledgements

    def add_acknowledged(self, origin: str, target: int, agency: str, state: str, time: int) -> None:
        """What an agency said of a bulletin; its first word on a state stands."""
        self._db.execute(
            "INSERT OR IGNORE INTO acknowledged VALUES (?, ?, ?, ?, ?)", (origin, target, agency, state, time)
        )

    def acknowledged(self, origin: str, target: int) -> list[tuple[str, str, int]]:
        """Agency, state and time of every word on a bulletin."""
        return self._db.execute(
            "SELECT agency, state, time FROM acknowledged WHERE origin = ? AND target = ? ORDER BY time",
            (origin, target),
        ).fetchall()

    def owe(self, origin: str, index: int, state: str, time: int) -> None:
        """An acknowledgement to be sent."""
        self._db.execute("INSERT OR IGNORE INTO owed VALUES (?, ?, ?, ?)", (origin, index, state, time))

    def owed(self) -> list[tuple[str, int, str, int]]:
        """Acknowledgements that are to be sent: origin, index, state, time."""
        return self._db.execute("SELECT * FROM owed ORDER BY time LIMIT 256").fetchall()

    def settle(self, origin: str, index: int, state: str) -> None:
        """It was sent, and there is a receipt for it."""
        self._db.execute("DELETE FROM owed WHERE origin = ? AND idx = ? AND state = ?", (origin, index, state))

    # Outbox

    def add_draft(self, draft: Draft) -> None:
        """Keep a draft before anything is tried: from here on it is not lost."""
        values = (draft.id, draft.created, self._seal(draft.encode()))
        self._db.execute("INSERT INTO outbox VALUES (?, ?, ?, NULL, NULL, 'draft', '')", values)

    def outbox(self, *states: str) -> list[Outgoing]:
        """What is in the outbox in these states, oldest first."""
        marks = ", ".join("?" for _ in states)
        rows = self._db.execute(
            f"SELECT sealed, envelope, receipt, state, problem FROM outbox WHERE state IN ({marks}) ORDER BY id",  # noqa: S608
            states,
        )
        return [
            Outgoing(
                Draft.decode(self._open(sealed)),
                self._open(envelope) if envelope else None,
                receipt,
                state,
                problem,
            )
            for sealed, envelope, receipt, state, problem in rows.fetchall()
        ]

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
        sealed = self._seal(envelope) if envelope else None
        self._db.execute(
            "UPDATE outbox SET state = ?, envelope = coalesce(?, envelope), receipt = coalesce(?, receipt), "
            "problem = ? WHERE id = ?",
            (state, sealed, receipt, problem, number),
        )

    def receipts_held(self, recipient: str, origin: str, feed: str, key_id: bytes) -> int:
        """What goes into a wrap: how many bulletins of this seat key to this recipient have a receipt here."""
        query = "SELECT count FROM sent WHERE recipient = ? AND origin = ? AND feed = ? AND key_id = ?"
        row = self._db.execute(query, (recipient, origin, feed, key_id)).fetchone()
        return int(row[0]) if row else 0

    def count_receipt(self, header: Header) -> None:
        """One more receipt held, for every recipient of a bulletin."""
        for recipient in header.recipients:
            self._db.execute(
                "INSERT INTO sent VALUES (?, ?, ?, ?, 1) "
                "ON CONFLICT (recipient, origin, feed, key_id) DO UPDATE SET count = count + 1",
                (recipient.agency, header.origin, header.feed, header.key_id),
            )

    # Alarms

    def add_alarm(self, time: int, name: str, origin: str, index: int | None, detail: str) -> None:
        """Something that must not be: kept, and shown on every screen until somebody looks."""
        self._db.execute("INSERT INTO alarm VALUES (?, ?, ?, ?, ?)", (time, name, origin, index, detail))

    def alarms(self) -> list[tuple[int, str, str, int | None, str]]:
        """Time, check, origin, index and detail of every alarm."""
        return self._db.execute("SELECT * FROM alarm ORDER BY time").fetchall()
