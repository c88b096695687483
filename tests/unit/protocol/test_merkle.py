"""protocol/merkle.py against the published roots, RFC 6962's definition, and the rolling vectors of the IETF draft."""

import copy
import hashlib
from collections.abc import Iterator

import pytest

from protocol import merkle
from protocol.errors import ProofFailed
from protocol.merkle import Frontier
from tests.support import trees

# google/certificate-transparency, kSHA256Roots
CLASSIC_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CLASSIC_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# draft-ietf-plants-merkle-tree-certs, "Subtree Test Vectors": SHA-256 over one line for each subtree of trees up to
# 130 leaves. The draft counts the empty subtrees [s, s); transparency-dev/merkle publishes the values without them.
ROLLING_MAX = 130
SUBTREES = {
    True: "b82806ad4265bb151c1119c0f4db437bb4d1a1f887b3a7fba1cd4ebf552e3e81",
    False: "94a95384a8c69acea9b50d035a58285b3a777cb7a724005faa5e1f1e1190007f",
}
INCLUSION = "ac2a8f989e44d99e399db448050ff5f19757df53cfb716aa81015d3955d8163f"
CONSISTENCY = {
    True: "10fa99b37bf9bf9ffa26b412fbd98bd75363256d0b75d61bc4538b9c9c5a0a74",
    False: "c586ebbb73a5621baf2140095d87dde934e3b6503a562a1a5215b8209edd083d",
}
ROLLING = [merkle.leaf_hash(bytes([number])) for number in range(ROLLING_MAX)]


def test_hashes_of_leaves_and_nodes_are_those_of_other_implementations() -> None:
    """The unit vectors of transparency-dev/merkle, and the empty tree's root of the RFC. SPEC 9.3.1."""
    assert merkle.leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert merkle.node_hash(b"N123", b"N456").hex() == (
        "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    )
    assert merkle.EMPTY_ROOT == hashlib.sha256(b"").digest() == merkle.root(0, trees.memory([]))


@pytest.mark.parametrize("size", range(1, 9))
def test_the_classic_eight_leaves_have_their_published_roots(size: int) -> None:
    """By the nodes and by the frontier. SPEC 9.3.1."""
    leaves = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in CLASSIC_LEAVES]
    frontier = Frontier()
    for leaf in leaves[:size]:
        frontier.append(leaf)
    assert merkle.root(size, trees.memory(leaves)).hex() == CLASSIC_ROOTS[size - 1] == frontier.root().hex()


def _subtrees(end_max: int, *, empty: bool) -> Iterator[tuple[int, int]]:
    """Valid [start, end): start is a multiple of the power of two at or above the length."""
    for end in range(0 if empty else 1, end_max + 1):
        for start in range(end + empty):
            if start == end or start % (1 << (end - start - 1).bit_length()) == 0:
                yield start, end


def _line(head: str, hashes: list[bytes]) -> bytes:
    return " ".join([head, *(one.hex() for one in hashes)]).encode() + b"\n"


@pytest.mark.parametrize("empty", [True, False])
def test_the_rolling_hash_over_all_subtrees_is_the_published_one(empty: bool) -> None:
    """Every subtree's hash is a root of the tree that begins at it."""
    rolling = hashlib.sha256()
    for start, end in _subtrees(ROLLING_MAX, empty=empty):
        subtree = merkle.root(end - start, trees.memory(ROLLING[start:end]))
        rolling.update(_line(f"[{start}, {end})", [subtree]))
    assert rolling.hexdigest() == SUBTREES[empty]


@pytest.mark.parametrize("size", range(1, 40))
def test_the_paths_of_the_newest_leaves_are_those_of_each(size: int) -> None:
    """However many are new."""
    nodes = trees.memory(ROLLING[:size])
    each = [merkle.inclusion_path(index, size, nodes) for index in range(size)]
    for start in range(size + 1):
        assert merkle.inclusion_paths(start, size, nodes) == each[start:]


@pytest.mark.parametrize("size", range(1, 40))
def test_a_path_tells_the_root_over_all_leaves_before(size: int) -> None:
    nodes = trees.memory(ROLLING[:size])
    for index in range(size):
        path = merkle.inclusion_path(index, size, nodes)
        assert merkle.root_before(index, size, path) == trees.defined_root(ROLLING[:index])


def test_the_rolling_hash_over_all_inclusion_paths_is_the_published_one() -> None:
    """In a subtree a path is that of the tree that begins at it."""
    rolling = hashlib.sha256()
    for start, end in _subtrees(ROLLING_MAX, empty=False):
        nodes = trees.memory(ROLLING[start:end])
        for index in range(start, end):
            path = merkle.inclusion_path(index - start, end - start, nodes)
            rolling.update(_line(f"{index} [{start}, {end})", path))
    assert rolling.hexdigest() == INCLUSION


@pytest.mark.parametrize("empty", [True, False])
def test_the_rolling_hash_over_all_consistency_paths_is_the_published_one(empty: bool) -> None:
    """From every subtree to every tree that holds it; an empty subtree needs no path."""
    rolling, nodes = hashlib.sha256(), trees.memory(ROLLING)
    for size in range(ROLLING_MAX + 1):
        for start, end in _subtrees(size, empty=empty):
            path = merkle.subtree_consistency_path(start, end, size, nodes) if start < end else []
            rolling.update(_line(f"[{start}, {end}) {size}", path))
    assert rolling.hexdigest() == CONSISTENCY[empty]


def test_every_path_of_small_trees_verifies_and_no_other_does() -> None:
    """Inclusion: for no other index, size, leaf or root, and not with one hash more or less. SPEC 9.3.2."""
    leaves = trees.numbered_leaves(20)
    nodes = trees.memory(leaves)
    roots = [trees.defined_root(leaves[:size]) for size in range(21)]
    for size in range(1, 20):
        for index in range(size):
            path = merkle.inclusion_path(index, size, nodes)
            merkle.verify_inclusion(leaves[index], index, size, path, roots[size])
            for other in (size + 1, size + 20, 2 * size):
                with pytest.raises(ProofFailed):
                    merkle.verify_inclusion(leaves[index], index, other, path, roots[min(other, 20)])
            for wrong in (
                (leaves[(index + 1) % 20], index, size, path, roots[size]),
                (leaves[index], index, size, path, roots[size - 1]),
                (leaves[index], index, size, [*path, leaves[0]], roots[size]),
                (leaves[index], size, size, path, roots[size]),
                (leaves[index], -1, size, path, roots[size]),
                (leaves[index], index, size, [*path[:-1], b""], roots[size]),
            ):
                with pytest.raises(ProofFailed):
                    merkle.verify_inclusion(*wrong)


def test_every_tree_extends_every_older_one_and_says_so() -> None:
    """Consistency: not with other roots or sizes, nor with one hash more, less or changed. SPEC 9.3.2."""
    leaves = trees.numbered_leaves(20)
    nodes = trees.memory(leaves)
    roots = [trees.defined_root(leaves[:size]) for size in range(21)]
    for new in range(1, 21):
        for old in range(new + 1):
            path = merkle.consistency_path(old, new, nodes)
            merkle.verify_consistency(old, new, path, roots[old], roots[new])
            wrong = [
                (old, new, [*path, leaves[0]], roots[old], roots[new]),
                (old, new, path, leaves[0] if old != 1 else leaves[1], roots[new]),
                (new + 1, new, path, roots[old], roots[new]),
                (-1, new, path, roots[old], roots[new]),
            ]
            if old:
                wrong.append((old, new, path, roots[old], merkle.leaf_hash(b"another")))
            if path:
                wrong.append((old, new, path[:-1], roots[old], roots[new]))
                wrong.append((old, new, [], roots[old], roots[new]))
                wrong.append((old, new, [*path[:-1], path[-1][:31]], roots[old], roots[new]))
                wrong.append((old, new, [*path[:-1], merkle.leaf_hash(path[-1])], roots[old], roots[new]))
            for arguments in wrong:
                with pytest.raises(ProofFailed):
                    merkle.verify_consistency(*arguments)


def test_two_roots_for_one_size_are_never_consistent() -> None:
    """Also for the empty tree, whose root is known. SPEC 9.3.2."""
    with pytest.raises(ProofFailed, match="two roots"):
        merkle.verify_consistency(3, 3, [], bytes(32), bytes([1] * 32))
    with pytest.raises(ProofFailed, match="empty tree"):
        merkle.verify_consistency(0, 0, [], bytes(32), bytes(32))
    with pytest.raises(ProofFailed, match="empty tree"):
        merkle.verify_consistency(0, 5, [], bytes(32), bytes(32))


def test_paths_that_cannot_be_asked_for_are_a_fault_of_the_caller() -> None:
    """Of a leaf outside the tree, or from a larger tree to a smaller."""
    nodes = trees.memory(trees.numbered_leaves(4))
    for index in (-1, 4):
        with pytest.raises(ValueError, match="no leaf"):
            merkle.inclusion_path(index, 4, nodes)
    for old, new in ((5, 4), (-1, 4)):
        with pytest.raises(ValueError, match="does not extend"):
            merkle.consistency_path(old, new, nodes)


def test_a_frontier_agrees_with_the_definition_at_every_size() -> None:
    """And holds no more hashes than its size has bits set."""
    leaves = trees.numbered_leaves(260)
    frontier = Frontier()
    for size, leaf in enumerate(leaves):
        assert frontier.size == size
        assert frontier.root() == trees.defined_root(leaves[:size])
        assert len(frontier._peaks) == size.bit_count()
        frontier.append(leaf)


def test_a_frontier_can_begin_at_any_tree() -> None:
    """It goes on as one that saw every leaf."""
    leaves = trees.numbered_leaves(40)
    for size in range(40):
        frontier = Frontier.of(size, trees.memory(leaves[:size]))
        assert (frontier.size, frontier.root()) == (size, trees.defined_root(leaves[:size]))
        for leaf in leaves[size:]:
            frontier.append(leaf)
        assert frontier.root() == trees.defined_root(leaves)


def test_a_copied_frontier_grows_on_its_own() -> None:
    """What is appended to one is not in the other."""
    frontier = Frontier()
    for leaf in trees.numbered_leaves(7):
        frontier.append(leaf)
    before = frontier.root()
    for other in (frontier.copy(), copy.copy(frontier)):
        assert other.root() == before
        other.append(bytes(32))
        assert (other.size, frontier.size, frontier.root()) == (8, 7, before)


def test_an_append_costs_one_hash_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over n appends, fewer than n."""
    calls = 0
    hash_once = merkle.node_hash

    def counted(left: bytes, right: bytes) -> bytes:
        nonlocal calls
        calls += 1
        return hash_once(left, right)

    monkeypatch.setattr(merkle, "node_hash", counted)
    frontier = Frontier()
    for leaf in trees.numbered_leaves(1000):
        frontier.append(leaf)
    assert calls < 1000
