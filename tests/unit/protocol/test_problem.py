"""protocol/problem.py: what a node answers when it does not do as asked."""

import json
import re

import pytest

from protocol.errors import Malformed
from protocol.problem import CODES, Problem

PROBLEM = Problem("stale-keys", "the key bundle of cn-liaison does not run", {"step": 6, "agencies": ["cn-liaison"]})


def test_a_problem_is_rfc_9457_json_with_a_code_and_a_hint() -> None:
    """SPEC 13.1.1."""
    assert json.loads(PROBLEM.to_json()) == {
        "type": "urn:khunjerab:problem:stale-keys",
        "title": "Stale keys",
        "status": 409,
        "code": "stale-keys",
        "detail": "the key bundle of cn-liaison does not run",
        "hint": "fetch the newest bundles and seal anew",
        "step": 6,
        "agencies": ["cn-liaison"],
    }


def test_a_client_reads_back_what_a_node_says() -> None:
    """SPEC 13.1.1."""
    read = Problem.from_json(PROBLEM.to_json())
    assert (read.code, read.detail, read.extra) == (PROBLEM.code, PROBLEM.detail, PROBLEM.extra)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_status_and_says_what_to_do(code: str) -> None:
    """SPEC 13.1.2."""
    problem = Problem(code, "x")
    assert 400 <= problem.status < 600
    assert problem.hint
    assert re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", code)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"[]",
        b"null",
        b"{}",
        b'{"code": "stale-keys"}',
        b'{"code": ["stale-keys"], "detail": ""}',
        b'{"code": "made-up", "detail": ""}',
        b'{"code": "stale-keys", "detail": "' + b"x" * 70_000 + b'"}',
        b"[" * 100_000,
        b"1" * 10_000,
        b"\xff",
    ],
)
def test_anything_else_is_no_problem_of_ours(data: bytes) -> None:
    """A proxy's page, a code that does not exist, a body without end. SPEC 13.1.3."""
    with pytest.raises(Malformed):
        Problem.from_json(data)


def test_a_hostile_node_cannot_speak_to_the_terminal() -> None:
    """No escape sequence, override or surrogate comes through a problem. SPEC 13.1.3."""
    data = json.dumps({"code": "not-found", "detail": "a\x1b[2J\x9b\u202eb\ud800"}).encode()
    assert Problem.from_json(data).detail == "a[2Jb"
