"""Entries of a peer on their way into a mirror: each judged by the one judge, each signature verified (SPEC §11.9).

What does not pass has no effect for those after it. All signatures of a part are taken to hold at first and verified
together, on threads; where one does not, the part is stepped over once more, and each signature verified before the
next entry is judged. So an honest peer costs one pass, and a lying one two, however many lies it tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from broker.ledger import Replayed
from broker.storage.contract import Storage
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.judge import First, NotSentToMe
from keys.replay import Fault, Replay, Step
from keys.signing import SignatureCheck, verify_all
from protocol.entry import Entry
from protocol.page import Item
from protocol.statements import GOVERNANCE, Bulletin

INLINE_CHECKS_MAX = 15  # as in broker/admission.py
VERIFY_THREADS = 2
_UNSIGNED = Fault("bad-signature", "signatures that verify", "one that does not", 8)


class Arriving(Replayed):
    """The judge's lookup of a mirror: what stands in its file, and what the part at hand has brought so far."""

    def __init__(self, storage: Storage, refused: set[int]) -> None:
        super().__init__(storage)
        self._refused = refused
        self.begin(0, {})

    def begin(self, index: int, directories: dict[bytes, bytes]) -> None:
        """A part whose first entry stands at ``index``, and the JSON that came with it, by hash."""
        self.index, self._directories = index, directories
        self._first: dict[tuple[str, bytes], First] = {}
        self._seen: dict[bytes, int] = {}
        self._entries: dict[int, Entry] = {}

    def note(self, step: Step) -> None:
        """Remember an entry of this part that stands."""
        if step.accepted is None or step.entry is None:
            return
        self._entries[step.index] = step.entry
        statement = step.accepted.statement
        if isinstance(statement, Bulletin):
            self._first[statement.header.sender, statement.header.id] = First(step.index, step.accepted.digest)
        else:
            self._seen[step.accepted.digest] = step.index

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """In this part, or before it."""
        return self._first.get((sender, bulletin_id)) or super().first(sender, bulletin_id)

    def seen(self, digest: bytes) -> int | None:
        """In this part, or before it."""
        return self._seen[digest] if digest in self._seen else super().seen(digest)

    def entry(self, index: int) -> Entry | NotSentToMe | None:
        """Nothing that was refused."""
        if index >= self.index:
            return self._entries.get(index)
        return None if index in self._refused else super().entry(index)

    def directory(self, sha256: bytes) -> bytes | None:
        """What came with the part, else what is in the file."""
        return self._directories.get(sha256) or super().directory(sha256)


class Passage:
    """Steps over parts of one ledger, in order."""

    def __init__(self, replay: Replay, lookup: Arriving, threads: ThreadPoolExecutor) -> None:
        self._replay, self._lookup, self._threads = replay, lookup, threads

    async def step(self, items: Sequence[Item], directories: dict[bytes, bytes]) -> list[tuple[Step, Exchange]]:
        """What each entry came to, and the exchange after it. The replay has moved on, whatever becomes of the part."""
        replay = self._replay
        before = replay.exchange, replay.link, replay.time
        self._lookup.begin(items[0].index, directories)
        steps = [await self._one(item, {}) for item in items]
        owed = [step for step, _ in steps if step.owed]
        verified = await self._verify([step.owed for step in owed])
        if all(verified):
            return steps
        holds = {step.index: held for step, held in zip(owed, verified, strict=True)}
        replay.exchange, replay.link, replay.time = before
        self._lookup.begin(items[0].index, directories)
        return [await self._one(item, holds, sure=True) for item in items]

    async def _one(self, item: Item, holds: Mapping[int, bool], *, sure: bool = False) -> tuple[Step, Exchange]:
        """One entry; to be ``sure`` verifies what ``holds`` does not tell. Governance takes its time to verify."""
        step = self._replay.step(item.index, item.entry, self._lookup)
        if step.entry is None or step.entry.kind in GOVERNANCE or (sure and step.owed):
            await asyncio.sleep(0)
        if sure and step.owed and not (holds[item.index] if item.index in holds else _which_hold([step.owed])[0]):
            step = Step(item.index, step.entry, None, (_UNSIGNED,))
        self._lookup.note(step)
        return step, self._replay.exchange

    async def _verify(self, owed: Sequence[Sequence[SignatureCheck]]) -> list[bool]:
        if len(owed) <= INLINE_CHECKS_MAX:
            return _which_hold(owed)
        loop, half = asyncio.get_running_loop(), (len(owed) + 1) // VERIFY_THREADS
        parts = (owed[:half], owed[half:])
        halves = await asyncio.gather(*(loop.run_in_executor(self._threads, _which_hold, part) for part in parts))
        return [held for part in halves for held in part]


def _which_hold(owed: Sequence[Sequence[SignatureCheck]]) -> list[bool]:
    holds = []
    for checks in owed:
        try:
            verify_all(checks)
        except BadSignature:
            holds.append(False)
        else:
            holds.append(True)
    return holds
