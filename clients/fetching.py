"""Fetching a ledger from a node into an archive: a few requests at a time, in order, nothing verified here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterator

from clients.archive import Archive
from clients.copies import Copy
from clients.errors import Declined, Unreachable
from protocol import limits
from protocol.checkpoint import Checkpoint
from protocol.entry import Entry
from protocol.errors import ProtocolError
from protocol.merkle import HASH_BYTES, leaf_hash
from protocol.statements import Bulletin, DirectoryVersion, Kind
from protocol.tiles import HEIGHT, WIDTH, decode_bundle, partial_width, tile_path

AHEAD = 8  # bundles on their way
BODIES_AHEAD = 8
_BUNDLE_BYTES_MAX = WIDTH * (limits.ENTRY_BYTES_MAX + 2)
_KIND = {Kind.DIRECTORY: b"\x95\x03", Kind.BULLETIN: b"\x95\x01"}  # how a canonical entry of that kind begins


class Fetcher:
    """A ledger as one node shows it, at one checkpoint."""

    def __init__(self, copy: Copy, archive: Archive, checkpoint: Checkpoint, *, bodies: bool) -> None:
        self._copy, self._wire, self._archive, self._bodies = copy, copy.wire, archive, bodies
        self.checkpoint = checkpoint
        self._count = (checkpoint.size + WIDTH - 1) // WIDTH
        self._few = asyncio.Semaphore(BODIES_AHEAD)

    async def bundles(self, kept: int) -> AsyncIterator[list[bytes]]:
        """Every bundle in order; those wholly below ``kept`` entries, which were verified before, from the archive."""
        waiting: deque[asyncio.Task[list[bytes]]] = deque()
        try:
            for number in range(self._count):
                waiting.append(asyncio.create_task(self._bundle(number, kept=(number + 1) * WIDTH <= kept)))
                if len(waiting) == AHEAD:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()

    async def _bundle(self, number: int, *, kept: bool) -> list[bytes]:
        width = partial_width(self.checkpoint.size, 0, number)
        tiles = [await self._tile(level, index) for level, index in self._tiles_ending_in(number)]
        entries = self._archive.entries(number * WIDTH, number * WIDTH + width) if kept else []
        if b"".join(map(leaf_hash, entries)) != tiles[0]:  # it shows others now: they are what is to be judged
            data = await self._copy.get(tile_path(None, number, width), _BUNDLE_BYTES_MAX)
            try:
                entries = decode_bundle(data, width)
            except ProtocolError as error:
                raise Unreachable(f"{self._wire.url} answers what is no entry bundle: {error.detail}") from None
            self._archive.write_tile(None, number, width, data)
        await self._beside(number * WIDTH, entries)
        return entries

    def _tiles_ending_in(self, number: int) -> Iterator[tuple[int, int]]:
        """Level and index of the hash tiles that this bundle's entries are the last of: no size is believed ahead."""
        size, level, full = self.checkpoint.size, 1, number + 1
        yield 0, number
        while full % WIDTH == 0 and full * WIDTH**level <= size:
            full //= WIDTH
            yield level, full - 1
            level += 1
        edge = 1
        while number == self._count - 1 and (hashes := size >> HEIGHT * edge):
            if hashes % WIDTH:
                yield edge, hashes // WIDTH
            edge += 1

    async def _tile(self, level: int, index: int) -> bytes:
        width = partial_width(self.checkpoint.size, level, index)
        data = await self._copy.get(tile_path(level, index, width), WIDTH * HASH_BYTES)
        self._archive.write_tile(level, index, width, data)
        return data

    async def _beside(self, first: int, entries: list[bytes]) -> None:
        """Directory JSON, and bodies where they are asked for. What cannot be had is missing; the audit says so."""
        wanted = []
        for index, data in enumerate(entries, first):
            try:
                if data.startswith(_KIND[Kind.DIRECTORY]):
                    wanted.append(self._directory(index, DirectoryVersion.decode(Entry.decode(data).statement)))
                elif self._bodies and data.startswith(_KIND[Kind.BULLETIN]):
                    wanted.append(self._body(Bulletin.decode(Entry.decode(data).statement).body))
            except ProtocolError:
                continue
        await asyncio.gather(*wanted)

    async def _directory(self, index: int, version: DirectoryVersion) -> None:
        """By its number; the other one of two under the same number only with its entry."""
        if self._archive.directory(version.sha256) is not None:
            return
        with contextlib.suppress(Declined):
            told = await self._wire.json("GET", f"/v1/directory/{version.version}", login=False)
            if self._take_directory(version, str(told.get("directory", "")).encode("utf-8", "replace")):
                return
        origin = self.checkpoint.origin
        for part in await self._wire.deliveries({origin: index}, {origin: 0}, limit=limits.NODES_MAX):
            for item in part.items:
                self._take_directory(version, item.body or b"")

    def _take_directory(self, version: DirectoryVersion, data: bytes) -> bool:
        if hashlib.sha256(data).digest() != version.sha256:
            return False
        self._archive.write_directory(version.sha256, data)
        return True

    async def _body(self, sha256: bytes) -> None:
        if self._archive.body(sha256) is not None:
            return
        async with self._few:
            try:
                body, _ = await self._wire.body(sha256)
            except Declined as declined:
                if declined.code in {"expunged", "not-found", "withheld"}:
                    return
                raise
        self._archive.write_body(sha256, body)
