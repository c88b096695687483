"""The outbox at work: seal at sending, repeat the same bytes, seal anew only after a definitive refusal."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from clients.bulk import send_in_bulk
from clients.clock import now_ms
from clients.drafts import Draft
from clients.errors import Declined, Tampering, Unreachable, UsageError
from clients.keeping import is_of
from clients.moving import find_at_old_home
from clients.outbox import CLOSED, LOGGED, OPEN
from clients.screen import warn
from clients.state import Held, Outgoing
from keys.judge import why_not_sent
from keys.sealing import SealTo, seal
from protocol.entry import Entry, Submission
from protocol.errors import ProtocolError
from protocol.header import ENDINGS, Header, Recipient
from protocol.record import Record
from protocol.statements import Bulletin
from protocol.treehead import Receipt, TreeHead

if TYPE_CHECKING:
    from clients.client import Client

STALE = ("stale-keys", "stale-directory", "key-not-in-force")  # sealed anew, under the same id
# The door's refusals are about this session, this hour or this home, not about the bulletin: it waits.
AT_THE_DOOR = (
    "not-logged-in",
    "login-refused",
    "clock-skew",
    "created-in-future",
    "too-many-attempts",
    "quota-exceeded",
    "tls-not-pinned",
    "unsupported-media-type",
    "length-required",
    "request-timeout",
    "not-home",
)
_SPENT = ("quota-exceeded", "too-many-attempts")  # what comes after it would fare no better
_SPENT_MS = 60_000
_NOT_THERE = ("quota-exceeded", "created-in-future")  # the judge looks first whether it stands already
SEALED_ANEW_MAX = 3


class Logged(Record):
    """Where a bulletin stands, and the receipt for it where one is held."""

    origin: str
    index: int
    time: int
    receipt: Receipt | None


class Sender:
    """Turns drafts into receipts, through whatever the link does; one process of a home at a time."""

    def __init__(self, client: Client) -> None:
        self._client, self._state = client, client.state
        self._agency = client.home.profile.agency
        self.spent_until = 0  # each attempt takes from the budget of all seats of the agency
        self.refused: Declined | None = None  # the last refusal of something that waited

    # Sealing

    def who_cannot_read(self, draft: Draft) -> dict[str, str]:
        """Recipients that step (5) would keep out or that have no running bundle, by name, and why."""
        exchange, now, header = self._client.exchange, now_ms(), self._header(draft, probe=True)
        reasons = {name: why_not_sent(exchange, header, name, now) for name in draft.recipients}
        return {name: reason for name, reason in reasons.items() if reason}

    def who_is_left_out(self, draft: Draft) -> dict[str, str | None]:
        """Who had a bulletin that this one ends and would not get this: why it cannot, None where it could.

        Step (7) for the sender, before anything is sent: the judge cannot tell where the first lies in another ledger.
        """
        exchange, now = self._client.exchange, now_ms()
        ended = (self._state.target_of(relation) for relation in draft.relations if relation.kind in ENDINGS)
        return {
            recipient.agency: why_not_sent(exchange, held.header, recipient.agency, now)
            for held in ended
            if held is not None
            for recipient in held.header.recipients
            if recipient.agency not in draft.recipients
        }

    def _header(self, draft: Draft, *, probe: bool = False) -> Header:
        exchange, now = self._client.exchange, now_ms()
        directory = exchange.in_force
        own = exchange.newest_bundle(self._agency, now)
        if own is None and not probe:
            raise Declined(
                "this agency has no running key bundle", "ask its custodian: khunjerab keys bundle", "key-not-in-force"
            )
        bundles = {name: exchange.newest_bundle(name, now) for name in sorted(draft.recipients)}
        return Header(
            suite=directory.policy.suite_for(draft.label.policy, draft.label.classification),
            exchange=self._client.pin,
            origin=self._client.replica.origin,
            directory_version=directory.version,
            directory_hash=directory.hash,
            id=draft.id,
            sender=self._agency,
            key_id=self._client.key.public.key_id,
            own_bundle=own.hash if own else bytes(32),
            recipients=tuple(Recipient(name, held.hash if held else bytes(32)) for name, held in bundles.items()),
            feed=draft.feed,
            label=draft.label,
            status=draft.status,
            precedence=draft.precedence,
            created=draft.created,
            expires=draft.expires,
            relations=draft.relations,
        )

    def seal(self, draft: Draft) -> Submission:
        """The envelope by the newest keys known here. Raises Declined where somebody cannot read it."""
        denied = self.who_cannot_read(draft)
        if denied:
            told = ", ".join(f"{name} ({reason})" for name, reason in denied.items())
            raise Declined(f"not every recipient could read it: {told}", "leave them out", "recipient-denied")
        exchange, header = self._client.exchange, self._header(draft)
        seats = []
        for addressee in header.addressees:
            bundle = exchange.bundle_of(addressee, now_ms())
            count = self._state.receipts_held(addressee.agency, header.origin, header.feed, header.key_id)
            seats += [SealTo(addressee.agency, seat.kem, count) for seat in exchange.seats_of(bundle)] if bundle else []
        return seal(header, draft.content, seats, self._client.key)

    # Sending

    async def flush(self) -> list[Draft]:
        """The most urgent first, then the oldest; what still waits where the node is silent."""
        async with self._client.turn:
            try:
                await send_in_bulk(self._client)
                await self._send_each(self._state.outbox(*OPEN))
            except Unreachable as away:
                await self._client.promises.show_all(away)
        return [outgoing.draft for outgoing in self._state.outbox(*OPEN)]

    async def send(self, number: bytes) -> Logged:
        """Send one draft, after what is as urgent and was written before it.

        Raises Unreachable (it stays in the outbox), Declined (it says whether it does), Tampering.
        """
        async with self._client.turn:
            waiting = self._state.outbox(*OPEN)
            await self._send_each(itertools.takewhile(lambda one: one.draft.id != number, waiting))
            mine = self._state.outgoing(number)
            if mine is not None and mine.state in OPEN:
                return await self._send(mine)
        return self._sent_already(number, mine)

    def _sent_already(self, number: bytes, mine: Outgoing | None) -> Logged:
        """What another terminal of this home, or an earlier copy of it, did with a bulletin."""
        if mine is not None and mine.receipt is not None and mine.state in LOGGED:
            return _logged(Receipt.decode(mine.receipt))
        held = self._state.bulletin_by_id(self._agency, number)
        if held is not None:
            return Logged(held.origin, held.index, held.logged, None)
        if mine is not None and mine.state in CLOSED:
            raise Declined(f"it is {mine.state}: {mine.problem}", "khunjerab outbox")
        raise UsageError("it is not in the outbox", "khunjerab outbox")

    async def _send_each(self, waiting: Iterable[Outgoing]) -> None:
        """One after the other; a refusal is kept with its bulletin and told by `outbox`, not raised."""
        for outgoing in waiting:
            try:
                await self._send(outgoing)
            except Declined as declined:
                self.refused = declined
                warn(f"{declined.detail}: see khunjerab outbox")
                if declined.code in _SPENT:
                    self.spent_until = now_ms() + _SPENT_MS
                    return

    async def _send(self, outgoing: Outgoing) -> Logged:
        draft, envelope = outgoing.draft, outgoing.envelope
        if envelope is not None and (old := _origin_of(envelope)) != self._client.replica.origin:
            held = await find_at_old_home(self._client, draft, old)
            if held is not None:
                return self._drop(draft, held)
            envelope = None
        for _ in range(SEALED_ANEW_MAX):
            fresh = {draft.id} if envelope is None else set()
            envelope = envelope or self._seal_and_keep(draft)
            submission = Submission.decode(envelope)
            try:
                receipt = await self._client.post(submission)
            except (Declined, Unreachable) as failed:
                if failed.unsent:
                    self.take_back(fresh, [submission], failed)
                if failed.unsent or isinstance(failed, Unreachable):
                    raise
                if failed.code in STALE:  # it is in no ledger: a repeat is found before its keys are looked at
                    await self._client.sync()
                    envelope = None
                    continue
                if failed.code in AT_THE_DOOR:
                    self.wait(submission, failed, fresh)
                    raise
                return await self._settle_refusal(draft, failed)
            self.keep_receipts([(submission, receipt)])
            return _logged(receipt)
        self._close(draft, "refused", "its keys were stale again and again")
        raise Declined("the node refuses these keys again and again", "run khunjerab doctor")

    def wait(self, submission: Submission, refused: Declined, fresh: Collection[bytes] = ()) -> None:
        """What the door refused waits: as a draft, if it was sealed for this attempt or the judge found it nowhere."""
        number = Bulletin.decode(submission.statement).header.id
        kept = self._state.outgoing(number)
        nowhere = refused.code in _NOT_THERE and kept is not None and kept.receipt is None
        self.take_back({number} if nowhere else fresh, [submission], refused)

    def take_back(
        self, drafts: Collection[bytes], submissions: Sequence[Submission], failed: Declined | Unreachable
    ) -> None:
        """What was sealed and never left, or not let in, is a draft again; what had been tried before stays so."""
        problem = str(failed) if isinstance(failed, Declined) else ""
        with self._state.transaction():
            for number in [Bulletin.decode(submission.statement).header.id for submission in submissions]:
                if number in drafts:
                    self._state.unseal_outgoing(number, problem)
                else:
                    self._state.set_outgoing(number, "tried", problem=problem)

    def _seal_and_keep(self, draft: Draft) -> bytes:
        """A new envelope, kept before the attempt, as an unknown outcome repeats these bytes.

        What was tried and may be logged is posted even after it has expired: only the node can tell.
        """
        if draft.expires <= now_ms():
            raise self._expired(draft)
        try:
            envelope = self.seal(draft).encode()
        except Declined as declined:
            if declined.code not in STALE:
                self._close(draft, "refused", str(declined))
            raise
        with self._state.transaction():
            self._state.set_outgoing(draft.id, "tried", envelope=envelope)  # commit point
        return envelope

    async def _settle_refusal(self, draft: Draft, declined: Declined) -> Logged:
        """What a refusal means for a bulletin: it stands already, has expired, or will never go."""
        if declined.code == "id-reused":
            held = await self._find(draft)
            if held is not None:
                return self._drop(draft, held)
        if declined.code == "expired":
            raise self._expired(draft) from declined
        self._close(draft, "refused", str(declined))
        raise declined

    async def _find(self, draft: Draft) -> Held | None:
        """The bulletin that stands under a draft's id, if it is that draft: sent before this home was restored."""
        await self._client.sync()
        held = self._state.bulletin_by_id(self._agency, draft.id)
        return held if held is not None and is_of(held.header, draft) else None

    def _drop(self, draft: Draft, held: Held) -> Logged:
        """It stands already. Raises Declined where another bulletin stands under its id."""
        if not is_of(held.header, draft):
            self._close(draft, "refused", f"another bulletin stands under its id at {held.origin}#{held.index}")
            raise Declined("another bulletin stands under its id", "khunjerab outbox drop, and write it anew")
        with self._state.transaction():
            self._state.drop_outgoing(draft.id)
        return Logged(held.origin, held.index, held.logged, None)

    def expire(self) -> list[Draft]:
        """Close what expired before it was ever tried; every one that was never sent."""
        with self._state.transaction():
            for outgoing in self._state.outbox("draft"):
                if outgoing.draft.expires <= now_ms():
                    self._state.set_outgoing(outgoing.draft.id, "expired", problem=_UNSENT)
        return [outgoing.draft for outgoing in self._state.outbox("expired")]

    def _expired(self, draft: Draft) -> Declined:
        self._close(draft, "expired", _UNSENT)
        title = draft.content.versions[0].title
        return Declined(f"{title!r} expired unsent: nobody got it", "write it anew if it still matters", "expired")

    def _close(self, draft: Draft, state: str, problem: str) -> None:
        with self._state.transaction():
            self._state.set_outgoing(draft.id, state, problem=problem)

    def keep_receipts(self, logged: Sequence[tuple[Submission, Receipt]]) -> None:
        """Each with its bulletin, until a checkpoint has its entry."""
        with self._state.transaction():
            for submission, receipt in logged:
                header = Bulletin.decode(submission.statement).header
                self._state.set_outgoing(header.id, "receipted", receipt=receipt.encode())
                self._state.count_receipt(header)

    def checked_receipt(self, submission: Submission, receipt: Receipt, heads: set[TreeHead]) -> Receipt:
        """The receipt with its entry, which makes it evidence by itself. Raises Tampering if it is for another.

        ``heads`` are those that were found to hold; this one's is added.
        """
        entry = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
        try:
            receipt.leaf_of(entry)
        except ProtocolError as error:
            raise Tampering("receipt", error.detail, receipt.head.origin, receipt.index) from error
        if self._client.exchange.directory is not None and receipt.head not in heads:
            self._client.replica.check_signed(receipt.head)
            heads.add(receipt.head)
        return receipt.replace(entry=receipt.entry or entry.encode())


_UNSENT = "it expired before it could be sent"


def _origin_of(envelope: bytes) -> str:
    """The ledger that an envelope is for."""
    return Bulletin.decode(Submission.decode(envelope).statement).header.origin


def _logged(receipt: Receipt) -> Logged:
    return Logged(receipt.head.origin, receipt.index, receipt.time, receipt)
