"""Sending much at once: what has waited goes in posts of many, in order, for as long as all of it gets through.

Only the plain way is here. Whatever is not plain, a draft that cannot be sealed or a bulletin that the node refuses, is
left in the outbox for ``clients/sending.py``, which sends one at a time and says what became of it. A bulletin refers
to none that is still in the outbox, so one that is refused holds up none that came after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.clock import now_ms
from clients.errors import Declined
from clients.outbox import OPEN
from protocol import limits
from protocol.entry import Submission
from protocol.treehead import Receipt

if TYPE_CHECKING:
    from clients.client import Client

BATCH = limits.BATCH_SUBMISSIONS_MAX
_BYTES_MAX = limits.REQUEST_BYTES_MAX // 2


async def send_in_batches(client: Client) -> None:
    """Until something does not get through, or there is no more than one to send. Raises Unreachable, Tampering."""
    while len(batch := _kept_batch(client)) > 1:
        try:
            answers = await client.wire.post(batch)
        except Declined:
            return
        logged = [
            (submission, client.checked(submission, answer))
            for submission, answer in zip(batch, answers, strict=True)
            if isinstance(answer, Receipt)
        ]
        client.sender.keep_receipts(logged)
        if len(logged) < len(batch):
            return


def _kept_batch(client: Client) -> list[Submission]:
    """The oldest envelopes, each kept before it is tried, as an unknown outcome repeats these bytes."""
    batch: list[Submission] = []
    length = 0
    with client.state.transaction():  # commit point
        for outgoing in client.state.outbox(*OPEN)[:BATCH]:
            envelope = outgoing.envelope
            if envelope is None:
                if outgoing.draft.expires <= now_ms():
                    break
                try:
                    envelope = client.sender.seal(outgoing.draft).encode()
                except Declined:
                    break
                client.state.set_outgoing(outgoing.draft.id, "tried", envelope=envelope)
            length += len(envelope)
            if length > _BYTES_MAX:
                break
            batch.append(Submission.decode(envelope))
    return batch
