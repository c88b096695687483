"""Receipts held against the ledger as it is verified (SPEC §11.3): what a node signed for must stand, and stay.

A receipt is a promise; a checkpoint signed by the log key is the ledger. An envelope is kept until its entry stands at
its index, in a checkpoint that extends the receipt's own head and is witnessed as the policy of that ledger asks.

A node that shows less than it promised is shown the receipts (SPEC §11.10): one that is being restored takes back what
they are for. One that lost it, as after a crash of a disk that lied, is believed as far as its newest checkpoint: what
was lost is evidence, and is posted again.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from clients.clock import now_ms
from clients.errors import Declined, Tampering, Unreachable
from clients.outbox import LOGGED, Posted
from clients.replica import Replica, checkpoint_of
from clients.screen import warn
from clients.sending import AT_THE_DOOR
from clients.state import Verified
from protocol.merkle import EMPTY_ROOT
from protocol.page import Part, encode_page
from protocol.problem import Problem
from protocol.promise import Promise, Word
from protocol.treehead import Receipt

if TYPE_CHECKING:
    from clients.client import Client

_HEADS_CHECKED_MAX = 8  # in one sync; each costs a request
_SHOWN_MAX = 8  # receipts in one request, with what was posted for them


class Promises:
    """The receipts of one home, and its way back when they turn out to be broken."""

    def __init__(self, client: Client) -> None:
        self._client, self._state = client, client.state

    def held(self) -> set[bytes]:
        """Names of what receipts are held for: what a page fetched from now on must show."""
        return {*self._state.waiting(*LOGGED), *self._state.promised_names()}

    async def check(self, promised: set[bytes]) -> None:
        """Hold every receipt against what is verified, and let go of what is safe in a witnessed checkpoint.

        ``promised`` are those that were held before the newest page was fetched: none of their entries is beyond it in
        the home ledger.
        """
        heads, beyond = dict[tuple[int, bytes], bool](), dict[bytes, Promise]()
        for posted in self._state.posted():
            promise = posted.promise
            receipt, verified = promise.receipt, self._verified(promise)
            if receipt.index >= verified.next:
                beyond[posted.id] = promise
            elif self._state.leaf_at(verified.origin, receipt.index) != promise.leaf():
                self._post_bulletin_again(posted.id, receipt, "another entry stands there now")
            elif posted.state == "published" or await self._is_published(receipt, verified, heads):
                self._let_go(posted, receipt, verified)
        for name, promise in self._state.promised().items():
            verified = self._verified(promise)
            if promise.receipt.index >= verified.next:
                beyond[name] = promise
            elif promise.receipt.head.size <= self._client.witnesses.size(verified):
                await self._drop_published(name, promise, verified, heads)
        waits = await self.show({name: promise for name, promise in beyond.items() if name in promised})
        if waits:  # a lie and a restore look alike until the ledger grows; neither is passed over in silence
            warn(f"the node gave {waits} receipts for what it does not show now: it may be being restored")

    def _verified(self, promise: Promise) -> Verified:
        return self._client.ledgers.of(promise.receipt.head.origin).verified

    async def _drop_published(
        self, name: bytes, promise: Promise, verified: Verified, heads: dict[tuple[int, bytes], bool]
    ) -> None:
        if await self._is_published(promise.receipt, verified, heads):
            with self._state.transaction():
                self._state.drop_promised(name)

    # What a node does not show, or does not sign for

    async def show_all(self, away: Unreachable) -> None:
        """Where the home node signs nothing it may lack what it promised: show it all that is held here."""
        if isinstance(away.__cause__, Problem) and away.__cause__.code == "not-signing":
            logged = {posted.id: posted.promise for posted in self._state.posted()}
            await self.show(logged | self._state.promised())

    async def show(self, promises: dict[bytes, Promise]) -> int:
        """Ask the home node about receipts, and post again what is lost; how many are not, or not known to be.

        One that cannot say is asked another time, and from elsewhere on: what it lets be asked may not do for all.
        """
        home = self._client.ledgers.home_origin
        shown = [(name, promise) for name, promise in promises.items() if promise.receipt.head.origin == home]
        begin, waits = secrets.randbelow(len(shown) or 1), len(shown)
        shown = shown[begin:] + shown[:begin]
        for at in range(0, len(shown), _SHOWN_MAX):
            some = shown[at : at + _SHOWN_MAX]
            try:
                words = await self._client.wire.show([promise for _, promise in some])
            except (Unreachable, Declined):
                break
            for (name, promise), word in zip(some, words, strict=True):
                if word in {Word.LOST, Word.FOREIGN}:
                    waits -= 1
                    await self._post_again(name, promise, f"says now that it is {word}")
        return waits

    async def _post_again(self, name: bytes, promise: Promise, found: str) -> None:
        if self._state.outgoing(name) is not None:
            self._post_bulletin_again(name, promise.receipt, found)
            return
        try:
            await self._client.post(promise.submission)  # which keeps the new receipt in place of the old one
        except Unreachable:
            return
        except Declined as declined:
            if declined.code in AT_THE_DOOR:  # for now: it is shown another time
                return
            warn(f"the node lost a {promise.submission.kind.word} and takes it no more: {declined.detail}")
            with self._state.transaction():
                self._state.drop_promised(name)
        self._keep_broken(promise.receipt, found)

    async def _is_published(self, receipt: Receipt, verified: Verified, heads: dict[tuple[int, bytes], bool]) -> bool:
        """Whether a checkpoint has it and extends the head of its receipt; each head is asked about once."""
        published = checkpoint_of(verified.checkpoint).size if verified.checkpoint else 0
        if receipt.head.size > published or len(heads) >= _HEADS_CHECKED_MAX:
            return False
        known = (receipt.head.size, receipt.head.root)
        if known not in heads:
            heads[known] = await self._is_extended(receipt)
        return heads[known]

    def _let_go(self, posted: Posted, receipt: Receipt, verified: Verified) -> None:
        """Of what is published: at once where it is witnessed, else the envelope is kept until it is."""
        is_safe = receipt.head.size <= self._client.witnesses.size(verified)
        if is_safe or posted.state != "published":
            with self._state.transaction():
                if is_safe:
                    self._state.drop_outgoing(posted.id)
                else:
                    self._state.set_outgoing(posted.id, "published")

    async def _is_extended(self, receipt: Receipt) -> bool:
        """Whether the verified tree is known to extend a receipt's head; one that it does not extend is an alarm."""
        head, replica = receipt.head, self._client.ledgers.of(receipt.head.origin)
        if (head.size, head.root) == (replica.verified.size, replica.verified.root):
            return True
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

    def _post_bulletin_again(self, number: bytes, receipt: Receipt, found: str) -> None:
        self._keep_broken(receipt, found)
        with self._state.transaction():
            self._state.uncount_receipt(receipt.head.origin, number)
            self._state.set_outgoing(number, "tried", problem="the node lost it")

    def _keep_broken(self, receipt: Receipt, found: str) -> None:
        origin, index = receipt.head.origin, receipt.index
        detail = f"the node gave a receipt for {index}, and {found}: it is posted again, the receipt is kept"
        with self._state.transaction():
            self._state.add_alarm(now_ms(), "broken-promise", origin, index, detail)
            self._state.add_evidence(now_ms(), origin, index, "receipt", receipt.encode())

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
