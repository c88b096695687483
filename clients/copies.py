"""A ledger as one node shows it: its own, or one that it mirrors. Nothing that comes from there is believed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clients.archive import Archive
from clients.errors import Declined, Unreachable, UsageError
from keys.claims import parsed
from protocol import limits, names
from protocol.checkpoint import Checkpoint
from protocol.errors import ProtocolError
from protocol.merkle import HASH_BYTES
from protocol.tiles import WIDTH, TilePath, tile_path

if TYPE_CHECKING:
    from clients.transport import Wire


@dataclass(frozen=True)
class Copy:
    """``mirrored`` is the origin of another node's ledger; without it, the node's own."""

    wire: Wire
    mirrored: str = ""

    @property
    def where(self) -> str:
        """What people call it."""
        return self.wire.url

    @property
    def _prefix(self) -> str:
        return f"/mirror/{hashlib.sha256(self.mirrored.encode()).hexdigest()}" if self.mirrored else ""

    async def checkpoint(self) -> tuple[str, Checkpoint]:
        """The newest, as a note and as what it says; unverified. Raises Unreachable, Declined."""
        data = await self.wire.request(
            "GET", f"{self._prefix}/checkpoint", login=False, bytes_max=limits.NOTE_BYTES_MAX
        )
        note = data.decode("utf-8", "replace")
        checkpoint = parsed(note)
        if checkpoint is None or (self.mirrored and checkpoint.origin != self.mirrored):
            raise Unreachable(f"{self.wire.url} answers what is no checkpoint", "is this a node?")
        return note, checkpoint

    async def get(self, path: str, bytes_max: int) -> bytes:
        """A tile or bundle by its path. Raises Unreachable, Declined."""
        return await self.wire.request("GET", f"{self._prefix}/{path}", bytes_max=bytes_max)

    async def hash_tile(self, path: TilePath) -> bytes | None:
        """A hash tile, without a session; None where it cannot be had, or has another length."""
        name = f"{self._prefix}/{tile_path(path.level, path.index, path.width)}"
        try:
            data = await self.wire.request("GET", name, login=False, bytes_max=WIDTH * HASH_BYTES)
        except (Unreachable, Declined):
            return None
        return data if len(data) == path.width * HASH_BYTES else None


@dataclass(frozen=True)
class Folder:
    """A ledger as an export has it."""

    archive: Archive

    @property
    def where(self) -> str:
        """What people call it."""
        return str(self.archive.folder)

    async def checkpoint(self) -> tuple[str, Checkpoint]:
        """As it lies there, unverified. Raises UsageError where there is none."""
        note = self.archive.checkpoint()
        checkpoint = parsed(note)
        if checkpoint is None:
            raise UsageError(f"{self.where} holds no checkpoint", "`khunjerab audit export` writes such a folder")
        return note, checkpoint

    async def hash_tile(self, path: TilePath) -> bytes | None:
        """A hash tile; None where it is missing or torn."""
        data = self.archive.hash_tile(path)
        return data if data is not None and len(data) == path.width * HASH_BYTES else None


async def mirrors_of(wire: Wire) -> list[str]:
    """The origins of the ledgers that a node says it mirrors, in order. Raises Unreachable, Declined."""
    told = (await wire.json("GET", "/v1/node", login=False)).get("mirrors", [])
    found = set[str]()
    for one in told[: limits.NODES_MAX] if isinstance(told, list) else []:
        try:
            found.add(names.origin(one["origin"]))
        except (ProtocolError, TypeError, KeyError, AttributeError):
            continue
    return sorted(found)
