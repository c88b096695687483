"""tests/vectors/log: each file is one expectation, and the kind of each refusal is asserted."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keys.lognote import open_checkpoint
from protocol import errors, merkle, tiles
from protocol.checkpoint import Checkpoint
from protocol.errors import ProtocolError
from protocol.note import Note, VerifierKey
from protocol.tiles import parse_tile_path, tile_path
from protocol.tlogpolicy import Policy
from protocol.tlogproof import TlogProof
from tests.vectors import make_log

FILES = sorted(make_log.FOLDER.glob("*.json"))
COUNT_MIN = {
    "inclusion": 17,
    "consistency": 17,
    "tile-path": 10,
    "bundle": 4,
    "vkey": 9,
    "note": 8,
    "checkpoint": 9,
    "tlog-proof": 7,
    "policy": 10,
    "open": 10,
}
ERRORS = {error.code: error for error in (errors.Malformed, errors.TooLarge, errors.ProofFailed)}


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


def _inclusion(given: dict[str, Any]) -> None:
    path = [bytes.fromhex(one) for one in given["path"]]
    leaf, root = bytes.fromhex(given["leaf"]), bytes.fromhex(given["root"])
    merkle.verify_inclusion(leaf, given["index"], given["size"], path, root)


def _consistency(given: dict[str, Any]) -> None:
    path = [bytes.fromhex(one) for one in given["path"]]
    roots = bytes.fromhex(given["old_root"]), bytes.fromhex(given["new_root"])
    merkle.verify_consistency(given["old"], given["new"], path, *roots)


def _tile_path(given: str) -> dict[str, Any]:
    parsed = parse_tile_path(given)
    assert tile_path(parsed.level, parsed.index, parsed.width) == given
    return {"level": parsed.level, "index": parsed.index, "width": parsed.width}


def _bundle(given: dict[str, Any]) -> list[str]:
    data = base64.b64decode(given["data"])
    entries = tiles.decode_bundle(data, given["width"])
    assert tiles.encode_bundle(entries) == data
    return [base64.b64encode(entry).decode() for entry in entries]


def _vkey(given: str) -> dict[str, Any]:
    key = VerifierKey.parse(given)
    assert key.encode() == given
    return {"name": key.name, "type": key.type, "public": key.public.hex()}


def _note(given: str) -> dict[str, Any]:
    note = Note.parse(given)
    assert note.encode() == given
    lines = [{"name": x.name, "key_id": x.key_id.hex(), "signature": x.signature.hex()} for x in note.lines]
    return {"text": note.text, "lines": lines}


def _checkpoint(given: str) -> dict[str, Any]:
    checkpoint = Checkpoint.parse(given)
    assert checkpoint.text() == given
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}


def _tlog_proof(given: str) -> dict[str, Any]:
    proof = TlogProof.parse(given)
    assert proof.encode() == given
    path = [one.hex() for one in proof.path]
    extra = proof.extra.hex() if proof.extra is not None else None
    return {"index": proof.index, "path": path, "checkpoint": proof.checkpoint, "extra": extra}


def _policy(given: str) -> dict[str, bool]:
    policy = Policy.parse(given)
    assert policy.encode() == given
    keys = policy.witness_keys()
    return {"any": policy.satisfied_by(keys[:1]), "all": policy.satisfied_by(keys)}


def _open(given: dict[str, Any]) -> dict[str, Any]:
    log_keys = [VerifierKey.parse(key) for key in given["log_keys"]]
    cosigner_keys = [VerifierKey.parse(key) for key in given["cosigner_keys"]]
    opened = open_checkpoint(given["note"], log_keys, cosigner_keys)
    checkpoint = _checkpoint(opened.checkpoint.text())
    return checkpoint | {"cosigned": [list(one) for one in opened.cosigned]}


KINDS: dict[str, Callable[[Any], Any]] = {
    "inclusion": _inclusion,
    "consistency": _consistency,
    "tile-path": _tile_path,
    "bundle": _bundle,
    "vkey": _vkey,
    "note": _note,
    "checkpoint": _checkpoint,
    "tlog-proof": _tlog_proof,
    "policy": _policy,
    "open": _open,
}


def test_no_vector_has_gone_missing() -> None:
    """A loader that finds nothing would pass."""
    counts = Counter(_load(path)["kind"] for path in FILES)
    assert {kind: counts[kind] for kind in COUNT_MIN if counts[kind] < COUNT_MIN[kind]} == {}
    assert set(counts) == set(KINDS) == set(COUNT_MIN)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_vector_holds(path: Path) -> None:
    """What is given comes to the value, or is refused by exactly that kind of error."""
    vector = _load(path)
    examine = KINDS[vector["kind"]]
    if "error" not in vector:
        assert examine(vector["given"]) == vector["value"]
        return
    with pytest.raises(ProtocolError) as caught:
        examine(vector["given"])
    assert caught.type is ERRORS[vector["error"]]


def test_the_script_makes_the_files_byte_for_byte() -> None:
    """All but the signed ones, and no file is without a maker."""
    on_disk = {path.name: path.read_bytes() for path in FILES if not path.name.startswith(make_log.SIGNED)}
    assert on_disk == {name: make_log.render(vector) for name, vector in make_log.deterministic().items()}


def test_the_script_would_make_the_signed_files_but_for_their_signatures() -> None:
    """The same names, and the same expectations of the same kinds."""
    on_disk = {path.name: _load(path) for path in FILES if path.name.startswith(make_log.SIGNED)}
    made = make_log.signed()
    assert on_disk.keys() == made.keys()
    for name, vector in made.items():
        for one in (vector, on_disk[name]):
            del one["given"]["note"]
        assert vector == on_disk[name]
