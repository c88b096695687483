"""Which tiles are fetched with which bundle: all of a tree's, each once, none before its entries."""

from pathlib import Path

import pytest

from clients.archive import Archive
from clients.copies import Copy
from clients.fetching import Fetcher
from clients.transport import Wire
from protocol.checkpoint import Checkpoint
from protocol.tiles import HEIGHT, WIDTH, tiles_for

SIZES = [*range(1, 12), *range(250, 260), *range(510, 516), 65279, 65280, 65281, 65535, 65536, 65537, 70000, 131073]


@pytest.mark.parametrize("size", SIZES)
def test_each_tile_comes_with_the_bundle_that_ends_it(size: int) -> None:
    checkpoint, count = Checkpoint("pk.khunjerab.test", size, bytes(32)), (size + WIDTH - 1) // WIDTH
    fetcher = Fetcher(Copy(Wire("http://127.0.0.1:1")), Archive(Path()), checkpoint, bodies=False)
    fetched = [(*tile, number) for number in range(count) for tile in fetcher._tiles_ending_in(number)]
    assert sorted((level, index) for level, index, _ in fetched) == [(level, at) for level, at, _ in tiles_for(size)]
    for level, index, number in fetched:
        assert number == min(((index + 1) << HEIGHT * level) - 1, count - 1)
