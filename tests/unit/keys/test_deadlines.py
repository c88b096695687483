"""Who acknowledged late, or never, over ledgers in any order."""

import pytest

from keys.deadlines import Deadlines
from protocol.entry import Entry
from protocol.statements import Acknowledgement, Bulletin
from tests.support.altering import replace
from tests.support.world import ORIGINS, World, line_about

WORLD = World.found()
HEADER = Bulletin.decode(WORLD.bulletin().statement).header
ENTRY = Entry(WORLD.bulletin().kind, WORLD.bulletin().statement, b"", 0, None)
HOMES = {agency.id: agency.home for agency in WORLD.directory.agencies}
DUE, NOW = 1000, 5000


def word(time: int, entry: Entry = ENTRY, to: str = "pk-liaison") -> Acknowledgement:
    """The recipient's acknowledgement at ``time``."""
    submission = WORLD.acknowledgement("cn-liaison", to, [line_about(ORIGINS["PK"], 7, entry, time=time)])
    return Acknowledgement.decode(submission.statement)


@pytest.mark.parametrize("first", ["bulletin", "acknowledgement"])
@pytest.mark.parametrize("time, told", [(DUE, []), (DUE + 1, ["cn-liaison acknowledged 1 late"])])
def test_lateness_is_told_whichever_ledger_comes_first(first: str, time: int, told: list[str]) -> None:
    deadlines = Deadlines()
    if first == "acknowledgement":
        deadlines.acknowledged(word(time))
    deadlines.sent(ORIGINS["PK"], 7, ENTRY.leaf(), HEADER, DUE)
    if first == "bulletin":
        deadlines.acknowledged(word(time))
    for origin in ORIGINS.values():
        deadlines.audited(origin)
    assert deadlines.warnings(NOW, HOMES) == told


def test_the_first_word_counts() -> None:
    deadlines = Deadlines()
    deadlines.acknowledged(word(DUE + 5))
    deadlines.acknowledged(word(DUE - 5))
    deadlines.sent(ORIGINS["PK"], 7, ENTRY.leaf(), HEADER, DUE)
    assert deadlines.warnings(NOW, HOMES) == []


@pytest.mark.parametrize("first", ["bulletin", "word"])
@pytest.mark.parametrize("other", [word(DUE, replace(ENTRY, time=1)), word(DUE, to="pk-embassy")], ids=["hash", "to"])
def test_a_word_on_another_hash_or_to_another_than_the_sender_is_none(other: Acknowledgement, first: str) -> None:
    """The judge of another ledger saw its form alone."""
    deadlines = Deadlines()
    if first == "word":
        deadlines.acknowledged(other)
    deadlines.sent(ORIGINS["PK"], 7, ENTRY.leaf(), HEADER, DUE)
    if first == "bulletin":
        deadlines.acknowledged(other)
    deadlines.audited(ORIGINS["CN"])
    assert deadlines.warnings(NOW, HOMES) == ["cn-liaison has not acknowledged 1, and they are late"]


@pytest.mark.parametrize("now, audited, told", [
    (NOW, "CN", ["cn-liaison has not acknowledged 1, and they are late"]),
    (DUE, "CN", []),
    (NOW, "PK", []),
])  # fmt: skip
def test_silence_is_told_when_it_is_late_and_the_ledger_was_read(now: int, audited: str, told: list[str]) -> None:
    deadlines = Deadlines()
    deadlines.sent(ORIGINS["PK"], 7, ENTRY.leaf(), HEADER, DUE)
    deadlines.audited(ORIGINS[audited])
    assert deadlines.warnings(now, HOMES) == told
