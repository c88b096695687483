"""What the bench asks of whatever carries bulletins, so that all are asked for the same."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from protocol.entry import Submission

Publish = Callable[[Sequence[Submission]], Awaitable[None]]


class Arrived(NamedTuple):
    """What a reader needs of one bulletin: what was signed, by what signature, its own wrap, and the body."""

    statement: bytes
    signatures: bytes
    wrap: bytes
    body: bytes


class Served(NamedTuple):
    """A broker that runs: where, and as which process."""

    url: str
    pid: int


class Carrier(Protocol):
    """A broker and the client that its users have. Each method runs in a process of its own.

    ``serving`` starts the broker over an empty folder and ends it. ``publishing`` gives a function that returns when
    the broker has acknowledged; it may be called again before that. ``arriving`` yields what has come, in order, from
    the first on, and an empty list once it is listening.
    """

    name: str
    batch: int  # how many bulletins one request takes, where 64 are in flight

    def serving(self, folder: Path) -> AbstractContextManager[Served]:
        """The broker."""

    def publishing(self, served: Served) -> AbstractAsyncContextManager[Publish]:
        """The publisher's client."""

    def arriving(self, served: Served) -> AsyncGenerator[list[Arrived], None]:
        """The subscriber's client."""


def arrived(message: bytes) -> Arrived:
    """A whole envelope as a reader takes it: the first wrap is its own, as addressees stand by name."""
    submission = Submission.decode(message)
    return Arrived(submission.statement, submission.signatures, submission.wraps[0], submission.body)


def end(process: subprocess.Popen[bytes]) -> None:
    """End one process that we started, and wait for it."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
