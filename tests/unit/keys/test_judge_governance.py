"""What keeps key bundles, revocations and suspensions out, and what they change."""

from typing import Any

import pytest

from keys.judge import Refused
from protocol.entry import Submission
from protocol.policy import Policy
from protocol.signing import KemKey
from protocol.statements import NO_HASH, Seat, Suspect
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.paper import PaperLedger
from tests.support.world import (
    BUNDLE_MS,
    NOW,
    ORIGINS,
    World,
    bundle,
    digest_of,
    kem_key,
    signed,
    signing_key,
)

SKEW_MS = 60_000
WEEK_MS = 7 * DAY_MS
PK, CN = ("pk-custodian-1", "pk-custodian-2"), ("cn-custodian-1", "cn-custodian-2")
ME = "pk-liaison"


def _seat(name: str, key: str, kem: str) -> Seat:
    return Seat(name, signing_key(key).public, kem_key(kem))


def _next(world: World, **changes: Any) -> Submission:
    """pk-liaison's next bundle, changed as told."""
    return world.with_bundle(ME, **changes).key_bundle(ME)


# Key bundles


def test_a_bundle_stands(world: World, paper: PaperLedger) -> None:
    """The one that the following differ from; its agency seals and signs with it from its start on."""
    following = world.with_bundle(ME)
    paper.admit(following.key_bundle(ME))
    newest = paper.exchange.newest_bundle(ME, NOW + WEEK_MS)
    assert newest is not None
    assert newest.hash == digest_of(following.bundles[ME])


def test_1_2_a_bundle_is_canonical_and_stands_once(world: World, paper: PaperLedger) -> None:
    """Known by its hash. SPEC 12.2.1, 12.2.2."""
    submission = _next(world)
    assert paper.refusal(replace(submission, statement=submission.statement[:-1])) == (1, "malformed")
    index = paper.admit(submission)
    verdict = paper.judge(submission, NOW + 90 * DAY_MS)
    assert isinstance(verdict, Refused)
    assert (verdict.step, verdict.code, verdict.index) == (2, "seen-before", index)


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"exchange": bytes(32)}, "wrong-exchange"),
        ({"starts": NOW, "ends": NOW + BUNDLE_MS + 1}, "bundle-times"),
        ({"starts": NOW, "ends": NOW}, "bundle-times"),
        ({"starts": NOW + 1, "ends": NOW}, "bundle-times"),
    ],
)
def test_3_a_bundle_runs_31_days_at_most(world: World, paper: PaperLedger, changes: dict[str, Any], code: str) -> None:
    """And not backwards. SPEC 12.2.3."""
    assert paper.refusal(_next(world, **changes)) == (3, code)


@pytest.mark.parametrize("ends", [NOW + 1, NOW + BUNDLE_MS])
def test_3_a_bundle_of_a_millisecond_or_of_31_days(world: World, paper: PaperLedger, ends: int) -> None:
    """Both are bundles. SPEC 12.2.3."""
    assert paper.refusal(_next(world, starts=NOW, ends=ends)) is None


def test_3_an_ended_bundle_is_a_link_of_its_chain(world: World, paper: PaperLedger) -> None:
    """After a long cut the other ledger takes the chain in its order; what has ended counts for nothing.

    SPEC 12.2.3.
    """
    second = world.with_bundle(ME, starts=NOW + WEEK_MS)
    third = second.with_bundle(ME, ["attic"], starts=NOW + 60 * DAY_MS)
    late = NOW + 61 * DAY_MS
    assert paper.refusal(third.key_bundle(ME), late) == (7, "bundle-chain")
    paper.admit(second.key_bundle(ME), late)
    assert paper.exchange.newest_bundle(ME, late) is None
    paper.admit(third.key_bundle(ME), late)
    newest = paper.exchange.newest_bundle(ME, late)
    assert newest is not None
    assert newest.bundle.sequence == 3


def test_4_a_bundle_is_signed_by_the_identity_key_in_force(world: World, paper: PaperLedger) -> None:
    """Of its own agency, which is in the directory; the key is unrevoked and alone. SPEC 12.2.4."""
    following = world.with_bundle(ME).bundles[ME]
    other = signing_key("cn-embassy/identity").public.key_id
    assert paper.refusal(signed(following, "cn-embassy/identity")) == (4, "wrong-signer")
    assert paper.refusal(signed(following, f"{ME}/identity", "cn-embassy/identity")) == (4, "wrong-signer")
    assert paper.refusal(signed(following, *PK)) == (4, "wrong-signer")
    assert paper.refusal(signed(replace(following, identity=other), "cn-embassy/identity")) == (4, "key-not-in-force")
    removed = paper.copy()
    removed.admit(world.without_agency(ME).publication())
    assert removed.refusal(signed(following, f"{ME}/identity")) == (4, "agency-unknown")
    rotated = paper.copy()
    rotated.admit(world.with_agency(ME, identity=signing_key(f"{ME}/identity-2").public).publication())
    assert rotated.refusal(signed(following, f"{ME}/identity")) == (4, "key-not-in-force")
    paper.admit(world.revocation(f"{ME}/identity", by=PK))
    assert paper.refusal(signed(following, f"{ME}/identity")) == (4, "key-not-in-force")


def test_4_seats_and_keys_are_distinct(world: World, paper: PaperLedger) -> None:
    """No name twice, no signing key twice, no KEM key twice. SPEC 12.2.4."""
    desk = _seat("desk", f"{ME}/desk", "a")
    for other in (
        _seat("desk", f"{ME}/duty", "b"),
        _seat("duty", f"{ME}/desk", "b"),
        _seat("duty", f"{ME}/duty", "a"),
    ):
        assert paper.refusal(_with_seats(world, desk, other)) == (4, "bad-key")
    assert paper.refusal(_with_seats(world, desk, _seat("duty", f"{ME}/duty", "b"))) is None


def _with_seats(world: World, *seats: Seat) -> Submission:
    following = world.with_bundle(ME).bundles[ME]
    return signed(replace(following, seats=seats), f"{ME}/identity")


def test_4_keys_of_seats_are_sound(world: World, paper: PaperLedger) -> None:
    """No small-order point to sign with, no zero key to seal to. SPEC 12.2.4."""
    good = _seat("desk", f"{ME}/desk", "a")
    zero = bytes(32)
    for seat in (
        replace(good, signing=replace(good.signing, ed25519=zero)),
        replace(good, kem=KemKey(good.kem.mlkem768, zero)),
        replace(good, kem=KemKey(b"\xff" * len(good.kem.mlkem768), good.kem.x25519)),
    ):
        assert paper.refusal(_with_seats(world, seat)) == (4, "bad-key")


@pytest.mark.parametrize(
    "key", ["cn-liaison/desk", "cn-liaison/identity", f"{ME}/identity", "pk-custodian-1", "CN", "cn-liaison/next"]
)
def test_4_a_seats_key_is_nobody_elses(world: World, paper: PaperLedger, key: str) -> None:
    """A key says whose act something is: one that is another's, even of a bundle to come, cannot be listed.

    SPEC 12.2.4.
    """
    ahead = world.with_bundle("cn-liaison", ["next"], starts=NOW + WEEK_MS)
    paper.admit(ahead.key_bundle("cn-liaison"))
    assert paper.refusal(_with_seats(world, _seat("desk", key, "a"))) == (4, "bad-key")


def test_4_a_key_that_was_anothers_may_be_taken_over(world: World, paper: PaperLedger) -> None:
    """When the other's bundle has ended, or the other has left the directory. SPEC 12.2.4."""
    taken = _with_seats(world, _seat("desk", "cn-embassy/desk", "a"))
    assert paper.refusal(taken, NOW + BUNDLE_MS - 1) == (4, "bad-key")
    assert paper.refusal(taken, NOW + BUNDLE_MS) is None
    paper.admit(world.without_agency("cn-embassy").publication())
    assert paper.refusal(taken) == (4, "bad-key")


def test_7_bundles_are_a_chain(world: World, paper: PaperLedger) -> None:
    """By number and hash; none starts before the one it follows. SPEC 12.2.7."""
    for changes in (
        {"sequence": 3},
        {"sequence": 1},
        {"previous": NO_HASH},
        {"starts": NOW - 1, "ends": NOW + DAY_MS},
    ):
        following = replace(world.with_bundle(ME).bundles[ME], **changes)
        assert paper.refusal(signed(following, f"{ME}/identity")) == (7, "bundle-chain")
    assert paper.refusal(_next(world, starts=NOW)) is None


def test_7_a_new_identity_key_starts_a_new_chain(world: World, paper: PaperLedger) -> None:
    """From 1; when the old key comes back its chain goes on where it was, however long that took.

    SPEC 12.2.7, 12.3.1.
    """
    new = signing_key(f"{ME}/identity-2").public
    rotated = world.with_agency(ME, identity=new)
    paper.admit(rotated.publication())
    first = replace(bundle(ME, ["desk"], exchange=world.pin), identity=new.key_id)
    second = replace(first, sequence=2, previous=digest_of(world.bundles[ME]))
    assert paper.refusal(signed(second, f"{ME}/identity-2")) == (7, "bundle-chain")
    paper.admit(signed(first, f"{ME}/identity-2"))
    late = NOW + 40 * DAY_MS
    following = replace(first, sequence=2, previous=digest_of(first), starts=late, ends=late + DAY_MS)
    paper.admit(signed(following, f"{ME}/identity-2"), late)
    paper.admit(rotated.with_agency(ME, identity=signing_key(f"{ME}/identity").public).publication(), late)
    assert paper.refusal(_next(world), late) is None


def test_7_twelve_bundles_may_wait(world: World, paper: PaperLedger) -> None:
    """The thirteenth waits until one of them has started. SPEC 12.2.7."""
    ahead = world
    for _ in range(12):
        ahead = ahead.with_bundle(ME)
        paper.admit(ahead.key_bundle(ME))
    thirteenth = ahead.with_bundle(ME).key_bundle(ME)
    assert paper.refusal(thirteenth) == (7, "bundle-chain")
    assert paper.refusal(thirteenth, NOW + WEEK_MS - 1) == (7, "bundle-chain")
    assert paper.refusal(thirteenth, NOW + WEEK_MS) is None


def test_7_past_the_directorys_end_no_bundle_adds_a_seat() -> None:
    """It may renew what is there, and leave out; a new chain would add. SPEC 12.2.7."""
    world = World.found(expires=NOW + DAY_MS)
    paper, late = PaperLedger(world), NOW + DAY_MS + 1
    added = world.with_bundle(ME, ["desk", "attic"], starts=NOW + DAY_MS).key_bundle(ME)
    assert paper.refusal(added, late - 1) is None
    assert paper.refusal(added, late) == (7, "directory-expired")
    assert paper.refusal(world.with_bundle(ME, ["desk"], starts=NOW + DAY_MS).key_bundle(ME), late) is None
    empty = PaperLedger()
    empty.exchange = replace(empty.exchange, pin=world.pin)
    empty.admit(world.publication())
    assert empty.refusal(world.key_bundle(ME), late) == (7, "directory-expired")


def test_7_past_the_directorys_end_everything_else_goes_on() -> None:
    """Long after the grace: revocations, suspensions, acknowledgements, and the next version first of all.

    SPEC 12.2.7.
    """
    world = World.found(expires=NOW + DAY_MS, policy=replace(Policy(), grace_days=0))
    paper, late = PaperLedger(world), NOW + 2 * DAY_MS
    assert paper.refusal(world.bulletin(), late) == (3, "expired")
    assert paper.refusal(world.bulletin(created=late), late) == (3, "directory-expired")
    for submission in (
        world.revocation(f"{ME}/duty"),
        world.suspension("cn-embassy"),
        world.with_bundle(ME).key_bundle(ME),
        world.with_directory(expires=NOW + 300 * DAY_MS).publication(),
    ):
        assert paper.refusal(submission, late) is None


def test_8_a_bundle_is_signed_with_both_halves(world: World, paper: PaperLedger) -> None:
    """Over its own bytes. SPEC 12.2.8."""
    following = world.with_bundle(ME).bundles[ME]
    assert paper.refusal(signed(following, f"{ME}/identity", suite=1)) == (8, "bad-signature")
    other = signed(replace(following, ends=following.ends - 1), f"{ME}/identity")
    good = signed(following, f"{ME}/identity")
    assert paper.refusal(replace(good, signatures=other.signatures)) == (8, "bad-signature")


# Revocations


@pytest.mark.parametrize("by", [(f"{ME}/identity",), PK])
def test_a_seat_is_ended_by_its_agency_or_its_nation(world: World, paper: PaperLedger, by: tuple[str, ...]) -> None:
    """Alone, at once, at the entry's own index."""
    index = paper.admit(world.revocation(f"{ME}/desk", by=by, suspect=Suspect(ORIGINS["PK"], 3)))
    key_id = signing_key(f"{ME}/desk").public.key_id
    assert paper.exchange.is_revoked(ME, key_id)
    revoked = paper.exchange.revoked[ME, key_id]
    assert (revoked.index, revoked.suspect) == (index, Suspect(ORIGINS["PK"], 3))
    paper.admit(world.revocation(f"{ME}/desk", by=by, reason="again"))
    assert paper.exchange.revoked[ME, key_id] == revoked


def test_a_revocation_is_for_good_and_of_one_agency(world: World, paper: PaperLedger) -> None:
    """A bundle that lists the key again gives it nothing; the same key id of another agency is another key.

    SPEC 12.1.2.
    """
    key_id = signing_key("cn-embassy/desk").public.key_id
    paper.admit(world.revocation(f"{ME}/desk", key_ids=(key_id,)))
    assert not paper.exchange.is_revoked("cn-embassy", key_id)
    paper.admit(world.revocation(f"{ME}/desk"))
    paper.admit(_next(world, starts=NOW))
    assert paper.exchange.seat_key(ME, signing_key(f"{ME}/desk").public.key_id, NOW) is None


def test_1_2_3_a_revocations_form_and_times(world: World, paper: PaperLedger) -> None:
    """Canonical, once, of this exchange, not of the future, at any age. SPEC 12.2.1, 12.2.2, 12.2.3."""
    submission = world.revocation(f"{ME}/desk")
    assert paper.refusal(replace(submission, statement=b"")) == (1, "malformed")
    assert paper.refusal(world.revocation(f"{ME}/desk", exchange=bytes(32))) == (3, "wrong-exchange")
    assert paper.refusal(world.revocation(f"{ME}/desk", created=NOW + SKEW_MS + 1)) == (3, "created-in-future")
    assert paper.refusal(world.revocation(f"{ME}/desk", created=NOW + SKEW_MS)) is None
    assert paper.refusal(world.revocation(f"{ME}/desk", created=0)) is None
    index = paper.admit(submission)
    verdict = paper.judge(world.revocation(f"{ME}/desk", by=PK))  # the same statement, otherwise signed
    assert isinstance(verdict, Refused)
    assert (verdict.step, verdict.code, verdict.index) == (2, "seen-before", index)


@pytest.mark.parametrize(
    "by, code",
    [
        (("cn-liaison/identity",), "wrong-signer"),
        ((f"{ME}/duty",), "wrong-signer"),
        ((f"{ME}/identity", *PK), "wrong-signer"),
        ((f"{ME}/identity", "pk-custodian-1"), "wrong-signer"),
        (CN, "wrong-signer"),
        ((*PK, "cn-custodian-1"), "wrong-signer"),
        (PK[:1], "threshold-missing"),
    ],
)
def test_4_nobody_else_revokes(world: World, paper: PaperLedger, by: tuple[str, ...], code: str) -> None:
    """Not another agency, not a seat, not the other nation, not half a threshold, not a mixture. SPEC 12.2.4."""
    assert paper.refusal(world.revocation(f"{ME}/desk", by=by)) == (4, code)


def test_4_an_identity_key_is_ended_by_its_nation(world: World, paper: PaperLedger) -> None:
    """Not by itself, not beside a seat; once ended it ends nothing any more. SPEC 12.2.4."""
    assert paper.refusal(world.revocation(f"{ME}/identity")) == (4, "wrong-signer")
    assert paper.refusal(world.revocation(f"{ME}/desk", f"{ME}/identity")) == (4, "wrong-signer")
    paper.admit(world.revocation(f"{ME}/identity", by=PK))
    assert paper.refusal(world.revocation(f"{ME}/desk")) == (4, "wrong-signer")
    assert paper.refusal(world.revocation(f"{ME}/desk", by=PK)) is None
    assert paper.exchange.newest_bundle(ME, NOW) is None


def test_4_only_an_agency_of_the_directory_in_force(world: World, paper: PaperLedger) -> None:
    """One that has left has no keys in force to end. SPEC 12.2.4."""
    paper.admit(world.without_agency(ME).publication())
    assert paper.refusal(world.revocation(f"{ME}/desk")) == (4, "agency-unknown")
    assert paper.refusal(world.suspension(ME)) == (4, "agency-unknown")


def test_8_a_revocation_is_signed_with_both_halves(world: World, paper: PaperLedger) -> None:
    """Whoever signs it. SPEC 12.2.8."""
    for by in ((f"{ME}/identity",), PK):
        submission, other = (world.revocation(f"{ME}/desk", by=by, reason=reason) for reason in ("lost", "stolen"))
        assert paper.refusal(replace(submission, signatures=other.signatures)) == (8, "bad-signature")


# Suspensions


def test_a_suspension_and_its_lifting(world: World, paper: PaperLedger) -> None:
    """One stops the agency, the other lets it go on; each suspension needs a lifting of its own. SPEC 12.1.3."""
    first, second = world.suspension(ME), world.suspension(ME, reason="a second inquiry")
    paper.admit(first)
    paper.admit(second)
    paper.admit(world.suspension(ME, lifts=digest_of(first)))
    assert paper.exchange.is_suspended(ME)
    paper.admit(world.suspension(ME, lifts=digest_of(second)))
    assert not paper.exchange.is_suspended(ME)
    assert not paper.exchange.is_suspended("cn-liaison")


def test_together_they_are_without_effect_in_either_order(world: World, paper: PaperLedger) -> None:
    """The lifting may come first, from the other ledger. SPEC 12.1.3."""
    suspension = world.suspension(ME)
    paper.admit(world.suspension(ME, lifts=digest_of(suspension)))
    paper.admit(suspension)
    assert not paper.exchange.is_suspended(ME)
    paper.admit(world.suspension(ME, reason="another"))
    assert paper.exchange.is_suspended(ME)


@pytest.mark.parametrize("lifting", ["cn-embassy", "pk-site-security"])
def test_a_lifting_is_of_its_own_agency(world: World, paper: PaperLedger, lifting: str) -> None:
    """The other nation cannot let an agency go on by naming the hash in a lifting of its own, before or after.

    SPEC 12.1.3.
    """
    suspension = world.suspension(ME)
    foreign = world.suspension(lifting, lifts=digest_of(suspension))
    other = paper.copy()
    for ledger, order in ((paper, (suspension, foreign)), (other, (foreign, suspension))):
        for submission in order:
            ledger.admit(submission)
        assert ledger.exchange.is_suspended(ME)


def test_a_directory_without_the_agency_lifts_its_suspension(world: World, paper: PaperLedger) -> None:
    """It may come back later; a version that keeps it, or has no effect, lifts nothing. SPEC 12.1.3."""
    paper.admit(world.suspension(ME))
    kept = world.with_agency("cn-embassy", name="Embassy")
    paper.admit(kept.publication())
    paper.admit(world.without_agency(ME).publication())  # a sibling, without effect
    assert paper.exchange.is_suspended(ME)
    gone = kept.without_agency(ME)
    paper.admit(gone.publication())
    paper.admit(gone.with_directory(agencies=world.directory.agencies).publication())
    assert not paper.exchange.is_suspended(ME)


def test_1_2_3_a_suspensions_form_and_times(world: World, paper: PaperLedger) -> None:
    """Canonical, once, of this exchange, not of the future. SPEC 12.2.1, 12.2.2, 12.2.3."""
    submission = world.suspension(ME)
    assert paper.refusal(replace(submission, statement=b"")) == (1, "malformed")
    assert paper.refusal(world.suspension(ME, exchange=bytes(32))) == (3, "wrong-exchange")
    assert paper.refusal(world.suspension(ME, created=NOW + SKEW_MS + 1)) == (3, "created-in-future")
    assert paper.refusal(world.suspension(ME, created=NOW + SKEW_MS)) is None
    paper.admit(submission)
    paper.admit(world.suspension(ME, lifts=digest_of(submission)))
    assert paper.refusal(submission) == (2, "seen-before")


@pytest.mark.parametrize(
    "by, code",
    [
        (CN, "wrong-signer"),
        ((f"{ME}/identity",), "wrong-signer"),
        ((*PK, *CN), "wrong-signer"),
        (PK[1:], "threshold-missing"),
    ],
)
def test_4_only_its_nation_suspends(world: World, paper: PaperLedger, by: tuple[str, ...], code: str) -> None:
    """And lifts: by its whole threshold, and with nobody else. SPEC 12.2.4."""
    assert paper.refusal(world.suspension(ME, by=by)) == (4, code)
    assert paper.refusal(world.suspension(ME, by=by, lifts=bytes(32))) == (4, code)


def test_8_a_suspension_is_signed_with_both_halves(world: World, paper: PaperLedger) -> None:
    """Over its own bytes. SPEC 12.2.8."""
    submission, other = world.suspension(ME), world.suspension(ME, reason="another")
    assert paper.refusal(replace(submission, signatures=other.signatures)) == (8, "bad-signature")


def test_a_suspended_agency_keeps_its_keys_up(world: World, paper: PaperLedger) -> None:
    """Bundles and revocations of its own are taken: it stops acting, not guarding its keys."""
    paper.admit(world.suspension(ME))
    assert paper.refusal(_next(world)) is None
    assert paper.refusal(world.revocation(f"{ME}/desk")) is None
