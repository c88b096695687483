"""A witness under any order of requests, faults and starts: all that it ever let out is one history of each log."""

from __future__ import annotations

import asyncio
import functools
import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.witness import store
from broker.witness.store import WitnessStore
from broker.witness.witness import Witness
from keys.lognote import cosignatures_of
from protocol import merkle
from protocol.addcheckpoint import AddCheckpoint, decode_lines
from protocol.checkpoint import Checkpoint
from tests.faults.test_witness_store import STATEMENTS, Failing
from tests.support import trees
from tests.support.submitting import TIME_S, KnownLogs, SubmittingLog, cosigner_keys, log_signer

LOG = SubmittingLog.of(log_signer("pk.example/ledger"), 12)
HISTORIES = (LOG, LOG.forked(3, b"a"), LOG.forked(7, b"b"), LOG.forked(7, b"c"))
KEYS = cosigner_keys("w.example/one")


@dataclass(frozen=True)
class Turn:
    """Requests sent at once; where the store fails meanwhile; whether the witness is started again after it."""

    asked: tuple[tuple[int, int | None, int], ...]  # which history, the old size or what was seen last, the new one
    fails: str | None
    happened: bool
    restarts: bool


sizes = st.integers(0, len(LOG.leaves))
asked = st.tuples(st.integers(0, len(HISTORIES) - 1), st.just(None) | sizes, sizes)
turns = st.lists(
    st.builds(
        Turn,
        st.lists(asked, min_size=1, max_size=4).map(tuple),
        st.none() | st.sampled_from(sorted(set(STATEMENTS))),
        st.booleans(),
        st.booleans(),
    ),
    max_size=10,
)


class Waiting:
    """A mirror that takes a turn of the loop or two before it agrees, so that requests overtake each other."""

    def __init__(self) -> None:
        self._turns = 0

    async def holds(self, checkpoint: Checkpoint) -> bytes | None:
        self._turns += 1
        for _ in range(self._turns % 3):
            await asyncio.sleep(0)
        return checkpoint.root


@functools.cache
def _request(log: SubmittingLog, old: int, new: int) -> bytes:
    return log.request(old, new)


def _start(path: Path) -> Witness:
    return Witness(KEYS, WitnessStore(path), KnownLogs(LOG.signer), Waiting().holds, lambda: TIME_S)


async def _let_out(path: Path, plan: list[Turn]) -> list[tuple[SubmittingLog, int]]:
    """Every tree that was cosigned, in the order of their answers; each answer verified."""
    out: list[tuple[SubmittingLog, int]] = []
    subject = _start(path)
    for turn in plan:
        inner = subject.store._writer
        if turn.fails is not None:
            subject.store._writer = Failing(inner, turn.fails, happened=turn.happened)  # type: ignore[assignment]
        (seen,) = {row.size for row in subject.store.all()} or {0}
        known = [(HISTORIES[number], min(seen if old is None else old, new), new) for number, old, new in turn.asked]
        answers = await asyncio.gather(*(subject.add_checkpoint(_request(*each)) for each in known))
        for (log, _, new), answer in zip(known, answers, strict=True):
            assert answer.status in {200, 409, 422, 503}
            if answer.status == 200:
                lines = decode_lines(answer.body)
                assert len(cosignatures_of(log.checkpoint(new), lines, KEYS.vkeys())) == 2
                out.append((log, new))
        subject.store._writer = inner
        if turn.restarts:
            subject.close()
            subject = _start(path)
    subject.close()
    return out


@settings(max_examples=60, deadline=None)
@given(plan=turns)
def test_all_that_was_let_out_is_one_history(plan: list[Turn]) -> None:
    """Of any two trees one extends the other, by a proof that anybody could check. SPEC 9.7.3."""
    folder = Path(tempfile.mkdtemp())
    try:
        store.create(folder / "witness.db")
        out = asyncio.run(_let_out(folder / "witness.db", plan))
    finally:
        shutil.rmtree(folder)
    for (log, size), (other, larger) in pairwise(sorted(out, key=lambda each: each[1])):
        nodes = trees.memory(other.leaves)
        path = merkle.consistency_path(size, larger, nodes)
        merkle.verify_consistency(size, larger, path, log.checkpoint(size).root, other.checkpoint(larger).root)


def test_the_oracle_would_see_two_histories() -> None:
    """Two forks of one size are no history: the check above can fail."""
    one, two = HISTORIES[2].request(0, 9), HISTORIES[3].request(0, 9)
    assert AddCheckpoint.parse(one).checkpoint.root != AddCheckpoint.parse(two).checkpoint.root
