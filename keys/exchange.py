"""The exchange: all governance folded from one ledger's entries, as one immutable value (SPEC §12.1).

It answers who is who at a time: which directory is in force, which bundles count, whose seat may sign, what is revoked
or suspended. It decides nothing: that is keys/judge.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from protocol import limits
from protocol.directory import Directory
from protocol.header import Recipient
from protocol.label import Label
from protocol.parties import Agency
from protocol.record import Record
from protocol.signing import PublicKey
from protocol.statements import KeyBundle, Revocation, Seat, Suspect, Suspension
from protocol.times import DAY_MS


class Revoked(Record):
    """Where a key ended, and since which entry it is suspected."""

    index: int
    suspect: Suspect | None


class HeldBundle(Record):
    """A bundle and what it is known by."""

    hash: bytes
    bundle: KeyBundle

    def runs(self, time: int) -> bool:
        """Whether it has started and not ended."""
        return self.bundle.starts <= time < self.bundle.ends


@dataclass(frozen=True)
class Exchange:
    """Governance of the ledger ``origin`` up to some entry. Start from ``Exchange(origin, pin)``."""

    origin: str
    pin: bytes  # SHA-256 of the first directory
    directory: Directory | None = None  # in force
    versions: Mapping[bytes, Directory] = field(default_factory=dict)  # every one entered, by hash
    # Chains by agency and identity key, each in order of entry
    bundles: Mapping[tuple[str, bytes], tuple[HeldBundle, ...]] = field(default_factory=dict)
    revoked: Mapping[tuple[str, bytes], Revoked] = field(default_factory=dict)  # by agency and key id
    suspensions: Mapping[bytes, str] = field(default_factory=dict)  # statement hash to agency, not lifted
    lifted: frozenset[tuple[str, bytes]] = frozenset()

    @property
    def in_force(self) -> Directory:
        """The directory in force; there is one in every exchange that has an entry."""
        if self.directory is None:
            msg = "the ledger has no directory yet"
            raise LookupError(msg)
        return self.directory

    def agency(self, name: str) -> Agency | None:
        """The agency as the directory in force has it."""
        return self.directory.by_agency.get(name) if self.directory else None

    def is_suspended(self, agency: str) -> bool:
        """Whether a suspension of ``agency`` stands."""
        return agency in self.suspensions.values()

    def is_revoked(self, agency: str, key_id: bytes) -> bool:
        """Whether ``key_id`` of ``agency`` has ended."""
        return (agency, key_id) in self.revoked

    def chain(self, agency: Agency) -> tuple[HeldBundle, ...]:
        """The bundles under the agency's identity key in force, unless that is revoked (SPEC §12.3)."""
        identity = agency.identity.key_id
        return () if self.is_revoked(agency.id, identity) else self.bundles.get((agency.id, identity), ())

    def running(self, agency: Agency, time: int) -> list[HeldBundle]:
        """The bundles that count at ``time``: started, not ended; the newest last."""
        return [held for held in self.chain(agency) if held.runs(time)]

    def newest_bundle(self, name: str, time: int) -> HeldBundle | None:
        """What to seal to: the latest of an agency's bundles that runs and has a seat that is not revoked."""
        agency = self.agency(name)
        sealable = [held for held in self.running(agency, time) if self.seats_of(held.bundle)] if agency else []
        return sealable[-1] if sealable else None

    def bundle_of(self, recipient: Recipient, time: int) -> KeyBundle | None:
        """The bundle that a header names, if it counts at ``time``."""
        agency = self.agency(recipient.agency)
        for held in self.running(agency, time) if agency else ():
            if held.hash == recipient.bundle:
                return held.bundle
        return None

    @functools.cached_property
    def _named(self) -> dict[tuple[str, bytes], tuple[HeldBundle, tuple[Seat, ...]]]:
        """The bundles that headers named so far, by agency and hash: nearly all name the same few."""
        return {}

    @functools.cached_property
    def _listing(self) -> dict[tuple[str, bytes], tuple[tuple[HeldBundle, PublicKey], ...]]:
        """The bundles that list a seat, the newest first, by agency and key id: of those that signed something."""
        return {}

    @functools.cached_property
    def bearable(self) -> set[tuple[str, str, Label, tuple[Recipient, ...]]]:
        """Sender, feed, label and recipients that the judge let pass in this exchange (``keys/judge.py``, step 5)."""
        return set()

    def seats_named(self, recipient: Recipient, time: int) -> tuple[Seat, ...] | None:
        """The seats that are not revoked of the bundle that a header names; None if that does not count at ``time``."""
        key = recipient.agency, recipient.bundle
        if key not in self._named:
            agency = self.agency(recipient.agency)
            chain = self.chain(agency) if agency else ()
            held = next((held for held in chain if held.hash == recipient.bundle), None)
            if held is None:
                return None
            self._named[key] = held, tuple(self.seats_of(held.bundle))
        held, seats = self._named[key]
        return seats if held.runs(time) else None

    def seats_of(self, bundle: KeyBundle) -> list[Seat]:
        """The seats of a bundle that are not revoked, in its order: one wrap for each."""
        return [seat for seat in bundle.seats if not self.is_revoked(bundle.agency, seat.signing.key_id)]

    def seats_elsewhere(self, name: str, time: int) -> set[bytes]:
        """The signing keys of all other agencies' seats, in bundles that have not ended, whether they count or not."""
        chains = [chain for (agency, _), chain in self.bundles.items() if agency != name]
        bundles = [held.bundle for chain in chains for held in chain if held.bundle.ends > time]
        return {seat.signing.key_id for bundle in bundles for seat in bundle.seats}

    def seat_key(self, name: str, key_id: bytes, time: int) -> PublicKey | None:
        """A seat's signing key, if it is in force at ``time``."""
        listing = self._listing.get((name, key_id))
        if listing is None:
            agency = self.agency(name)
            if agency is None or self.is_revoked(name, key_id):
                return None
            newest_first = reversed(self.chain(agency))
            seats = [(held, seat.signing) for held in newest_first for seat in held.bundle.seats]
            listing = tuple((held, key) for held, key in seats if key.key_id == key_id)
            if listing:
                self._listing[name, key_id] = listing
        return next((key for held, key in listing if held.runs(time)), None)

    def grace_ends(self) -> int:
        """Until when bulletins are admitted under the directory in force."""
        return self.in_force.expires + self.in_force.policy.grace_days * DAY_MS

    def with_directory(self, directory: Directory) -> Exchange:
        """After a directory version: it takes effect if it is newer; agencies it leaves out lose their suspensions."""
        versions = {**self.versions, directory.hash: directory}
        if self.directory is not None and directory.version <= self.directory.version:
            return replace(self, versions=versions)
        kept = {digest: name for digest, name in self.suspensions.items() if name in directory.by_agency}
        return replace(self, directory=directory, versions=versions, suspensions=kept)

    def with_bundle(self, held: HeldBundle, time: int) -> Exchange:
        """After a bundle; those of its chain long ended are forgotten, as time in a ledger never runs back."""
        chain = (held.bundle.agency, held.bundle.identity)
        before = [old for old in self.bundles.get(chain, ()) if old.bundle.ends > time]
        return replace(self, bundles={**self.bundles, chain: (*before, held)})

    def with_revocation(self, revocation: Revocation, index: int) -> Exchange:
        """After a revocation at ``index``: what was revoked first stays so."""
        ended = {(revocation.agency, key_id): Revoked(index, revocation.suspect) for key_id in revocation.key_ids}
        return replace(self, revoked={**ended, **self.revoked})

    def with_suspension(self, suspension: Suspension, digest: bytes) -> Exchange:
        """After a suspension or its lifting; together they are without effect, in either order."""
        if suspension.lifts is not None:
            ends = (suspension.lifts, suspension.agency)  # not another nation's suspension of another agency
            kept = {other: name for other, name in self.suspensions.items() if (other, name) != ends}
            return replace(self, suspensions=kept, lifted=self.lifted | {(suspension.agency, suspension.lifts)})
        if (suspension.agency, digest) in self.lifted:
            return self
        return replace(self, suspensions={**self.suspensions, digest: suspension.agency})


def bundles_ahead(chain: tuple[HeldBundle, ...], time: int) -> int:
    """How many bundles of a chain have not started."""
    return sum(held.bundle.starts > time for held in chain)


BUNDLE_LIFE_MS = limits.BUNDLE_LIFE_DAYS_MAX * DAY_MS
