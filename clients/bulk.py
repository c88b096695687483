"""Sending much at once: what has waited goes, in order, in one post, or over a stream where a post is too small.

Only the plain way is here. Whatever is not plain, a draft that cannot be sealed or a bulletin that the node refuses, is
left in the outbox for ``clients/sending.py``, which sends one at a time and says what became of it. A bulletin refers
to none that is still in the outbox, so one that is left holds up none that came after it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from clients.clock import now_ms
from clients.errors import Declined, Unreachable, UpgradeRefused
from clients.submitting import Answered, Submitting, submitting
from clients.transport import error_of
from protocol import limits
from protocol.entry import Submission
from protocol.problem import Problem
from protocol.treehead import Receipt

if TYPE_CHECKING:
    from clients.client import Client

BATCH = limits.BATCH_SUBMISSIONS_MAX
_POST_BYTES_MAX = limits.REQUEST_BYTES_MAX // 2
_MESSAGE_BYTES_MAX = limits.MESSAGE_BYTES_MAX - 1024  # the rest is for the array


async def send_in_bulk(client: Client) -> None:
    """Until something does not get through, or there is no more than one to send. Raises Unreachable, Tampering."""
    if len(client.state.waiting()) > BATCH:
        try:
            await _send_by_stream(client)
        except UpgradeRefused:  # something on the way passes requests alone
            pass
        else:
            return
    await _send_by_posts(client)


async def _send_by_posts(client: Client) -> None:
    waiting, drafts = deque(client.state.waiting()), frozenset(client.state.waiting("draft"))
    while len(waiting) > 1 and (batch := _kept_batch(client, waiting, _POST_BYTES_MAX)):
        try:
            answers = await client.wire.post(batch)
        except (Declined, Unreachable) as failed:
            if failed.unsent:
                client.sender.take_back(drafts, batch, failed)
            if isinstance(failed, Declined):
                return
            raise
        if not _keep(client, list(zip(batch, answers, strict=True))):
            return


async def _send_by_stream(client: Client) -> None:
    """A session that ends on the way is opened anew, as long as something got through in it."""
    waiting, before = len(client.state.waiting()), 0
    while waiting != before:
        try:
            async with submitting(client.wire) as stream:
                await _stream(client, stream)
        except Declined as declined:
            if declined.code != "not-logged-in":
                return
            waiting, before = len(client.state.waiting()), waiting
        else:
            return


async def _stream(client: Client, stream: Submitting) -> None:
    waiting = deque(client.state.waiting())
    while waiting or len(stream):
        if waiting and stream.has_room:
            batch = _kept_batch(client, waiting, _MESSAGE_BYTES_MAX)
            if batch:
                await stream.send(batch)
        elif not _keep(client, await stream.answers()):
            waiting.clear()  # what is on its way is still answered


def _keep(client: Client, answered: list[Answered]) -> bool:
    """Keep the receipts; whether there is one for each. What is in no ledger for sure is a draft again."""
    for submission, answer in answered:
        refused = error_of(answer) if isinstance(answer, Problem) else None
        if isinstance(refused, Declined) and refused.code == "quota-exceeded":
            client.sender.wait(submission, refused)
    receipts = [(submission, answer) for submission, answer in answered if isinstance(answer, Receipt)]
    client.sender.keep_receipts(client.checked(receipts))
    return len(receipts) == len(answered)


def _kept_batch(client: Client, waiting: deque[bytes], bytes_max: int) -> list[Submission]:
    """The next envelopes, each kept before it is tried, as an unknown outcome repeats these bytes."""
    batch: list[Submission] = []
    length = 0
    with client.state.transaction():  # commit point
        while waiting and len(batch) < BATCH:
            envelope = _envelope(client, waiting[0])
            length += len(envelope or b"")
            if batch and length > bytes_max:
                break
            waiting.popleft()
            if envelope is not None:
                batch.append(Submission.decode(envelope))
    return batch


def _envelope(client: Client, number: bytes) -> bytes | None:
    """What is posted; None where that takes more than sealing it."""
    outgoing = client.state.outgoing(number)
    if outgoing is None or outgoing.envelope is not None:
        return outgoing.envelope if outgoing else None
    if outgoing.draft.expires <= now_ms():
        return None
    try:
        envelope = client.sender.seal(outgoing.draft).encode()
    except Declined:
        return None
    client.state.set_outgoing(number, "tried", envelope=envelope)
    return envelope
