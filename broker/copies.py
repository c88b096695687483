"""Governance of a peer's ledger, entered in this node's own, once: what one nation ended, both must know.

Directory versions, revocations and suspensions are taken from any ledger; a bundle only from its agency's home, in the
order of its chain. Each goes through the one judge like anything posted, which may refuse a copy: it is tried again
whenever the exchange has become another.
"""

from __future__ import annotations

import asyncio

import structlog

from broker.ledger import Ledger
from broker.mirror import Mirror
from broker.writer import Writer
from keys.exchange import Exchange
from protocol.directory import Directory
from protocol.entry import Entry, Submission
from protocol.problem import Problem
from protocol.statements import DirectoryVersion, KeyBundle, decode, statement_hash

_LATER = {"storage-unavailable", "not-signing", "stopping"}  # nothing is wrong with the copy

log = structlog.get_logger()


class Copies:
    """What has been looked at of each mirror, and what this ledger would not take yet."""

    def __init__(self, ledger: Ledger, writer: Writer) -> None:
        self._ledger, self._writer = ledger, writer
        self._next: dict[str, int] = {}  # by origin: every entry of the mirror below it is done with
        self._listed: dict[str, Directory] = {}  # by origin: the version in force there at that place
        self._turn = asyncio.Lock()
        self._refused: dict[bytes, tuple[Submission, Exchange]] = {}

    async def enter(self, mirror: Mirror) -> None:
        """Enter what came since the last time. Where this node cannot write now, the next call goes on from there."""
        async with self._turn:
            size = mirror.size
            if self._next.get(mirror.origin, 0) >= size:
                return
            for index, data in mirror.storage.governance():
                if index >= size:  # just written: what is refused of it is known when the mirror has grown
                    break
                if index < self._next.get(mirror.origin, 0) or mirror.is_refused(index):
                    continue
                if not await self._enter(mirror, Entry.decode(data)):
                    return
                self._next[mirror.origin] = index + 1
            self._next[mirror.origin] = size

    async def retry(self) -> None:
        """What was refused, if the exchange that refused it is not the one that stands now."""
        for digest, (submission, exchange) in list(self._refused.items()):
            if exchange is not self._ledger.exchange:
                del self._refused[digest]
                await self._submit(digest, submission)

    async def _enter(self, mirror: Mirror, entry: Entry) -> bool:
        """Whether one is done with, entered or not."""
        digest, statement = statement_hash(entry.kind, entry.statement), decode(entry.kind, entry.statement)
        if isinstance(statement, DirectoryVersion):
            self._list(mirror, mirror.exchange.versions[statement.sha256])
        if self._ledger.storage.seen(digest) is not None:
            return True
        if isinstance(statement, KeyBundle):
            agency = self._listed[mirror.origin].by_agency.get(statement.agency)
            if agency is None or agency.home != mirror.origin:
                return True
        body = mirror.storage.directory(statement.sha256) if isinstance(statement, DirectoryVersion) else b""
        return await self._submit(digest, Submission(entry.kind, entry.statement, entry.signatures, (), body or b""))

    def _list(self, mirror: Mirror, version: Directory) -> None:
        """Where agencies are at home from here on: a bundle from before a move is of the home that it was posted at."""
        listed = self._listed.get(mirror.origin)
        if listed is None or listed.version < version.version:
            self._listed[mirror.origin] = version

    async def _submit(self, digest: bytes, submission: Submission) -> bool:
        try:
            await self._writer.submit(submission)
        except Problem as problem:
            if problem.code in _LATER:
                return False
            log.warning("copy-refused", kind=submission.kind.word, statement=digest.hex(), code=problem.code)
            self._refused[digest] = submission, self._ledger.exchange
        return True
