"""The tree part of an audit: leaf hashes and roots of a ledger's entries, against SHA-256 of the same bytes alone."""

from __future__ import annotations

import hashlib
import os
import statistics
import time

from bench.table import Figure
from protocol.merkle import Frontier, leaf_hash

ENTRY_BYTES = 600  # what a bulletin's entry comes to
MUST, AIM = 0.4, 0.7


def tree(rounds: int, count: int) -> list[Figure]:
    """One row."""
    entries = [os.urandom(ENTRY_BYTES) for _ in range(count)]
    ours, floor = [], []
    for _ in range(rounds):
        floor.append(_floor(entries))
        ours.append(_derived(entries))
    return [
        Figure(
            f"audit, tree part of {count:,} entries: of SHA-256 of the same bytes",
            [mine / bare for mine, bare in zip(ours, floor, strict=True)], MUST, AIM,
            detail={"entries/s": statistics.median(ours), "SHA-256/s": statistics.median(floor)},
        )
    ]  # fmt: skip


def _floor(entries: list[bytes]) -> float:
    """A hash of each entry, and of two hashes for each: what RFC 6962 cannot do without."""
    node = bytes(65)
    began = time.perf_counter()
    for data in entries:
        hashlib.sha256(data).digest()
        hashlib.sha256(node).digest()
    return len(entries) / (time.perf_counter() - began)


def _derived(entries: list[bytes]) -> float:
    frontier = Frontier()
    began = time.perf_counter()
    for data in entries:
        frontier.append(leaf_hash(data))
    frontier.root()
    return len(entries) / (time.perf_counter() - began)
