"""The outbox at work (DESIGN §8): seal at sending, repeat the same bytes, seal anew only after a definitive refusal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clients.drafts import Draft
from clients.errors import Declined, Tampering, Unreachable, UsageError
from clients.home import Home
from clients.screen import warn
from clients.state import Outgoing
from keys.judge import why_not_recipient
from keys.sealing import SealTo, seal
from protocol.entry import Entry, Submission
from protocol.errors import ProtocolError
from protocol.header import Header, Recipient
from protocol.statements import Bulletin
from protocol.treehead import Receipt

if TYPE_CHECKING:
    from clients.client import Client

STALE = ("stale-keys", "stale-directory", "key-not-in-force")  # sealed anew, under the same id
SEALED_ANEW_MAX = 3


class Sender:
    """Turns drafts into receipts, through whatever the link does."""

    def __init__(self, home: Home, client: Client) -> None:
        self._home, self._client = home, client
        self._state = home.state

    def who_cannot_read(self, draft: Draft) -> dict[str, str]:
        """Recipients that step (5) would keep out or that have no running bundle, by name, and why."""
        exchange, now = self._client.exchange, _now()
        header = self._header(draft, draft.recipients, probe=True)
        reasons = {name: why_not_recipient(exchange, header, name) for name in draft.recipients}
        for name, reason in reasons.items():
            if reason is None and exchange.newest_bundle(name, now) is None:
                reasons[name] = "no-key-bundle"
        return {name: reason for name, reason in reasons.items() if reason}

    def _header(self, draft: Draft, recipients: tuple[str, ...], *, probe: bool = False) -> Header:
        exchange, agency, now = self._client.exchange, self._home.profile.agency, _now()
        directory = exchange.in_force
        own = exchange.newest_bundle(agency, now)
        if own is None and not probe:
            raise UsageError(
                "this agency has no running key bundle", "ask its custodian: khunjerab keys bundle; nothing was sent"
            )
        bundles = {name: exchange.newest_bundle(name, now) for name in recipients}
        return Header(
            suite=directory.policy.suite_for(draft.label.policy, draft.label.classification),
            exchange=self._client.pin,
            origin=self._client.replica.origin,
            directory_version=directory.version,
            directory_hash=directory.hash,
            id=draft.id,
            sender=agency,
            key_id=self._client.key.public.key_id,
            own_bundle=own.hash if own else bytes(32),
            recipients=tuple(
                Recipient(name, held.hash if held else bytes(32)) for name, held in sorted(bundles.items())
            ),
            feed=draft.feed,
            label=draft.label,
            status=draft.status,
            precedence=draft.precedence,
            created=draft.created,
            expires=draft.expires,
            relations=draft.relations,
        )

    def seal(self, draft: Draft) -> Submission:
        """The envelope by the newest keys known here."""
        exchange = self._client.exchange
        header = self._header(draft, draft.recipients)
        seats = []
        for addressee in header.addressees:
            bundle = exchange.bundle_of(addressee, _now())
            count = self._state.receipts_held(addressee.agency, header.origin, header.feed, header.key_id)
            seats += [SealTo(addressee.agency, seat.kem, count) for seat in exchange.seats_of(bundle)] if bundle else []
        return seal(header, draft.content, seats, self._client.key)

    async def flush(self) -> list[Draft]:
        """Oldest first, so that what depends on another comes after it. Stops where the node does not answer."""
        waiting = self._state.outbox("draft", "tried")
        for place, outgoing in enumerate(waiting):
            try:
                await self.send_quietly(outgoing)
            except Unreachable:
                return [later.draft for later in waiting[place:]]
        return []

    async def send(self, number: bytes) -> Receipt:
        """Send one draft. Raises Unreachable (it stays in the outbox), Declined (it does not), Tampering."""
        for outgoing in self._state.outbox("draft", "tried"):
            if outgoing.draft.id == number:
                return await self._send(outgoing)
        raise UsageError("it is not in the outbox")

    async def send_quietly(self, outgoing: Outgoing) -> None:
        """Send one; a refusal is kept with it in the outbox and told by `outbox`, not raised."""
        try:
            await self._send(outgoing)
        except Declined as declined:
            warn(f"{declined.detail}: see khunjerab outbox")

    async def _send(self, outgoing: Outgoing) -> Receipt:
        draft, envelope = outgoing.draft, outgoing.envelope
        if draft.expires <= _now():
            self._close(draft, "expired", "it expired before it could be sent")
            raise Declined(f"{draft.content.versions[0].title!r} expired unsent", "write it anew if it still matters")
        for _ in range(SEALED_ANEW_MAX):
            submission = Submission.decode(envelope) if envelope else self.seal(draft)
            with self._state.transaction():  # before the attempt: an unknown outcome repeats these bytes
                self._state.set_outgoing(draft.id, "tried", envelope=submission.encode())
            try:
                receipt = await self._client.post(submission)
            except Declined as declined:
                if declined.code in STALE:
                    await self._client.sync()
                    envelope = None
                    continue
                self._close(draft, "refused", str(declined))
                raise
            self._keep_receipt(submission, receipt)
            return receipt
        self._close(draft, "refused", "its keys were stale again and again")
        raise Declined("the node refuses these keys again and again", "run khunjerab doctor")

    def _close(self, draft: Draft, state: str, problem: str) -> None:
        with self._state.transaction():
            self._state.set_outgoing(draft.id, state, problem=problem)

    def _keep_receipt(self, submission: Submission, receipt: Receipt) -> None:
        header = Bulletin.decode(submission.statement).header
        with self._state.transaction():
            self._state.set_outgoing(header.id, "receipted", receipt=receipt.encode())
            self._state.count_receipt(header)

    def check_receipt(self, submission: Submission, receipt: Receipt) -> None:
        """That the node signed for exactly this statement. Raises Tampering."""
        entry = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
        try:
            if receipt.entry is not None:
                entry = Entry.decode(receipt.entry)
                if (entry.kind, entry.statement) != (submission.kind, submission.statement):
                    raise Tampering(
                        "receipt", "the receipt is for another statement", receipt.head.origin, receipt.index
                    )
            receipt.leaf_of(entry)
        except ProtocolError as error:
            raise Tampering("receipt", error.detail, receipt.head.origin, receipt.index) from error
        if self._client.exchange.directory is not None:
            self._client.replica.check_signed(receipt.head)


def _now() -> int:
    return time.time_ns() // 1_000_000
