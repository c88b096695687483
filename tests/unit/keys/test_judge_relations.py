"""(7) of keys/judge.py: what a bulletin may say of one that stands before it."""

import pytest

from keys.judge import Refused
from protocol.header import RELATIONS, Relation
from tests.support.altering import replace
from tests.support.paper import PaperLedger
from tests.support.world import NOW, ORIGINS, World, label

LEAF = bytes(32)


@pytest.fixture
def first(world: World, paper: PaperLedger) -> int:
    """pk-liaison's bulletin to cn-liaison and cn-embassy, as it stands."""
    return paper.admit(world.bulletin(to=["cn-embassy", "cn-liaison"]))


@pytest.mark.parametrize("kind", ["supersedes", "cancels"])
def test_7_only_the_sender_supersedes_and_cancels(world: World, paper: PaperLedger, first: int, kind: str) -> None:
    """And it may; another agency may not, though it be of the same nation. SPEC 12.2.7."""
    relation = (paper.relation(kind, first),)
    to = ["cn-embassy", "cn-liaison"]
    assert paper.refusal(world.bulletin("pk-site-security", to=to, relations=relation)) == (7, "not-yours")
    assert paper.refusal(world.bulletin(to=to, relations=relation)) is None
    assert paper.refusal(world.bulletin(to=[*to, "pk-site-security"], relations=relation)) is None


@pytest.mark.parametrize("kind", ["supersedes", "cancels"])
def test_7_an_exercise_ends_nothing_actual(world: World, paper: PaperLedger, first: int, kind: str) -> None:
    """Nor the other way round: status is the same on both. SPEC 12.2.7."""
    relations = (paper.relation(kind, first),)
    everyone = ["cn-embassy", "cn-liaison"]
    drill = world.bulletin(to=everyone, status="exercise", relations=relations)
    assert paper.refusal(drill) == (7, "status-differs")


@pytest.mark.parametrize("kind", ["supersedes", "cancels"])
def test_7_whoever_had_the_first_has_this(world: World, paper: PaperLedger, first: int, kind: str) -> None:
    """Leaving one out is refused, by name. SPEC 12.2.7."""
    verdict = paper.judge(world.bulletin(relations=(paper.relation(kind, first),)))
    assert isinstance(verdict, Refused)
    assert (verdict.step, verdict.code, verdict.names) == (7, "recipient-left-out", ("cn-embassy",))


def test_7_a_higher_label_does_not_leave_anyone_out(world: World, paper: PaperLedger, first: int) -> None:
    """What counts is whether they may read the first. SPEC 12.2.7."""
    relations = (paper.relation("supersedes", first),)
    assert paper.refusal(world.bulletin(label=label("Secret"), suite=2, relations=relations)) == (
        7,
        "recipient-left-out",
    )


def test_7_who_may_no_longer_read_may_be_left_out(world: World, paper: PaperLedger, first: int) -> None:
    """Out of the directory, of the feed, of its clearance, suspended, or without a seat to seal to. SPEC 12.2.7."""
    changes = [
        world.without_agency("cn-embassy").publication(),
        world.with_feed("convoys", members=("pk-liaison", "cn-liaison")).publication(),
        world.with_agency(
            "cn-embassy", clearance=replace(world.directory.by_agency["cn-embassy"].clearance, classification="公开")
        ).publication(),
        world.suspension("cn-embassy"),
        world.revocation("cn-embassy/desk"),
    ]
    for change in changes:
        later = paper.copy()
        later.admit(change)
        assert later.refusal(world.bulletin(relations=(later.relation("cancels", first),))) is None


def test_7_of_a_feed_that_is_gone_nobody_must_be_told(world: World, paper: PaperLedger) -> None:
    """A bulletin on it can still be cancelled on another."""
    first = paper.admit(world.bulletin(feed="sites", to=["cn-embassy", "pk-site-security"]))
    paper.admit(world.with_directory(feeds=world.directory.feeds[:1]).publication())
    assert paper.refusal(world.bulletin(relations=(paper.relation("cancels", first),))) is None


def test_7_only_who_was_asked_answers(world: World, paper: PaperLedger) -> None:
    """Not another agency, and not the sender itself. SPEC 12.2.7."""
    asked = paper.admit(world.bulletin(feed="sites", to=["pk-site-security"]))
    unasked = paper.admit(world.bulletin(to=["cn-liaison"]))
    answer, none = (paper.relation("answers", asked),), (paper.relation("answers", unasked),)
    assert paper.refusal(world.bulletin("pk-site-security", to=["cn-liaison"], relations=answer)) is None
    assert paper.refusal(world.bulletin("pk-site-security", to=["cn-liaison"], relations=none)) == (7, "not-asked")
    assert paper.refusal(world.bulletin(relations=none)) == (7, "not-asked")


def test_7_only_who_has_a_part_in_it_replies(world: World, paper: PaperLedger) -> None:
    """Its sender and its recipients. SPEC 12.2.7."""
    index = paper.admit(world.bulletin(feed="sites", to=["pk-site-security"]))
    closed = paper.admit(world.bulletin(to=["cn-liaison"]))
    mine, foreign = (paper.relation("replies", index),), (paper.relation("replies", closed),)
    assert paper.refusal(world.bulletin(relations=mine)) is None
    assert paper.refusal(world.bulletin("pk-site-security", relations=mine)) is None
    assert paper.refusal(world.bulletin("pk-site-security", relations=foreign)) == (7, "not-yours")


@pytest.mark.parametrize("kind", RELATIONS)
def test_7_the_target_stands_here(world: World, paper: PaperLedger, first: int, kind: str) -> None:
    """A bulletin, at that index, with that hash. SPEC 12.2.7."""
    relation = paper.relation(kind, first)
    for wrong in (
        replace(relation, leaf=LEAF),
        replace(relation, index=first + 1),
        paper.relation(kind, 1),  # a key bundle
    ):
        verdict = paper.judge(world.bulletin(to=["cn-embassy", "cn-liaison"], relations=(wrong,)))
        assert isinstance(verdict, Refused)
        assert (verdict.step, verdict.code, verdict.index) == (7, "target-unknown", wrong.index)


def test_7_every_relation_is_judged(world: World, paper: PaperLedger, first: int) -> None:
    """Also the last one. SPEC 12.2.7."""
    relations = (paper.relation("replies", first), paper.relation("answers", first))
    assert paper.refusal(world.bulletin(relations=relations)) == (7, "not-asked")


@pytest.mark.parametrize("kind", RELATIONS)
def test_7_of_a_target_in_another_ledger_the_form_alone(world: World, paper: PaperLedger, kind: str) -> None:
    """Whoever holds it checks the rule before it has any effect. SPEC 12.2.7."""
    elsewhere = (Relation(kind, ORIGINS["CN"], 1_000_000, LEAF),)
    assert paper.refusal(world.bulletin(relations=elsewhere)) is None


@pytest.mark.parametrize("kind", RELATIONS)
def test_7_a_client_passes_a_target_that_was_not_sent_to_it(
    world: World, paper: PaperLedger, first: int, kind: str
) -> None:
    """It cannot know better, and the node did; what it holds it judges like a node. SPEC 12.2.7, 12.2.11."""
    relation = (replace(paper.relation(kind, first), leaf=LEAF),)
    paper.hidden.add(first)
    assert paper.refusal(world.bulletin(relations=relation), NOW) is None
