"""clients/opening.py: what a node hands to a reader beside an entry is opened only if it is what was signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.opening import Opener
from protocol.names import new_bulletin_id
from protocol.statements import Bulletin
from tests.support.live import seat_home
from tests.support.world import CONTENT, NOW, World

WORLD = World.found()
ID = new_bulletin_id(NOW, bytes(10))
SENT, AGAIN = WORLD.bulletin(id=ID), WORLD.bulletin(id=ID)  # one header, sealed twice
STATEMENT = Bulletin.decode(SENT.statement)


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    """Of the first of the recipient's two seats."""
    home = seat_home(tmp_path, WORLD, "cn-liaison")
    yield Opener(home)
    home.close()


def test_what_was_signed_is_opened(opener: Opener) -> None:
    """SPEC 11.3.1."""
    assert STATEMENT.header_bytes == Bulletin.decode(AGAIN.statement).header_bytes
    opened = opener.open(9, STATEMENT, SENT.body, SENT.wraps[0])
    assert (opened.content, opened.problem) == (CONTENT, "")


@pytest.mark.parametrize(
    "body, wrap, problem",
    [
        (SENT.body, AGAIN.wraps[0], "cannot-open: the wrap is not one that was signed for a key of this seat"),
        (SENT.body, SENT.wraps[1], "cannot-open: the wrap is not one that was signed for a key of this seat"),
        (SENT.body, SENT.wraps[0][:-1], "cannot-open: the wrap is not one that was signed for a key of this seat"),
        (AGAIN.body, SENT.wraps[0], "body-altered"),
        (SENT.body[:-1], SENT.wraps[0], "body-altered"),
        (None, SENT.wraps[0], "body-missing"),
        (None, None, "body-missing"),
        (SENT.body, None, "not sealed to this seat"),
    ],
    ids=["sealed anew", "another seat's", "cut wrap", "another body", "cut body", "no body", "nothing", "no wrap"],
)
def test_what_was_not_signed_is_not_opened(
    opener: Opener, body: bytes | None, wrap: bytes | None, problem: str
) -> None:
    """Though anybody can seal to a public key, under this very header. SPEC 11.3.1."""
    opened = opener.open(9, STATEMENT, body, wrap)
    assert (opened.content, opened.problem) == (None, problem)
