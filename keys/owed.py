"""The signature checks that a replay still owes, run in chunks on two threads while it goes on.

PyNaCl and ML-DSA release the interpreter's lock, and a chunk a call is what makes a thread worth its while.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from keys.errors import BadSignature
from keys.signing import SignatureCheck, verify_all

THREADS = 2
_CHUNK_ENTRIES = 64
_CHUNKS_WAITING_MAX = 16
_SWITCH_SECONDS = 0.0005  # a thread back from libsodium waits this long for a replay that never pauses; 5 ms without

Owing = tuple[int, Sequence[SignatureCheck]]


class Owed:
    """Checks by the entry that owes them, in order of index; ``refuse`` is told which entries do not hold."""

    def __init__(self, threads: ThreadPoolExecutor, refuse: Callable[[int], None]) -> None:
        self._threads, self._refuse = threads, refuse
        self._chunk: list[Owing] = []
        self._running: deque[tuple[int, Future[list[int]]]] = deque()  # with the first index of each chunk

    def add(self, index: int, checks: Sequence[SignatureCheck]) -> None:
        """To be run soon."""
        self._chunk.append((index, checks))
        if len(self._chunk) == _CHUNK_ENTRIES:
            self._start()
            if len(self._running) > _CHUNKS_WAITING_MAX:
                self._finish_one()

    def settle(self, index: int) -> None:
        """Wait until it is known whether the entry at ``index``, and every one before it, holds."""
        if self._chunk and self._chunk[0][0] <= index:
            self._start()
        while self._running and self._running[0][0] <= index:
            self._finish_one()

    def settle_all(self) -> None:
        """Wait for all of them."""
        if self._chunk:
            self._start()
        while self._running:
            self._finish_one()

    def _start(self) -> None:
        chunk, self._chunk = self._chunk, []
        self._running.append((chunk[0][0], self._threads.submit(_failing, chunk)))

    def _finish_one(self) -> None:
        for index in self._running.popleft()[1].result():
            self._refuse(index)


def _failing(chunk: Sequence[Owing]) -> list[int]:
    failing = []
    for index, checks in chunk:
        try:
            verify_all(checks)
        except BadSignature:
            failing.append(index)
    return failing


@contextmanager
def verifying() -> Iterator[ThreadPoolExecutor]:
    """Threads for ``Owed``, and an interpreter that hands its lock over quickly enough for them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="verify") as threads:
            yield threads
    finally:
        sys.setswitchinterval(before)
