"""Every ledger that a home reads: its home ledger, which judges what it sends, and those its node serves beside it."""

from __future__ import annotations

from collections.abc import Iterable

from clients.replica import Replica
from clients.state import State
from keys.exchange import Exchange, Revoked
from protocol.page import Part


class Ledgers:
    """The replicas of one home, by origin."""

    def __init__(self, state: State, home: str, pin: bytes) -> None:
        self._state, self._pin = state, pin
        self._replicas = {home: Replica(state, home, pin)}
        self.home_origin = home

    @property
    def home(self) -> Replica:
        """The home ledger."""
        return self._replicas[self.home_origin]

    def of(self, origin: str) -> Replica:
        """A ledger as far as it is verified here; of one never seen, its beginning."""
        if origin not in self._replicas:
            self._replicas[origin] = Replica(self._state, origin, self._pin)
        return self._replicas[origin]

    def origins(self) -> list[str]:
        """The home ledger, then every other one that was seen here."""
        others = [verified.origin for verified in self._state.ledgers() if verified.origin != self.home_origin]
        return [self.home_origin, *others]

    def all(self) -> list[Replica]:
        """The replicas of those."""
        return [self.of(origin) for origin in self.origins()]

    def other_exchanges(self) -> list[Exchange]:
        """Governance as the other ledgers have it."""
        return [replica.exchange for replica in self.all()[1:]]

    def cursor(self) -> tuple[dict[str, int], dict[str, int]]:
        """Where each ledger goes on, and the tree size that is verified of it."""
        verified = [replica.verified for replica in self.all()]
        return {one.origin: one.next for one in verified}, {one.origin: one.size for one in verified}

    def put(self, replica: Replica) -> None:
        """It was verified, and kept."""
        self._replicas[replica.origin] = replica

    def read_anew(self, origin: str) -> None:
        """As far as it is kept: what was verified and not kept is not believed."""
        self._replicas[origin] = Replica(self._state, origin, self._pin)

    def lists(self, origin: str) -> bool:
        """Whether the home ledger's directory in force has a node of that origin: no other ledger is read."""
        directory = self.home.exchange.directory
        return directory is not None and origin in directory.by_origin

    def revoked(self, agency: str, key_id: bytes) -> Revoked | None:
        """Where a key has ended, as the first ledger says that knows of it: another may hear of it only later."""
        found = (replica.exchange.revoked.get((agency, key_id)) for replica in self.all())
        return next((revoked for revoked in found if revoked is not None), None)

    def in_order(self, parts: Iterable[Part]) -> list[Part]:
        """The home ledger's part first: it says which others there are."""
        return sorted(parts, key=lambda part: (part.head.origin != self.home_origin, part.head.origin))
