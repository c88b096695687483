"""Budgets of agencies (SPEC §12.2, steps 0 and 9): attempts in a minute, bulletins in an hour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class Budget:
    """A token bucket for each name: full at the start, refilled evenly over ``seconds``."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._clock = seconds, clock
        self._buckets: dict[str, _Bucket] = {}

    def spend(self, name: str, limit: int, amount: int = 1) -> bool:
        """Take ``amount`` if it is there; names come from the directory, so there are at most as many buckets."""
        now = self._clock()
        bucket = self._buckets.setdefault(name, _Bucket(limit, now))
        bucket.tokens = min(limit, bucket.tokens + max(0.0, now - bucket.filled) * limit / self._seconds)
        bucket.filled = now
        if bucket.tokens < amount:
            return False
        bucket.tokens -= amount
        return True
