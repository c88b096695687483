"""The file under ``state.db``: one connection, one lock for writers, and what is sealed in it."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import nacl.secret

from clients.errors import UsageError
from keys.secret import Secret

SCHEMA_VERSION = 1
_LOCK_SECONDS = 30


class Store:
    """One connection; every change of several rows is one transaction (``with state.transaction()``)."""

    def __init__(self, path: Path, key: Callable[[], Secret]) -> None:
        """``key`` is asked for when something is first sealed or unsealed: what is public is read without it."""
        self._key = key
        if not path.exists():
            path.touch(mode=0o600)
        self._db = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        with self.transaction():  # two terminals may open a new home at once
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._create()
        if version not in {0, SCHEMA_VERSION}:
            raise UsageError(f"{path} is of version {version}, this program writes {SCHEMA_VERSION}")

    def _create(self) -> None:
        from importlib.resources import files  # once in the life of a home

        statement = ""
        for line in files("clients").joinpath("schema.sql").read_text().splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self._db.execute(statement)
                statement = ""
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

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
            if self._db.in_transaction:  # a full disk has ended it already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @functools.cached_property
    def _box(self) -> nacl.secret.SecretBox:
        return nacl.secret.SecretBox(self._key().reveal())

    def seal(self, data: bytes) -> bytes:
        """Under the store key."""
        return bytes(self._box.encrypt(data))

    def unseal(self, sealed: bytes) -> bytes:
        """What ``seal`` sealed."""
        return self._box.decrypt(sealed)
