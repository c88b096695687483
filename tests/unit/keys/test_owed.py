"""Signature checks on other cores: whoever asks about an entry waits for it, and hears of each that does not hold."""

import errno
import os
import signal
from collections.abc import Iterator

import pytest

import keys.owed
from keys.owed import Owed, Verifiers, verifying
from keys.signing import SignatureCheck
from keys.verifier import Chunk, Verifier
from tests.support.world import signing_key

KEY = signing_key("pk-liaison/desk")


def owing(*, holds: bool) -> list[SignatureCheck]:
    """What an entry owes."""
    return [SignatureCheck(KEY.public, b"said", KEY.sign(b"said" if holds else b"not said", 1), 1)]


GOOD, BAD = owing(holds=True), owing(holds=False)


@pytest.fixture(params=[0, 1, 3])
def verifiers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Verifiers]:
    """None, one and many, which start at once."""
    monkeypatch.setattr(keys.owed, "_CHUNKS_FIRST", 1)
    with verifying(request.param) as several:
        yield several


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200, 2000])
@pytest.mark.parametrize("bad", [0, 63, 64, 199])
def test_every_entry_that_does_not_hold_is_refused(verifiers: Verifiers, count: int, bad: int) -> None:
    refused: list[int] = []
    owed = Owed(verifiers, refused.append)
    for index in range(count):
        owed.add(index, BAD if index == bad else GOOD)
    owed.settle_all()
    assert refused == [bad] * (bad < count)


@pytest.mark.parametrize("asked", [0, 1, 63, 64, 129])
def test_an_entry_is_settled_when_it_is_asked_about(verifiers: Verifiers, asked: int) -> None:
    refused: list[int] = []
    owed = Owed(verifiers, refused.append)
    for index in range(130):
        owed.add(index, BAD if index in {0, asked} else GOOD)
    owed.settle(asked)
    assert set(refused) == {0, asked}


def test_an_entry_that_owes_nothing_waits_for_nobody(verifiers: Verifiers) -> None:
    refused: list[int] = []
    owed = Owed(verifiers, refused.append)
    owed.add(10, BAD)
    owed.settle(9)
    assert refused == []
    owed.settle(10)
    assert refused == [10]


def test_what_a_process_that_was_killed_owes_is_verified_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys.owed, "_CHUNKS_FIRST", 0)
    refused: list[int] = []
    with verifying(1) as verifiers:
        owed = Owed(verifiers, refused.append)
        for index in range(1000):
            owed.add(index, BAD if index % 100 == 7 else GOOD)
            if index == 200:
                os.kill(verifiers.pids()[0], signal.SIGKILL)
        owed.settle_all()
    assert refused == list(range(7, 1000, 100))


def test_interrupting_the_one_who_asks_does_not_end_a_process_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys.owed, "_CHUNKS_FIRST", 0)
    with verifying(1) as verifiers:
        Owed(verifiers, lambda _: None).settle_all()
        verifiers.free()
        assert os.getsid(verifiers.pids()[0]) != os.getsid(0)


def test_a_small_ledger_starts_no_process() -> None:
    with verifying(1) as verifiers:
        owed = Owed(verifiers, lambda _: None)
        for index in range(1000):
            owed.add(index, GOOD)
        owed.settle_all()
        assert verifiers.pids() == []


def test_no_process_outlives_the_one_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys.owed, "_CHUNKS_FIRST", 0)
    with verifying(2) as verifiers:
        verifiers.free()
        pids = verifiers.pids()
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_process_that_dies_with_what_it_was_asked_is_not_missed() -> None:
    """Its socket says so by an error, once, where it had read only a part."""
    verifier, several = Verifier(), [Chunk([index], [BAD]) for index in range(2)]
    try:
        os.kill(verifier.pid, signal.SIGSTOP)
        for chunk in several:
            verifier.ask(chunk)
        os.kill(verifier.pid, signal.SIGKILL)
        os.waitid(os.P_PID, verifier.pid, os.WEXITED | os.WNOWAIT)
        assert verifier.is_free()
        assert [chunk.answer for chunk in several] == [b"\0", b"\0"]
    finally:
        verifier.close()


def test_an_entry_that_holds_is_not_accused_by_a_process_that_is_broken() -> None:
    """It denies everything; what does not hold is found all the same."""
    chunk = Chunk([4, 5, 6], [GOOD, BAD, GOOD])
    chunk.answer = bytes(3)
    assert list(chunk.failing()) == [5]


@pytest.mark.parametrize("fails", ["socket.socketpair", "subprocess.Popen"])
@pytest.mark.parametrize("before", [0, 1])
def test_where_no_process_can_be_started_those_that_there_are_do_it_all(
    monkeypatch: pytest.MonkeyPatch, fails: str, before: int
) -> None:
    monkeypatch.setattr(keys.owed, "_CHUNKS_FIRST", 0)
    monkeypatch.setattr(keys.owed, "Verifier", Limited(before, fails, monkeypatch))
    refused: list[int] = []
    with verifying(3) as verifiers:
        owed = Owed(verifiers, refused.append)
        for index in range(1000):
            owed.add(index, BAD if index % 100 == 7 else GOOD)
        owed.settle_all()
        assert len(verifiers.pids()) == before
    assert refused == list(range(7, 1000, 100))


class Limited:
    """Starts so many, and no more."""

    def __init__(self, most: int, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.fails, self.monkeypatch = most, fails, monkeypatch

    def __call__(self) -> Verifier:
        if self.left == 0:
            self.monkeypatch.setattr(f"keys.verifier.{self.fails}", self.refuse)
        self.left -= 1
        return Verifier()

    def refuse(self, *_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def test_a_process_that_was_stopped_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys.owed, "_CHUNKS_FIRST", 0)
    with verifying(1) as verifiers:
        verifiers.free()
        (pid,) = verifiers.pids()
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
