"""The signature checks that a replay still owes, run in chunks on every core while it goes on.

The replay verifies too whenever the other cores have enough to do, so that none of them is idle.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from keys.signing import SignatureCheck
from keys.verifier import Chunk, Verifier, verified

_CHUNK_ENTRIES = 64
_VERIFIERS_MAX = 3  # a verification takes between two and three times as long as all else that an entry costs
_CHUNKS_FIRST = 32  # which are done before a process has started


class Verifiers:
    """As many processes as there are other cores. They start once there is enough to do, so most ledgers start none."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started: list[Verifier] = []
        self._chunks = 0

    def free(self) -> Verifier | None:
        """One that waits for work; None where the asker should do it itself."""
        self._chunks += 1
        if self._chunks <= _CHUNKS_FIRST:
            return None
        while len(self._started) < self._count:
            try:
                self._started.append(Verifier())
            except OSError:  # there may be no more processes, or descriptors: those that there are will do
                self._count = len(self._started)
        return next((verifier for verifier in self._started if verifier.is_free()), None)

    def pids(self) -> list[int]:
        """Of those that have started."""
        return [verifier.pid for verifier in self._started]

    def close(self) -> None:
        """Let them end."""
        for verifier in self._started:
            verifier.close()


@contextmanager
def verifying(count: int | None = None) -> Iterator[Verifiers]:
    """Processes for ``Owed``, one for each core but this one's unless ``count`` says how many."""
    others = len(os.sched_getaffinity(0)) - 1
    verifiers = Verifiers(min(others, _VERIFIERS_MAX) if count is None else count)
    try:
        yield verifiers
    finally:
        verifiers.close()


class Owed:
    """Checks by the entry that owes them, in order of index; ``refuse`` is told which entries do not hold."""

    def __init__(self, verifiers: Verifiers, refuse: Callable[[int], None]) -> None:
        self._verifiers, self._refuse = verifiers, refuse
        self._indexes: list[int] = []
        self._checks: list[Sequence[SignatureCheck]] = []
        self._running: deque[tuple[Chunk, Verifier | None]] = deque()

    def add(self, index: int, checks: Sequence[SignatureCheck]) -> None:
        """To be run soon."""
        self._indexes.append(index)
        self._checks.append(checks)
        if len(self._indexes) == _CHUNK_ENTRIES:
            self._start()
            while self._running and self._running[0][0].answer is not None:
                self._finish_one()

    def settle(self, index: int) -> None:
        """Wait until it is known whether the entry at ``index``, and every one before it, holds."""
        if self._indexes and self._indexes[0] <= index:
            self._start()
        while self._running and self._running[0][0].indexes[0] <= index:
            self._finish_one()

    def settle_all(self) -> None:
        """Wait for all of them."""
        if self._indexes:
            self._start()
        while self._running:
            self._finish_one()

    def _start(self) -> None:
        chunk = Chunk(self._indexes, self._checks)
        self._indexes, self._checks = [], []
        verifier = self._verifiers.free()
        if verifier is None:
            chunk.answer = verified(chunk.checks)
        else:
            verifier.ask(chunk)
        self._running.append((chunk, verifier))

    def _finish_one(self) -> None:
        chunk, verifier = self._running.popleft()
        if verifier is not None:
            verifier.wait_for(chunk)
        for index in chunk.failing():
            self._refuse(index)
