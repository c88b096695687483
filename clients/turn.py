"""Turns: what only one process at a time may do in a home, such as sending."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Self

_LOOK_AGAIN_SECONDS = 0.02


class Turn:
    """A lock on a file of the home, held until the block ends or the process does; one process may nest it."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._depth = path, -1, 0

    async def __aenter__(self) -> Self:
        while not self.take():  # noqa: ASYNC110 - no event crosses processes
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.leave()

    def take(self) -> bool:
        """Whether it is this process's turn now."""
        if not self._depth:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._file)
                return False
        self._depth += 1
        return True

    def leave(self) -> None:
        """The next one's turn."""
        self._depth -= 1
        if not self._depth:
            os.close(self._file)  # which unlocks it
