"""Which agencies are at home here by a move that their old ledger has not shown yet (SPEC §11.9.6).

Two ledgers must not both order an agency's acts: the old one takes none from the version's entry on, and the new one
none before it knows of that entry. Where the old ledger is closed nobody is waited for.
"""

from __future__ import annotations

from broker.ledger import Ledger
from broker.mirrors import Mirrors
from keys.exchange import Exchange
from protocol.directory import Directory


class Moves:
    """Judged anew whenever the exchange has become another."""

    def __init__(self, ledger: Ledger, mirrors: Mirrors) -> None:
        self._ledger, self._mirrors = ledger, mirrors
        self._judged: Exchange | None = None
        self._moved: dict[str, tuple[str, bytes]] = {}

    def awaited(self, agency: str) -> str | None:
        """The old ledger that has yet to show the move of ``agency``; None where there is none."""
        exchange = self._ledger.exchange
        if self._judged is not exchange:
            self._judged, self._moved = exchange, _moved_here(exchange)
        if agency not in self._moved:
            return None
        origin, version = self._moved[agency]
        mirror = self._mirrors.get(origin)
        if mirror is not None and version in mirror.exchange.versions:
            del self._moved[agency]
            return None
        return origin


def _moved_here(exchange: Exchange) -> dict[str, tuple[str, bytes]]:
    """By agency: the ledger that it came from, and the version that moved it."""
    moved = {}
    for agency in exchange.in_force.agencies:
        if agency.home != exchange.origin:
            continue
        after, before = exchange.in_force, _before(exchange, exchange.in_force)
        while before is not None and (old := before.by_agency.get(agency.id)) is not None:
            if old.home != exchange.origin:
                if old.home in exchange.in_force.by_origin:  # else it is closed
                    moved[agency.id] = old.home, after.hash
                break
            after, before = before, _before(exchange, before)
    return moved


def _before(exchange: Exchange, directory: Directory) -> Directory | None:
    return exchange.versions.get(directory.previous)
