"""keys/secret.py: a secret does not get out by accident."""

import copy
import json
import pickle
from dataclasses import asdict, dataclass

import pytest

from keys.secret import Secret

SECRET = Secret(b"hunter2")


@dataclass(frozen=True)
class _Holder:
    secret: Secret


def test_a_secret_does_not_print() -> None:
    """However it is asked to, and whatever holds it."""
    for text in (repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET!r:>40}", repr(_Holder(SECRET)), repr([SECRET])):
        assert "hunter2" not in text
    with pytest.raises(TypeError):
        json.dumps({"secret": SECRET})


def test_a_secret_is_not_pickled_copied_or_taken_apart() -> None:
    """Not into a crash dump, nor by a logger that walks what it is given."""
    for take in (pickle.dumps, copy.copy, copy.deepcopy, lambda secret: asdict(_Holder(secret))):
        with pytest.raises(TypeError, match="secret"):
            take(SECRET)
    assert not hasattr(SECRET, "__dict__")


def test_secrets_are_compared_by_value_and_are_in_no_set() -> None:
    """A hash would have to be of the value."""
    assert Secret(b"hunter2") == SECRET
    assert Secret(b"hunter3") != SECRET
    assert SECRET != b"hunter2"
    with pytest.raises(TypeError):
        hash(SECRET)


def test_only_reveal_gives_it_away() -> None:
    """A name to search for."""
    assert SECRET.reveal() == b"hunter2"
