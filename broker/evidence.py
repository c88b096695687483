"""What this node can show against logs that broke their word: gathered, kept, and handed to whoever asks.

Whoever finds that two signed trees do not fit says so here. That alone is no alarm: a stranger's proof that fails is a
refusal, and this asks for a few hash tiles and nothing else. Only what then holds, checked as its readers will check
it, is kept, as ``evidence/SHA256.json`` in the node's home. A pair of trees is kept once, a log's pairs up to a bound:
more of the same shows nothing new.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from broker.ledger import Ledger
from broker.quota import Budget
from keys.fork import Contradiction, Fork, SignedTree, Trees, check
from keys.gathering import Pair, Tiles
from keys.keyring import write_private
from keys.versions import lineage
from protocol.entry import Submission
from protocol.errors import ProtocolError
from protocol.statements import Kind
from protocol.tiles import TilePath

FILES_MAX = 64
FILES_PER_LOG_MAX = 8  # so that no log takes the place of the others'
LOOKED_INTO_PER_MINUTE = 60  # against one log: whoever provokes it costs so much and no more
LOOKING_MAX = 64
Reader = Callable[[str, TilePath], Awaitable[bytes | None]]  # a hash tile of a log; None where it cannot be had

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Held:
    """One file."""

    sha256: bytes
    origin: str
    at: int  # when it was found, in milliseconds
    trees: Trees

    def to_json(self) -> dict[str, Any]:
        """SPEC §11.8."""
        return {"sha256": self.sha256.hex(), "origin": self.origin, "at": self.at}


class Evidence:
    """All that one node holds. ``readers`` are asked for tiles one after the other: the log's own node, a mirror."""

    def __init__(self, folder: Path, ledger: Ledger, clock: Callable[[], int]) -> None:
        self._folder, self._ledger, self._clock = folder, ledger, clock
        self._held: dict[bytes, Held] = {}
        self._busy: dict[str, asyncio.Lock] = {}
        self._budget = Budget(60, lambda: clock() / 1000)
        self._tasks: set[asyncio.Task[bool]] = set()
        self.readers: list[Reader] = []
        self.on_kept: Callable[[], None] = lambda: None
        for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
            self._load(path)

    def _load(self, path: Path) -> None:
        try:
            data = path.read_bytes()
            shown = check(Fork.decode(data), self._ledger.pin)
        except (OSError, ProtocolError) as error:
            log.error("evidence-unreadable", file=path.name, error=str(error))  # noqa: TRY400 - no trace in the log
            return
        self._enter(hashlib.sha256(data).digest(), shown, path.stat().st_mtime_ns // 1_000_000)

    def _enter(self, sha256: bytes, shown: Contradiction, at: int) -> None:
        self._held[sha256] = Held(sha256, shown.origin, at, shown.trees)

    # What is held

    def all(self) -> list[Held]:
        """In the order in which it was found."""
        return list(self._held.values())

    def against(self, origin: str) -> bytes | None:
        """The SHA-256 of the first file against a log: what its readers are told."""
        return next((held.sha256 for held in self._held.values() if held.origin == origin), None)

    def path(self, sha256: bytes) -> Path | None:
        """Where a file lies; None where it is not held."""
        return self._folder / f"{sha256.hex()}.json" if sha256 in self._held else None

    # How it comes to be

    def suspect(self, origin: str, ours: SignedTree, theirs: SignedTree) -> None:
        """Look into it, while whoever found it goes on; where much is being looked into already it is dropped."""
        if len(self._tasks) < LOOKING_MAX:
            task = asyncio.get_running_loop().create_task(self.contradicted(origin, ours, theirs), name="evidence")
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[bool]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("evidence-failed", error=repr(task.exception()))

    def close(self) -> None:
        """Look into nothing more."""
        for task in self._tasks:
            task.cancel()

    async def contradicted(self, origin: str, ours: SignedTree, theirs: SignedTree) -> bool:
        """Two trees of a log that do not fit: a note that is signed by its keys, or a head by its node's receipt key.

        True where evidence of it is held when this returns. False says nothing: it could not be had, or not now, or
        there is none. Never raises for what others did.
        """
        pair = Pair.of(ours, theirs)
        if pair is None or pair.origin != origin:
            return False
        async with self._busy.setdefault(origin, asyncio.Lock()):
            if any(held.trees == pair.trees for held in self._held.values()):
                return True
            return self._budget.spend(origin, LOOKED_INTO_PER_MINUTE) and await self._gather(pair)

    async def _gather(self, pair: Pair) -> bool:
        versions, loop = self._versions(), asyncio.get_running_loop()
        for read in self.readers if pair.wanted() else [_nothing]:
            tiles = await _fetch(pair, read)
            shown = await loop.run_in_executor(None, pair.prove, tiles, versions, self._ledger.pin)
            if shown is not None:
                return self._keep(shown)
        return False

    def _versions(self) -> tuple[Submission, ...]:
        """The directory in force and those before it, as they stand in this node's own ledger."""
        exchange, storage = self._ledger.exchange, self._ledger.storage
        signed = []
        for directory in exchange.versions.values():
            indexes = storage.directory_indexes(directory.hash)
            entry = storage.entry(indexes[0]) if indexes else None
            if entry is not None:
                signed.append(Submission(Kind.DIRECTORY, entry.statement, entry.signatures, (), directory.encode()))
        return lineage(signed, exchange.in_force.hash)

    def _keep(self, shown: Contradiction) -> bool:
        """Make it durable, and say so."""
        of_log = sum(held.origin == shown.origin for held in self._held.values())
        if of_log >= FILES_PER_LOG_MAX or len(self._held) >= FILES_MAX:
            log.warning("evidence-not-kept", origin=shown.origin, held=of_log)
            return True
        data = shown.fork.encode()
        sha256 = hashlib.sha256(data).digest()
        write_private(self._folder / f"{sha256.hex()}.json", data, replace=True)  # commit point
        self._enter(sha256, shown, self._clock())
        self.on_kept()
        log.critical(
            "log-forked",
            origin=shown.origin,
            sizes=[shown.old.size, shown.new.size],
            evidence=sha256.hex(),
            hint="khunjerab audit check",
        )
        return True


async def _fetch(pair: Pair, read: Reader) -> Tiles:
    """What one reader has of the tiles that tell: all of them, or too few to show anything."""
    tiles: dict[TilePath, bytes] = {}
    for path in pair.wanted():
        data = await read(pair.origin, path)
        if data is None:
            break
        tiles[path] = data
    return tiles


async def _nothing(origin: str, path: TilePath) -> bytes | None:
    """Two trees of one size need no tiles."""
    del origin, path
    return None
