"""Key bundles as a custodian plans them: the judge takes every one of them, in the order that they were signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.bundles import KEM_KEYS_LOW, Plan, plan_of, sign_ahead, why_not_now
from clients.errors import Declined, UsageError
from clients.expiry import seat_ends
from clients.waiting import overtaken
from keys.card import make_card, open_card
from keys.exchange import Exchange
from keys.judge import Accepted, apply, judge
from keys.signing import verify_all
from protocol import limits
from protocol.card import Card
from protocol.entry import Entry, Submission
from protocol.statements import KeyBundle
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.paper import PaperLedger
from tests.support.world import NOW, World, kem_key, signing_key

WORLD = World.found()
AGENCY = WORLD.directory.by_agency["pk-liaison"]
IDENTITY = signing_key("pk-liaison/identity")


def card(seat: str) -> Card:
    keys = tuple(kem_key(f"pk-liaison/{seat}/card-{number}") for number in range(limits.KEM_KEYS_PER_CARD))
    return open_card(make_card("seat", seat, signing_key(f"pk-liaison/{seat}"), keys), "seat")


def founded() -> Exchange:
    return Exchange(AGENCY.home, WORLD.pin).with_directory(WORLD.directory)


def enter(exchange: Exchange, submission: Submission, time: int) -> Exchange:
    """The exchange after it, if the judge takes it."""
    verdict = judge(exchange, submission, time, PaperLedger(WORLD))
    assert isinstance(verdict, Accepted), verdict
    verify_all(verdict.checks)
    return apply(exchange, verdict, 1, time)


def test_a_first_bundle_starts_a_chain_that_runs_at_once() -> None:
    """It lists every card by name with its first KEM key, and may start a little before the custodian's clock."""
    plan = plan_of(founded(), AGENCY, [card("duty"), card("desk")], [])
    (submission,), after = sign_ahead(plan, IDENTITY, plan.starts(NOW, 1))
    exchange = enter(founded(), submission, NOW - 30_000)
    held = exchange.newest_bundle("pk-liaison", NOW - 30_000)
    assert held is not None
    assert [(seat.name, seat.kem) for seat in held.bundle.seats] == [
        ("desk", card("desk").kem[0]),
        ("duty", card("duty").kem[0]),
    ]
    assert after.last == held


def test_a_years_quarter_signed_ahead_is_taken_as_it_falls_due() -> None:
    """Twelve in a row, a week apart, each on the one before; the seat is never without."""
    plan = plan_of(founded(), AGENCY, [card("desk")], [])
    first, plan = sign_ahead(plan, IDENTITY, plan.starts(NOW, 1))
    ahead, plan = sign_ahead(plan, IDENTITY, plan.starts(NOW, limits.BUNDLES_AHEAD_MAX))
    exchange = founded()
    for submission in first + ahead:
        due = KeyBundle.decode(submission.statement).starts
        exchange = enter(exchange, submission, max(NOW, due))
    assert plan.unused(card("desk")) == []
    with pytest.raises(Declined, match="no KEM key left"):
        plan.next_bundle(NOW)
    with pytest.raises(UsageError):
        sign_ahead(plan, IDENTITY, [NOW] * (limits.BUNDLES_AHEAD_MAX + 1))


def test_kem_keys_are_taken_in_turn_by_what_stands_in_the_ledger() -> None:
    """A bundle signed and never posted uses none up, as the next takes its place; one that stands does."""
    cards = [card("desk")]
    plan = plan_of(founded(), AGENCY, cards, [])
    (posted, lost), _ = sign_ahead(plan, IDENTITY, plan.starts(NOW, 2))
    exchange = enter(founded(), posted, NOW)
    stands = Entry(posted.kind, posted.statement, posted.signatures, NOW, None).encode()
    again = plan_of(exchange, AGENCY, cards, [stands])
    following = again.next_bundle(again.starts(NOW, 1)[0])
    assert following.seats[0].kem == KeyBundle.decode(lost.statement).seats[0].kem == cards[0].kem[1]
    assert (following.sequence, following.previous) == (2, again.last.hash if again.last else b"")


def test_a_card_that_runs_low_is_told() -> None:
    """From three keys on."""
    one = card("desk")
    used = frozenset(key.key_id for key in one.kem[: -KEM_KEYS_LOW - 1])
    plan = Plan(WORLD.pin, AGENCY, (one,), used)
    assert plan.running_low() == []
    (line,) = plan.after(plan.next_bundle(NOW)).running_low()
    assert "pk-liaison/desk has 3 KEM keys left" in line


def test_a_bundle_is_due_from_day_7_or_when_its_seats_change() -> None:
    """Before that it says from when; a revoked seat is left out and so makes one due."""
    plan = plan_of(founded(), AGENCY, [card("desk"), card("duty")], [])
    assert why_not_now(plan, NOW) is None
    (submission,), plan = sign_ahead(plan, IDENTITY, [NOW])
    exchange = enter(founded(), submission, NOW)
    assert "is renewed from" in (why_not_now(plan, NOW + 7 * DAY_MS - 1) or "")
    assert why_not_now(plan, NOW + 7 * DAY_MS) is None
    exchange = enter(exchange, WORLD.revocation("pk-liaison/duty"), NOW)
    after = plan_of(exchange, AGENCY, [card("desk"), card("duty")], [])
    assert [one.name for one in after.cards] == ["desk"]
    assert why_not_now(after, NOW + 1) is None
    assert after.starts(NOW + 1, 1) == [NOW], "no bundle starts before the one that it follows"


def test_without_cards_there_is_no_bundle() -> None:
    with pytest.raises(UsageError, match="no seat"):
        plan_of(founded(), AGENCY, [], []).next_bundle(NOW)


def test_a_new_identity_key_starts_a_new_chain() -> None:
    """Keys that the old chain used are not used again."""
    cards = [card("desk")]
    plan = plan_of(founded(), AGENCY, cards, [])
    (first,), _ = sign_ahead(plan, IDENTITY, [NOW])
    exchange = enter(founded(), first, NOW)
    rotated = replace(AGENCY, identity=signing_key("pk-liaison/identity-2").public)
    stands = Entry(first.kind, first.statement, first.signatures, NOW, None).encode()
    plan = plan_of(exchange, rotated, cards, [stands])
    assert plan.last is None
    following = plan.next_bundle(NOW)
    assert (following.sequence, following.seats[0].kem) == (1, cards[0].kem[1])


def test_a_seats_end_is_that_of_its_bundles_without_a_gap() -> None:
    """One signed ahead that starts before the end carries on; one that starts after it does not."""
    plan = plan_of(founded(), AGENCY, [card("desk")], [])
    submissions, _ = sign_ahead(plan, IDENTITY, [NOW, NOW + 30 * DAY_MS, NOW + 70 * DAY_MS])
    exchange = founded()
    for submission in submissions:
        exchange = enter(exchange, submission, NOW)
    key_id = signing_key("pk-liaison/desk").public.key_id
    assert seat_ends(exchange, AGENCY, key_id, NOW + DAY_MS) == NOW + 61 * DAY_MS
    assert seat_ends(exchange, AGENCY, b"", NOW + DAY_MS) is None


def ahead(submissions: list[Submission]) -> list[tuple[Path, KeyBundle]]:
    """As they wait at a seat."""
    bundles = [KeyBundle.decode(submission.statement) for submission in submissions]
    return [(Path(f"{bundle.sequence:04}.bundle"), bundle) for bundle in bundles]


def test_what_was_signed_ahead_over_another_seat_list_is_overtaken() -> None:
    """Also what follows on it, whose number is still free; what waits for its turn, or stands, is not."""
    plan = plan_of(founded(), AGENCY, [card("desk")], [])
    (first,), plan = sign_ahead(plan, IDENTITY, [NOW])
    waits = ahead(sign_ahead(plan, IDENTITY, [NOW + DAY_MS, NOW + 2 * DAY_MS, NOW + 3 * DAY_MS])[0])
    exchange = enter(founded(), first, NOW)
    assert overtaken(exchange.chain(AGENCY), AGENCY, [*ahead([first]), *waits]) == set()
    wider = plan.replace(cards=(card("desk"), card("duty")))
    (second,), _ = sign_ahead(wider, IDENTITY, [NOW + 1])
    exchange = enter(exchange, second, NOW + 1)
    assert overtaken(exchange.chain(AGENCY), AGENCY, waits) == {path for path, _ in waits}
    assert overtaken(exchange.chain(AGENCY), AGENCY, waits[1:]) == {path for path, _ in waits[1:]}
    assert overtaken(exchange.chain(AGENCY), AGENCY, waits[2:]) == set(), "what it follows is not known here"


def test_what_was_signed_ahead_with_an_identity_key_that_is_gone_is_overtaken() -> None:
    plan = plan_of(founded(), AGENCY, [card("desk")], [])
    waits = ahead(sign_ahead(plan, IDENTITY, [NOW])[0])
    rotated = replace(AGENCY, identity=signing_key("pk-liaison/identity-2").public)
    assert overtaken(founded().chain(rotated), rotated, waits) == {waits[0][0]}
