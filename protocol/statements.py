"""The six kinds of statement (SPEC §7): anything signed that a ledger can hold.

Each is one canonical array. ``decode`` gives the value of a kind; the bytes themselves are kept and passed on as they
came.
"""

from __future__ import annotations

import functools
from enum import IntEnum

from protocol import canonical, limits, names
from protocol.canonical import Fields, Hash, Time, Uint, Wire, check_choice, check_count
from protocol.errors import Malformed
from protocol.header import Header
from protocol.pae import Domain, digest
from protocol.record import Record, WireRecord
from protocol.signing import KemKey, PublicKey

ACKNOWLEDGED = ("received", "read", "acted")  # the furthest last
NO_HASH = bytes(32)


class Kind(IntEnum):
    """What a statement is; the number stands in its entry."""

    BULLETIN = 1
    ACKNOWLEDGEMENT = 2
    DIRECTORY = 3
    KEY_BUNDLE = 4
    REVOCATION = 5
    SUSPENSION = 6

    __hash__ = int.__hash__  # an Enum's own is a call into Python, at every look into a table of kinds

    @property
    def word(self) -> str:
        """The kind in words: ``key-bundle``."""
        return self.name.lower().replace("_", "-")


# What every reader of a ledger is given; the first three are what an entry's governance link can name.
LINKED = frozenset({Kind.DIRECTORY, Kind.REVOCATION, Kind.SUSPENSION})
GOVERNANCE = LINKED | {Kind.KEY_BUNDLE}


class WrapHash(WireRecord):
    """[KEM key id, hash]: whose wrap it is, by KEM key, and its SHA-256."""

    kem_key_id: Hash
    hash: Hash


class _SignedBulletin(WireRecord):
    header: bytes
    wraps: tuple[WrapHash, ...]
    body: Hash


class Bulletin(WireRecord):
    """[header, hashes of the wraps, hash of the body]: what is signed, so that nothing moves under another header."""

    header: Header
    header_bytes: bytes
    wraps: tuple[WrapHash, ...]
    body: Hash

    def encode(self) -> bytes:
        """SPEC §7.2."""
        return _SignedBulletin(self.header_bytes, self.wraps, self.body).encode()

    @classmethod
    def decode(cls, data: bytes, bytes_max: int = limits.ENTRY_BYTES_MAX) -> Bulletin:
        """Raises Malformed or TooLarge."""
        signed = _SignedBulletin.decode(data, bytes_max)
        check_count(signed.wraps, "bulletin: wraps", limits.WRAPS_MAX, at_least=1)
        return cls(Header.decode(signed.header), signed.header, signed.wraps, signed.body)


class AcknowledgementLine(WireRecord):
    """One bulletin, by where it stands, and how far it came with the recipient, at its own time."""

    origin: str
    index: Uint
    leaf: Hash
    state: str
    time: Time

    def check(self) -> None:
        """SPEC §7.3."""
        names.origin(self.origin)
        check_choice(self.state, "acknowledgement line: state", ACKNOWLEDGED)


class Acknowledgement(WireRecord):
    """A recipient's word to one sender, entered in the recipient's home ledger (SPEC §7.3)."""

    suite: Uint
    exchange: Hash
    origin: str
    sender: str  # the agency that acknowledges
    key_id: Hash
    to: str  # the agency that sent the bulletins
    created: Time
    lines: tuple[AcknowledgementLine, ...]

    def check(self) -> None:
        """SPEC §7.3."""
        names.origin(self.origin)
        names.agency(self.sender)
        names.agency(self.to)
        check_count(self.lines, "acknowledgement: lines", limits.ACKNOWLEDGEMENT_LINES_MAX, at_least=1)
        for line in self.lines:
            line.check()


class DirectoryVersion(Record):
    """A version of the directory, by length and hash; its JSON lies beside the ledger (SPEC §7.4)."""

    version: int
    length: int
    sha256: bytes
    previous: bytes  # SHA-256 of the JSON before; zero for version 1

    def encode(self) -> bytes:
        """SPEC §7.4."""
        return canonical.encode([self.version, self.length, self.sha256, self.previous])

    @classmethod
    def decode(cls, data: bytes) -> DirectoryVersion:
        """Raises Malformed or TooLarge."""
        f = Fields(canonical.decode(data, bytes_max=limits.ENTRY_BYTES_MAX), "directory", 4)
        version = f.uint("version")
        if version < 1:
            raise Malformed("directory: versions begin at 1")
        length = f.uint("length", limits.DIRECTORY_BYTES_MAX)
        return cls(version, length, f.hash("sha256"), f.hash("previous"))


class Seat(Record):
    """One machine of an agency while a bundle runs: what it signs with, and what is sealed to it."""

    name: str
    signing: PublicKey
    kem: KemKey

    def to_wire(self) -> Wire:
        """[name, signing key, KEM key]."""
        return [self.name, self.signing.to_wire(), self.kem.to_wire()]

    @classmethod
    def from_wire(cls, value: object) -> Seat:
        """[name, signing key, KEM key]."""
        f = Fields(value, "seat", 3)
        return cls(f.matching("name", names.agency), f.value(PublicKey.from_wire), f.value(KemKey.from_wire))


class KeyBundle(Record):
    """The seats of an agency for at most 31 days, signed by its identity key, chained to the one before (SPEC §7.5)."""

    exchange: bytes
    agency: str
    identity: bytes  # key id of the identity key, whose chain this is
    sequence: int  # from 1 in each chain
    previous: bytes  # statement hash of the one before; zero for the first
    starts: int
    ends: int
    seats: tuple[Seat, ...]

    def encode(self) -> bytes:
        """SPEC §7.5."""
        seats = [seat.to_wire() for seat in self.seats]
        head = [self.exchange, self.agency, self.identity, self.sequence, self.previous, self.starts, self.ends]
        return canonical.encode([*head, seats])

    @classmethod
    def decode(cls, data: bytes) -> KeyBundle:
        """Raises Malformed or TooLarge."""
        f = Fields(canonical.decode(data, bytes_max=limits.ENTRY_BYTES_MAX), "key bundle", 8)
        return cls(
            f.hash("exchange"),
            f.matching("agency", names.agency),
            f.hash("identity"),
            f.uint("sequence"),
            f.hash("previous"),
            f.time("starts"),
            f.time("ends"),
            f.array("seats", limits.SEATS_PER_AGENCY_MAX, Seat.from_wire, at_least=1),
        )


class Suspect(Record):
    """Since which entry of which ledger a revoked key is suspected: shown to readers, changes no verdict."""

    origin: str
    index: int

    def to_wire(self) -> Wire:
        """[origin, index]."""
        return [self.origin, self.index]

    @classmethod
    def from_wire(cls, value: object) -> Suspect:
        """[origin, index]."""
        f = Fields(value, "suspect since", 2)
        return cls(f.matching("origin", names.origin), f.uint("index"))


class Revocation(Record):
    """Keys of one agency, ended for good at this entry's own index (SPEC §7.6)."""

    exchange: bytes
    agency: str
    key_ids: tuple[bytes, ...]
    created: int
    reason: str
    suspect: Suspect | None = None

    def encode(self) -> bytes:
        """SPEC §7.6."""
        suspect = self.suspect.to_wire() if self.suspect else None
        return canonical.encode([self.exchange, self.agency, list(self.key_ids), self.created, self.reason, suspect])

    @classmethod
    def decode(cls, data: bytes) -> Revocation:
        """Raises Malformed or TooLarge."""
        f = Fields(canonical.decode(data, bytes_max=limits.ENTRY_BYTES_MAX), "revocation", 6)
        return cls(
            f.hash("exchange"),
            f.matching("agency", names.agency),
            f.array("key ids", limits.REVOKED_KEYS_MAX, _key_id, at_least=1),
            f.time("created"),
            f.text("reason", limits.REASON_CHARS_MAX),
            f.optional(Suspect.from_wire),
        )


def _key_id(value: object) -> bytes:
    if type(value) is not bytes or len(value) != canonical.HASH_BYTES:
        raise Malformed("a key id is not 32 bytes")
    return value


class Suspension(Record):
    """A nation stops one of its agencies, or lifts the suspension that ``lifts`` names (SPEC §7.7)."""

    exchange: bytes
    agency: str
    created: int
    reason: str
    lifts: bytes | None = None  # statement hash

    def encode(self) -> bytes:
        """SPEC §7.7."""
        return canonical.encode([self.exchange, self.agency, self.created, self.reason, self.lifts])

    @classmethod
    def decode(cls, data: bytes) -> Suspension:
        """Raises Malformed or TooLarge."""
        f = Fields(canonical.decode(data, bytes_max=limits.ENTRY_BYTES_MAX), "suspension", 5)
        return cls(
            f.hash("exchange"),
            f.matching("agency", names.agency),
            f.time("created"),
            f.text("reason", limits.REASON_CHARS_MAX),
            f.optional(_key_id),
        )


Statement = Bulletin | Acknowledgement | DirectoryVersion | KeyBundle | Revocation | Suspension

_TYPES: dict[Kind, type[Statement]] = {
    Kind.BULLETIN: Bulletin,
    Kind.ACKNOWLEDGEMENT: Acknowledgement,
    Kind.DIRECTORY: DirectoryVersion,
    Kind.KEY_BUNDLE: KeyBundle,
    Kind.REVOCATION: Revocation,
    Kind.SUSPENSION: Suspension,
}
SIGNED_UNDER: dict[Kind, Domain] = {kind: Domain[kind.name] for kind in Kind}


@functools.lru_cache(maxsize=512)  # door, judge and deliveries each ask for the same one
def decode(kind: Kind, data: bytes) -> Statement:
    """The statement that ``data`` holds. Raises Malformed or TooLarge."""
    return _TYPES[kind].decode(data)


def statement_hash(kind: Kind, data: bytes) -> bytes:
    """What a statement is known by: not its signatures, which may differ (SPEC §7)."""
    return digest(Domain.STATEMENT, bytes([kind]), data)
