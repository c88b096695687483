"""The exchange answers who is who at a time; what may change it is the judge's business (test_judge_*.py)."""

import pytest

from keys.exchange import Exchange, HeldBundle, bundles_ahead
from protocol.header import Recipient
from protocol.statements import Revocation, Suspect, Suspension
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.paper import PaperLedger
from tests.support.world import BUNDLE_MS, NOW, ORIGINS, World, digest_of, signing_key

ME = "pk-liaison"
DESK, DUTY = (signing_key(f"{ME}/{seat}").public.key_id for seat in ("desk", "duty"))


def _held(world: World, agency: str = ME) -> HeldBundle:
    held = world.bundles[agency]
    return HeldBundle(digest_of(held), held)


def test_before_the_first_directory_there_is_nobody() -> None:
    """And nothing in force, which is an error to ask for."""
    empty = Exchange(ORIGINS["PK"], bytes(32))
    assert empty.agency(ME) is None
    assert empty.seat_key(ME, DESK, NOW) is None
    assert empty.newest_bundle(ME, NOW) is None
    assert empty.bundle_of(Recipient(ME, bytes(32)), NOW) is None
    with pytest.raises(LookupError):
        _ = empty.in_force


def test_a_bundle_runs_from_its_start_to_before_its_end(world: World) -> None:
    """Half open, so that two that join do not overlap. SPEC 12.3.1."""
    held = _held(world)
    assert [held.runs(time) for time in (NOW - 1, NOW, NOW + BUNDLE_MS - 1, NOW + BUNDLE_MS)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_value_is_never_changed(world: World, paper: PaperLedger) -> None:
    """Each change gives another exchange."""
    before = paper.exchange
    copies = (dict(before.bundles), dict(before.revoked), dict(before.suspensions), dict(before.versions))
    following = world.with_bundle(ME)
    for submission in (
        following.key_bundle(ME),
        world.revocation(f"{ME}/desk"),
        world.suspension(ME),
        world.with_directory().publication(),
    ):
        paper.admit(submission)
    assert (before.bundles, before.revoked, before.suspensions, before.versions) == copies
    assert paper.exchange != before


def test_what_to_seal_to_is_the_newest_that_runs(world: World, paper: PaperLedger) -> None:
    """Not one that waits for its start; and the one before it again when all its seats are revoked. SPEC 12.3.3."""
    following = world.with_bundle(ME, ["attic"])
    paper.admit(following.key_bundle(ME))
    start = NOW + 7 * DAY_MS
    newest = [paper.exchange.newest_bundle(ME, time) for time in (start - 1, start, start + BUNDLE_MS)]
    assert newest == [_held(world), _held(following), None]
    paper.admit(following.revocation(f"{ME}/attic"))
    assert paper.exchange.newest_bundle(ME, start) == _held(world)


def test_a_bundle_is_found_by_its_agency_and_hash(world: World, paper: PaperLedger) -> None:
    """While it runs, under nobody else's name. SPEC 12.3.1."""
    recipient = Recipient(ME, digest_of(world.bundles[ME]))
    assert paper.exchange.bundle_of(recipient, NOW) == world.bundles[ME]
    assert paper.exchange.bundle_of(recipient, NOW + BUNDLE_MS) is None
    assert paper.exchange.bundle_of(replace(recipient, agency="cn-liaison"), NOW) is None
    assert paper.exchange.bundle_of(replace(recipient, agency="nobody"), NOW) is None


def test_seats_that_are_revoked_fall_out(world: World, paper: PaperLedger) -> None:
    """In the order of the bundle. SPEC 8.2.5."""
    assert [seat.name for seat in paper.exchange.seats_of(world.bundles[ME])] == ["desk", "duty"]
    paper.admit(world.revocation(f"{ME}/desk"))
    assert [seat.name for seat in paper.exchange.seats_of(world.bundles[ME])] == ["duty"]
    assert paper.exchange.seat_key(ME, DESK, NOW) is None
    assert paper.exchange.seat_key(ME, DUTY, NOW) == signing_key(f"{ME}/duty").public


def test_seats_elsewhere_are_all_others_that_have_not_ended(world: World, paper: PaperLedger) -> None:
    """Those to come count, also those of an agency that has left and may come back; one's own do not."""
    mine = {seat.signing.key_id for seat in world.bundles[ME].seats}
    others = {seat.signing.key_id for name, held in world.bundles.items() if name != ME for seat in held.seats}
    assert paper.exchange.seats_elsewhere(ME, NOW - 1) == others
    assert paper.exchange.seats_elsewhere("cn-embassy", NOW) >= mine
    assert paper.exchange.seats_elsewhere(ME, NOW + BUNDLE_MS) == set()
    paper.admit(world.without_agency("cn-embassy").publication())
    assert paper.exchange.seats_elsewhere(ME, NOW) == others


def test_bundles_ahead_have_not_started(world: World) -> None:
    """One that starts now is no longer ahead."""
    assert bundles_ahead((_held(world),), NOW - 1) == 1
    assert bundles_ahead((_held(world),), NOW) == 0


def test_ended_bundles_are_forgotten_but_the_last(world: World, paper: PaperLedger) -> None:
    """As time never runs back in a ledger; the next of the chain is judged by the last."""
    agency = paper.exchange.in_force.by_agency[ME]
    following = world.with_bundle(ME, starts=NOW + BUNDLE_MS)
    last_moment = paper.exchange.with_bundle(_held(following), NOW + BUNDLE_MS - 1)
    assert last_moment.chain(agency) == (_held(world), _held(following))
    after = paper.exchange.with_bundle(_held(following), NOW + BUNDLE_MS)
    assert after.chain(agency) == (_held(following),)
    assert after.with_bundle(_held(following), NOW + 90 * DAY_MS).chain(agency) == (_held(following),)
    assert after.bundles.keys() == paper.exchange.bundles.keys()


def test_the_grace_follows_the_directorys_end(world: World, paper: PaperLedger) -> None:
    """By as many days as its policy says."""
    assert paper.exchange.grace_ends() == world.directory.expires + 30 * DAY_MS


def test_a_directory_that_is_not_newer_only_joins_the_versions(world: World, paper: PaperLedger) -> None:
    """As evidence. SPEC 12.1.4."""
    second, fork = world.with_directory(), world.with_directory(expires=NOW + DAY_MS)
    after = paper.exchange.with_directory(second.directory).with_directory(fork.directory)
    assert after.in_force == second.directory
    assert after.versions[fork.directory.hash] == fork.directory


def test_what_was_revoked_first_stays_so(world: World, paper: PaperLedger) -> None:
    """A second revocation adds keys, and changes nothing of those that ended before. SPEC 12.1.2."""
    first = Revocation(world.pin, ME, (DESK,), NOW, "lost")
    second = replace(first, key_ids=(DESK, DUTY), suspect=Suspect(ORIGINS["PK"], 1))
    after = paper.exchange.with_revocation(first, 10).with_revocation(second, 11)
    assert (after.revoked[ME, DESK].index, after.revoked[ME, DESK].suspect) == (10, None)
    assert (after.revoked[ME, DUTY].index, after.revoked[ME, DUTY].suspect) == (11, Suspect(ORIGINS["PK"], 1))


def test_a_lifting_ends_the_suspension_that_it_names(world: World, paper: PaperLedger) -> None:
    """Of the same agency, and no other one. SPEC 12.1.3."""
    suspension = Suspension(world.pin, ME, NOW, "inquiry")
    suspended = paper.exchange.with_suspension(suspension, digest_of(suspension))
    assert suspended.is_suspended(ME)
    for lifting, still in (
        (replace(suspension, lifts=digest_of(suspension)), False),
        (replace(suspension, lifts=bytes(32)), True),
        (replace(suspension, agency="cn-liaison", lifts=digest_of(suspension)), True),
    ):
        assert suspended.with_suspension(lifting, digest_of(lifting)).is_suspended(ME) is still
