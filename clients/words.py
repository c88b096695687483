"""What was said about bulletins: acknowledgements heard and owed, relations, and what ``follow`` told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.store import Store
from protocol.header import Relation
from protocol.record import Record
from protocol.statements import ACKNOWLEDGED, AcknowledgementLine

if TYPE_CHECKING:
    from clients.state import Held


# After a move one bulletin may stand in two ledgers: what is said of either is said of it.
_OF_ONE_NAME = (
    "JOIN bulletin AS b ON a.origin = b.origin AND a.target = b.idx AND a.leaf = b.leaf WHERE b.sender = ? AND b.id = ?"
)


class Related(Record):
    """A bulletin that names another as its target."""

    kind: str
    origin: str
    index: int


class Words(Store):
    """Rows about bulletins, by where those stand."""

    def add_acknowledged(
        self, agency: str, addressee: str, line: AcknowledgementLine, at: tuple[str, int] | None
    ) -> None:
        """What an agency said of a bulletin; its first word on a state stands. ``at`` is None until it is logged."""
        at_origin, at_index = at or (None, None)
        said = (line.origin, line.index, line.leaf, agency, addressee, line.state, line.time)
        self._db.execute(
            "INSERT INTO acknowledged VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET time = excluded.time, at_origin = excluded.at_origin, at_idx = excluded.at_idx WHERE at_idx IS NULL",
            (*said, at_origin, at_index),
        )

    def acknowledged(self, held: Held) -> list[tuple[str, str, int]]:
        """Agency, state and time of every word to its sender on a bulletin, by its hash wherever it stands.

        A word may stand in another ledger than the bulletin, whose judge saw its form alone.
        """
        header = held.header
        return self._db.execute(
            f"SELECT a.agency, a.state, a.time FROM acknowledged AS a {_OF_ONE_NAME} AND a.addressee = b.sender "  # noqa: S608
            "ORDER BY a.time",
            (header.sender, header.id),
        ).fetchall()

    def state_with(self, agency: str, held: Held) -> str:
        """How far an agency says it came with a bulletin where it stands; empty where it said nothing."""
        rows = self._db.execute(
            "SELECT state FROM acknowledged "
            "WHERE origin = ? AND target = ? AND leaf = ? AND addressee = ? AND agency = ?",
            (held.origin, held.index, held.leaf, held.header.sender, agency),
        )
        said = {state for (state,) in rows}
        return next((state for state in reversed(ACKNOWLEDGED) if state in said), "")

    def forget_words(self, origin: str, start: int, agency: str) -> None:
        """A ledger lost its entries from ``start`` on: others are heard again, ``agency`` owes its words anew."""
        self._db.execute(
            "INSERT OR IGNORE INTO owed SELECT origin, target, state, time FROM acknowledged "
            "WHERE agency = ? AND (at_idx IS NULL OR (at_origin = ? AND at_idx >= ?))",
            (agency, origin, start),
        )
        lost = "at_origin = ? AND at_idx >= ?"
        self._db.execute(f"DELETE FROM acknowledged WHERE {lost} AND agency <> ?", (origin, start, agency))  # noqa: S608
        self._db.execute(f"UPDATE acknowledged SET at_origin = NULL, at_idx = NULL WHERE {lost}", (origin, start))  # noqa: S608

    def owe(self, origin: str, index: int, state: str, time: int) -> None:
        """An acknowledgement to be sent."""
        self._db.execute("INSERT OR IGNORE INTO owed VALUES (?, ?, ?, ?)", (origin, index, state, time))

    def owed(self) -> list[tuple[str, int, str, int]]:
        """Acknowledgements that are to be sent: origin, index, state, time."""
        return self._db.execute("SELECT * FROM owed ORDER BY time, origin, idx").fetchall()

    def settle(self, origin: str, index: int, state: str) -> None:
        """It was sent, and there is a receipt for it; or it never can be."""
        self._db.execute("DELETE FROM owed WHERE origin = ? AND idx = ? AND state = ?", (origin, index, state))

    # Relations

    def add_relation(self, relation: Relation, by: tuple[str, int]) -> None:
        """That the bulletin at ``by`` names another."""
        values = (relation.origin, relation.index, relation.leaf, relation.kind, *by)
        self._db.execute("INSERT OR IGNORE INTO relation VALUES (?, ?, ?, ?, ?, ?)", values)

    def related(self, held: Held) -> list[Related]:
        """Every bulletin that names this one, by its hash wherever it stands: a claim, not yet checked."""
        query = f"SELECT a.kind, a.by_origin, a.by_idx FROM relation AS a {_OF_ONE_NAME} ORDER BY a.by_origin, a.by_idx"  # noqa: S608
        return [Related(*row) for row in self._db.execute(query, (held.header.sender, held.header.id))]

    def forget_relations(self, origin: str, start: int) -> None:
        """A ledger lost its entries from ``start`` on."""
        self._db.execute("DELETE FROM relation WHERE by_origin = ? AND by_idx >= ?", (origin, start))

    # What follow handed over and told

    def hand(self, consumer: str, sender: str, number: bytes, tries: int, state: str) -> None:
        """How far a bulletin came with a consumer: trying, done, failed, or again where somebody asked for it."""
        self._db.execute(
            "INSERT OR REPLACE INTO handed VALUES (?, ?, ?, ?, ?)", (consumer, sender, number, tries, state)
        )

    def handed(self, consumer: str, sender: str, number: bytes) -> tuple[int, str]:
        """Tries and state of a bulletin with a consumer."""
        row = self._db.execute(
            "SELECT tries, state FROM handed WHERE consumer = ? AND sender = ? AND id = ?", (consumer, sender, number)
        ).fetchone()
        return (int(row[0]), str(row[1])) if row else (0, "new")

    def handed_in(self, consumer: str, state: str) -> list[tuple[str, bytes]]:
        """Sender and id of what is in one state with a consumer."""
        query = "SELECT sender, id FROM handed WHERE consumer = ? AND state = ? ORDER BY id"
        return self._db.execute(query, (consumer, state)).fetchall()

    def was_told(self, name: str, origin: str, index: int, agency: str) -> bool:
        """Whether an event was noted before."""
        query = "SELECT 1 FROM told WHERE name = ? AND origin = ? AND idx = ? AND agency = ?"
        return self._db.execute(query, (name, origin, index, agency)).fetchone() is not None

    def tell(self, name: str, origin: str, index: int, agency: str) -> bool:
        """Note an event; False where it was told before."""
        values = (name, origin, index, agency)
        return self._db.execute("INSERT OR IGNORE INTO told VALUES (?, ?, ?, ?)", values).rowcount > 0
