"""Key bundles as a custodian plans and signs them (SPEC §7.5): seats from their cards, KEM keys in turn, one chain.

The KEM keys that are used up stand in the bundles of the ledger; a bundle that was signed ahead and never posted uses
none, as the next one takes its place in the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clients.errors import Declined, UsageError
from keys.exchange import BUNDLE_LIFE_MS, Exchange, HeldBundle
from keys.signing import SigningKey
from protocol import limits
from protocol.card import Card
from protocol.entry import Entry, Submission
from protocol.parties import Agency
from protocol.record import Record
from protocol.signing import KemKey, encode_signatures
from protocol.statements import NO_HASH, KeyBundle, Kind, Seat, statement_hash
from protocol.times import DAY_MS, format_time

RENEW_DAYS = 7
KEM_KEYS_LOW = 3
_SKEW_MS = limits.CLOCK_SKEW_SECONDS_MAX * 1000


class Plan(Record):
    """An agency's seats and how far its chain has come: enough to write the next bundle."""

    exchange: bytes
    agency: Agency
    cards: tuple[Card, ...]  # of the seats to list, by name
    used: frozenset[bytes]  # KEM key ids
    last: HeldBundle | None = None

    def unused(self, card: Card) -> list[KemKey]:
        """The KEM keys of a card that no bundle has used, in its order."""
        return [key for key in card.kem if key.key_id not in self.used]

    def running_low(self) -> list[str]:
        """A line for each card that is nearly used up."""
        left = {card.name: len(self.unused(card)) for card in self.cards}
        return [
            f"the card of {self.agency.id}/{name} has {count} KEM keys left: ask the seat for a new `keys card`"
            for name, count in left.items()
            if count <= KEM_KEYS_LOW
        ]

    def next_bundle(self, starts: int) -> KeyBundle:
        """The bundle that follows in the chain. Raises UsageError without seats, Declined where a card is used up."""
        if not self.cards:
            raise UsageError(f"no seat of {self.agency.id} is known here", "khunjerab keys seat add CARD")
        empty = [card.name for card in self.cards if not self.unused(card)]
        if empty:
            raise Declined(f"the card of {empty[0]} has no KEM key left", "have the seat write a new `keys card`")
        return KeyBundle(
            exchange=self.exchange,
            agency=self.agency.id,
            identity=self.agency.identity.key_id,
            sequence=self.last.bundle.sequence + 1 if self.last else 1,
            previous=self.last.hash if self.last else NO_HASH,
            starts=starts,
            ends=starts + BUNDLE_LIFE_MS,
            seats=tuple(Seat(card.name, card.key, self.unused(card)[0]) for card in self.cards),
        )

    def after(self, bundle: KeyBundle) -> Plan:
        """The plan once ``bundle`` is signed."""
        held = HeldBundle(statement_hash(Kind.KEY_BUNDLE, bundle.encode()), bundle)
        return self.replace(used=self.used | {seat.kem.key_id for seat in bundle.seats}, last=held)

    def starts(self, now: int, count: int, every_days: int = RENEW_DAYS) -> list[int]:
        """When the next bundles start: the first now if one is due, else when the newest is to be renewed.

        "Now" is the skew ago, so that a machine whose clock is a little behind can use it at once; but none starts
        before the one that it follows.
        """
        first = now - _SKEW_MS
        if self.last is not None:
            due = why_not_now(self, now) is None
            first = max(first, self.last.bundle.starts + (0 if due else every_days * DAY_MS))
        return [first + number * every_days * DAY_MS for number in range(count)]


def plan_of(exchange: Exchange, agency: Agency, cards: Iterable[Card], entries: Iterable[bytes]) -> Plan:
    """The plan by the governance ``entries`` of the agency's home ledger; revoked seats are left out."""
    used = {seat.kem.key_id for bundle in bundles_in(entries, agency.id) for seat in bundle.seats}
    seats = [card for card in cards if not exchange.is_revoked(agency.id, card.key.key_id)]
    chain = exchange.chain(agency)
    return Plan(
        exchange.pin,
        agency,
        tuple(sorted(seats, key=lambda card: card.name)),
        frozenset(used),
        chain[-1] if chain else None,
    )


def bundles_in(entries: Iterable[bytes], agency: str) -> list[KeyBundle]:
    """Every bundle of an agency among governance entries, also of chains before the one in force."""
    decoded = (Entry.decode(data) for data in entries)
    bundles = (KeyBundle.decode(entry.statement) for entry in decoded if entry.kind is Kind.KEY_BUNDLE)
    return [bundle for bundle in bundles if bundle.agency == agency]


def why_not_now(plan: Plan, now: int) -> str | None:
    """Why no bundle is due: the newest one lists the same seats and is younger than its renewal; None if one is due."""
    if plan.last is None:
        return None
    newest = plan.last.bundle
    renew = newest.starts + RENEW_DAYS * DAY_MS
    listed = {(seat.name, seat.signing.key_id) for seat in newest.seats}
    if now >= renew or listed != {(card.name, card.key.key_id) for card in plan.cards}:
        return None
    return f"bundle {newest.sequence} of {plan.agency.id} lists the same seats and is renewed from {format_time(renew)}"


def sign_bundle(bundle: KeyBundle, identity: SigningKey) -> Submission:
    """Ready to be posted."""
    statement = bundle.encode()
    signature = identity.sign_statement(Kind.KEY_BUNDLE, statement, 2)
    return Submission(Kind.KEY_BUNDLE, statement, encode_signatures((signature,)))


def sign_ahead(plan: Plan, identity: SigningKey, starts: Sequence[int]) -> tuple[list[Submission], Plan]:
    """Consecutive bundles, and the plan after them."""
    if len(starts) > limits.BUNDLES_AHEAD_MAX:
        raise UsageError(f"at most {limits.BUNDLES_AHEAD_MAX} bundles are signed ahead")
    submissions = []
    for start in starts:
        bundle = plan.next_bundle(start)
        submissions.append(sign_bundle(bundle, identity))
        plan = plan.after(bundle)
    return submissions, plan
