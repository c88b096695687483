"""Evidence of a fork under Hypothesis: none can be made of an honest log, and no altered file says anything else."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.fork import Contradiction, Fork, check
from keys.gathering import Pair
from protocol import merkle
from protocol.errors import ProofFailed, ProtocolError
from tests.support.forks import HONEST, PIN, REWRITTEN, REWRITTEN_AT, SIZE, fork, tiles_for, versions

sizes = st.integers(1, SIZE)
hashes = st.binary(min_size=32, max_size=32)


@st.composite
def honest_trees(draw: st.DrawFn) -> tuple[int, int]:
    """Two sizes of one log, the smaller first; powers of two as often as not."""
    one, another = (draw(st.one_of(sizes, st.sampled_from([1, 2, 4, 64, 256, 512]))) for _ in range(2))
    return min(one, another), max(one, another)


@given(honest_trees(), st.data())
def test_nothing_that_an_honest_log_signs_is_evidence_against_it(trees: tuple[int, int], data: st.DataObject) -> None:
    """Whatever proof and other root a stranger makes up: its own, another log's, any hashes (SPEC 14.4.2)."""
    old, new = trees
    proofs = [
        st.just(HONEST.proof(old, new)),
        st.just(REWRITTEN.proof(old, new)),
        st.lists(hashes, max_size=12).map(tuple),
        st.lists(st.sampled_from([*HONEST.proof(old, new), *REWRITTEN.proof(old, new), bytes(32)]), max_size=12).map(
            tuple
        ),
    ]
    roots = [st.just(REWRITTEN.root(old)), st.just(HONEST.root(new)), st.just(HONEST.root(old)), hashes]
    made_up = Fork(
        HONEST.checkpoint(old) if data.draw(st.booleans()) else HONEST.head(old),
        HONEST.checkpoint(new),
        data.draw(st.one_of(roots)),
        data.draw(st.one_of(proofs)),
        versions(),
    )
    with pytest.raises(ProofFailed):
        check(made_up, PIN)


@given(honest_trees())
def test_a_proof_that_verifies_names_one_root(trees: tuple[int, int]) -> None:
    """What the file rests on: with the honest proof, no other root verifies."""
    old, new = trees
    merkle.verify_consistency(old, new, HONEST.proof(old, new), HONEST.root(old), HONEST.root(new))
    if old > REWRITTEN_AT:
        with pytest.raises(ProofFailed):
            merkle.verify_consistency(old, new, HONEST.proof(old, new), REWRITTEN.root(old), HONEST.root(new))


@given(honest_trees(), st.booleans())
def test_whoever_holds_two_histories_can_show_it(trees: tuple[int, int], head: bool) -> None:
    """From the first size at which they differ, by the tiles of the larger; before it, by nothing. SPEC 14.4.2."""
    at, size = trees
    pair = Pair.of(HONEST.head(at) if head else HONEST.checkpoint(at), REWRITTEN.checkpoint(size))
    larger = HONEST if pair and pair.new == HONEST.checkpoint(at) else REWRITTEN
    shown = pair.prove(tiles_for(pair, larger), versions(), PIN) if pair else None
    if at <= REWRITTEN_AT:
        assert shown is None
    else:
        assert shown is not None
        assert {shown.old.root, shown.new.root} == {HONEST.root(at), REWRITTEN.root(size)}
        assert check(Fork.decode(shown.fork.encode()), PIN) == shown


@given(honest_trees(), st.booleans())
def test_no_tiles_make_evidence_against_an_honest_log(trees: tuple[int, int], own: bool) -> None:
    """Its own, or another history's."""
    old, new = trees
    pair = Pair.of(HONEST.checkpoint(old), HONEST.checkpoint(new))
    assert (pair is None) == (old == new)
    if pair is not None:
        assert pair.prove(tiles_for(pair, HONEST if own else REWRITTEN), versions(), PIN) is None


@functools.cache
def _whole(*, head: bool) -> tuple[bytes, Contradiction]:
    promised = HONEST.head(300) if head else HONEST.checkpoint(300)
    file = fork(promised, REWRITTEN, SIZE, 300).encode()
    return file, check(Fork.decode(file), PIN)


@given(st.booleans(), st.data())
def test_an_altered_file_never_shows_anything_else(head: bool, data: st.DataObject) -> None:
    """Any byte of it replaced, taken out or put in."""
    file, shown = _whole(head=head)
    at, byte = data.draw(st.integers(0, len(file) - 1)), data.draw(st.binary(max_size=1))
    cut = data.draw(st.integers(0, 1))
    try:
        altered = check(Fork.decode(file[:at] + byte + file[at + cut :]), PIN)
    except ProtocolError:
        return
    assert (altered.trees, altered.old, altered.new) == (shown.trees, shown.old, shown.new)
    assert altered.fork.other_root == shown.fork.other_root


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_own_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Fork.decode(data)
