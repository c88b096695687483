"""Packing evidence of one bulletin from an archive that was audited."""

from __future__ import annotations

from collections.abc import Iterator

from clients.archive import Archive
from clients.errors import UsageError
from clients.finding import SHORT_CHARS_MIN
from keys.claims import parsed
from keys.evidence import Evidence, Placed
from protocol import merkle
from protocol.entry import Entry
from protocol.errors import ProtocolError
from protocol.header import Header
from protocol.statements import GOVERNANCE, LINKED, Bulletin, DirectoryVersion, KeyBundle, Kind
from protocol.tiles import WIDTH, Tile, nodes, partial_width
from protocol.tlogproof import TlogProof


class Packer:
    """One archive, at its checkpoint."""

    def __init__(self, archive: Archive) -> None:
        """Raises UsageError where there is no ledger."""
        self._archive, self._note = archive, archive.checkpoint()
        checkpoint = parsed(self._note)
        if checkpoint is None:
            raise UsageError(f"no audited ledger at {archive.folder}", "khunjerab audit verify")
        self.checkpoint = checkpoint
        self._node = nodes(self._tile)

    def _tile(self, level: int, index: int) -> Tile:
        width = partial_width(self.checkpoint.size, level, index)
        data = self._archive.tile(level, index, width) if width else None
        if data is None:
            raise UsageError(f"{self._archive.folder} lacks a hash tile", "run khunjerab audit verify again")
        return Tile.from_data(data)

    def _entries(self, stop: int) -> Iterator[tuple[int, bytes]]:
        for start in range(0, stop, WIDTH):
            yield from enumerate(self._archive.entries(start, min(start + WIDTH, stop)), start)

    def find(self, wanted: str) -> list[tuple[int, str]]:
        """Index and ``SENDER/UUID`` of the bulletins that ``wanted``, an id or its ending, fits."""
        if len(wanted) < SHORT_CHARS_MIN:
            raise UsageError(
                f"{wanted!r} is too short for an id", f"its last {SHORT_CHARS_MIN} or more characters will do"
            )
        found = []
        for index, data in self._entries(self.checkpoint.size):
            header = _header(data)
            if header is not None and header.name.endswith(wanted):
                found.append((index, header.name))
        return found

    def pack(self, index: int) -> Evidence:
        """The evidence of the bulletin at ``index``."""
        (data,) = self._archive.entries(index, index + 1)
        header = Bulletin.decode(Entry.decode(data).statement).header
        related = [relation.index for relation in header.relations if relation.origin == header.origin]
        targets = [self._place(at) for at in sorted(set(related)) if at < index]
        readers = {addressee.agency for addressee in header.addressees}
        for target in targets:
            had = _header(target.entry)
            readers |= {addressee.agency for addressee in had.addressees} if had else set()
        governance, directories = [], []
        for at, other in self._entries(index):
            entry = Entry.decode(other)
            if entry.kind not in LINKED and not _is_bundle_of(entry, readers):
                continue
            governance.append(Placed(at, other, self._path(at)))
            if entry.kind is Kind.DIRECTORY:
                json = self._archive.directory(DirectoryVersion.decode(entry.statement).sha256)
                directories += [json] if json is not None else []
        proof = TlogProof(index, self._path(index), self._note)
        return Evidence(data, proof, tuple(governance), tuple(targets), tuple(dict.fromkeys(directories)))

    def _place(self, index: int) -> Placed:
        (data,) = self._archive.entries(index, index + 1)
        return Placed(index, data, self._path(index))

    def _path(self, index: int) -> tuple[bytes, ...]:
        return tuple(merkle.inclusion_path(index, self.checkpoint.size, self._node))


def _header(data: bytes) -> Header | None:
    try:
        entry = Entry.decode(data)
        return Bulletin.decode(entry.statement).header if entry.kind is Kind.BULLETIN else None
    except ProtocolError:
        return None


def _is_bundle_of(entry: Entry, agencies: set[str]) -> bool:
    if entry.kind not in GOVERNANCE:
        return False
    try:
        return entry.kind is Kind.KEY_BUNDLE and KeyBundle.decode(entry.statement).agency in agencies
    except ProtocolError:
        return False
