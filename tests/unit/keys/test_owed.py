"""Signature checks on threads: whoever asks about an entry waits for it, and hears of every one that does not hold."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from keys.owed import Owed, verifying
from keys.signing import SignatureCheck
from tests.support.world import signing_key

KEY = signing_key("pk-liaison/desk")


def owing(*, holds: bool) -> list[SignatureCheck]:
    """What an entry owes."""
    return [SignatureCheck(KEY.public, b"said", KEY.sign(b"said" if holds else b"not said", 1), 1)]


GOOD, BAD = owing(holds=True), owing(holds=False)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with verifying() as pool:
        yield pool


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200, 2000])
@pytest.mark.parametrize("bad", [0, 63, 64, 199])
def test_every_entry_that_does_not_hold_is_refused(threads: ThreadPoolExecutor, count: int, bad: int) -> None:
    refused: list[int] = []
    owed = Owed(threads, refused.append)
    for index in range(count):
        owed.add(index, BAD if index == bad else GOOD)
    owed.settle_all()
    assert refused == [bad] * (bad < count)


@pytest.mark.parametrize("asked", [0, 1, 63, 64, 129])
def test_an_entry_is_settled_when_it_is_asked_about(threads: ThreadPoolExecutor, asked: int) -> None:
    refused: list[int] = []
    owed = Owed(threads, refused.append)
    for index in range(130):
        owed.add(index, BAD if index in {0, asked} else GOOD)
    owed.settle(asked)
    assert set(refused) == {0, asked}


def test_an_entry_that_owes_nothing_waits_for_nobody(threads: ThreadPoolExecutor) -> None:
    refused: list[int] = []
    owed = Owed(threads, refused.append)
    owed.add(10, BAD)
    owed.settle(9)
    assert refused == []
    owed.settle(10)
    assert refused == [10]
