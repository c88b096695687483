"""From two signed trees to evidence: which pairs could break anything, which tiles are asked for, what they show."""

from keys.fork import Fork, check
from keys.gathering import Pair
from protocol.checkpoint import Checkpoint
from protocol.note import Note
from protocol.tiles import TilePath
from tests.support.altering import replace
from tests.support.forks import HONEST, PIN, REWRITTEN, SIZE, fork, small_world, tiles_for, versions
from tests.support.operator import ORIGIN
from tests.support.world import NOW, node, node_keys


def pair_of(*trees: object) -> Pair:
    pair = Pair.of(*trees)  # type: ignore[arg-type]
    assert pair is not None
    return pair


def test_two_trees_come_in_their_order() -> None:
    """SPEC 14.4.3."""
    old, new = HONEST.checkpoint(300), REWRITTEN.checkpoint(SIZE)
    assert pair_of(new, old) == pair_of(old, new)
    assert (pair_of(old, new).old, pair_of(old, new).new) == (old, new)
    assert pair_of(new, HONEST.head(SIZE)).old == HONEST.head(SIZE)


def test_what_cannot_break_anything_is_no_pair() -> None:
    """Two heads, a head that is ahead, the same tree twice, the empty tree, another log, no note. SPEC 14.4.3."""
    old, new = HONEST.checkpoint(300), REWRITTEN.checkpoint(SIZE)
    assert Pair.of(HONEST.head(300), REWRITTEN.head(300)) is None
    assert Pair.of(REWRITTEN.head(SIZE), old) is None
    assert Pair.of(old, HONEST.head(300)) is None
    assert Pair.of(REWRITTEN.checkpoint(0), old) is None
    assert Pair.of(replace(HONEST.head(300), origin="cn.khunjerab.test/ledger"), new) is None
    assert Pair.of("no note", old) is None


def test_few_tiles_are_asked_for_however_large_the_log() -> None:
    """A log that claims 2**62 entries costs as little."""
    checkpoint = Checkpoint(ORIGIN, 2**62 + 12345, bytes(32))
    huge = Note(checkpoint.text(), tuple(node_keys("PK").log.lines(checkpoint, 0))).encode()
    wanted = pair_of(HONEST.checkpoint(SIZE - 1), huge).wanted()
    assert len(wanted) <= 24
    assert set(pair_of(HONEST.checkpoint(300), REWRITTEN.checkpoint(SIZE)).wanted()) == {
        TilePath(0, 1, 256),
        TilePath(0, 2, 88),
        TilePath(1, 0, 2),
    }
    assert pair_of(HONEST.checkpoint(SIZE), REWRITTEN.checkpoint(SIZE)).wanted() == []


def test_what_is_shown_carries_the_log_s_lines_and_no_more_versions_than_needed() -> None:
    """Cosignatures are left out: an old one that does not verify would spoil the file."""
    parsed = Note.parse(REWRITTEN.checkpoint(SIZE))
    cosigned = node_keys("CN").cosigner.lines(Checkpoint.parse(parsed.text), NOW // 1000)
    pair = pair_of(HONEST.checkpoint(300), Note(parsed.text, (*parsed.lines, *cosigned)).encode())
    shown = pair.prove(tiles_for(pair, REWRITTEN), versions(), PIN)
    assert shown is not None
    assert shown.fork == fork(HONEST.checkpoint(300), REWRITTEN, SIZE, 300, versions()[:1])
    assert check(Fork.decode(shown.fork.encode()), PIN) == shown


def test_keys_that_only_a_later_version_lists_bring_that_version() -> None:
    """A log whose keys were entered later is shown by the version that names them, and those before it."""
    elsewhere = replace(node("CN"), nation="PK")
    first = replace(small_world().directory, nodes=(elsewhere,))
    second = replace(small_world().directory, exchange=first.hash, version=2, previous=first.hash)
    third = replace(second, version=3, previous=second.hash)
    signed = tuple(
        replace(small_world(), directory=one).publication("pk-custodian-1") for one in (first, second, third)
    )
    pair = pair_of(HONEST.checkpoint(300), REWRITTEN.checkpoint(SIZE))
    shown = pair.prove(tiles_for(pair, REWRITTEN), signed, first.hash)
    assert shown is not None
    assert shown.fork.versions == signed[:2]
    assert pair.prove(tiles_for(pair, REWRITTEN), signed[:1], first.hash) is None


def test_what_is_not_shown_is_nothing() -> None:
    """Tiles of the other history, tiles that are missing or torn, versions of another exchange."""
    pair = pair_of(HONEST.checkpoint(300), REWRITTEN.checkpoint(SIZE))
    tiles = tiles_for(pair, REWRITTEN)
    assert pair.prove(tiles, versions(), PIN) is not None
    assert pair.prove(tiles_for(pair, HONEST), versions(), PIN) is None
    assert pair.prove({}, versions(), PIN) is None
    assert pair.prove({path: data[:-1] for path, data in tiles.items()}, versions(), PIN) is None
    assert pair.prove({path: data[:-32] for path, data in tiles.items()}, versions(), PIN) is None
    assert pair.prove(tiles, versions(), bytes(32)) is None
    assert pair.prove(tiles, (), PIN) is None
