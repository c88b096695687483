"""tests/vectors/evidence and fork: each file is one expectation, and the kind of each refusal is asserted."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from keys import evidence, fork
from keys.evidence import Evidence
from keys.fork import Fork
from protocol.errors import ProtocolError
from tests.vectors import make_evidence, make_fork

KINDS: dict[str, tuple[Any, Any, Any]] = {
    "evidence": (make_evidence, Evidence.decode, evidence.check),
    "fork": (make_fork, Fork.decode, fork.check),
}
SHOWN_MIN, REFUSED_MIN = {"evidence": 2, "fork": 6}, {"evidence": 29, "fork": 15}
FILES = [(kind, path) for kind, (make, *_) in KINDS.items() for path in sorted(make.FOLDER.glob("*.json"))]


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


def _of(kind: str) -> Iterable[Path]:
    return [path for its, path in FILES if its == kind]


@pytest.mark.parametrize("kind", KINDS)
def test_no_vector_has_gone_missing(kind: str) -> None:
    """A loader that finds nothing would pass."""
    refused = ["error" in _load(path) for path in _of(kind)]
    assert sum(refused) >= REFUSED_MIN[kind]
    assert len(refused) - sum(refused) >= SHOWN_MIN[kind]


@pytest.mark.parametrize("kind, path", FILES, ids=[f"{kind}-{path.stem}" for kind, path in FILES])
def test_a_vector_holds(kind: str, path: Path) -> None:
    """What is given shows the value, or is refused by exactly that kind of error.

    SPEC 14.3.1, 14.3.2, 14.4.1, 14.4.2, 14.4.3.
    """
    make, decode, check = KINDS[kind]
    vector = _load(path)
    file, pin = make.file_of(vector["given"]), bytes.fromhex(vector["given"]["pin"])
    if "error" not in vector:
        assert make.value_of(check(decode(file), pin)) == vector["value"]
        assert decode(file).encode() == file
        return
    with pytest.raises(ProtocolError) as caught:
        check(decode(file), pin)
    assert caught.value.code == vector["error"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_script_would_make_the_files_but_for_their_signatures(kind: str) -> None:
    """The same names, and the same expectations."""
    made = KINDS[kind][0].made()
    assert {path.name for path in _of(kind)} == set(made)
    for path in _of(kind):
        on_disk, new = _load(path), made[path.name]
        assert {**on_disk, "given": None} == {**new, "given": None}
        assert on_disk["given"]["pin"] == new["given"]["pin"]
