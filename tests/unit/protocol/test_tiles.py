"""protocol/tiles.py: tiles, their paths and the entry bundles, as C2SP tlog-tiles has them."""

import pytest

from protocol import limits, merkle, tiles
from protocol.errors import Malformed, TooLarge
from protocol.tiles import Edge, Tile, TilePath
from tests.support import trees


def _tile(width: int) -> Tile:
    tile = Tile()
    for leaf in trees.numbered_leaves(width):
        tile.append(leaf)
    return tile


def test_a_full_tile_is_8192_bytes_and_knows_its_root() -> None:
    """The root comes back from the append that fills it, and from no other. SPEC 9.3.3."""
    leaves = trees.numbered_leaves(256)
    tile = Tile()
    returned = [tile.append(leaf) for leaf in leaves]
    assert returned[:-1] == [None] * 255
    assert returned[-1] == tile.root() == trees.defined_root(leaves)
    assert tile.width == 256
    assert tile.data() == b"".join(leaves)
    assert len(tile.data()) == 8192


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 100, 255, 256])
def test_a_tile_holds_every_inner_node_that_its_hashes_complete(width: int) -> None:
    """And IndexError meets whoever asks for another."""
    tile = _tile(width)
    rows = trees.levels(trees.numbered_leaves(width))
    for row in range(9):
        count = width >> row
        assert [tile.node(row, index) for index in range(count)] == (rows[row] if row < len(rows) else [])
        for absent in (count, -1, -2, 256):
            with pytest.raises(IndexError):
                tile.node(row, absent)
    for row in (-1, 9):
        with pytest.raises(IndexError):
            tile.node(row, 0)


def test_an_edge_has_the_root_and_the_tiles_of_what_was_appended() -> None:
    """At every size around what fills a tile, two levels up. SPEC 9.3.1, 9.3.3."""
    leaves = trees.numbered_leaves(256 * 256 + 2)
    edge, frontier, filled = Edge(), merkle.Frontier(), [bytearray(), bytearray()]
    assert edge.root() == merkle.EMPTY_ROOT
    for size, leaf in enumerate(leaves, 1):
        frontier.append(leaf)
        for level, tile in enumerate(edge.append(leaf)):
            filled[level] += tile.data()
            assert edge.full(level) == size // 256 ** (level + 1)
        if size < 600 or size % 256 in {0, 1, 255}:
            assert edge.root() == frontier.root()
    assert filled[0] == b"".join(leaves[: 256 * 256])
    assert filled[1] == b"".join(trees.defined_root(leaves[at : at + 256]) for at in range(0, 256 * 256, 256))
    assert [tile.width for tile in edge.growing] == [2, 0, 1]


def test_a_tile_gives_the_data_of_every_narrower_tile_it_was() -> None:
    """Partial tiles of published checkpoints are prefixes of the tile of today."""
    tile = _tile(200)
    assert all(tile.data(width) == _tile(width).data() for width in (1, 2, 199, 200))
    for width in (0, 201, -1):
        with pytest.raises(IndexError):
            tile.data(width)


def test_a_tile_is_read_back_from_its_data() -> None:
    """With its inner nodes, and able to grow."""
    tile = Tile.from_data(_tile(255).data())
    assert tile.append(trees.numbered_leaves(256)[255]) == _tile(256).root()


def test_a_tile_that_is_not_full_has_no_root_and_a_full_one_takes_no_more() -> None:
    """A partial tile is never hashed upward."""
    with pytest.raises(IndexError):
        _tile(255).root()
    with pytest.raises(ValueError, match="full"):
        _tile(256).append(bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        Tile().append(bytes(31))


@pytest.mark.parametrize("length", [0, 1, 31, 33, 8191])
def test_data_that_is_not_whole_hashes_is_no_tile(length: int) -> None:
    """Nor is no data at all: an empty tile must not be served."""
    with pytest.raises(Malformed):
        Tile.from_data(bytes(length))


def test_data_of_more_than_256_hashes_is_refused() -> None:
    """Before it is hashed."""
    with pytest.raises(TooLarge):
        Tile.from_data(bytes(8193))


@pytest.mark.parametrize(
    "level, index, width, path",
    [
        (0, 0, 256, "tile/0/000"),
        (0, 5, 1, "tile/0/005.p/1"),
        (1, 1_234_067, 256, "tile/1/x001/x234/067"),
        (63, 999, 255, "tile/63/999.p/255"),
        (2, 1000, 17, "tile/2/x001/000.p/17"),
        (None, 0, 256, "tile/entries/000"),
        (None, 70_000 // 256, 112, "tile/entries/273.p/112"),
        (0, 1000**7 - 1, 256, "tile/0/x999/x999/x999/x999/x999/x999/999"),
    ],
)
def test_a_tile_has_one_path(level: int | None, index: int, width: int, path: str) -> None:
    """It is written so, and read back so. SPEC 9.3.3."""
    assert tiles.tile_path(level, index, width) == path
    assert tiles.parse_tile_path(path) == TilePath(level, index, width)
    if level is None:
        assert tiles.bundle_path(index, width) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/X001/002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.P/1",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/0/000.p/1/",
        "tile//000",
        "tile/0/x001/x001/x001/x001/x001/x001/x001/001",
        "tile/0/../000",
    ],
)
def test_every_other_path_is_refused(path: str) -> None:
    """No leading zeros, no empty groups, no second spelling. SPEC 9.3.3."""
    with pytest.raises(Malformed):
        tiles.parse_tile_path(path)


@pytest.mark.parametrize("level, index, width", [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_no_path_is_made_for_a_tile_that_cannot_be(level: int, index: int, width: int) -> None:
    """The caller is at fault."""
    with pytest.raises(ValueError, match="no tile"):
        tiles.tile_path(level, index, width)


def test_a_tree_has_the_tiles_that_the_specification_counts() -> None:
    """C2SP tlog-tiles: 70,000 leaves, 256 leaves, and none."""
    listed = list(tiles.tiles_for(70_000))
    assert sum(1 for level, _, width in listed if level == 0 and width == 256) == 273
    assert [one for one in listed if one[2] != 256] == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert list(tiles.tiles_for(256)) == [(0, 0, 256), (1, 0, 1)]
    assert list(tiles.tiles_for(0)) == []


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 16_777_216])
def test_the_width_of_a_tile_is_what_the_tree_has_of_it(size: int) -> None:
    """Every listed tile has its width, and the one after the last of each level has none."""
    after: dict[int, int] = {}
    for level, index, width in tiles.tiles_for(size):
        assert width == tiles.partial_width(size, level, index) >= 1
        after[level] = index + 1
    assert all(tiles.partial_width(size, level, index) == 0 for level, index in after.items())
    assert tiles.partial_width(size, max(after) + 1, 0) == 0


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000])
def test_tiles_serve_every_root_and_path_of_their_tree(size: int) -> None:
    """Through ``nodes``, as from memory."""
    leaves = trees.numbered_leaves(size)
    store = trees.tiles_of(leaves)
    assert {(level, index, tile.width) for (level, index), tile in store.items()} == set(tiles.tiles_for(size))
    nodes = tiles.nodes(lambda level, index: store[level, index])
    expected = trees.memory(leaves)
    assert merkle.root(size, nodes) == trees.defined_root(leaves)
    for index in {0, size // 2, size - 1}:
        assert merkle.inclusion_path(index, size, nodes) == merkle.inclusion_path(index, size, expected)
        assert merkle.consistency_path(index, size, nodes) == merkle.consistency_path(index, size, expected)


def test_a_bundle_holds_entries_behind_their_lengths() -> None:
    """Big-endian, two bytes; an entry may be empty, and as long as two bytes can say. SPEC 9.3.4."""
    entries = [b"", b"abc", bytes(limits.ENTRY_BYTES_MAX)]
    data = tiles.encode_bundle(entries)
    assert data.startswith(b"\0\0\0\x03abc\xff\xff")
    assert tiles.decode_bundle(data, 3) == entries


@pytest.mark.parametrize(
    "data, width",
    [
        (b"", 0),
        (bytes(514), 257),
        (b"", 1),
        (b"\0", 1),
        (b"\0\x01", 1),
        (b"\0\0\0", 1),
        (b"\0\0\0\0", 1),
        (b"\0\0", 2),
        (b"\0\x02a", 1),
    ],
)
def test_a_bundle_of_another_width_or_cut_short_is_refused(data: bytes, width: int) -> None:
    """No trailing bytes, no missing entry. SPEC 9.3.4."""
    with pytest.raises(Malformed):
        tiles.decode_bundle(data, width)


def test_no_bundle_is_made_without_entries_or_with_one_too_long() -> None:
    """The caller is at fault."""
    for entries in ([], [b""] * 257, [bytes(limits.ENTRY_BYTES_MAX + 1)]):
        with pytest.raises(ValueError, match="entries"):
            tiles.encode_bundle(entries)
