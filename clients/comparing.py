"""One copy of a ledger against the one that was audited: the same history, located where it is not.

To find that a copy is of the same ledger we must find that

(1) its checkpoint is signed by both keys of the log;
(2) its hash tiles lead to that checkpoint's root;
(3) at the smaller of both sizes the roots are one;
(4) it is not ahead of what the ledger's own node shows: that node then forgot what its log signed;
(5) it is not behind what its node cosigned: that node then forgot what it held.

A copy grows while it is looked at, so (4) and (5) ask once more before they say so. No entry is read: a few tiles tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clients.archive import Archive
from clients.copies import Copy, Folder
from keys.claims import open_signed
from keys.exchange import Exchange
from keys.finding import Finding
from keys.fork import Contradiction, SignedTree
from keys.gathering import Pair
from protocol import merkle, tiles
from protocol.checkpoint import Checkpoint
from protocol.entry import Submission
from protocol.errors import ProofFailed, ProtocolError
from protocol.note import VerifierKey
from protocol.tiles import HEIGHT, WIDTH, Tile, TilePath, partial_width


@dataclass(frozen=True)
class Audited:
    """A ledger whose entries were read: its tiles, the checkpoint that they come to, and whose keys sign there.

    ``shown`` is where that checkpoint came from, if it was the ledger's own node.
    """

    archive: Archive
    note: str
    checkpoint: Checkpoint
    exchange: Exchange
    versions: tuple[Submission, ...]
    shown: Copy | None = None

    def node(self, level: int, index: int) -> bytes:
        """A complete subtree. Raises LookupError where the archive lacks it."""
        return tiles.nodes(self._tile)(level, index)

    def _tile(self, level: int, index: int) -> Tile:
        data = self.archive.tile(level, index, partial_width(self.checkpoint.size, level, index))
        if data is None:
            raise LookupError(f"no tile {index} of level {level}")
        return Tile.from_data(data)

    def proved(self, other: SignedTree, tile: Callable[[TilePath], bytes | None]) -> Contradiction | None:
        """Evidence from this ledger's checkpoint and another tree; ``tile`` is the other's, ours are at hand."""
        pair = Pair.of(self.note, other)
        if pair is None:
            return None
        read = self.archive.hash_tile if pair.new == self.note else tile
        got = {path: read(path) for path in pair.wanted()}
        held = {path: data for path, data in got.items() if data is not None}
        return pair.prove(held, self.versions, self.exchange.pin)


@dataclass
class Compared:
    """What came of it."""

    findings: list[Finding] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    evidence: list[Contradiction] = field(default_factory=list)


class _Tiles:
    """The hash tiles of a copy at one size, fetched as they are asked for."""

    def __init__(self, copy: Copy | Folder, size: int) -> None:
        self._copy, self._size = copy, size
        self._held: dict[tuple[int, int], Tile] = {}

    async def node(self, level: int, index: int) -> bytes:
        """A complete subtree. Raises LookupError where the copy does not show it."""
        tile_level, row = divmod(level, HEIGHT)
        tile_index, within = divmod(index, WIDTH >> row)
        await self.fetch(tile_level, tile_index)
        return self._held[tile_level, tile_index].node(row, within)

    async def fetch(self, level: int, index: int) -> None:
        """One tile, if it is there."""
        if (level, index) not in self._held:
            path = TilePath(level, index, partial_width(self._size, level, index))
            data = await self._copy.hash_tile(path)
            if data is not None:
                self._held[level, index] = Tile.from_data(data)

    async def fetch_for(self, act: Callable[[merkle.Nodes], object]) -> None:
        """The tiles whose nodes ``act`` asks for."""
        for path in tiles.wanted(self._size, act):
            await self.fetch(path.level or 0, path.index)

    @property
    def nodes(self) -> merkle.Nodes:
        """Those that were fetched."""
        return tiles.nodes(lambda level, index: self._held[level, index])

    def data(self, path: TilePath) -> bytes | None:
        """A tile that was fetched."""
        tile = self._held.get((path.level or 0, path.index))
        return tile.data(path.width) if tile is not None and tile.width >= path.width else None


async def compare(audited: Audited, copy: Copy | Folder, cosigner: Sequence[VerifierKey]) -> Compared:
    """Confront ``copy``, on a node with these cosigner keys, with the ledger. Raises Unreachable, Declined."""
    found, own = Compared(), audited.checkpoint
    note, checkpoint = await copy.checkpoint()
    where = f"at {copy.where}"
    try:
        open_signed(note, audited.exchange)  # (1)
    except ProtocolError as error:
        if checkpoint.size > own.size:  # by keys that a directory beyond what was audited may list
            found.missing.append(f"{own.origin}: the checkpoint {where} is ahead, and not signed by keys known so far")
        else:
            expected = f"a checkpoint {where} signed by both keys of the log"
            found.findings.append(Finding(own.origin, None, "checkpoint", expected, error.detail))
        return found
    shown = _Tiles(copy, checkpoint.size)
    common = min(own.size, checkpoint.size)
    if not common:
        return found
    try:
        theirs = await _root_at(shown, common, checkpoint)  # (2)
    except (ProtocolError, LookupError) as error:
        detail = error.detail if isinstance(error, ProtocolError) else "a tile is missing or torn"
        expected = f"hash tiles {where} that lead to root {checkpoint.root.hex()}"
        found.findings.append(Finding(own.origin, checkpoint.size - 1, "tile", expected, detail))
        return found
    ours = merkle.root(common, audited.node)
    if theirs != ours:  # (3)
        index = await _first_difference(audited, shown, common)
        expected = f"root {ours.hex()} over {common} entries, as audited"
        found.findings.append(Finding(own.origin, index, "copy-differs", expected, f"{theirs.hex()} {where}"))
        shown_here = audited.proved(note, shown.data)
        found.evidence += [shown_here] if shown_here is not None else []
    elif checkpoint.size > own.size:
        await _check_ahead(audited, checkpoint, where, found)
    elif checkpoint.size < own.size:
        await _check_behind(audited, copy, cosigner, found)
    return found


async def _root_at(shown: _Tiles, common: int, checkpoint: Checkpoint) -> bytes:
    """(2) The root at ``common``, which the copy's tiles prove to be what its checkpoint begins with.

    Raises ProofFailed, LookupError.
    """

    def both(node: merkle.Nodes) -> tuple[bytes, list[bytes]]:
        return merkle.root(common, node), merkle.consistency_path(common, checkpoint.size, node)

    await shown.fetch_for(both)
    root, path = both(shown.nodes)
    if common == checkpoint.size and root != checkpoint.root:
        raise ProofFailed(f"they lead to {root.hex()}")
    merkle.verify_consistency(common, checkpoint.size, path, root, checkpoint.root)
    return root


async def _first_difference(audited: Audited, shown: _Tiles, common: int) -> int | None:
    """The first leaf that is another: down from the subtrees that the smaller tree is made of."""
    try:
        start = 0
        for level in reversed(range(common.bit_length())):
            if not common >> level & 1:
                continue
            index = start >> level
            if audited.node(level, index) != await shown.node(level, index):
                for below in reversed(range(level)):
                    index *= 2
                    if audited.node(below, index) == await shown.node(below, index):
                        index += 1
                return index
            start += 1 << level
    except (LookupError, ProtocolError):
        pass
    return None


async def _check_ahead(audited: Audited, checkpoint: Checkpoint, where: str, found: Compared) -> None:
    """(4) What the log signed, its own node must show by now."""
    if audited.shown is None:
        return
    _, now = await audited.shown.checkpoint()
    if now.size < checkpoint.size:
        expected = f"the {checkpoint.size} entries that the log signed for the copy {where}"
        found.findings.append(
            Finding(checkpoint.origin, now.size, "truncated", expected, f"{now.size} entries at {audited.shown.where}")
        )


async def _check_behind(
    audited: Audited, copy: Copy | Folder, cosigner: Sequence[VerifierKey], found: Compared
) -> None:
    """(5) What a node cosigned, it must hold."""
    try:
        opened, _ = open_signed(audited.note, audited.exchange, cosigner)
    except ProtocolError:  # a cosignature that does not hold is a finding of the audit itself
        return
    own = audited.checkpoint
    if not opened.cosigned:
        return
    _, now = await copy.checkpoint()
    if now.size < own.size:
        expected = f"the {own.size} entries that this node cosigned"
        at = f"{now.size} entries at {copy.where}"
        found.findings.append(Finding(own.origin, now.size, "copy-behind", expected, at))
