"""The log's formats under Hypothesis: what decodes encodes to the same, and nothing raises but ProtocolError."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keys.lognote import open_checkpoint
from protocol import limits, merkle, tiles
from protocol.addcheckpoint import AddCheckpoint
from protocol.checkpoint import Checkpoint, join_timestamped, split_timestamped
from protocol.errors import ProofFailed, ProtocolError
from protocol.merkle import Frontier
from protocol.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519, Note, SignatureLine, VerifierKey
from protocol.tiles import Tile
from protocol.tlogpolicy import Group, Log, Policy, Witness
from protocol.tlogproof import TlogProof
from tests.support import trees

LEAVES = trees.numbered_leaves(65_537)
NODES = trees.memory(LEAVES)
EDGES = (1, 255, 256, 257, 65_535, 65_536, 65_537)  # where tiles and levels begin (tessera #1178)

hashes = st.binary(min_size=32, max_size=32)
words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="+"), min_size=1).filter(
    lambda name: len(name.encode()) <= 255
)
keys = st.one_of(
    st.builds(VerifierKey, words, st.sampled_from([ED25519, COSIGNATURE_ED25519]), hashes),
    st.builds(VerifierKey, words, st.just(COSIGNATURE_MLDSA44), st.integers(0, 255).map(lambda b: bytes([b] * 1312))),
)
lines = st.builds(
    SignatureLine, words, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=limits.TILE_HASHES)
)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\n")).map(
    lambda t: t + "\n"
)
notes = st.builds(Note, texts, st.lists(lines, min_size=1, max_size=16).map(tuple))
checkpoints = st.builds(Checkpoint, words, st.integers(0, 2**63 - 1), hashes)
proofs = st.builds(
    TlogProof,
    st.integers(0, 2**63 - 2),
    st.lists(hashes, max_size=63).map(tuple),
    notes.map(Note.encode),
    st.none() | st.binary(min_size=1),
)
sizes = st.sampled_from(EDGES) | st.integers(1, 65_537)
junk = st.text(st.characters()) | st.text(st.sampled_from("—+/ =\n\r\t#AaxX0159.pé")) | st.text(max_size=4)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies that hold together: unique keys, groups of names that stand free."""
    cosigners = draw(st.lists(keys.filter(lambda k: k.type != ED25519), max_size=5, unique_by=lambda k: k.public))
    logs = draw(
        st.lists(keys.filter(lambda k: k.type != COSIGNATURE_ED25519), max_size=3, unique_by=lambda k: k.public)
    )
    items: list[Witness | Group] = [Witness(f"w{number}", key) for number, key in enumerate(cosigners)]
    free = [item.name for item in items]
    for number in range(draw(st.integers(0, 3))):
        members = draw(st.lists(st.sampled_from(free), min_size=1, unique=True)) if free else []
        if members:
            items.append(Group(f"g{number}", draw(st.integers(1, len(members))), tuple(members)))
            free = [name for name in free if name not in members] + [f"g{number}"]
    quorum = draw(st.sampled_from(["none", *(item.name for item in items)]))
    return Policy(
        tuple(Log(key, draw(st.none() | st.just("https://log.example"))) for key in logs), tuple(items), quorum
    )


@st.composite
def requests(draw: st.DrawFn) -> AddCheckpoint:
    """What is asked of a witness: an old size, a proof, a checkpoint."""
    checkpoint = draw(checkpoints)
    signed = Note(checkpoint.text(), tuple(draw(st.lists(lines, min_size=1, max_size=4))))
    path = tuple(draw(st.lists(hashes, max_size=63)))
    return AddCheckpoint(draw(st.integers(0, checkpoint.size)), path, signed)


CODECS: dict[str, tuple[Callable[[str], Any], Callable[[Any], str], st.SearchStrategy[Any]]] = {
    "vkey": (VerifierKey.parse, VerifierKey.encode, keys),
    "line": (SignatureLine.parse, SignatureLine.encode, lines),
    "note": (Note.parse, Note.encode, notes),
    "checkpoint": (Checkpoint.parse, Checkpoint.text, checkpoints),
    "tlog-proof": (TlogProof.parse, TlogProof.encode, proofs),
    "add-checkpoint": (
        lambda text: AddCheckpoint.parse(text.encode("utf-8", "surrogatepass")),
        lambda request: request.encode().decode(),
        requests(),
    ),
    "tlog-policy": (Policy.parse, Policy.encode, policies()),
}
codecs = pytest.mark.parametrize("codec", CODECS)


@codecs
@given(data=st.data())
def test_what_is_encoded_is_decoded_to_the_same(codec: str, data: st.DataObject) -> None:
    parse, encode, values = CODECS[codec]
    value = data.draw(values)
    assert parse(encode(value)) == value


@codecs
@given(text=junk)
def test_any_text_is_decoded_or_refused_by_a_protocol_error(codec: str, text: str) -> None:
    _decodes_to_itself_or_is_refused(codec, text)


@codecs
@given(data=st.data())
def test_an_altered_encoding_decodes_to_itself_or_is_refused(codec: str, data: st.DataObject) -> None:
    """One place replaced, dropped or doubled."""
    _, encode, values = CODECS[codec]
    text = encode(data.draw(values))
    at = data.draw(st.integers(0, len(text)))
    altered = text[:at] + data.draw(junk) + text[data.draw(st.integers(0, len(text))) :]
    _decodes_to_itself_or_is_refused(codec, altered)


def _decodes_to_itself_or_is_refused(codec: str, text: str) -> None:
    parse, encode, _ = CODECS[codec]
    try:
        value = parse(text)
    except ProtocolError:
        return
    if codec == "tlog-policy":  # the one format that people write: comments and blanks are passed over
        assert parse(encode(value)) == value
    else:
        assert encode(value) == text


@given(note=junk | notes.map(Note.encode), log_keys=st.lists(keys, max_size=2))
def test_opening_any_note_raises_nothing_but_protocol_errors(note: str, log_keys: list[VerifierKey]) -> None:
    with pytest.raises(ProtocolError):
        open_checkpoint(note, log_keys)


@given(checkpoint=checkpoints, key=keys, body=st.binary(min_size=1, max_size=3000))
def test_no_random_signature_opens_a_checkpoint(checkpoint: Checkpoint, key: VerifierKey, body: bytes) -> None:
    """Whatever the public key: also one that is no point, or no ML-DSA key."""
    named = VerifierKey(checkpoint.origin, key.type, key.public)
    note = Note(checkpoint.text(), (SignatureLine(named.name, named.key_id, body),))
    with pytest.raises(ProofFailed):
        open_checkpoint(note.encode(), [named])


@given(body=st.binary(max_size=100))
def test_a_timestamped_body_splits_and_joins_to_itself(body: bytes) -> None:
    try:
        time_s, signature = split_timestamped(body)
    except ProtocolError:
        return
    assert join_timestamped(time_s, signature) == body


@given(
    path=st.from_regex(r"tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,7}[0-9]{3}(\.p/[0-9]{1,3})?", fullmatch=True) | junk
)
def test_a_tile_path_that_is_read_is_the_one_that_is_written(path: str) -> None:
    try:
        parsed = tiles.parse_tile_path(path)
    except ProtocolError:
        return
    assert tiles.tile_path(parsed.level, parsed.index, parsed.width) == path


@given(level=st.none() | st.integers(0, 63), index=st.integers(0, 2**63 // 256), width=st.integers(1, 256))
def test_every_tile_has_a_path_that_names_it(level: int | None, index: int, width: int) -> None:
    parsed = tiles.parse_tile_path(tiles.tile_path(level, index, width))
    assert (parsed.level, parsed.index, parsed.width) == (level, index, width)


@given(entries=st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_is_decoded_to_its_entries(entries: list[bytes]) -> None:
    assert tiles.decode_bundle(tiles.encode_bundle(entries), len(entries)) == entries


@given(data=st.binary(max_size=64), width=st.integers(0, 257))
@example(data=b"\0\0" * 256, width=256)
@example(data=b"\0\0" * 257, width=257)
def test_a_bundle_that_is_read_is_the_one_that_is_written(data: bytes, width: int) -> None:
    try:
        entries = tiles.decode_bundle(data, width)
    except ProtocolError:
        return
    assert tiles.encode_bundle(entries) == data


@given(data=st.binary(max_size=200) | st.integers(0, 300).map(lambda count: bytes(32 * count)))
def test_a_tile_that_is_read_is_the_one_that_is_written(data: bytes) -> None:
    try:
        tile = Tile.from_data(data)
    except ProtocolError:
        return
    assert tile.data() == data


def test_roots_at_the_edges_of_tiles_are_those_of_the_definition() -> None:
    """255 to 257 and 65,535 to 65,537 leaves: by nodes and by the frontier."""
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES, 1):
        frontier.append(leaf)
        if size in EDGES:
            assert frontier.root() == merkle.root(size, NODES) == trees.defined_root(LEAVES[:size])


@given(size=sizes, data=st.data())
def test_every_leaf_is_proved_in_every_tree(size: int, data: st.DataObject) -> None:
    """And the path has the one length that its place gives it."""
    index = data.draw(st.integers(0, size - 1) | st.sampled_from([0, size - 1]))
    path = merkle.inclusion_path(index, size, NODES)
    inner = (index ^ (size - 1)).bit_length()
    assert len(path) == inner + (index >> inner).bit_count()
    root = merkle.root(size, NODES)
    merkle.verify_inclusion(LEAVES[index], index, size, path, root)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        with pytest.raises(ProofFailed):
            merkle.verify_inclusion(LEAVES[index], index, size, [*path[:at], bytes(32), *path[at + 1 :]], root)


@given(old=sizes | st.just(0), new=sizes, data=st.data())
def test_every_tree_extends_every_smaller_one(old: int, new: int, data: st.DataObject) -> None:
    old, new = sorted((old, new))
    path = merkle.consistency_path(old, new, NODES)
    roots = merkle.root(old, NODES), merkle.root(new, NODES)
    merkle.verify_consistency(old, new, path, *roots)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        with pytest.raises(ProofFailed):
            merkle.verify_consistency(old, new, [*path[:at], bytes(32), *path[at + 1 :]], *roots)


@given(
    numbers=st.tuples(*[st.integers(-1, 2**64)] * 2),
    path=st.lists(st.binary(max_size=33), max_size=70),
    ends=st.tuples(hashes, hashes),
)
def test_random_paths_prove_nothing(numbers: tuple[int, int], path: list[bytes], ends: tuple[bytes, bytes]) -> None:
    """Whatever they are: ProofFailed, and no other error."""
    if numbers != (0, 1) or path or ends[0] != ends[1]:
        with pytest.raises(ProofFailed):
            merkle.verify_inclusion(ends[0], *numbers, path, ends[1])
    if numbers[0] != numbers[1] or path or ends[0] != ends[1]:
        with pytest.raises(ProofFailed):
            merkle.verify_consistency(*numbers, path, *ends)
