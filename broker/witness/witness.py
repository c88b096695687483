"""The witness: what it takes to have a checkpoint cosigned (SPEC §9.7; C2SP tlog-witness).

Why it never signs two trees of one log that are not one history, whatever comes in between:

- What is signed is judged against the row of the log, read in the same call on the same one thread that then writes:
  no two requests are judged by one row. What was judged before the mirror was waited for is judged again there.
- The row is written only in place of the very row judged by, in one transaction of SQLite, which a second process on
  the same file would have to wait for; the table itself refuses to go back.
- The lines are signed in memory before the row is durable, and leave this process after. A crash, or a write that
  failed and may have happened, loses lines that nobody has seen; the row is then that of before or of after, and both
  extend all that was ever let out. The next request reads which one it is: nothing is remembered beside the store.
- So every tree that was ever let out is at or before the row, in one chain of consistency proofs that were verified.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from broker.errors import BrokerError
from broker.witness.store import Kept, Overtaken, WitnessStore
from keys.lognote import CosignerKeys, OpenedCheckpoint, open_checkpoint
from protocol.addcheckpoint import SIZE_MEDIA_TYPE, AddCheckpoint, encode_lines, encode_size
from protocol.checkpoint import Checkpoint
from protocol.errors import ProofFailed, ProtocolError
from protocol.merkle import verify_consistency
from protocol.note import Note, SignatureLine, VerifierKey

TEXT_MEDIA_TYPE = "text/plain; charset=utf-8"
WAITING_MAX = 16  # requests of one log that are judged, or wait for the mirror, at a time

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    content_type: str = TEXT_MEDIA_TYPE


class Logs(Protocol):
    """The logs that a witness cosigns."""

    every_key: bool  # whether a checkpoint needs the line of every key, or of one; none may fail in any case

    def keys_of(self, origin: str) -> Sequence[VerifierKey]:
        """The keys of a log; none where it is not known."""


# The root that the mirror has derived at the size of a checkpoint, waited for a while; None where it is not there yet.
Holds = Callable[[Checkpoint], Awaitable[bytes | None]]
# A checkpoint that its log has signed, and the row that it does not extend: perhaps evidence, perhaps a wrong proof.
Disputed = Callable[[Kept, AddCheckpoint], None]


async def holds_nothing_to_compare(checkpoint: Checkpoint) -> bytes | None:
    """Of a witness that keeps no entries: the tree is what the log says, as long as it extends."""
    return checkpoint.root


class _Refused(Exception):
    """Not cosigned: what to answer, and the row that a checkpoint of its log does not extend."""

    def __init__(self, answer: Answer, disputes: Kept | None = None) -> None:
        super().__init__(answer.status)
        self.answer, self.disputes = answer, disputes


def _refuse(status: int, reason: str, disputes: Kept | None = None) -> _Refused:
    return _Refused(Answer(status, f"{reason}\n".encode()), disputes)


class Witness:
    """Cosigns what extends. One of a process over one store."""

    def __init__(
        self, keys: CosignerKeys, store: WitnessStore, logs: Logs, holds: Holds, clock_s: Callable[[], int]
    ) -> None:
        self.store = store
        self.holds = holds
        self.disputed: Disputed = _no_dispute
        self.answers = Counter[int]()  # by status
        self.failure: str | None = None  # of the store, until it does its work again
        self._keys, self._logs, self._clock_s = keys, logs, clock_s
        self._waiting = Counter[str]()
        self._thread = ThreadPoolExecutor(1, "witness")

    def close(self) -> None:
        """Finish what is being written, and release the store."""
        self._thread.shutdown()
        self.store.close()

    async def add_checkpoint(self, body: bytes) -> Answer:
        """Cosignature lines, or why not: the statuses and bodies are those of C2SP tlog-witness."""
        try:
            answer = await self._add(body)
        except _Refused as refused:
            answer = refused.answer
        except BrokerError as error:  # the next request reads the store again
            log.error("witness-store-failed", error=str(error))  # noqa: TRY400 - no trace in the log
            self.failure = str(error)
            answer = Answer(503, b"the witness cannot write\n")
        self.answers[answer.status] += 1
        if answer.status == 200:  # noqa: PLR2004
            self.failure = None
        return answer

    async def _add(self, body: bytes) -> Answer:
        """The cosigned answer, or ``_Refused``.

        To cosign a checkpoint a witness must:
        (1) read the request in its one form, the old size not above the checkpoint's: else 400;
        (2) know the log: else 404;
        (3) have few others of the same log at hand: else 429;
        (4) find the log's signature good: else 403;
        (5) have cosigned the old size last, or nothing where it is 0: else 409 and the size;
        (6) find that the tree extends that one, by the proof: else 422;
        (7) hold the entries where it mirrors them, and have derived this root itself: else 503, or 422;
        (8) find (5) and (6) still so, and make durable what it is about to let out;
        (9) and only then let it out.
        """
        try:
            request = AddCheckpoint.parse(body)  # (1)
        except ProtocolError as error:
            raise _refuse(400, error.detail) from None
        checkpoint = request.checkpoint
        keys = self._logs.keys_of(checkpoint.origin)
        if not keys:  # (2)
            raise _refuse(404, "this witness does not know the log")
        with self._lane(checkpoint.origin):  # (3)
            try:
                opened = await self._run(lambda: self._judge(request, keys))  # (4) (5) (6)
                await self._compare(checkpoint)  # (7)
                return await self._run(lambda: self._cosign(request, opened))  # (8) (9)
            except _Refused as refused:
                if refused.disputes is not None:
                    self._dispute(refused.disputes, request)
                raise

    @contextlib.contextmanager
    def _lane(self, origin: str) -> Iterator[None]:
        """A stranger who repeats what a log has signed keeps that log's lane busy, and nobody else's."""
        if self._waiting[origin] >= WAITING_MAX:
            raise _refuse(429, "too many requests for this log at a time")
        self._waiting[origin] += 1
        try:
            yield
        finally:
            self._waiting[origin] -= 1

    async def _run(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _judge(self, request: AddCheckpoint, keys: Sequence[VerifierKey]) -> OpenedCheckpoint:
        opened = _open(request.note, keys, every_key=self._logs.every_key)
        _check_extends(request, self.store.kept(opened.checkpoint.origin))
        return opened

    async def _compare(self, checkpoint: Checkpoint) -> None:
        derived = await self.holds(checkpoint)
        if derived is None:
            raise _refuse(503, f"the entries below {checkpoint.size} are not here yet")
        if derived != checkpoint.root:
            log.error("witness-derived-another", origin=checkpoint.origin, size=checkpoint.size)
            raise _refuse(422, f"the {checkpoint.size} entries that were delivered here hash to another root")

    def _cosign(self, request: AddCheckpoint, opened: OpenedCheckpoint) -> Answer:
        """(8) and (9), on the one thread: nothing comes between the row judged by and the row written."""
        checkpoint = opened.checkpoint
        before = self.store.kept(checkpoint.origin)
        _check_extends(request, before)
        time_s = max(self._clock_s(), before.time_s, 1)  # 0 would claim nothing, and the past was claimed for others
        said = self._lines_of(before)
        if said and (before.size, before.time_s) == (checkpoint.size, time_s):  # durable, and as fresh as can be
            return Answer(200, encode_lines(said))
        lines = self._keys.lines(checkpoint, time_s)
        note = Note(checkpoint.text(), (*opened.log_lines, *lines)).encode()
        try:
            self.store.advance(before, Kept(checkpoint.origin, checkpoint.size, checkpoint.root, time_s, note))
        except Overtaken:
            raise _conflict(self.store.kept(checkpoint.origin)) from None
        return Answer(200, encode_lines(lines))

    def _lines_of(self, kept: Kept) -> list[SignatureLine]:
        """What these keys said of the row. Said again, repeats cost no signature and no write, whoever sends them."""
        names = {(key.name, key.key_id) for key in self._keys.vkeys()}
        lines = Note.parse(kept.note).lines if kept.note else ()
        return [line for line in lines if (line.name, line.key_id) in names]

    def _dispute(self, kept: Kept, request: AddCheckpoint) -> None:
        log.info("witness-refused-tree", origin=kept.origin, kept=kept.size, size=request.checkpoint.size)
        self.disputed(kept, request)


def _open(note: Note, keys: Sequence[VerifierKey], *, every_key: bool) -> OpenedCheckpoint:
    """(4). One line of each known key at most, so that a request costs no more signatures than a log has keys."""
    named = Counter((line.name, line.key_id) for line in note.lines)
    present = [key for key in keys if named[key.name, key.key_id]]
    if any(named[key.name, key.key_id] > 1 for key in present):
        raise _refuse(403, "two lines of one key of the log")
    try:
        return open_checkpoint(note.encode(), keys if every_key else present)
    except ProofFailed as error:
        raise _refuse(403, error.detail) from None


def _check_extends(request: AddCheckpoint, kept: Kept) -> None:
    """(5) and (6). A tree of the size that was cosigned, with another root, is disputed whatever the old size says."""
    checkpoint = request.checkpoint
    differs = checkpoint.size == kept.size and checkpoint.root != kept.root
    if request.old != kept.size:
        raise _conflict(kept, disputed=differs and kept.size > 0)
    try:
        verify_consistency(kept.size, checkpoint.size, request.path, kept.root, checkpoint.root)
    except ProofFailed as error:
        raise _refuse(422, error.detail, kept if kept.size else None) from None


def _conflict(kept: Kept, *, disputed: bool = False) -> _Refused:
    return _Refused(Answer(409, encode_size(kept.size), SIZE_MEDIA_TYPE), kept if disputed else None)


def _no_dispute(kept: Kept, request: AddCheckpoint) -> None:
    """Nobody looks into it: it is counted and logged."""
