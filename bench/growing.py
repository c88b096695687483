"""Large ledgers quickly: through the real ledger and its store, but nothing in them was sealed or signed.

Headers, statements, ids and sizes are those of real bulletins, and the judge admits them. Wraps and bodies are random
bytes under their true hashes, signatures are zeros that nobody verifies: an auditor would name every one.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from bench.carried import READER, SENDER
from broker.ledger import Ledger
from broker.publisher import Publisher
from broker.storage import sqlite
from broker.writer import GROUP_ENTRIES_MAX
from protocol.entry import WRAP_BYTES, Submission
from protocol.names import new_bulletin_id
from protocol.signing import Signature, encode_signatures
from protocol.statements import Bulletin, Kind, WrapHash
from protocol.times import DAY_MS
from tests.support.live import now_ms
from tests.support.world import ORIGINS, World, label, node_keys, signing_key

GROUP = 64
BODY_BYTES = 1096  # what the bench's content comes to
_WAL_GROUPS = 64


class Grower:
    """Appends to one ledger as the writer of a node does, group by group."""

    def __init__(self, path: Path, world: World) -> None:
        self.ledger = Ledger(sqlite.SqliteStorage(path), ORIGINS["PK"], world.pin, signing_key("PK"))
        self._publisher = Publisher(self.ledger, node_keys("PK").log)
        created = now_ms()
        self._header = world.header(SENDER, (READER,), label=label("Restricted"), created=created)
        self._header = self._header.replace(expires=created + DAY_MS)
        self._keys = [seat.key.key_id for seat in world.seats(self._header)]
        self._signatures = encode_signatures((Signature(signing_key(f"{SENDER}/desk").public.key_id, bytes(64), None),))
        self._groups = 0

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.ledger.tree.size

    def grow_to(self, size: int) -> None:
        """Append until there are so many, in groups as large as a node's can be."""
        while self.size < size:
            self.append(self.submissions(min(GROUP_ENTRIES_MAX, size - self.size)))

    def submissions(self, count: int) -> list[Submission]:
        """New ones, each under its own id."""
        return [self._submission() for _ in range(count)]

    def _submission(self) -> Submission:
        header = self._header.replace(id=new_bulletin_id(time.time_ns() // 1_000_000, os.urandom(10)))
        wraps = tuple(os.urandom(WRAP_BYTES) for _ in self._keys)
        body = os.urandom(BODY_BYTES)
        hashes = tuple(
            WrapHash(key, hashlib.sha256(wrap).digest()) for key, wrap in zip(self._keys, wraps, strict=True)
        )
        statement = Bulletin(header, header.encode(), hashes, hashlib.sha256(body).digest()).encode()
        return Submission(Kind.BULLETIN, statement, self._signatures, wraps, body)

    def append(self, submissions: list[Submission]) -> None:
        """Judge, build, commit, promise; now and then what a node's other threads do."""
        staged = [self.ledger.stage(one, now_ms()) for one in submissions]
        built = self.ledger.build(staged)
        self.ledger.commit(built)
        self.ledger.promise(built)
        self._groups += 1
        if self._groups % _WAL_GROUPS == 0:
            self.settle()

    def settle(self) -> None:
        """Sign a checkpoint over what there is, and move the WAL into the file."""
        self._publisher.publish(self._publisher.derive(), int(time.time()))
        storage = self.ledger.storage
        assert isinstance(storage, sqlite.SqliteStorage)
        storage.checkpoint_wal()

    def close(self) -> None:
        """Leave the file whole."""
        self.settle()
        storage = self.ledger.storage
        assert isinstance(storage, sqlite.SqliteStorage)
        storage.close()
