"""An exchange for tests: two nations, six agencies, all their keys, and whatever they sign.

A name has always the same key: ``pk-custodian-1`` is an authority, ``pk-liaison/identity`` an agency's identity key,
``pk-liaison/desk`` a seat, ``pk-liaison/desk/1`` its KEM key in its agency's first bundle, ``PK`` a node's receipt key.
A ``World`` is a value: ``with_…`` gives the next one, the other methods give submissions.

    world = World.found()
    ledger = open_ledger(tmp_path, world)  # or PaperLedger(world), in memory (tests/support/paper.py)
    receipt = admit(ledger, world.bulletin(to=("cn-liaison",), label=label("Secret"), suite=2))
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from broker.home import NodeKeys
from broker.ledger import Ledger
from broker.storage import sqlite
from keys import kem, sealing
from keys.lognote import CosignerKeys, LogSigner
from keys.sealing import SealTo
from keys.secret import Secret
from keys.signing import SigningKey, verify_all
from protocol.content import Content, Version
from protocol.directory import Directory
from protocol.entry import Entry, Submission
from protocol.header import Header, Recipient
from protocol.label import Clearance, Label
from protocol.names import new_bulletin_id
from protocol.parties import Agency, Authority, Feed, Nation, Node
from protocol.policy import Policy
from protocol.signing import KemKey, encode_signatures
from protocol.statements import (
    NO_HASH,
    Acknowledgement,
    AcknowledgementLine,
    Bulletin,
    DirectoryVersion,
    KeyBundle,
    Kind,
    Revocation,
    Seat,
    Statement,
    Suspension,
    statement_hash,
)
from protocol.times import DAY_MS, parse_time
from protocol.treehead import Receipt
from tests.support.altering import replace

NOW = parse_time("2026-11-24T08:00:00Z")  # when every world begins; its first bundles start here
HOUR_MS, BUNDLE_MS = 3_600_000, 31 * DAY_MS
CUSTODIANS = ("pk-custodian-1", "pk-custodian-2", "cn-custodian-1", "cn-custodian-2")
OFFICIAL = ("publish", "subscribe")
CONTENT = Content(
    versions=(Version("en", "Road closed at Sost", "A slide has closed the highway 4 km north of Sost."),),
    category="road-closure",
    severity="Severe",
    urgency="Immediate",
    certainty="Observed",
    officer="A. Karim",
)
_KINDS: dict[type[Statement], Kind] = {
    Bulletin: Kind.BULLETIN,
    Acknowledgement: Kind.ACKNOWLEDGEMENT,
    DirectoryVersion: Kind.DIRECTORY,
    KeyBundle: Kind.KEY_BUNDLE,
    Revocation: Kind.REVOCATION,
    Suspension: Kind.SUSPENSION,
}
_numbers = itertools.count(1)


def origin_of(nation: str) -> str:
    """What the ledger of a nation is called."""
    return f"{nation.lower()}.khunjerab.test/ledger"


ORIGINS = {nation: origin_of(nation) for nation in ("PK", "CN")}
T = TypeVar("T", Agency, Nation, Feed, Node)


# Keys, by name


def seed(name: str, length: int) -> Secret:
    """The same secret for the same name."""
    return Secret(hashlib.shake_256(name.encode()).digest(length))


@functools.cache
def signing_key(name: str) -> SigningKey:
    """Both halves of whoever is called so."""
    return SigningKey(seed(f"sign/{name}", 64))


def kem_seed(name: str) -> Secret:
    """What the seat ``AGENCY/SEAT/SEQUENCE`` opens wraps with."""
    return seed(f"kem/{name}", kem.SEED_BYTES)


@functools.cache
def kem_key(name: str) -> KemKey:
    """What is sealed to."""
    return kem.public_key_of(kem_seed(name))


@functools.cache
def node_keys(nation: str) -> NodeKeys:
    """What the node of a nation signs with."""
    origin = origin_of(nation)
    return NodeKeys(
        signing_key(nation),
        LogSigner(origin, seed(f"{nation}/log/ed25519", 32), seed(f"{nation}/log/mldsa44", 32)),
        CosignerKeys(f"{origin}/cosigner", seed(f"{nation}/co/ed25519", 32), seed(f"{nation}/co/mldsa44", 32)),
    )


# The parts of a directory


def nation(id_: str, code: str, name: str) -> Nation:
    """Two authority keys, both must sign."""
    custodians = [f"{id_.lower()}-custodian-{number}" for number in (1, 2)]
    authorities = tuple(Authority(custodian, signing_key(custodian).public) for custodian in custodians)
    return Nation(id_, code, name, 2, authorities)


def agency(id_: str, clearance: str, *compartments: str, roles: tuple[str, ...] = OFFICIAL) -> Agency:
    """An agency of the nation that its id begins with, at home in that nation's node."""
    of = id_[:2].upper()
    identity = signing_key(f"{id_}/identity").public
    name = id_.replace("-", " ").title()
    return Agency(id_, of, name, origin_of(of), identity, Clearance(of, clearance, compartments), roles)


def node(of: str, url: str = "") -> Node:
    """A nation's node."""
    keys = node_keys(of)
    log, cosigner = tuple(keys.log.vkeys()), tuple(keys.cosigner.vkeys())
    url = url or f"https://{origin_of(of).split('/')[0]}"
    return Node(origin_of(of), of, url, log, cosigner, keys.receipt.public, ())


def first_directory() -> Directory:
    """Version 1. ``convoys`` goes abroad and up to Secret, ``sites`` may stay at home and ends at Restricted."""
    everyone = ("pk-liaison", "pk-site-security", "cn-liaison", "cn-embassy")
    return Directory(
        exchange=None,
        version=1,
        previous=NO_HASH,
        issued=NOW - DAY_MS,
        expires=NOW + 364 * DAY_MS,
        nations=(nation("PK", "PAK", "Pakistan"), nation("CN", "CHN", "中国")),
        agencies=(
            agency("pk-liaison", "Secret", "CONVOY"),
            agency("pk-site-security", "Restricted"),
            agency("cn-liaison", "机密", "CONVOY"),
            agency("cn-embassy", "秘密"),
            agency("pk-auditor", "Unclassified", roles=("audit",)),
            agency("cn-auditor", "公开", roles=("audit",)),
        ),
        feeds=(
            Feed("convoys", "Convoys", everyone, Clearance("PK", "Secret", ("CONVOY",)), domestic=False),
            Feed("sites", "Sites", everyone, Clearance("PK", "Restricted"), domestic=True),
        ),
        nodes=(node("PK"), node("CN")),
        policy=Policy(),
    )


def label(classification: str, policy: str = "PK", *compartments: str) -> Label:
    """Releasable to both nations."""
    return Label(policy, classification, compartments, ("CN", "PK"))


# What is signed


def signed(statement: Statement, *signers: str, suite: int = 2, body: bytes = b"") -> Submission:
    """Any statement, signed by whoever is named."""
    kind, data = _KINDS[type(statement)], statement.encode()
    signatures = tuple(signing_key(name).sign_statement(kind, data, suite) for name in signers)
    return Submission(kind, data, encode_signatures(signatures), body=body)


def digest_of(statement: Statement | Submission) -> bytes:
    """The hash that a statement is known by."""
    if isinstance(statement, Submission):
        return statement_hash(statement.kind, statement.statement)
    return statement_hash(_KINDS[type(statement)], statement.encode())


def bundle(agency: str, seats: Iterable[str], sequence: int = 1, **changes: Any) -> KeyBundle:
    """A key bundle with a new KEM key for each seat; ``exchange`` is among the changes."""
    listed = tuple(
        Seat(seat, signing_key(f"{agency}/{seat}").public, kem_key(f"{agency}/{seat}/{sequence}")) for seat in seats
    )
    fields: dict[str, Any] = {"previous": NO_HASH, "starts": NOW, "ends": NOW + BUNDLE_MS, "seats": listed}
    identity = signing_key(f"{agency}/identity").public.key_id
    return KeyBundle(agency=agency, identity=identity, sequence=sequence, **fields | changes)


@dataclass(frozen=True)
class World:
    """The newest directory and the newest bundle of each agency; what is signed is of ``now`` unless told otherwise."""

    directory: Directory
    pin: bytes
    bundles: Mapping[str, KeyBundle]
    now: int = NOW

    @classmethod
    def found(cls, now: int = NOW, **changes: Any) -> World:
        """Version 1 of the directory, changed as told, and a first bundle for each agency; liaisons have two seats."""
        directory = replace(first_directory(), **{"issued": now - DAY_MS, "expires": now + 364 * DAY_MS} | changes)
        seats = {a.id: ("desk", "duty") if a.id.endswith("-liaison") else ("desk",) for a in directory.agencies}
        fields: dict[str, Any] = {"exchange": directory.hash, "starts": now, "ends": now + BUNDLE_MS}
        return cls(directory, directory.hash, {name: bundle(name, seats[name], **fields) for name in seats}, now)

    # The next one

    def with_directory(self, **changes: Any) -> World:
        """Version N+1."""
        old = self.directory
        follows: dict[str, Any] = {"exchange": self.pin, "version": old.version + 1, "previous": old.hash}
        return replace(self, directory=replace(old, **follows | changes))

    def with_agency(self, name: str, /, **changes: Any) -> World:
        """Version N+1 with one agency changed."""
        return self.with_directory(agencies=_changed(self.directory.agencies, self.directory.by_agency[name], changes))

    def without_agency(self, name: str) -> World:
        """Version N+1 without one agency."""
        members = {f.name: tuple(m for m in f.members if m != name) for f in self.directory.feeds}
        return self.with_directory(
            agencies=tuple(a for a in self.directory.agencies if a.id != name),
            feeds=tuple(replace(f, members=members[f.name]) for f in self.directory.feeds),
        )

    def with_feed(self, name: str, /, **changes: Any) -> World:
        """Version N+1 with one feed changed."""
        return self.with_directory(feeds=_changed(self.directory.feeds, self.directory.by_feed[name], changes))

    def with_nation(self, id_: str, **changes: Any) -> World:
        """Version N+1 with one nation changed."""
        return self.with_directory(nations=_changed(self.directory.nations, self.directory.by_nation[id_], changes))

    def with_first_bundle(self, agency: str) -> World:
        """The beginning of the chain of an agency that came later."""
        fields: dict[str, Any] = {"exchange": self.pin, "starts": self.now, "ends": self.now + BUNDLE_MS}
        return replace(self, bundles={**self.bundles, agency: bundle(agency, ("desk",), **fields)})

    def with_bundle(self, agency: str, seats: Iterable[str] = ("desk",), **changes: Any) -> World:
        """The next bundle of an agency's chain, a week after the one before."""
        last = self.bundles[agency]
        starts = changes.pop("starts", last.starts + 7 * DAY_MS)
        follows = {"exchange": self.pin, "previous": digest_of(last), "starts": starts, "ends": starts + BUNDLE_MS}
        following = bundle(agency, seats, last.sequence + 1, **follows | changes)
        return replace(self, bundles={**self.bundles, agency: following})

    # Governance

    def custodians(self, of: str = "") -> list[str]:
        """Of one nation, or of all."""
        nations = [nation for nation in self.directory.nations if of in {"", nation.id}]
        return [authority.name for nation in nations for authority in nation.authorities]

    def publication(self, *signers: str) -> Submission:
        """The directory with its JSON, signed by every custodian unless told otherwise."""
        data = self.directory.encode()
        version = DirectoryVersion(self.directory.version, len(data), self.directory.hash, self.directory.previous)
        return signed(version, *(signers or self.custodians()), body=data)

    def key_bundle(self, agency: str, **changes: Any) -> Submission:
        """The newest bundle of an agency, under its identity key."""
        return signed(replace(self.bundles[agency], **changes), f"{agency}/identity")

    def revocation(self, *revoked: str, by: tuple[str, ...] = (), **changes: Any) -> Submission:
        """Keys of one agency, by name; signed by its identity key, or whoever is told."""
        of = revoked[0].split("/")[0]
        fields: dict[str, Any] = {
            "exchange": self.pin,
            "key_ids": tuple(signing_key(name).public.key_id for name in revoked),
            "created": self.now,
            "reason": "lost on the road",
        }
        return signed(Revocation(agency=of, **fields | changes), *(by or (f"{of}/identity",)))

    def suspension(self, agency: str, by: tuple[str, ...] = (), **changes: Any) -> Submission:
        """Of an agency, or with ``lifts`` its end; signed by its nation's custodians."""
        fields: dict[str, Any] = {"exchange": self.pin, "created": self.now, "reason": "under inquiry"}
        suspension = Suspension(agency=agency, **fields | changes)
        return signed(suspension, *(by or self.custodians(agency[:2].upper())))

    # Bulletins and acknowledgements

    def header(self, sender: str = "pk-liaison", to: Iterable[str] = ("cn-liaison",), **changes: Any) -> Header:
        """A Restricted bulletin of suite 1 on ``convoys``, under a new id, from the sender's first seat."""
        own, created = self.bundles[sender], changes.get("created", self.now)
        of = self.directory.by_agency[sender]
        restricted = self.directory.policy.equivalence.levels[of.nation][1]
        fields: dict[str, Any] = {
            "suite": 1,
            "exchange": self.pin,
            "origin": of.home,
            "directory_version": self.directory.version,
            "directory_hash": self.directory.hash,
            "id": new_bulletin_id(created, seed(f"id/{next(_numbers)}", 10).reveal()),
            "key_id": own.seats[0].signing.key_id,
            "own_bundle": digest_of(own),
            "recipients": tuple(Recipient(name, digest_of(self.bundles[name])) for name in sorted(to)),
            "feed": "convoys",
            "label": label(restricted, of.nation),
            "status": "actual",
            "precedence": "routine",
            "created": created,
            "expires": created + DAY_MS,
        }
        return Header(sender=sender, **fields | changes)

    def seats(self, header: Header) -> list[SealTo]:
        """Every seat of the newest bundles of a header's addressees, in order; the sender held no receipt."""
        return [
            SealTo(addressee.agency, seat.kem, 0)
            for addressee in header.addressees
            for seat in self.bundles[addressee.agency].seats
        ]

    def bulletin(self, sender: str = "pk-liaison", to: Iterable[str] = ("cn-liaison",), **changes: Any) -> Submission:
        """A sealed bulletin: any field of the header changed, and ``seats``, ``signer`` or ``content``."""
        signer = signing_key(changes.pop("signer", f"{sender}/{self.bundles[sender].seats[0].name}"))
        seats, content = changes.pop("seats", None), changes.pop("content", CONTENT)
        header = self.header(sender, to, **changes)
        return sealing.seal(header, content, self.seats(header) if seats is None else seats, signer)

    def acknowledgement(
        self, sender: str, to: str, lines: Iterable[AcknowledgementLine], signer: str = "", **changes: Any
    ) -> Submission:
        """The word of ``sender`` that it has had what ``to`` sent, from its first seat."""
        seat = self.bundles[sender].seats[0]
        fields: dict[str, Any] = {
            "suite": 1,
            "exchange": self.pin,
            "origin": self.directory.by_agency[sender].home,
            "key_id": seat.signing.key_id,
            "created": self.now,
        }
        word = Acknowledgement(sender=sender, to=to, lines=tuple(lines), **fields | changes)
        return signed(word, signer or f"{sender}/{seat.name}", suite=word.suite)

    def founding(self) -> list[Submission]:
        """What every ledger of this world begins with: the directory, then all bundles."""
        return [self.publication(), *(self.key_bundle(name) for name in self.bundles)]


def _changed(items: tuple[T, ...], old: T, changes: dict[str, Any]) -> tuple[T, ...]:
    return tuple(replace(item, **changes) if item is old else item for item in items)


# A real ledger


def open_ledger(folder: Path, world: World | None = None, nation: str = "PK", now: int = NOW) -> Ledger:
    """A nation's ledger in a file, opened again if it is there; a new one begins with the founding of ``world``."""
    world, path = world or World.found(), folder / f"{nation.lower()}-ledger.db"
    new = not path.exists()
    if new:
        sqlite.create(path)
    ledger = Ledger(sqlite.SqliteStorage(path), origin_of(nation), world.pin, signing_key(nation))
    for submission in world.founding() if new else ():
        admit(ledger, submission, now)
    return ledger


def admit(ledger: Ledger, submission: Submission, now: int = NOW) -> Receipt:
    """The whole way in, as the writer takes it: stage, verify, build, commit, promise. Raises Refused, BadSignature."""
    staged = ledger.stage(submission, now)
    verify_all(staged.checks)
    built = ledger.build([staged])
    ledger.commit(built)
    return ledger.promise(built)[0]


def line_about(origin: str, index: int, entry: Entry, state: str = "received", time: int = NOW) -> AcknowledgementLine:
    """A line of an acknowledgement about an entry."""
    return AcknowledgementLine(origin, index, entry.leaf(), state, time)
