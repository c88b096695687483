"""What keeps a version of the directory out, and which one is in force after a fork."""

import hashlib
from collections.abc import Iterable
from typing import Any

import pytest

from keys.judge import Refused
from protocol.entry import Submission
from protocol.parties import Authority
from protocol.statements import DirectoryVersion
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.paper import PaperLedger
from tests.support.world import CUSTODIANS, NOW, World, signed, signing_key

SKEW_MS = 60_000
PK, CN = CUSTODIANS[:2], CUSTODIANS[2:]
ZERO_POINT = bytes(32)


def _authorities(*names: str) -> tuple[Authority, ...]:
    return tuple(Authority(name, signing_key(name).public) for name in names)


def _named(world: World, name: str, *signers: str) -> tuple[World, Submission]:
    """The next version, told from its siblings by a name in it."""
    following = world.with_agency("cn-embassy", name=name)
    return following, following.publication(*signers)


def _of(world: World, data: bytes, signers: Iterable[str] = CUSTODIANS, **changes: Any) -> Submission:
    """A statement about the JSON ``data``, changed as told."""
    directory = world.directory
    version = DirectoryVersion(directory.version, len(data), directory.hash, directory.previous)
    return signed(replace(version, **changes), *signers, body=data)


def test_the_next_version_stands(world: World, paper: PaperLedger) -> None:
    """And is in force from its entry on. SPEC 12.1.1."""
    following, publication = _named(world, "Embassy")
    paper.admit(publication)
    assert paper.exchange.in_force == following.directory


def test_1_the_json_is_canonical_too(world: World, paper: PaperLedger) -> None:
    """Another form of the same JSON has another hash and is no directory. SPEC 12.2.1."""
    following, _ = _named(world, "Embassy")
    data = following.directory.encode() + b"\n"
    assert paper.refusal(_of(following, data, sha256=hashlib.sha256(data).digest())) == (1, "malformed")


def test_2_it_stands_once(world: World, paper: PaperLedger) -> None:
    """The same statement is told where it stands, by whomever it is signed anew. SPEC 12.2.2."""
    index = paper.admit(_named(world, "Embassy")[1])
    verdict = paper.judge(_named(world, "Embassy", *CUSTODIANS)[1], NOW + DAY_MS)
    assert isinstance(verdict, Refused)
    assert (verdict.step, verdict.code, verdict.index) == (2, "seen-before", index)


def test_3_the_json_lies_beside_it(world: World, paper: PaperLedger) -> None:
    """Of the length, the number, the hash and the parent that are signed. SPEC 12.2.3."""
    following, publication = _named(world, "Embassy")
    data, longer = publication.body, len(publication.body) + 1
    assert paper.refusal(replace(publication, body=b"")) == (3, "directory-missing")
    assert paper.refusal(_of(following, data, length=longer)) == (3, "directory-missing")
    for other in (following.with_directory(), world.with_directory(previous=bytes(31) + b"1")):
        data = other.directory.encode()
        mismatched = _of(following, data, sha256=other.directory.hash, length=len(data))
        assert paper.refusal(mismatched) == (3, "directory-mismatch")
    paper._json[bytes(32)] = publication.body  # a lookup that does not check what it was handed
    assert paper.refusal(_of(following, publication.body, sha256=bytes(32))) == (3, "directory-mismatch")


def test_4_8_nobody_makes_a_node_read_json_without_the_thresholds(world: World, paper: PaperLedger) -> None:
    """Megabytes of it cost a second: too few signatures, or false ones, are refused before."""
    following, _ = _named(world, "Embassy")
    long = _of(following, b"[" * 1_000_000, sha256=hashlib.sha256(b"[" * 1_000_000).digest())
    few = _of(following, long.body, CUSTODIANS[:1], sha256=hashlib.sha256(long.body).digest())
    assert paper.refusal(few) == (4, "threshold-missing")
    assert paper.refusal(replace(long, signatures=_named(world, "Mission")[1].signatures)) == (8, "bad-signature")
    assert paper.refusal(long) == (1, "malformed")


def test_3_of_this_exchange(world: World, paper: PaperLedger) -> None:
    """Another first version is another exchange; a later one names ours. SPEC 12.2.3."""
    other = World.found(expires=NOW + DAY_MS)
    assert PaperLedger().refusal(other.publication()) == (3, "wrong-exchange")
    assert PaperLedger().refusal(world.publication()) is None
    stray = world.with_directory(exchange=other.pin)
    assert paper.refusal(stray.publication()) == (3, "wrong-exchange")


def test_3_not_of_the_future(world: World, paper: PaperLedger) -> None:
    """Whole seconds: at the skew it stands. SPEC 12.2.3."""
    assert paper.refusal(world.with_directory(issued=NOW + SKEW_MS).publication()) is None
    assert paper.refusal(world.with_directory(issued=NOW + SKEW_MS + 1000).publication()) == (3, "created-in-future")


def test_3_one_that_has_expired_may_stand(world: World, paper: PaperLedger) -> None:
    """A ledger begins with all of them in order; only the newest one's end counts, and only for bulletins.

    SPEC 12.2.3.
    """
    assert paper.refusal(world.with_directory(expires=NOW - 1000).publication(), NOW + 500 * DAY_MS) is None
    assert PaperLedger().refusal(world.publication(), NOW + 900 * DAY_MS) is None


def test_4_each_nation_has_its_own_threshold(world: World, paper: PaperLedger) -> None:
    """Both of PK and both of CN: one nation alone, or three of four, is nothing. SPEC 12.2.4."""
    for signers in (PK, CN, CUSTODIANS[:3], CUSTODIANS[1:], CUSTODIANS[:1]):
        assert paper.refusal(_named(world, "Embassy", *signers)[1]) == (4, "threshold-missing")
    assert paper.refusal(_named(world, "Embassy", *CUSTODIANS)[1]) is None


def test_4_three_of_one_nation_are_not_one_of_the_other() -> None:
    """There is no flat count of signatures. SPEC 12.2.4."""
    pk3 = ("pk-custodian-1", "pk-custodian-2", "pk-custodian-3")
    plain = World.found()
    nations = (replace(plain.directory.nations[0], authorities=_authorities(*pk3)), plain.directory.nations[1])
    world = World.found(nations=nations)
    paper = PaperLedger(world)
    assert paper.refusal(_named(world, "Embassy", *pk3, "cn-custodian-1")[1]) == (4, "threshold-missing")
    assert paper.refusal(_named(world, "Embassy", "pk-custodian-3", "pk-custodian-1", *CN)[1]) is None


def test_4_version_1_needs_its_own_thresholds(world: World) -> None:
    """And no others. SPEC 12.2.4."""
    assert PaperLedger().refusal(world.publication(*PK)) == (4, "threshold-missing")
    assert PaperLedger().refusal(world.publication(*CUSTODIANS)) is None


def test_4_old_keys_and_new_ones_sign_a_rotation(world: World, paper: PaperLedger) -> None:
    """Threshold under the version before and under this one. SPEC 12.2.4."""
    new = ("pk-custodian-1", "pk-custodian-3")
    rotated = world.with_nation("PK", authorities=_authorities(*new))
    assert paper.refusal(rotated.publication(*PK, *CN)) == (4, "threshold-missing")
    assert paper.refusal(rotated.publication(*new, *CN)) == (4, "threshold-missing")
    paper.admit(rotated.publication(*PK, "pk-custodian-3", *CN))
    following = rotated.with_agency("cn-embassy", name="Embassy")
    assert paper.refusal(following.publication(*PK, *CN)) == (4, "threshold-missing")
    assert paper.refusal(following.publication(*new, *CN)) is None


def test_4_the_same_key_twice_is_one(world: World, paper: PaperLedger) -> None:
    """Two signatures of one key are no form of signatures at all. SPEC 12.2.4."""
    publication = _named(world, "Embassy", "pk-custodian-1", "pk-custodian-1", *CN)[1]
    assert paper.refusal(publication) == (1, "malformed")


@pytest.mark.parametrize("stranger", ["pk-custodian-3", "pk-liaison/identity", "PK"])
def test_4_nobody_else_signs(world: World, paper: PaperLedger, stranger: str) -> None:
    """A signature of a key that has no say in it keeps it out. SPEC 12.2.4."""
    assert paper.refusal(_named(world, "Embassy", *CUSTODIANS, stranger)[1]) == (4, "wrong-signer")


def test_4_keys_that_enter_are_sound(world: World, paper: PaperLedger) -> None:
    """A point of small order would verify whatever anyone signs. SPEC 12.2.4."""
    weak = replace(signing_key("cn-embassy/identity").public, ed25519=ZERO_POINT)
    assert paper.refusal(world.with_agency("cn-embassy", identity=weak).publication()) == (4, "bad-key")
    pk, cn = world.directory.nodes
    nodes = (pk, replace(cn, receipt=replace(cn.receipt, ed25519=ZERO_POINT)))
    assert paper.refusal(world.with_directory(nodes=nodes).publication()) == (4, "bad-key")


def test_7_a_ledger_begins_with_version_1(world: World, paper: PaperLedger) -> None:
    """And has it once. SPEC 12.2.7."""
    following, publication = _named(world, "Embassy")
    assert PaperLedger().refusal(publication) == (7, "directory-chain")
    twin = replace(following.directory, version=1, exchange=None, previous=bytes(32))
    pretender = replace(world, directory=twin)
    paper.exchange = replace(paper.exchange, pin=twin.hash)
    assert paper.refusal(pretender.publication()) == (7, "directory-chain")


def test_7_each_version_follows_one_that_stands(world: World, paper: PaperLedger) -> None:
    """By number and by hash; none is left out. SPEC 12.2.7."""
    second, _ = _named(world, "Embassy")
    _, publication = _named(second, "Mission")
    assert paper.refusal(publication) == (7, "directory-chain")
    skipped = world.with_directory(version=3)
    assert paper.refusal(skipped.publication()) == (7, "directory-chain")
    paper.admit(second.publication())
    assert paper.refusal(publication) is None


def test_8_every_signature_holds(world: World, paper: PaperLedger) -> None:
    """All four, in suite 2. SPEC 12.2.8."""
    publication, other = (_named(world, name)[1] for name in ("Embassy", "Mission"))
    assert paper.refusal(replace(publication, signatures=other.signatures)) == (8, "bad-signature")
    version = DirectoryVersion.decode(publication.statement)
    assert paper.refusal(signed(version, *CUSTODIANS, suite=1, body=publication.body)) == (8, "bad-signature")


# A fork


def test_of_two_versions_the_later_has_no_effect(world: World, paper: PaperLedger) -> None:
    """It stands as evidence, and the next may follow either. SPEC 12.1.4."""
    (one, first), (two, second) = _named(world, "Embassy"), _named(world, "Mission")
    paper.admit(first)
    paper.admit(second)
    assert paper.exchange.in_force == one.directory
    assert set(paper.exchange.versions) == {world.directory.hash, one.directory.hash, two.directory.hash}
    for branch in (one, two):
        following, publication = _named(branch, "Consulate")
        later = paper.copy()
        later.admit(publication)
        assert later.exchange.in_force == following.directory
        assert later.exchange.in_force.version == 3


def test_two_ledgers_with_a_fork_meet_again(world: World, paper: PaperLedger) -> None:
    """Whichever came first in each, the version after puts both in one state. SPEC 12.1.4."""
    (one, first), (_, second) = _named(world, "Embassy"), _named(world, "Mission")
    other = paper.copy()
    for ledger, order in ((paper, (first, second)), (other, (second, first))):
        for publication in order:
            ledger.admit(publication)
    assert paper.exchange.in_force != other.exchange.in_force
    following, publication = _named(one, "Consulate")
    for ledger in (paper, other):
        ledger.admit(publication)
        assert ledger.exchange.in_force == following.directory


def test_4_keys_rotated_out_do_not_come_back_by_a_fork(world: World, paper: PaperLedger) -> None:
    """They may still sign a sibling of the version that ended them; what follows that needs the keys in force.

    SPEC 12.2.4.
    """
    new = tuple(f"{nation}-custodian-{number}" for nation in ("pk", "cn") for number in (3, 4))
    nations = tuple(
        replace(nation, authorities=_authorities(*(name for name in new if name[:2].upper() == nation.id)))
        for nation in world.directory.nations
    )
    rotated = world.with_directory(nations=nations)
    paper.admit(rotated.publication(*CUSTODIANS, *new))
    thieves, fork = _named(world, "Embassy", *CUSTODIANS)
    paper.admit(fork)
    assert paper.exchange.in_force == rotated.directory
    following, publication = _named(thieves, "Mission", *CUSTODIANS)
    assert paper.refusal(publication) == (4, "threshold-missing")
    assert paper.refusal(following.publication(*CUSTODIANS, *new)) is None
    paper.admit(_named(rotated, "Consulate", *new)[1])
    paper.admit(publication)
    assert paper.refusal(_named(following, "Legation", *CUSTODIANS)[1]) == (4, "threshold-missing")
