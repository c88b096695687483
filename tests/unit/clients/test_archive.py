"""A ledger in a folder: what is written is read, what is torn is not there, what is staged stays apart."""

from pathlib import Path

from clients.archive import Archive
from protocol.tiles import encode_bundle

ENTRIES = [bytes([number % 256]) * 3 for number in range(300)]


def filled(folder: Path, count: int = 300) -> Archive:
    """An archive with the bundles of ``count`` entries."""
    archive = Archive(folder)
    for number in range((count + 255) // 256):
        entries = ENTRIES[number * 256 : min(count, number * 256 + 256)]
        archive.write_tile(None, number, len(entries), encode_bundle(entries))
    return archive


def test_entries_come_back_over_the_edges_of_bundles(tmp_path: Path) -> None:
    archive = filled(tmp_path)
    for start, stop in ((0, 300), (250, 260), (256, 300), (299, 300), (0, 1)):
        assert archive.entries(start, stop) == ENTRIES[start:stop]


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    archive = filled(tmp_path)
    assert archive.entries(290, 310) == ENTRIES[290:]
    assert archive.entries(300, 310) == []
    assert (archive.tile(0, 0, 1), archive.directory(bytes(32)), archive.body(bytes(32))) == (None, None, None)
    assert Archive(tmp_path / "empty").checkpoint() == ""


def test_a_torn_bundle_is_not_there(tmp_path: Path) -> None:
    filled(tmp_path)
    bundle = tmp_path / "tile" / "entries" / "000"
    bundle.write_bytes(bundle.read_bytes()[:-1])
    assert Archive(tmp_path).entries(0, 300) == []


def test_a_wider_partial_takes_the_place_of_a_narrower_one_and_a_full_one_of_all(tmp_path: Path) -> None:
    for count in (10, 20, 256):
        archive = filled(tmp_path, count)
        assert archive.entries(0, count) == ENTRIES[:count]
    assert sorted(path.name for path in (tmp_path / "tile" / "entries").iterdir() if path.is_file()) == ["000"]
    assert not any((tmp_path / "tile" / "entries" / "000.p").iterdir())


def test_a_tile_is_cut_to_the_width_that_it_once_had(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.write_tile(0, 0, 3, b"a" * 32 + b"b" * 32 + b"c" * 32)
    assert archive.tile(0, 0, 2) == b"a" * 32 + b"b" * 32
    assert archive.tile(0, 0, 4) is None


def test_what_is_staged_is_seen_over_what_is_there_and_not_in_it(tmp_path: Path) -> None:
    archive = filled(tmp_path, 260)
    staged = archive.stage()
    staged.write_tile(None, 1, 44, encode_bundle(ENTRIES[256:]))
    assert staged.entries(0, 300) == ENTRIES
    assert Archive(tmp_path).entries(0, 300) == ENTRIES[:260]
    archive.take_in(staged, "a checkpoint\n")
    assert Archive(tmp_path).entries(0, 300) == ENTRIES
    assert archive.checkpoint() == "a checkpoint\n"
    assert [path.name for path in (tmp_path / "tile" / "entries" / "001.p").iterdir()] == ["44"]


def test_what_is_of_another_history_is_kept_apart(tmp_path: Path) -> None:
    archive = filled(tmp_path, 260)
    staged = archive.stage()
    staged.write_tile(None, 1, 44, encode_bundle(ENTRIES[256:]))
    aside = archive.set_aside(staged, "another\n", "another-1")
    assert (archive.checkpoint(), Archive(aside).checkpoint()) == ("", "another\n")
    assert Archive(tmp_path).entries(0, 300) == ENTRIES[:260]
    assert Archive(aside).entries(256, 300) == ENTRIES[256:]


def test_a_stage_that_was_left_behind_is_empty_again(tmp_path: Path) -> None:
    archive = filled(tmp_path, 10)
    archive.stage().write_body(bytes(32), b"left behind")
    assert archive.stage().body(bytes(32)) is None
