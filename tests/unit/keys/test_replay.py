"""A ledger read again: the rules of the ledger itself, the judge's verdicts, and what a reader with gaps can know."""

import pytest

from keys.exchange import Exchange
from keys.judge import apply
from keys.replay import Replay, Step
from keys.signing import verify_all
from protocol.entry import Entry, Link, Submission
from protocol.signing import encode_signatures
from protocol.statements import GOVERNANCE, Kind
from tests.support.altering import replace
from tests.support.paper import PaperLedger
from tests.support.world import NOW, World, digest_of, signing_key

ME = "pk-liaison"


class Reader:
    """Reads a paper ledger entry by entry, its own record of what it accepted beside it."""

    def __init__(self, source: PaperLedger) -> None:
        self.source = source
        self.accepted = PaperLedger()
        self.replay = Replay(Exchange(source.origin, source.exchange.pin))

    def step(self, index: int, entry: Entry | None = None) -> Step:
        """Take the entry at ``index``, or another in its place, as it would be there."""
        entry = entry or self.source.entries[index]
        self.accepted._json = self.source._json
        step = self.replay.step(index, entry.encode(), self.accepted)
        self.accepted.entries += [entry] * (index + 1 - len(self.accepted.entries))
        if step.accepted is not None and entry.kind is not Kind.BULLETIN:
            self.accepted._seen[step.accepted.digest] = index
        return step

    def checks(self, step: Step) -> list[tuple[str, int | None]]:
        """What is wrong with an entry."""
        assert (step.accepted is None) == bool(step.faults)
        return [(fault.check, fault.step) for fault in step.faults]


@pytest.fixture
def reader(paper: PaperLedger) -> Reader:
    """One that has read the founding."""
    reader = Reader(paper)
    for index in range(len(paper.entries)):
        assert not reader.step(index).faults
    return reader


def _entry(submission: Submission, link: Link | None, time: int = NOW) -> Entry:
    return Entry(submission.kind, submission.statement, submission.signatures, time, link)


FOUNDED = Link(Kind.DIRECTORY, 0)


def test_what_a_ledger_holds_is_accepted_at_every_index(world: World, paper: PaperLedger, reader: Reader) -> None:
    """And gives the same exchange; signatures of governance are verified, the others are owed. SPEC 12.4.4, 12.4.3."""
    suspension = world.suspension("cn-embassy")
    at = len(paper.entries)
    for submission in (
        world.bulletin(feed="sites", to=["pk-site-security"]),
        suspension,
        world.revocation(f"{ME}/duty"),
        world.suspension("cn-embassy", lifts=digest_of(suspension)),
        world.with_directory().publication(),
        world.with_bundle(ME).key_bundle(ME),
    ):
        paper.admit(submission)
    paper.admit(world.acknowledgement("pk-site-security", ME, [paper.line(at)]))
    for index in range(at, len(paper.entries)):
        step = reader.step(index)
        assert not reader.checks(step)
        assert step.index == index
        assert bool(step.owed) == (paper.entries[index].kind not in GOVERNANCE)
        verify_all(step.owed)
    assert reader.replay.exchange == paper.exchange
    assert reader.replay.link == paper.entries[-1].link
    assert reader.replay.time == NOW


def test_an_entry_has_a_form(reader: Reader) -> None:
    """Of what cannot be read nothing is known; the next entry is judged as if it were not there. SPEC 12.4.3."""
    before = reader.replay.exchange
    step = reader.replay.step(7, b"\x90", reader.accepted)
    assert step.entry is None
    assert reader.checks(step) == [("entry-form", 1)]
    assert reader.replay.exchange is before


def test_time_does_not_run_back(world: World, paper: PaperLedger, reader: Reader) -> None:
    """Equal is fine; an entry of an earlier time has no effect, and the ones after it are judged by the latest.

    SPEC 12.4.1.
    """
    at = len(paper.entries)
    suspension = world.suspension("cn-embassy")
    assert reader.checks(reader.step(at, _entry(suspension, FOUNDED, NOW - 1))) == [("time-order", None)]
    assert not reader.replay.exchange.is_suspended("cn-embassy")
    after = Link(Kind.SUSPENSION, at)
    late = _entry(world.bulletin(), after, NOW + 5)
    assert reader.checks(reader.step(at + 1, late)) == []
    assert reader.checks(reader.step(at + 2, _entry(world.bulletin(), after, NOW + 4))) == [("time-order", None)]
    assert reader.checks(reader.step(at + 3, _entry(world.bulletin(), after, NOW + 5))) == []


def test_a_backdated_entry_does_not_bring_a_bundle_back(world: World, paper: PaperLedger, reader: Reader) -> None:
    """Its own time would find the seat in force: that it is out of order keeps it out. SPEC 12.4.1."""
    later = world.with_bundle(ME, ["attic"], starts=NOW + 40 * 86_400_000)
    at = len(paper.entries)
    bundle_entry = _entry(later.key_bundle(ME), FOUNDED, NOW + 40 * 86_400_000)
    assert reader.checks(reader.step(at, bundle_entry)) == []
    assert ("time-order", None) in reader.checks(reader.step(at + 1, _entry(world.bulletin(), FOUNDED)))


@pytest.mark.parametrize("wrong", [None, Link(Kind.REVOCATION, 0), Link(Kind.DIRECTORY, 1), Link(Kind.DIRECTORY, 99)])
def test_an_entry_links_to_the_last_governance(
    world: World, paper: PaperLedger, reader: Reader, wrong: Link | None
) -> None:
    """By kind and index. One that does not has no effect, but is linked to like any other. SPEC 12.4.2."""
    at = len(paper.entries)
    suspension = world.suspension("cn-embassy")
    assert reader.checks(reader.step(at, _entry(suspension, wrong))) == [("governance-link", None)]
    assert not reader.replay.exchange.is_suspended("cn-embassy")
    assert reader.checks(reader.step(at + 1, _entry(world.bulletin(), Link(Kind.SUSPENSION, at)))) == []
    assert reader.checks(reader.step(at + 2, _entry(suspension, Link(Kind.SUSPENSION, at)))) == []
    assert reader.replay.exchange.is_suspended("cn-embassy")


def test_the_first_entry_links_to_nothing(world: World, paper: PaperLedger) -> None:
    """There is nothing before it. SPEC 12.4.2."""
    reader = Reader(paper)
    assert reader.checks(reader.step(0, replace(paper.entries[0], link=FOUNDED))) == [("governance-link", None)]
    assert reader.replay.exchange.directory is None


def test_what_the_judge_refuses_has_no_effect(world: World, paper: PaperLedger, reader: Reader) -> None:
    """Its step and code are told; links count it, "seen before" does not. SPEC 12.2.12."""
    at, alone = len(paper.entries), world.suspension("cn-embassy", by=("cn-custodian-1",))
    assert reader.checks(reader.step(at, _entry(alone, FOUNDED))) == [("threshold-missing", 4)]
    link = Link(Kind.SUSPENSION, at)
    assert reader.checks(reader.step(at + 1, _entry(world.suspension("cn-embassy"), link))) == []
    assert reader.replay.exchange.is_suspended("cn-embassy")
    assert reader.checks(
        reader.step(at + 2, _entry(world.suspension("cn-embassy"), Link(Kind.SUSPENSION, at + 1)))
    ) == [("seen-before", 2)]


def test_governance_is_verified_before_it_has_any_effect(world: World, paper: PaperLedger, reader: Reader) -> None:
    """Every signature of it; that of a bulletin is owed by the caller. SPEC 12.4.3."""
    forged = [signing_key(name).sign(b"something else", 2) for name in ("cn-custodian-1", "cn-custodian-2")]
    suspension = replace(world.suspension("cn-embassy"), signatures=encode_signatures(tuple(forged)))
    at = len(paper.entries)
    assert reader.checks(reader.step(at, _entry(suspension, FOUNDED))) == [("bad-signature", 8)]
    assert not reader.replay.exchange.is_suspended("cn-embassy")
    forged = [signing_key(f"{ME}/desk").sign(b"something else", 1)]
    bulletin = replace(world.bulletin(), signatures=encode_signatures(tuple(forged)))
    step = reader.step(at + 1, _entry(bulletin, Link(Kind.SUSPENSION, at)))
    assert reader.checks(step) == []
    assert len(step.owed) == 1


def test_every_fault_is_told(world: World, paper: PaperLedger, reader: Reader) -> None:
    """Not only the first."""
    entry = _entry(world.bulletin(exchange=bytes(32)), None, NOW - 1)
    checks = reader.checks(reader.step(len(paper.entries), entry))
    assert checks == [("time-order", None), ("governance-link", None), ("wrong-exchange", 3)]


def test_a_reader_with_gaps_walks_the_links(world: World, paper: PaperLedger, reader: Reader) -> None:
    """What was not for it it does not miss; governance it does. SPEC 12.4.2."""
    at = len(paper.entries)
    paper.admit(world.bulletin())
    paper.admit(world.suspension("cn-embassy"))
    paper.admit(world.bulletin())
    reader.accepted.hidden = {at}
    assert reader.checks(reader.step(at + 1)) == []
    assert reader.checks(reader.step(at + 2)) == []


def test_a_withheld_revocation_stops_everything_after_it(world: World, paper: PaperLedger, reader: Reader) -> None:
    """Later governance does not cover it up: until it comes, no entry after it can be walked. SPEC 12.4.2."""
    at = len(paper.entries)
    paper.admit(world.revocation(f"{ME}/duty"))
    paper.admit(world.suspension("cn-embassy"))
    paper.admit(world.bulletin("pk-site-security"))
    reader.accepted.hidden = {at}
    for index in (at + 1, at + 2):
        assert reader.checks(reader.step(index)) == [("governance-link", None)]
    assert not reader.replay.exchange.is_suspended("cn-embassy")
    reader.accepted.hidden = set()
    for index in (at, at + 1, at + 2):
        assert reader.checks(reader.step(index)) == []


def test_a_replay_goes_on_from_what_was_kept(world: World, paper: PaperLedger, reader: Reader) -> None:
    """Exchange, link and time are the whole of it."""
    kept = reader.replay
    again = Replay(kept.exchange, kept.link, kept.time)
    data = _entry(world.suspension("cn-embassy"), kept.link).encode()
    index = len(paper.entries)
    step = again.step(index, data, reader.accepted)
    assert step.accepted is not None
    assert again.exchange == apply(kept.exchange, step.accepted, index, NOW)
