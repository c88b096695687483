"""The one judge (SPEC §12): may this statement stand in this ledger at this time?

Admission asks it before appending; mirror, fsck, auditor, replica and client replay the same function over what stands.
To accept a statement it must be

(1) of canonical form and bounded size;
(2) not seen before in this ledger;
(3) of a known suite, for this exchange, this ledger and its agency's home, within its times;
(4) signed by a key in force whose holder has the role;
(5) under a label that sender, feed and every recipient may bear;
(6) sealed with one wrap for each seat, to keys in force;
(7) rightly related to what stands before it;
(8) truly signed: these checks are returned as owed, so that callers can batch them.

Steps (0) and (9), session and quotas, belong to the door and never to replay. SPEC §12.2 has the table of which steps
hold for which kind; tests name the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from keys.errors import KeysError
from keys.exchange import BUNDLE_LIFE_MS, Exchange, HeldBundle, bundles_ahead
from keys.kem import check_kem_key
from keys.signing import SignatureCheck, check_public_key, signed_message
from protocol import limits
from protocol.directory import DAY_MS, Agency, Directory, Nation
from protocol.entry import Entry
from protocol.errors import ProtocolError
from protocol.header import SUITES, Header, Relation
from protocol.label import why_denied
from protocol.signing import PublicKey, Signature, decode_signatures
from protocol.statements import (
    NO_HASH,
    Acknowledgement,
    Bulletin,
    DirectoryVersion,
    KeyBundle,
    Kind,
    Revocation,
    Statement,
    Suspension,
    decode,
    statement_hash,
)

SKEW_MS = limits.CLOCK_SKEW_SECONDS_MAX * 1000
GOVERNANCE_SUITE = 2


class Signed(Protocol):
    """What is judged: a submission before it is an entry, or an entry after."""

    @property
    def kind(self) -> Kind:
        """Which of the six."""

    @property
    def statement(self) -> bytes:
        """The signed bytes."""

    @property
    def signatures(self) -> bytes:
        """Theirs, encoded."""


@dataclass(frozen=True, slots=True)
class First:
    """The bulletin that holds a (sender, id): where it stands and what it is known by."""

    index: int
    statement_hash: bytes


class NotSentToMe:
    """A client's answer about an entry that it was rightly never given; only a client may say so."""


NOT_SENT_TO_ME = NotSentToMe()


class Lookup(Protocol):
    """What the judge asks of single entries of the same ledger; refused entries do not exist for it."""

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """The accepted bulletin of ``sender`` under this id."""

    def seen(self, digest: bytes) -> int | None:
        """The index of an accepted statement other than a bulletin, by its hash."""

    def entry(self, index: int) -> Entry | NotSentToMe | None:
        """An accepted entry."""

    def directory(self, sha256: bytes) -> bytes | None:
        """The JSON of a directory version."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The statement may stand, once ``checks`` hold; ``apply`` gives the exchange after it."""

    statement: Statement
    digest: bytes
    checks: tuple[SignatureCheck, ...]
    directory: Directory | None = None


class Refused(Exception):  # noqa: N818 - a verdict: raised inside the judge, returned by it
    """The step that refused, a stable code, a sentence; ``index`` where it first stands, ``names`` whom it concerns."""

    def __init__(
        self, step: int, code: str, detail: str, index: int | None = None, names: tuple[str, ...] = ()
    ) -> None:
        super().__init__(f"({step}) {code}: {detail}")
        self.step, self.code, self.detail, self.index, self.names = step, code, detail, index, names


def judge(exchange: Exchange, signed: Signed, time: int, lookup: Lookup) -> Accepted | Refused:
    """Judge one statement against the state before it; ``time`` is its admission time in milliseconds. Pure."""
    try:
        return _judge(exchange, signed, time, lookup)
    except Refused as refused:
        return refused


def _judge(exchange: Exchange, signed: Signed, time: int, lookup: Lookup) -> Accepted:
    # (1) Size and canonical form.
    try:
        statement = decode(signed.kind, signed.statement)
        signatures = decode_signatures(signed.signatures)
    except ProtocolError as error:
        raise Refused(1, error.code, error.detail) from None
    digest = statement_hash(signed.kind, signed.statement)
    case = Case(exchange, statement, signed, digest, signatures, time, lookup)
    return _JUDGES[signed.kind](case)


@dataclass(frozen=True, slots=True)
class Case:
    """One statement before the judge."""

    exchange: Exchange
    statement: Any
    signed: Signed
    digest: bytes
    signatures: tuple[Signature, ...]
    time: int
    lookup: Lookup

    def accept(self, signers: Iterable[tuple[PublicKey, Signature]], suite: int) -> Accepted:
        """(8) The signatures that are still to be checked."""
        message = signed_message(self.signed.kind, self.signed.statement)
        checks = tuple(SignatureCheck(key, message, signature, suite) for key, signature in signers)
        return Accepted(self.statement, self.digest, checks)

    def only_signature(self, key_id: bytes) -> Signature:
        """(4) The one signature, made with the key that the statement names."""
        if len(self.signatures) != 1 or self.signatures[0].key_id != key_id:
            raise Refused(4, "wrong-signer", "it is not signed by the one key that it names")
        return self.signatures[0]

    def refuse_repeat(self) -> None:
        """(2) For every kind but bulletins: known by the statement's hash."""
        index = self.lookup.seen(self.digest)
        if index is not None:
            raise Refused(2, "seen-before", "this statement stands in the ledger already", index)

    def refuse_other_exchange(self, exchange: bytes) -> None:
        """(3) A statement of another exchange means nothing here."""
        if exchange != self.exchange.pin:
            raise Refused(3, "wrong-exchange", "it belongs to another exchange")

    def refuse_future(self, created: int) -> None:
        """(3) ``created`` may be old, but not ahead of this clock by more than the skew."""
        if created > self.time + SKEW_MS:
            ahead = (created - self.time) // 1000
            raise Refused(3, "created-in-future", f"it was created {ahead} s after this node's clock: check yours")

    def home_agency(self, name: str, origin: str) -> Agency:
        """(3) This ledger is the one that the statement names and its agency's home; (4) the agency is in force."""
        exchange = self.exchange
        if origin != exchange.origin:
            raise Refused(3, "wrong-origin", f"it is meant for the ledger {origin}, this is {exchange.origin}")
        agency = self.agency(name)
        if agency.home != exchange.origin:
            raise Refused(3, "not-home", f"{name} is at home in {agency.home}, not in {exchange.origin}")
        if exchange.is_suspended(name):
            raise Refused(4, "agency-suspended", f"{name} is suspended by its nation")
        return agency

    def agency(self, name: str) -> Agency:
        """(4) An agency of the directory in force."""
        agency = self.exchange.agency(name)
        if agency is None:
            raise Refused(4, "agency-unknown", f"{name} is no agency of the directory in force")
        return agency

    def seat(self, agency: Agency, key_id: bytes, role: str) -> PublicKey:
        """(4) A seat's key in force, of an agency that holds ``role``."""
        key = self.exchange.seat_key(agency.id, key_id, self.time)
        if key is None:
            if self.exchange.is_revoked(agency.id, key_id):
                raise Refused(4, "key-revoked", f"this seat of {agency.id} is revoked")
            raise Refused(4, "key-not-in-force", f"no running key bundle of {agency.id} lists this seat")
        if role not in agency.roles:
            raise Refused(4, "role-missing", f"{agency.id} does not have the role {role}")
        return key


def _judge_bulletin(case: Case) -> Accepted:
    bulletin: Bulletin = case.statement
    header, exchange = bulletin.header, case.exchange
    # (2) Seen before: a bulletin is known by sender and id.
    first = case.lookup.first(header.sender, header.id)
    if first is not None:
        if first.statement_hash == case.digest:
            raise Refused(2, "seen-before", "this bulletin stands in the ledger already", first.index)
        raise Refused(2, "id-reused", f"{header.name} is another bulletin, at index {first.index}", first.index)
    # (3) Suite, exchange, origin, home, directory seen, times.
    case.refuse_other_exchange(header.exchange)
    if header.suite not in SUITES:
        raise Refused(3, "suite-unknown", f"there is no suite {header.suite}")
    agency = case.home_agency(header.sender, header.origin)
    seen = exchange.versions.get(header.directory_hash)
    if seen is None or seen.version != header.directory_version:
        raise Refused(3, "stale-directory", "no directory version with that hash is known: fetch the one in force")
    if exchange.in_force.policy.suite_for(header.label.policy, header.label.classification) > header.suite:
        raise Refused(3, "suite-too-weak", "a bulletin of this classification is signed with suite 2")
    if header.expires <= case.time:
        raise Refused(3, "expired", "it has expired")
    if header.expires > header.created + limits.EXPIRES_DAYS_MAX * DAY_MS:
        raise Refused(3, "expires-too-late", f"it may last {limits.EXPIRES_DAYS_MAX} days at most")
    case.refuse_future(header.created)
    if case.time > exchange.grace_ends():
        raise Refused(3, "directory-expired", "the directory and its grace have ended: publish the next version")
    # (4) Sender and seat in force, role held.
    key = case.seat(agency, header.key_id, "publish")
    signature = case.only_signature(header.key_id)
    # (5) Label.
    _judge_label(exchange, agency, header)
    # (6) Wraps.
    _judge_wraps(case, bulletin)
    # (7) Relations.
    for relation in header.relations:
        _judge_relation(case, header, relation)
    return case.accept([(key, signature)], header.suite)


def _judge_label(exchange: Exchange, sender: Agency, header: Header) -> None:
    """(5) The label is of the sender's own policy; sender, feed and every recipient may bear it."""
    directory, label = exchange.in_force, header.label
    if label.policy != sender.nation:
        raise Refused(5, "label-policy", f"{sender.id} labels by the policy of {sender.nation}")
    denied = why_denied(label, sender.clearance, None, directory.policy.equivalence)
    if denied:
        raise Refused(5, "sender-not-cleared", f"{sender.id} may not write under this label: {denied}")
    feed = directory.by_feed.get(header.feed)
    if feed is None or sender.id not in feed.members:
        raise Refused(5, "feed-not-joined", f"{sender.id} is no member of a feed {header.feed}")
    denied = why_denied(label, feed.ceiling, None, directory.policy.equivalence)
    if denied:
        raise Refused(5, "feed-ceiling", f"the label is above what {feed.name} carries: {denied}")
    reasons = {r.agency: why_not_recipient(exchange, header, r.agency) for r in header.recipients}
    kept_out = {name: reason for name, reason in reasons.items() if reason}
    if kept_out:
        told = ", ".join(f"{name} ({reason})" for name, reason in kept_out.items())
        raise Refused(5, "recipient-denied", f"not every recipient may read it: {told}", None, tuple(kept_out))
    abroad = any(directory.by_agency[r.agency].nation != sender.nation for r in header.recipients)
    if not abroad and not feed.domestic:
        raise Refused(5, "domestic-only", f"{feed.name} carries no bulletin without a recipient abroad")


def why_not_recipient(exchange: Exchange, header: Header, name: str) -> str | None:
    """Why step (5) keeps ``name`` from what is under ``header``, by the newest state given; None if it does not."""
    directory = exchange.in_force
    agency, feed = directory.by_agency.get(name), directory.by_feed.get(header.feed)
    if agency is None:
        return "agency-unknown"
    if exchange.is_suspended(name):
        return "agency-suspended"
    if feed is None or name not in feed.members:
        return "feed-not-joined"
    if "subscribe" not in agency.roles:
        return "role-missing"
    return directory.why_denied(header.label, agency)


def _judge_wraps(case: Case, bulletin: Bulletin) -> None:
    """(6) For each addressee a bundle that runs, and exactly one wrap for each of its seats not revoked, in order."""
    expected: list[bytes] = []
    for addressee in bulletin.header.addressees:
        bundle = case.exchange.bundle_of(addressee, case.time)
        if bundle is None:
            raise Refused(
                6, "stale-keys", f"the key bundle of {addressee.agency} that it names does not run", None,
                (addressee.agency,),
            )
        expected += [seat.kem.key_id for seat in case.exchange.seats_of(bundle)]
    if [wrap.kem_key_id for wrap in bulletin.wraps] != expected:
        raise Refused(6, "stale-keys", "the wraps are not one for each seat in force")


def _judge_relation(case: Case, header: Header, relation: Relation) -> None:
    """(7) Supersede and cancel one's own, to all who had it; answer what one was asked. Elsewhere, form only."""
    target = _target(case, relation.origin, relation.index, relation.leaf)
    if target is None:
        return
    if relation.kind in {"supersedes", "cancels"}:
        if target.sender != header.sender:
            raise Refused(7, "not-yours", f"only {target.sender} {relation.kind} its bulletin")
        sent_to = {recipient.agency for recipient in header.recipients}
        for recipient in target.recipients:
            name = recipient.agency
            reachable = case.exchange.newest_bundle(name, case.time) is not None
            if name not in sent_to and reachable and why_not_recipient(case.exchange, target, name) is None:
                raise Refused(7, "recipient-left-out", f"{name} had the first and must have this", None, (name,))
    elif relation.kind == "answers":
        if not target.is_sent_to(header.sender):
            raise Refused(7, "not-asked", f"{header.sender} was not asked by {target.name}")
    elif header.sender != target.sender and not target.is_sent_to(header.sender):
        raise Refused(7, "not-yours", f"{header.sender} has no part in {target.name}")


def _target(case: Case, origin: str, index: int, leaf: bytes) -> Header | None:
    """The header of the bulletin at ``index``; None where only form can be judged."""
    if origin != case.exchange.origin:
        return None
    entry = case.lookup.entry(index)
    if isinstance(entry, NotSentToMe):
        return None
    if entry is None or entry.kind is not Kind.BULLETIN or entry.leaf() != leaf:
        raise Refused(7, "target-unknown", f"no bulletin with that hash stands at index {index}", index)
    return Bulletin.decode(entry.statement).header


def _judge_acknowledgement(case: Case) -> Accepted:
    acknowledgement: Acknowledgement = case.statement
    # (2) Seen before.
    case.refuse_repeat()
    # (3) Suite, exchange, origin, home, time.
    case.refuse_other_exchange(acknowledgement.exchange)
    if acknowledgement.suite not in SUITES:
        raise Refused(3, "suite-unknown", f"there is no suite {acknowledgement.suite}")
    agency = case.home_agency(acknowledgement.sender, acknowledgement.origin)
    case.refuse_future(acknowledgement.created)
    # (4) Seat in force, role held; the agency it is for exists.
    key = case.seat(agency, acknowledgement.key_id, "subscribe")
    signature = case.only_signature(acknowledgement.key_id)
    # (7) Each line is about a bulletin that `to` sent to the one who acknowledges.
    for line in acknowledgement.lines:
        target = _target(case, line.origin, line.index, line.leaf)
        if target is not None and (target.sender != acknowledgement.to or not target.is_sent_to(agency.id)):
            raise Refused(7, "not-yours", f"{target.name} was not sent by {acknowledgement.to} to {agency.id}")
    return case.accept([(key, signature)], acknowledgement.suite)


def _judge_directory(case: Case) -> Accepted:
    version: DirectoryVersion = case.statement
    exchange = case.exchange
    # (2) Seen before.
    case.refuse_repeat()
    # (3) The exchange, and the JSON beside the ledger.
    data = case.lookup.directory(version.sha256)
    if data is None or len(data) != version.length:
        raise Refused(3, "directory-missing", "the JSON of this version is not beside it")
    try:
        directory = Directory.decode(data)
    except ProtocolError as error:
        raise Refused(1, error.code, error.detail) from None
    if (directory.version, directory.previous) != (version.version, version.previous):
        raise Refused(3, "directory-mismatch", "statement and JSON are of different versions")
    case.refuse_other_exchange(directory.exchange_hash)
    case.refuse_future(directory.issued)
    # (7) The chain: version 1 first and once; then each names one that stands.
    before = exchange.versions.get(directory.previous)
    if (directory.version == 1) != (exchange.directory is None):
        raise Refused(7, "directory-chain", "a ledger begins with version 1, and has it once")
    if directory.version > 1 and (before is None or before.version + 1 != directory.version):
        raise Refused(7, "directory-chain", f"version {directory.version} does not follow a version that stands here")
    # (4) Each nation's threshold, under the version before and under this one.
    for basis in (before, directory) if before else (directory,):
        for nation in basis.nations:
            _require_threshold(case, nation, basis.version)
    keys = _keys_of(*(before.nations if before else ()), *directory.nations)
    _check_keys(directory, before)
    signers = [(_signer(keys, signature), signature) for signature in case.signatures]
    accepted = case.accept(signers, GOVERNANCE_SUITE)
    return Accepted(accepted.statement, accepted.digest, accepted.checks, directory)


def _check_keys(directory: Directory, before: Directory | None) -> None:
    """(4) Keys that enter the directory are sound; those of the version before were checked when they did."""
    known = set(_all_keys(before)) if before else set()
    try:
        for key in _all_keys(directory):
            if key not in known:
                check_public_key(key)
    except KeysError as error:
        raise Refused(4, "bad-key", error.detail) from None


def _all_keys(directory: Directory) -> list[PublicKey]:
    keys = [authority.key for nation in directory.nations for authority in nation.authorities]
    return keys + [a.identity for a in directory.agencies] + [n.receipt for n in directory.nodes]


def _keys_of(*nations: Nation) -> dict[bytes, PublicKey]:
    return {authority.key.key_id: authority.key for nation in nations for authority in nation.authorities}


def _signer(keys: dict[bytes, PublicKey], signature: Signature) -> PublicKey:
    if signature.key_id not in keys:
        raise Refused(4, "wrong-signer", "it carries a signature of a key that has no say in it")
    return keys[signature.key_id]


def _require_threshold(case: Case, nation: Nation, version: int) -> None:
    signed = len({s.key_id for s in case.signatures} & _keys_of(nation).keys())
    if signed < nation.threshold:
        raise Refused(
            4,
            "threshold-missing",
            f"{nation.id} has {signed} of the {nation.threshold} signatures that version {version} asks for",
        )


def _judge_key_bundle(case: Case) -> Accepted:
    bundle: KeyBundle = case.statement
    exchange = case.exchange
    # (2) Seen before.
    case.refuse_repeat()
    # (3) Exchange and times.
    case.refuse_other_exchange(bundle.exchange)
    if not bundle.starts < bundle.ends <= bundle.starts + BUNDLE_LIFE_MS:
        raise Refused(3, "bundle-times", f"a bundle runs for at most {limits.BUNDLE_LIFE_DAYS_MAX} days")
    if bundle.ends <= case.time:
        raise Refused(3, "expired", "the bundle has ended already")
    # (4) The agency's identity key, in force and unrevoked, and sound new keys.
    agency = case.agency(bundle.agency)
    identity = agency.identity
    if bundle.identity != identity.key_id or exchange.is_revoked(agency.id, identity.key_id):
        raise Refused(4, "key-not-in-force", f"it is not signed by the identity key of {agency.id} in force")
    signature = case.only_signature(identity.key_id)
    _check_seats(bundle)
    # (7) The chain.
    chain = exchange.chain(agency)
    last = chain[-1] if chain else None
    follows = (last.bundle.sequence + 1, last.hash) if last else (1, NO_HASH)
    if (bundle.sequence, bundle.previous) != follows:
        raise Refused(7, "bundle-chain", f"the next bundle of {agency.id} has the number {follows[0]}")
    if last and bundle.starts < last.bundle.starts:
        raise Refused(7, "bundle-chain", "it starts before the bundle that it follows")
    if bundle.starts > case.time and bundles_ahead(chain, case.time) >= limits.BUNDLES_AHEAD_MAX:
        raise Refused(7, "bundle-chain", f"{limits.BUNDLES_AHEAD_MAX} bundles wait for their start already")
    if case.time > exchange.in_force.expires:
        before = {seat.signing.key_id for seat in last.bundle.seats} if last else set()
        if {seat.signing.key_id for seat in bundle.seats} - before:
            raise Refused(7, "directory-expired", "past the end of the directory no bundle adds a seat")
    return case.accept([(identity, signature)], GOVERNANCE_SUITE)


def _check_seats(bundle: KeyBundle) -> None:
    """(4) Seats are distinct and their keys sound."""
    names = [seat.name for seat in bundle.seats]
    keys = [seat.signing.key_id for seat in bundle.seats] + [seat.kem.key_id for seat in bundle.seats]
    if len(set(names)) != len(names) or len(set(keys)) != len(keys):
        raise Refused(4, "bad-key", "a seat or a key stands in the bundle twice")
    try:
        for seat in bundle.seats:
            check_public_key(seat.signing)
            check_kem_key(seat.kem)
    except KeysError as error:
        raise Refused(4, "bad-key", error.detail) from None


def _judge_revocation(case: Case) -> Accepted:
    revocation: Revocation = case.statement
    case.refuse_repeat()  # (2)
    case.refuse_other_exchange(revocation.exchange)  # (3)
    case.refuse_future(revocation.created)
    # (4) The agency's identity key for its seats, or its nation's threshold for any of its keys.
    agency = case.agency(revocation.agency)
    identity = agency.identity
    if {s.key_id for s in case.signatures} == {identity.key_id}:
        if identity.key_id in revocation.key_ids or case.exchange.is_revoked(agency.id, identity.key_id):
            raise Refused(4, "wrong-signer", "an identity key is revoked by its nation's threshold, not by itself")
        return case.accept([(identity, case.signatures[0])], GOVERNANCE_SUITE)
    return _accept_by_nation(case, agency)


def _judge_suspension(case: Case) -> Accepted:
    suspension: Suspension = case.statement
    case.refuse_repeat()  # (2)
    case.refuse_other_exchange(suspension.exchange)  # (3)
    case.refuse_future(suspension.created)
    return _accept_by_nation(case, case.agency(suspension.agency))  # (4)


def _accept_by_nation(case: Case, agency: Agency) -> Accepted:
    """(4) The threshold of the agency's own nation, and nobody else's signature."""
    nation = case.exchange.in_force.by_nation[agency.nation]
    keys = _keys_of(nation)
    signers = [(_signer(keys, signature), signature) for signature in case.signatures]
    _require_threshold(case, nation, case.exchange.in_force.version)
    return case.accept(signers, GOVERNANCE_SUITE)


_JUDGES: dict[Kind, Callable[[Case], Accepted]] = {
    Kind.BULLETIN: _judge_bulletin,
    Kind.ACKNOWLEDGEMENT: _judge_acknowledgement,
    Kind.DIRECTORY: _judge_directory,
    Kind.KEY_BUNDLE: _judge_key_bundle,
    Kind.REVOCATION: _judge_revocation,
    Kind.SUSPENSION: _judge_suspension,
}


def apply(exchange: Exchange, accepted: Accepted, index: int, time: int) -> Exchange:
    """The exchange after an accepted entry at ``index``; bulletins and acknowledgements change nothing."""
    statement = accepted.statement
    if accepted.directory is not None:
        return exchange.with_directory(accepted.directory)
    if isinstance(statement, KeyBundle):
        return exchange.with_bundle(HeldBundle(accepted.digest, statement), time)
    if isinstance(statement, Revocation):
        return exchange.with_revocation(statement, index)
    if isinstance(statement, Suspension):
        return exchange.with_suspension(statement, accepted.digest)
    return exchange


