"""Which logs a witness cosigns: a node those of its peers, as the directory in force lists them."""

from __future__ import annotations

from collections.abc import Sequence

from broker.ledger import Ledger
from protocol.note import VerifierKey


class PeersLogs:
    """The logs of the other nodes. Both keys of each must have signed: one might be broken, by a quantum computer."""

    every_key = True

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def keys_of(self, origin: str) -> Sequence[VerifierKey]:
        """A node that is taken off the directory is cosigned no more; what was cosigned of it is kept."""
        directory = self._ledger.exchange.directory
        node = directory.by_origin.get(origin) if directory and origin != self._ledger.origin else None
        return node.log if node else ()
