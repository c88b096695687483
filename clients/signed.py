"""What a custodian's keys signed and handed out: nobody else can tell that two of it contradict each other.

Of two directory versions of one number, and of two bundles of one number in a chain, each ledger takes the one that
comes first. To sign a second one is no fault, as a draft may be mended; but whoever signs it should know of the first.
"""

from __future__ import annotations

from collections.abc import Iterable

from clients.store import Store
from protocol.directory import Directory
from protocol.record import Record
from protocol.statements import KeyBundle, Kind, statement_hash

_DIRECTORY = "directory"


class Handed(Record):
    """One thing that was signed: its place in its chain, and when."""

    chain: str
    number: int
    previous: bytes
    digest: bytes
    time: int = 0

    @classmethod
    def of_directory(cls, directory: Directory) -> Handed:
        """A version."""
        return cls(_DIRECTORY, directory.version, directory.previous, directory.hash)

    @classmethod
    def of_bundle(cls, bundle: KeyBundle) -> Handed:
        """A bundle; each identity key has a chain of its own."""
        digest = statement_hash(Kind.KEY_BUNDLE, bundle.encode())
        return cls(chain_of(bundle.agency, bundle.identity), bundle.sequence, bundle.previous, digest)


def chain_of(agency: str, identity: bytes) -> str:
    """What the bundles under an identity key are filed under."""
    return f"{agency} {identity.hex()}"


class Signed(Store):
    """Rows of what was handed out; a home that was made anew from an export knows of none."""

    def add_signed(self, handed: Handed, time: int) -> None:
        """Note it before it is written anywhere: a crash may leave a row too many, never a signature without one."""
        self._db.execute(
            "INSERT OR IGNORE INTO signed VALUES (?, ?, ?, ?, ?)",
            (handed.chain, handed.number, handed.previous, handed.digest, time),
        )

    def signed(self, chain: str) -> list[Handed]:
        """All of a chain, by number."""
        query = "SELECT chain, number, previous, digest, time FROM signed WHERE chain = ? ORDER BY number, time"
        return [Handed(*row) for row in self._db.execute(query, (chain,))]

    def signed_beside(self, handed: Handed) -> list[Handed]:
        """Others of its number."""
        return [one for one in self.signed(handed.chain) if one.number == handed.number and one.digest != handed.digest]


def still_to_come(handed: Iterable[Handed], last: bytes) -> list[Handed]:
    """Those, in order of their number, that could still be posted after what has the hash ``last``."""
    found, ends = [], {last}
    for one in handed:
        if one.previous in ends:
            found.append(one)
            ends.add(one.digest)
    return found
