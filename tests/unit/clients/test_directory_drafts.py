"""Drafts of the directory: what each change does, how it reads, and whose signatures are enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients import drafting, endorsing
from clients.differing import differences
from clients.errors import UsageError
from keys.card import make_card, open_card
from keys.exchange import Exchange
from keys.judge import Refused
from keys.versions import enter
from protocol.card import Card
from protocol.directory import Directory
from protocol.errors import Malformed
from protocol.label import Clearance
from protocol.parties import Feed, Nation
from protocol.policy import Policy
from protocol.signing import Signature
from protocol.statements import Kind
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.world import CUSTODIANS, NOW, World, node, signing_key

WORLD = World.found()


def authorities(nation: str) -> list[Card]:
    names = [f"{nation.lower()}-custodian-{number}" for number in (1, 2)]
    return [open_card(make_card("authority", name, signing_key(name)), "authority") for name in names]


def drafted() -> Directory:
    """Version 1 from cards alone."""
    draft = drafting.begin(NOW)
    for id_, code, name in (("PK", "PAK", "Pakistan"), ("CN", "CHN", "中国")):
        nation = drafting.with_authorities(Nation(id_, code, name, 2, ()), authorities(id_))
        draft = drafting.put_node(drafting.put_nation(draft, nation), node(id_))
    draft = drafting.put_feed(draft, Feed("corridor", "The corridor", (), Clearance("PK", "Secret"), domestic=False))
    card = open_card(make_card("agency", "pk-liaison", signing_key("pk-liaison/identity")), "agency")
    return drafting.put_agency(draft, drafting.new_agency(draft, card, "PK", "Secret"))


def signatures(directory: Directory, *signers: str) -> list[Signature]:
    statement = endorsing.statement_of(directory).encode()
    return [signing_key(name).sign_statement(Kind.DIRECTORY, statement, 2) for name in signers]


def test_a_draft_from_cards_holds_together() -> None:
    """Levels and maps of the nations that it has are those of the default policy."""
    draft = drafted()
    draft.check()
    assert draft.policy == Policy()
    assert draft.by_agency["pk-liaison"].home == node("PK").origin
    assert Directory.decode(draft.encode()) == draft


def test_a_draft_need_not_hold_together_yet() -> None:
    """It is read back as it is, and not taken for a directory."""
    draft = drafting.begin(NOW)
    assert Directory.draft(draft.encode()) == draft
    with pytest.raises(Malformed, match="no nation"):
        Directory.decode(draft.encode())


def test_a_nation_that_is_not_known_brings_its_levels() -> None:
    """Without a map to it everything is denied, until the map is written."""
    nation = Nation("TJ", "TJK", "Tajikistan", 1, ())
    with pytest.raises(UsageError, match="levels of TJ"):
        drafting.put_nation(drafted(), nation)
    draft = drafting.put_nation(drafted(), nation, ("Open", "Closed"))
    assert draft.policy.equivalence.translate("PK", "Secret", "TJ") is None


def test_what_is_removed_leaves_nothing_behind() -> None:
    """A nation takes its agencies, nodes, levels and maps with it; a node with agencies stays."""
    with pytest.raises(UsageError, match="at home there"):
        drafting.remove_node(drafted(), node("PK").origin)
    draft = drafting.remove_nation(drafted(), "PK")
    assert draft.agencies == ()
    assert [one.origin for one in draft.nodes] == [node("CN").origin]
    assert list(draft.policy.equivalence.levels) == ["CN"]
    for remove in (drafting.remove_agency, drafting.remove_feed, drafting.remove_nation, drafting.remove_node):
        with pytest.raises(UsageError, match="there is no"):
            remove(drafted(), "nobody")


def test_the_next_version_follows_the_one_in_force() -> None:
    """The same parts, its own place in the chain and times."""
    following = drafting.follow(WORLD.directory, NOW + DAY_MS)
    assert (following.version, following.previous, following.exchange) == (2, WORLD.directory.hash, WORLD.pin)
    following.check()


def test_a_difference_reads_in_words() -> None:
    """What came, what went, what changed, and nothing else."""
    after = drafting.follow(WORLD.directory, WORLD.directory.issued)
    after = replace(drafting.remove_agency(after, "cn-embassy"), expires=WORLD.directory.expires)
    liaison = after.by_agency["pk-liaison"]
    after = drafting.put_agency(after, replace(liaison, clearance=Clearance("PK", "Top Secret", ("CONVOY",))))
    before = "pk-liaison, pk-site-security, cn-liaison, cn-embassy"
    members = f"members {before} -> {before.removesuffix(', cn-embassy')}"
    assert differences(WORLD.directory, after) == [
        "~ directory: version 1 -> 2",
        "~ agency pk-liaison: clearance PK:Secret//CONVOY -> PK:Top Secret//CONVOY",
        f"~ feed convoys: {members}",
        f"~ feed sites: {members}",
        "- agency cn-embassy",
    ]
    assert differences(after, after) == []


def test_each_nations_threshold_is_counted_under_both_versions() -> None:
    """Missing names are named; the judge has the last word."""
    exchange = Exchange("", WORLD.pin).with_directory(WORLD.directory)
    following = drafting.follow(WORLD.directory, NOW)
    review = endorsing.review(following, signatures(following, *CUSTODIANS[:3]), exchange, NOW)
    assert [str(tally) for tally in review.tallies if not tally.is_enough] == [
        "version 1, CN: 1 of 2 (cn-custodian-1), missing 1 of cn-custodian-2",
        "version 2, CN: 1 of 2 (cn-custodian-1), missing 1 of cn-custodian-2",
    ]
    assert review.refused is not None
    assert review.refused.code == "threshold-missing"
    assert endorsing.review(following, signatures(following, *CUSTODIANS), exchange, NOW).refused is None


def test_a_signature_that_does_not_hold_counts_for_nothing() -> None:
    """Of a stranger, or of another version: told, and left out of the count."""
    draft = drafted()
    stranger = signatures(draft, "pk-liaison/identity")
    other = signatures(drafting.follow(draft, NOW), "pk-custodian-1")
    review = endorsing.review(draft, stranger + other, Exchange("", draft.hash), NOW)
    assert len(review.faults) == 2
    assert all(not tally.signed for tally in review.tallies)
    assert isinstance(review.refused, Refused)


def test_signature_files_are_of_one_directory_only(tmp_path: Path) -> None:
    """The file names what was signed."""
    draft = drafted()
    file = tmp_path / "d.sig"
    file.write_bytes(endorsing.sign(draft, signing_key("pk-custodian-1"), "pk-custodian-1"))
    assert len(endorsing.read_signatures(draft, [file, file])) == 1
    with pytest.raises(UsageError, match="another file"):
        endorsing.read_signatures(drafting.follow(draft, NOW), [file])


def test_version_1_enters_by_its_own_thresholds() -> None:
    """With the exchange's pin; with another pin it does not."""
    draft = drafted()
    submission = endorsing.submission_of(draft, signatures(draft, *CUSTODIANS))
    assert enter(Exchange("", draft.hash), submission, NOW).in_force == draft
    with pytest.raises(Refused, match="wrong-exchange"):
        enter(Exchange("", bytes(32)), submission, NOW)
