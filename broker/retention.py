"""The end of a body: ``policy.retention_days`` after its bulletin expired, body and wraps are forgotten.

The entry stays, and with it that there was a bulletin, from whom and to whom. A directory's JSON never goes: it is what
everything else is judged by.
"""

from __future__ import annotations

from broker.ledger import Ledger
from broker.storage.contract import Storage
from protocol.times import DAY_MS

CHUNK_BODIES = 256  # in one transaction, so that nobody waits long for the next


def expirable(ledger: Ledger, storage: Storage, now: int) -> list[int]:
    """The next bulletins whose retention has ended, in the ledger or a mirror, under the directory in force."""
    before = now - ledger.exchange.in_force.policy.retention_days * DAY_MS
    return storage.expirable(before + 1, CHUNK_BODIES)
