"""Evidence of a fork: it holds only against a log that signed two histories, and nothing in it can be changed."""

from collections.abc import Callable

import pytest

from keys.fork import Fork, check, known_by
from keys.versions import lineage
from protocol import limits
from protocol.errors import Malformed, ProofFailed, ProtocolError, TooLarge
from protocol.note import Note
from protocol.strictjson import dumps, loads
from tests.support.altering import replace
from tests.support.forks import HONEST, PIN, REWRITTEN, SIZE, fork, small_world, versions
from tests.support.operator import ORIGIN
from tests.support.world import NOW

PAIRS = [(4, 6), (6, 8), (7, 256), (256, 257), (300, SIZE), (SIZE - 1, SIZE)]


@pytest.mark.parametrize("at, size", PAIRS)
def test_a_tree_that_does_not_begin_with_one_signed_before_is_shown(at: int, size: int) -> None:
    """By the other root at the old size, a power of two or not (SPEC 14.4.2)."""
    if at <= 5:  # the leaf rewritten is not among them, so the old tree is not another
        with pytest.raises(ProofFailed):
            check(fork(HONEST.checkpoint(at), REWRITTEN, size, at), PIN)
        return
    shown = check(fork(HONEST.checkpoint(at), REWRITTEN, size, at), PIN)
    assert (shown.origin, shown.node.nation, shown.pin) == (ORIGIN, "PK", PIN)
    assert shown.trees == (ORIGIN, at, HONEST.root(at), size, REWRITTEN.root(size))
    assert (shown.old.signed, shown.new.signed) == (NOW, NOW)


def test_two_trees_of_one_size_are_shown() -> None:
    """The one with the smaller root stands first, so that the two have one file (SPEC 14.4.3)."""
    small, large = sorted((HONEST, REWRITTEN), key=lambda history: history.root(SIZE))
    shown = check(fork(small.checkpoint(SIZE), large, SIZE, SIZE), PIN)
    assert shown.trees == (ORIGIN, SIZE, small.root(SIZE), SIZE, large.root(SIZE))
    assert "two trees of 600 entries" in str(shown)
    with pytest.raises(Malformed):
        check(fork(large.checkpoint(SIZE), small, SIZE, SIZE), PIN)


@pytest.mark.parametrize("at", [6, 8, SIZE])
def test_a_receipt_that_a_checkpoint_breaks_is_shown(at: int) -> None:
    """The head in a receipt counts as a checkpoint, where it is not ahead of one. SPEC 14.4.2."""
    shown = check(fork(HONEST.head(at), REWRITTEN, SIZE, at), PIN)
    assert shown.trees == known_by(ORIGIN, (at, HONEST.root(at)), (SIZE, REWRITTEN.root(SIZE)))


def test_it_is_read_as_it_was_written() -> None:
    """SPEC 14.4.1."""
    for old in (HONEST.checkpoint(300), HONEST.head(300)):
        one = fork(old, REWRITTEN, SIZE, 300)
        assert Fork.decode(one.encode()) == one
        assert check(Fork.decode(one.encode()), None).pin == PIN


def test_what_is_larger_than_evidence_may_be_is_refused_unread() -> None:
    with pytest.raises(TooLarge):
        Fork.decode(bytes(limits.FORK_BYTES_MAX + 1))


def other_line(note: str) -> str:
    """Its last line, the log's ML-DSA-44 one, altered."""
    parsed = Note.parse(note)
    last = parsed.lines[-1]
    return Note(parsed.text, (*parsed.lines[:-1], replace(last, signature=last.signature[::-1]))).encode()


def one_line(note: str) -> str:
    """Its Ed25519 line alone."""
    parsed = Note.parse(note)
    return Note(parsed.text, parsed.lines[:1]).encode()


HEAD = HONEST.head(300)
CHANGES: dict[str, Callable[[Fork], Fork]] = {
    "the log's own tree": lambda f: fork(HONEST.checkpoint(300), HONEST, SIZE, 300),
    "the old tree's own root": lambda f: replace(f, other_root=HONEST.root(300)),
    "a root of nothing": lambda f: replace(f, other_root=bytes(32)),
    "a proof of the honest tree": lambda f: replace(f, proof=HONEST.proof(300, SIZE)),
    "a proof cut short": lambda f: replace(f, proof=f.proof[:-1]),
    "a proof with one hash more": lambda f: replace(f, proof=(*f.proof, bytes(32))),
    "an old tree with a line altered": lambda f: replace(f, old=other_line(str(f.old))),
    "an old tree with one line": lambda f: replace(f, old=one_line(str(f.old))),
    "a new tree with a line altered": lambda f: replace(f, new=other_line(f.new)),
    "a new tree with one line": lambda f: replace(f, new=one_line(f.new)),
    "a new tree of another size": lambda f: replace(f, new=f.new.replace("\n600\n", "\n599\n")),
    "a head with another root": lambda f: replace(f, old=replace(HEAD, root=bytes(32))),
    "a head without a signature of its key": lambda f: replace(
        f,
        old=replace(HEAD, signature=replace(HEAD.signature, key_id=bytes(32))),
    ),
    "a head of another exchange": lambda f: replace(f, old=replace(HEAD, exchange=bytes(32))),
    "a head of another ledger": lambda f: replace(f, old=replace(HEAD, origin="cn.khunjerab.test/ledger")),
    "a head that is ahead": lambda f: replace(f, old=REWRITTEN.head(SIZE), new=HONEST.checkpoint(300)),
    "an old tree that is larger": lambda f: replace(f, old=f.new, new=str(f.old)),
    "the empty tree": lambda f: replace(f, old=REWRITTEN.checkpoint(0), other_root=HONEST.root(0), proof=()),
    "no version 1": lambda f: replace(f, versions=versions()[1:]),
    "version 1 twice": lambda f: replace(f, versions=(versions()[0], versions()[0])),
    "a version of a stranger": lambda f: replace(
        f, versions=(versions()[0], small_world().with_directory(issued=NOW).publication("cn-custodian-1"))
    ),
    "a version that nobody signed": lambda f: replace(
        f, versions=(versions()[0], replace(versions()[1], signatures=versions()[0].signatures))
    ),
    "a version with other JSON": lambda f: replace(
        f, versions=(versions()[0], replace(versions()[1], body=versions()[0].body))
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_changed_shows_nothing(change: Callable[[Fork], Fork]) -> None:
    """SPEC 14.4.2, 14.4.3."""
    whole = fork(HONEST.checkpoint(300), REWRITTEN, SIZE, 300)
    check(whole, PIN)
    with pytest.raises(ProtocolError):
        check(change(whole), PIN)


def test_another_pin_is_another_exchange() -> None:
    with pytest.raises(ProofFailed):
        check(fork(HONEST.checkpoint(300), REWRITTEN, SIZE, 300), bytes(32))


@pytest.mark.parametrize(
    "name, value",
    [
        ("type", "khunjerab.fork.v2"),
        ("form", "receipt"),
        ("extra", 1),
        ("old", "o\n1\n"),
        ("new", "o\n1\n"),
        ("old", "AAAA"),
        ("other_root", "00"),
        ("proof", [1]),
        ("proof", ["00"]),
        ("proof", ["00" * 32] * 64),
        ("directories", []),
        ("directories", [{}]),
        ("directories", [{"statement": "", "signatures": "", "json": "", "extra": ""}]),
    ],
)
def test_another_form_is_refused(name: str, value: object) -> None:
    """SPEC 14.4.1."""
    whole = loads(fork(HONEST.head(300), REWRITTEN, SIZE, 300).encode(), limits.FORK_BYTES_MAX)
    with pytest.raises(ProtocolError):
        check(Fork.decode(dumps({**whole, name: value})), PIN)


def test_the_line_of_versions_is_whole_or_none() -> None:
    first, second = versions()
    newest = small_world().with_directory(issued=NOW).directory.hash
    assert lineage([second, first], newest) == (first, second)
    assert lineage([second, first], PIN) == (first,)
    assert lineage([second], newest) == ()
    assert lineage([first], newest) == ()
