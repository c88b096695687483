"""Which logs a witness cosigns: a node those of its peers, as the directory in force lists them; else by policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from broker.ledger import Ledger
from protocol.note import VerifierKey
from protocol.tlogpolicy import Policy


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


class PolicyLogs:
    """The logs of tlog-policy files. As C2SP has it, a line of one key that is listed is enough, and none may fail."""

    every_key = False

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._keys: dict[str, tuple[VerifierKey, ...]] = {}
        for policy in policies:
            for log in policy.logs:
                self._keys[log.key.name] = (*self._keys.get(log.key.name, ()), log.key)

    def __iter__(self) -> Iterator[str]:
        """Their origins, sorted."""
        return iter(sorted(self._keys))

    def keys_of(self, origin: str) -> Sequence[VerifierKey]:
        """None of a log that no policy lists."""
        return self._keys.get(origin, ())
