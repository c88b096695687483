"""Receipts held against the ledger as it is verified (SPEC §11.3): what a node signed for must stand, and stay.

A receipt is a promise; a checkpoint signed by the log key is the ledger. An envelope is kept until its entry stands at
its index, in a checkpoint that extends the receipt's own head and is witnessed as the policy of that ledger asks. A
node that lost what it had only promised, as after a crash of a disk that lied, is believed as far as its newest
checkpoint: what was lost is evidence, and is posted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.clock import now_ms
from clients.errors import Declined, Tampering, Unreachable
from clients.outbox import LOGGED
from clients.replica import Replica, checkpoint_of
from clients.state import Outgoing, Verified
from protocol.entry import Entry, Submission
from protocol.merkle import EMPTY_ROOT
from protocol.page import Part, encode_page
from protocol.treehead import Receipt

if TYPE_CHECKING:
    from clients.client import Client

_HEADS_CHECKED_MAX = 8  # in one sync; each costs a request


class Promises:
    """The receipts of one home, and its way back when they turn out to be broken."""

    def __init__(self, client: Client) -> None:
        self._client, self._state = client, client.state

    def held(self) -> set[bytes]:
        """The ids of the bulletins that receipts are held for: what a page fetched from now on must show."""
        return {outgoing.draft.id for outgoing in self._state.outbox(*LOGGED)}

    async def check(self, promised: set[bytes]) -> None:
        """Hold every receipt against what is verified, and let go of what is safe in a witnessed checkpoint.

        ``promised`` are those that were held before the newest page was fetched: none of their entries is beyond it in
        the home ledger.
        """
        ledgers, heads = self._client.ledgers, dict[tuple[int, bytes], bool]()
        for outgoing in self._state.outbox(*LOGGED):
            receipt = Receipt.decode(outgoing.receipt or b"")
            origin = receipt.head.origin
            verified = ledgers.of(origin).verified
            if receipt.index >= verified.next:
                if outgoing.draft.id in promised and origin == ledgers.home_origin:
                    self._post_again(outgoing, receipt, f"it shows {verified.size} entries now")
                continue
            held = self._state.bulletin_at(origin, receipt.index)
            if held is None or held.leaf != _leaf(outgoing, receipt):
                self._post_again(outgoing, receipt, "another entry stands there now")
            elif outgoing.state == "published" or await self._is_published(receipt, verified, heads):
                self._let_go(outgoing, receipt, verified)

    async def _is_published(self, receipt: Receipt, verified: Verified, heads: dict[tuple[int, bytes], bool]) -> bool:
        """Whether a checkpoint has it and extends the head of its receipt; each head is asked about once."""
        published = checkpoint_of(verified.checkpoint).size if verified.checkpoint else 0
        if receipt.head.size > published or len(heads) >= _HEADS_CHECKED_MAX:
            return False
        known = (receipt.head.size, receipt.head.root)
        if known not in heads:
            heads[known] = await self._is_extended(receipt)
        return heads[known]

    def _let_go(self, outgoing: Outgoing, receipt: Receipt, verified: Verified) -> None:
        """Of what is published: at once where it is witnessed, else the envelope is kept until it is."""
        is_safe = receipt.head.size <= self._client.witnesses.size(verified)
        if is_safe or outgoing.state != "published":
            with self._state.transaction():
                if is_safe:
                    self._state.drop_outgoing(outgoing.draft.id)
                else:
                    self._state.set_outgoing(outgoing.draft.id, "published")

    async def _is_extended(self, receipt: Receipt) -> bool:
        """Whether the verified tree is known to extend a receipt's head; one that it does not extend is an alarm."""
        head, replica = receipt.head, self._client.ledgers.of(receipt.head.origin)
        try:
            point = Verified(head.origin, head.size, head.root, replica.verified.next)
            return replica.extends(head, await self._client.receiver.fetch_part(point, limit=1))
        except (Unreachable, Declined):
            return False
        except Tampering as found:
            detail = (
                f"the head of a receipt, of {head.size} entries, is not one that this ledger extends: {found.detail}"
            )
            with self._state.transaction():
                self._state.add_alarm(now_ms(), "broken-promise", head.origin, receipt.index, detail)
                self._state.add_evidence(now_ms(), head.origin, receipt.index, "receipt", receipt.encode())
            return True  # the entry itself stands where it should

    def _post_again(self, outgoing: Outgoing, receipt: Receipt, found: str) -> None:
        origin, index, number = receipt.head.origin, receipt.index, outgoing.draft.id
        detail = f"the node gave a receipt for {index}, and {found}: it is posted again, the receipt is kept"
        with self._state.transaction():
            self._state.add_alarm(now_ms(), "broken-promise", origin, index, detail)
            self._state.add_evidence(now_ms(), origin, index, "receipt", receipt.encode())
            self._state.uncount_receipt(origin, number)
            self._state.set_outgoing(number, "tried", problem="the node lost it")

    async def go_back(self, origin: str, why: Tampering | Declined) -> None:
        """A ledger does not extend what is verified here: believe it as far as its newest checkpoint, if that holds.

        Nothing is forgotten before a page that extends the checkpoint has been verified whole; a broken proof alone
        changes nothing. Raises Tampering where the node does not hold to the checkpoint either.
        """
        client, receiver = self._client, self._client.receiver
        async with client.turn:  # so that nothing is being posted meanwhile
            verified = self._state.verified(origin)
            anchor = _anchor(verified)
            if anchor.size >= verified.size:
                raise _as_tampering(why, verified)
            try:
                part = await receiver.fetch_part(anchor)
            except Declined as declined:
                raise _as_tampering(declined, anchor) from why
            replica = Replica(self._state, verified.origin, client.pin, anchor)
            await receiver.take(part, replica, lost_from=anchor.next)
            while (reached := client.ledgers.of(origin).verified).next < reached.size:
                await receiver.take(await receiver.fetch_part(reached))
            self._keep_evidence(verified, part)
            await self.check(self.held())

    def _keep_evidence(self, verified: Verified, part: Part) -> None:
        detail = (
            f"the node signed a tree of {verified.size} entries, {verified.root.hex()[:16]}…, and now shows one of "
            f"{part.head.size} that does not extend it"
        )
        with self._state.transaction():
            self._state.add_alarm(now_ms(), "broken-promise", verified.origin, None, detail)
            page = encode_page((part.replace(items=()),))
            self._state.add_evidence(now_ms(), verified.origin, verified.size, "page", page)


def may_go_back(error: Declined | Tampering) -> bool:
    """Whether a node that fails so may have lost what it only promised."""
    return error.check == "consistency" if isinstance(error, Tampering) else error.code == "bad-cursor"


def _anchor(verified: Verified) -> Verified:
    """The newest checkpoint that is verified; the empty tree where there is none."""
    if not verified.checkpoint:
        return Verified(verified.origin, 0, EMPTY_ROOT)
    checkpoint = checkpoint_of(verified.checkpoint)
    following = min(verified.next, checkpoint.size)
    return verified.replace(size=checkpoint.size, root=checkpoint.root, next=following, time=0)


def _as_tampering(why: Tampering | Declined, verified: Verified) -> Tampering:
    if isinstance(why, Tampering):
        return why
    return Tampering("consistency", f"the ledger no longer has {verified.size} entries: {why.detail}", verified.origin)


def _leaf(outgoing: Outgoing, receipt: Receipt) -> bytes:
    submission = Submission.decode(outgoing.envelope or b"")
    entry = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
    return receipt.leaf_of(entry)
