"""tests/vectors/fork: each file is one expectation of evidence of a fork, and the kind of each refusal is asserted."""

import json
from pathlib import Path
from typing import Any

import pytest

from keys.fork import Fork, check
from protocol.errors import ProtocolError
from tests.vectors import make_fork

FILES = sorted(make_fork.FOLDER.glob("*.json"))
SHOWN_MIN, REFUSED_MIN = 6, 15


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


def test_no_vector_has_gone_missing() -> None:
    """A loader that finds nothing would pass."""
    refused = [path for path in FILES if "error" in _load(path)]
    assert len(refused) >= REFUSED_MIN
    assert len(FILES) - len(refused) >= SHOWN_MIN


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_vector_holds(path: Path) -> None:
    """What is given shows the value, or is refused by exactly that kind of error. SPEC 14.4.1, 14.4.2, 14.4.3."""
    vector = _load(path)
    file, pin = vector["given"]["file"].encode(), bytes.fromhex(vector["given"]["pin"])
    if "error" not in vector:
        shown = check(Fork.decode(file), pin)
        assert make_fork.value_of(shown) == vector["value"]
        assert shown.fork.encode() == file
        return
    with pytest.raises(ProtocolError) as caught:
        check(Fork.decode(file), pin)
    assert caught.value.code == vector["error"]


def test_the_script_would_make_the_files_but_for_their_signatures() -> None:
    """The same names, and the same expectations."""
    made = make_fork.made()
    assert {path.name for path in FILES} == set(made)
    for path in FILES:
        on_disk, new = _load(path), made[path.name]
        assert {**on_disk, "given": None} == {**new, "given": None}
        assert on_disk["given"]["pin"] == new["given"]["pin"]
