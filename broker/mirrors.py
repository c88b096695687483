"""The mirrors of a node: a file for each peer's ledger, ``mirrors/<sha256 of origin>.db`` in its home."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import structlog

from broker.errors import BrokerError, StorageError
from broker.mirror import Known, Mirror
from broker.storage import mirrored
from broker.storage.mirrored import MirrorStorage
from protocol.entry import Entry

FOLDER = "mirrors"

log = structlog.get_logger()


def digest_of(origin: str) -> str:
    """What a mirrored ledger is called in paths (C2SP tlog-witness)."""
    return hashlib.sha256(origin.encode()).hexdigest()


class Mirrors:
    """By origin. A mirror that was made stays served when its peer is followed no more: its entries still stand."""

    def __init__(self, home: Path, origin: str, pin: bytes, clock: Callable[[], int], known: Known = dict) -> None:
        """``home`` is the node's folder, ``origin`` its own ledger, ``known`` the directory versions in that."""
        self._folder, self._own, self._pin, self._clock = home / FOLDER, origin, pin, clock
        self._known = known
        self._open: dict[str, Mirror] = {}

    def __iter__(self) -> Iterator[Mirror]:
        return iter(tuple(self._open.values()))  # another may be opened while these are gone through

    def get(self, origin: str) -> Mirror | None:
        """One that is open."""
        return self._open.get(origin)

    def accepted(self, origin: str, index: int) -> Entry | None:
        """An entry of a ledger that is mirrored here, and was not refused."""
        mirror = self._open.get(origin)
        return None if mirror is None or mirror.is_refused(index) else mirror.storage.entry(index)

    def by_digest(self, digest: str) -> Mirror | None:
        """By the SHA-256 of its origin."""
        return next((mirror for mirror in self if digest_of(mirror.origin) == digest), None)

    def path_of(self, origin: str) -> Path:
        """Where it is kept."""
        return self._folder / f"{digest_of(origin)}.db"

    def open(self, origin: str) -> Mirror:
        """The mirror of a peer's ledger, made if it is the first time. Raises NodeHomeError, StorageError."""
        if origin not in self._open:
            path = self.path_of(origin)
            if not path.exists():
                self._make(path)
            try:
                self._open[origin] = self._opened(path, origin)
            except sqlite3.Error as error:
                raise StorageError(f"{path} is no mirror: {error}; move it away, and it is fetched anew") from error
        return self._open[origin]

    def _opened(self, path: Path, origin: str) -> Mirror:
        return Mirror(MirrorStorage(path), origin, self._pin, self._own, self._clock, self._known)

    def _make(self, path: Path) -> None:
        """Whole or not at all: a crash leaves no mirror that cannot be opened at the next start."""
        self._folder.mkdir(exist_ok=True, mode=0o700)
        new = path.with_suffix(".new")
        for left in self._folder.glob(f"{new.name}*"):
            left.unlink()
        mirrored.create(new)
        new.replace(path)  # commit point

    def open_all(self, origins: Iterable[str]) -> None:
        """Those of these ledgers that have a file. One that cannot be read stops no node: it can be fetched anew."""
        for origin in origins:
            try:
                if self.path_of(origin).exists():
                    self.open(origin)
            except BrokerError as error:
                log.error("mirror-failed", origin=origin, error=str(error))  # noqa: TRY400 - no trace in the log

    def close(self) -> None:
        """Let go of every file."""
        for mirror in self:
            mirror.close()
        self._open.clear()
