"""The operator's crime: a copy of a ledger, altered by whoever holds the node's keys, to be signed anew.

It uses nothing of ours: SQLite, msgpack and SHA-256 are all that an operator needs.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

BULLETIN = 1
TIME_FIELD = 3
HOUR_MS = 3_600_000
KEY_ID_BYTES, HELD_BYTES = 32, 32 + 1176  # a wrap is kept behind the key id of its seat


def bulletins_of(ledger: Path) -> list[int]:
    """The indexes of all bulletins in a node's ledger."""
    with closing(sqlite3.connect(ledger)) as db:
        return [index for (index,) in db.execute("SELECT idx FROM entry WHERE kind = ? ORDER BY idx", (BULLETIN,))]


def envelope_of(ledger: Path, index: int) -> bytes:
    """The very bytes that were posted for an entry, put together again from the ledger: what a replay sends."""
    with closing(sqlite3.connect(ledger)) as db:
        (data,) = db.execute("SELECT data FROM entry WHERE idx = ?", (index,)).fetchone()
        kind, statement, signatures, _, _ = msgspec.msgpack.decode(data)
        held, body = db.execute("SELECT wraps, data FROM body WHERE idx = ?", (index,)).fetchone()
    wraps = b"".join(held[at + KEY_ID_BYTES : at + HELD_BYTES] for at in range(0, len(held), HELD_BYTES))
    return msgspec.msgpack.encode([bytes([kind]), statement, signatures, wraps, body])


def backdate(ledger: Path, index: int) -> None:
    """Make a bulletin an hour older, and remove every trace that the store keeps of it: root, tiles, checkpoints."""
    with closing(sqlite3.connect(ledger)) as db:
        (data,) = db.execute("SELECT data FROM entry WHERE idx = ?", (index,)).fetchone()
        fields = msgspec.msgpack.decode(data)
        fields[TIME_FIELD] -= HOUR_MS
        altered = msgspec.msgpack.encode(fields)
        leaf = hashlib.sha256(b"\x00" + altered).digest()
        db.execute("UPDATE entry SET data = ?, leaf = ? WHERE idx = ?", (altered, leaf, index))
        db.execute("DELETE FROM checkpoint")
        db.execute("DELETE FROM tile")
        db.commit()
