"""Governance before the judge (SPEC §12.2): directories, key bundles, revocations, suspensions.

A grant needs every nation; whoever can grant a key can end it alone. The numbers of the steps are keys/judge.py's.
"""

from __future__ import annotations

from keys.case import Accepted, Case, Refused
from keys.errors import BadSignature, KeysError
from keys.exchange import BUNDLE_LIFE_MS, Exchange, bundles_ahead
from keys.kem import check_kem_key
from keys.signing import check_public_key, verify_all
from protocol import limits
from protocol.directory import Directory
from protocol.errors import ProtocolError
from protocol.parties import Agency, Nation
from protocol.signing import PublicKey, Signature
from protocol.statements import NO_HASH, DirectoryVersion, KeyBundle, Revocation, Suspension

GOVERNANCE_SUITE = 2


def judge_directory(case: Case) -> Accepted:
    """A version of the directory, whose JSON lies beside the ledger; as that may be long, it is read late."""
    version: DirectoryVersion = case.statement
    exchange = case.exchange
    # (2) Seen before.
    case.refuse_repeat()
    # (7) The chain: version 1 first and once; then each names one that stands.
    before = exchange.versions.get(version.previous)
    if (version.version == 1) != (exchange.directory is None):
        raise Refused(7, "directory-chain", "a ledger begins with version 1, and has it once")
    if version.version > 1 and (before is None or before.version + 1 != version.version):
        raise Refused(7, "directory-chain", f"version {version.version} does not follow a version that stands here")
    # (4) Each nation's threshold under the version that it names and the one whose place it takes.
    bases = [basis for basis in (before, _displaced(exchange, version)) if basis]
    for basis in bases:
        _require_thresholds(case, basis)
    # (8) Theirs are verified now: whoever may post could name them, and have megabytes read.
    known = _keys_of(*bases)
    _verify(case, known)
    # (3) The JSON, the exchange, the time.
    directory = _json_of(case, version)
    case.refuse_other_exchange(directory.exchange_hash)
    case.refuse_future(directory.issued)
    # (4) Each nation's threshold under this version, nobody else's signature, and sound new keys.
    _require_thresholds(case, directory)
    keys = known | _keys_of(directory)
    signers = [(_signer(keys, signature), signature) for signature in case.signatures]
    _check_keys(directory, before)
    return case.accept(signers, GOVERNANCE_SUITE).replace(directory=directory)


def _displaced(exchange: Exchange, version: DirectoryVersion) -> Directory | None:
    """The directory in force, if ``version`` takes its place.

    It is the one that ``version`` names, unless there was a fork. Keys rotated out can still sign a fork of the version
    that named them, and more after it, until theirs is the highest number: those in force must agree.
    """
    in_force = exchange.directory
    return in_force if in_force is not None and version.version > in_force.version else None


def _json_of(case: Case, version: DirectoryVersion) -> Directory:
    """(3) The JSON that lies beside the statement is there and the one that was signed; (1) it is a directory."""
    data = case.lookup.directory(version.sha256)
    if data is None or len(data) != version.length:
        raise Refused(3, "directory-missing", "the JSON of this version is not beside it")
    try:
        directory = Directory.decode(data)
    except ProtocolError as error:
        raise Refused(1, error.code, error.detail) from None
    signed = (version.version, version.previous, version.sha256)
    if (directory.version, directory.previous, directory.hash) != signed:
        raise Refused(3, "directory-mismatch", "statement and JSON are of different versions")
    return directory


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


def _keys_of(*directories: Directory) -> dict[bytes, PublicKey]:
    nations = [nation for directory in directories for nation in directory.nations]
    return {authority.key.key_id: authority.key for nation in nations for authority in nation.authorities}


def _verify(case: Case, keys: dict[bytes, PublicKey]) -> None:
    """(8) The signatures of these keys, without waiting for the others."""
    signers = [(keys[signature.key_id], signature) for signature in case.signatures if signature.key_id in keys]
    try:
        verify_all(case.accept(signers, GOVERNANCE_SUITE).checks)
    except BadSignature as error:
        raise Refused(8, error.code, error.detail) from None


def _signer(keys: dict[bytes, PublicKey], signature: Signature) -> PublicKey:
    if signature.key_id not in keys:
        raise Refused(4, "wrong-signer", "it carries a signature of a key that has no say in it")
    return keys[signature.key_id]


def _require_thresholds(case: Case, directory: Directory) -> None:
    for nation in directory.nations:
        _require_threshold(case, nation, directory.version)


def _require_threshold(case: Case, nation: Nation, version: int) -> None:
    keys = {authority.key.key_id for authority in nation.authorities}
    signed = len({signature.key_id for signature in case.signatures} & keys)
    if signed < nation.threshold:
        raise Refused(
            4,
            "threshold-missing",
            f"{nation.id} has {signed} of the {nation.threshold} signatures that version {version} asks for",
        )


def judge_key_bundle(case: Case) -> Accepted:
    """The next bundle of an agency's chain."""
    bundle: KeyBundle = case.statement
    exchange = case.exchange
    # (2) Seen before.
    case.refuse_repeat()
    # (3) Exchange and times. One that has ended may still come, as a copy or late: it counts for nothing, but the next
    # of the chain follows it.
    case.refuse_other_exchange(bundle.exchange)
    if not bundle.starts < bundle.ends <= bundle.starts + BUNDLE_LIFE_MS:
        raise Refused(3, "bundle-times", f"a bundle runs for at most {limits.BUNDLE_LIFE_DAYS_MAX} days")
    # (4) The agency's identity key, in force and unrevoked, and sound new keys.
    agency = case.agency(bundle.agency)
    identity = agency.identity
    if bundle.identity != identity.key_id or exchange.is_revoked(agency.id, identity.key_id):
        raise Refused(4, "key-not-in-force", f"it is not signed by the identity key of {agency.id} in force")
    signature = case.only_signature(identity.key_id)
    _check_seats(case, bundle)
    # (7) The chain.
    chain = exchange.chain(agency)
    last = chain[-1] if chain else None
    follows = (last.bundle.sequence + 1, last.hash) if last else (1, NO_HASH)
    if (bundle.sequence, bundle.previous) != follows:
        raise Refused(7, "bundle-chain", f"the next bundle of {agency.id} has the number {follows[0]}")
    if last and bundle.starts < last.bundle.starts:
        raise Refused(7, "bundle-chain", "it starts before the bundle that it follows")
    if bundles_ahead(chain, case.time) >= limits.BUNDLES_AHEAD_MAX:  # then this one lies ahead too
        raise Refused(7, "bundle-chain", f"{limits.BUNDLES_AHEAD_MAX} bundles wait for their start already")
    if case.time > exchange.in_force.expires:
        before = {seat.signing.key_id for seat in last.bundle.seats} if last else set()
        if {seat.signing.key_id for seat in bundle.seats} - before:
            raise Refused(7, "directory-expired", "past the end of the directory no bundle adds a seat")
    return case.accept([(identity, signature)], GOVERNANCE_SUITE)


def _check_seats(case: Case, bundle: KeyBundle) -> None:
    """(4) Seats are distinct, their keys sound, and no key is taken from another: a key says whose act something is."""
    names = [seat.name for seat in bundle.seats]
    keys = [seat.signing.key_id for seat in bundle.seats] + [seat.kem.key_id for seat in bundle.seats]
    if len(set(names)) != len(names) or len(set(keys)) != len(keys):
        raise Refused(4, "bad-key", "a seat or a key stands in the bundle twice")
    taken = case.exchange.seats_elsewhere(bundle.agency, case.time)
    taken |= {key.key_id for key in _all_keys(case.exchange.in_force)}
    if not taken.isdisjoint(keys):
        raise Refused(4, "bad-key", "a seat's key is another agency's, or one of the directory's own")
    try:
        for seat in bundle.seats:
            check_public_key(seat.signing)
            check_kem_key(seat.kem)
    except KeysError as error:
        raise Refused(4, "bad-key", error.detail) from None


def judge_revocation(case: Case) -> Accepted:
    """The end of keys of one agency."""
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


def judge_suspension(case: Case) -> Accepted:
    """A nation stops one of its agencies, or lets it go on."""
    suspension: Suspension = case.statement
    case.refuse_repeat()  # (2)
    case.refuse_other_exchange(suspension.exchange)  # (3)
    case.refuse_future(suspension.created)
    return _accept_by_nation(case, case.agency(suspension.agency))  # (4)


def _accept_by_nation(case: Case, agency: Agency) -> Accepted:
    """(4) The threshold of the agency's own nation, and nobody else's signature."""
    directory = case.exchange.in_force
    nation = directory.by_nation[agency.nation]
    keys = {authority.key.key_id: authority.key for authority in nation.authorities}
    signers = [(_signer(keys, signature), signature) for signature in case.signatures]
    _require_threshold(case, nation, directory.version)
    return case.accept(signers, GOVERNANCE_SUITE)
