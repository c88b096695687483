"""tests/vectors/evidence: each file is one expectation of evidence of a bulletin; a refusal's kind is asserted."""

import json
from pathlib import Path
from typing import Any

import pytest

from keys.evidence import Evidence, check
from protocol.errors import ProtocolError
from tests.vectors import make_evidence

FILES = sorted(make_evidence.FOLDER.glob("*.json"))
SHOWN_MIN, REFUSED_MIN = 2, 29


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


WHOLE = _load(make_evidence.FOLDER / make_evidence.WHOLE)["given"]["file"]


def test_no_vector_has_gone_missing() -> None:
    """A loader that finds nothing would pass."""
    refused = [path for path in FILES if "error" in _load(path)]
    assert len(refused) >= REFUSED_MIN
    assert len(FILES) - len(refused) >= SHOWN_MIN


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_vector_holds(path: Path) -> None:
    """What is given shows the value, or is refused by exactly that kind of error. SPEC 14.3.1, 14.3.2."""
    vector = _load(path)
    file, pin = make_evidence.file_of(vector["given"], WHOLE), bytes.fromhex(vector["given"]["pin"])
    if "error" not in vector:
        evidence = Evidence.decode(file)
        assert make_evidence.value_of(check(evidence, pin)) == vector["value"]
        assert evidence.encode() == file
        return
    with pytest.raises(ProtocolError) as caught:
        check(Evidence.decode(file), pin)
    assert caught.value.code == vector["error"]


def test_the_script_would_make_the_files_but_for_their_signatures() -> None:
    """The same names, and the same expectations."""
    made = make_evidence.made()
    assert {path.name for path in FILES} == set(made)
    for path in FILES:
        on_disk, new = _load(path), made[path.name]
        assert {**on_disk, "given": None, "value": None} == {**new, "given": None, "value": None}
