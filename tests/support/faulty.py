"""A store that fails as it is told, and that holds its caller to the contract of broker/storage/contract.py.

``fail("append", happened=True)`` does the thing and says that it is unsure; ``fail("entry", times=None)`` goes on until
``heal``. What the caller does though the contract forbids it is an AssertionError where it happens, and in
``violations``.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from broker.errors import StorageError, StorageUnsure
from broker.storage.contract import NewEntry, Storage
from protocol.checkpoint import Checkpoint
from protocol.note import Note

WRITES = ("append", "record_root", "publish", "expunge", "fill", "halt")
READS = (
    *("size", "entry_bytes", "reread", "leaf_hashes", "tile", "tile_roots", "governance", "entry", "first"),
    *(
        "firsts",
        "seen",
        "directory",
        "deliveries",
        "wrap",
        "wraps",
        "together",
        "body",
        "body_indexes",
        "directory_indexes",
        "acknowledged",
        "expirable",
    ),
    *("newest_recorded", "newest_published", "halted", "bytes_used"),
)


class FaultyStorage:
    """Between a node and its real store."""

    def __init__(self, storage: Storage) -> None:
        self.inner = storage
        self.violations: list[str] = []
        self.fired: Counter[str] = Counter()
        self._faults: dict[str, tuple[bool, int | None]] = {}
        self._writing = threading.Lock()
        self._must_reload = False
        recorded = storage.newest_recorded()
        self._reread = recorded.size if recorded else 0

    def fail(self, operation: str, *, happened: bool = False, times: int | None = 1) -> None:
        """From now on ``operation`` fails, ``times`` times or until ``heal``; if it ``happened``, after doing it."""
        assert operation in WRITES + READS
        assert operation in WRITES or not happened
        self._faults[operation] = (happened, times)

    def heal(self) -> None:
        """Everything works again."""
        self._faults.clear()

    def close(self) -> None:
        """Once, and last."""
        self.inner.close()

    def checkpoint_wal(self) -> bool:
        """Of no consequence."""
        return self.inner.checkpoint_wal()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in WRITES + READS:
            raise AttributeError(name)
        return functools.partial(self._write if name in WRITES else self._act, name)

    def _write(self, name: str, *values: Any, **named: Any) -> object:
        self._require(self._writing.acquire(blocking=False), f"{name} while another thread writes")
        try:
            getattr(self, f"_before_{name}", lambda *_: None)(*values)
            return self._act(name, *values, **named)
        finally:
            self._writing.release()

    def _act(self, name: str, *values: Any, **named: Any) -> object:
        happened, times = self._faults.get(name, (False, 0))
        fails = times != 0
        if fails:
            self.fired[name] += 1
            if times is not None:
                self._faults[name] = (happened, times - 1)
            if not happened:
                raise StorageError(f"{name} fails, as told")
        result = getattr(self.inner, name)(*values, **named)
        if name == "size":
            self._must_reload = False
        if name == "reread" and values[0] <= self._reread:
            self._reread = max(self._reread, values[0] + len(result))
        if fails:
            self._must_reload = name == "append"
            raise StorageUnsure(f"{name} failed and happened, as told")
        return result

    # The contract

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            self.violations.append(what)
            raise AssertionError(what)

    def _before_append(self, entries: list[NewEntry], tiles: object) -> None:
        del tiles
        self._require(not self._must_reload, "append after an unsure one, without a look at what is durable")
        first = self.inner.size()
        indexes = [entry.index for entry in entries]
        self._require(indexes == list(range(first, first + len(entries))) != [], f"append of {indexes} behind {first}")

    def _before_record_root(self, size: int, root: bytes) -> None:
        recorded = self.inner.newest_recorded()
        self._require(size <= self._reread, f"{size} entries are signed for and {self._reread} were read again")
        self._require(
            recorded is None or recorded.size < size or (recorded.size, recorded.root) == (size, root),
            f"a root at {size} behind one that was recorded",
        )

    def _before_publish(self, size: int, note: str, head: bytes = b"") -> None:
        del head
        recorded, checkpoint = self.inner.newest_recorded(), Checkpoint.parse(Note.parse(note).text)
        self._require(
            recorded is not None and (recorded.size, recorded.root) == (size, checkpoint.root) == (size, recorded.root),
            f"a checkpoint of {size} whose root is not the last recorded",
        )
