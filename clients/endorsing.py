"""A directory version and the signatures on it: what each nation has given, what is missing, and the judge's verdict.

The verdict is the one judge's; this only says in words whose signatures it counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clients.errors import UsageError
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.judge import Refused, judge
from keys.signing import SignatureCheck, SigningKey, signed_message
from keys.versions import JsonBeside
from protocol import sigfile
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.errors import Malformed
from protocol.parties import Authority
from protocol.signing import Signature, encode_signatures
from protocol.statements import DirectoryVersion, Kind


def statement_of(directory: Directory) -> DirectoryVersion:
    """What is signed of a directory."""
    data = directory.encode()
    return DirectoryVersion(directory.version, len(data), directory.hash, directory.previous)


def sign(directory: Directory, key: SigningKey, signer: str) -> bytes:
    """A signature file."""
    signature = key.sign_statement(Kind.DIRECTORY, statement_of(directory).encode(), 2)
    return sigfile.write_signature(signature, directory.hash, signer)


def read_signatures(directory: Directory, files: Iterable[Path]) -> list[Signature]:
    """The signatures in files, one for each key. Raises UsageError; it verifies nothing."""
    found: dict[bytes, Signature] = {}
    for file in files:
        try:
            signature = sigfile.read_signature(file.read_bytes(), directory.hash)
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}") from None
        except Malformed as error:
            raise UsageError(f"{file}: {error.detail}", "name the .sig files of this very version") from None
        found[signature.key_id] = signature
    return list(found.values())


def submission_of(directory: Directory, signatures: Sequence[Signature]) -> Submission:
    """Ready to be posted, with the JSON beside it. Raises UsageError without a signature."""
    if not signatures:
        raise UsageError("the signature files of the directory are needed too")
    statement = statement_of(directory).encode()
    return Submission(Kind.DIRECTORY, statement, encode_signatures(tuple(signatures)), (), directory.encode())


@dataclass(frozen=True, slots=True)
class Tally:
    """One nation under one version: who has signed, who could still, how many must."""

    version: int
    nation: str
    threshold: int
    signed: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def is_enough(self) -> bool:
        """Whether the nation's threshold is met."""
        return len(self.signed) >= self.threshold

    def __str__(self) -> str:
        told = f"version {self.version}, {self.nation}: {len(self.signed)} of {self.threshold}"
        told += f" ({', '.join(self.signed)})" if self.signed else ""
        if self.is_enough:
            return f"{told}, enough"
        return f"{told}, missing {self.threshold - len(self.signed)} of {', '.join(self.missing) or 'nobody left'}"


@dataclass(frozen=True, slots=True)
class Review:
    """All that can be said of a version and its signatures. ``refused`` is the judge's verdict, None if it accepts."""

    tallies: tuple[Tally, ...]
    faults: tuple[str, ...]  # signatures that count for nothing, and why
    refused: Refused | None


def review(directory: Directory, signatures: Sequence[Signature], exchange: Exchange, now: int) -> Review:
    """Count and judge the signatures on the next version of ``exchange``, or on version 1 of an empty one."""
    good, faults = _sort_out(directory, signatures, exchange)
    bases = [basis for basis in (exchange.versions.get(directory.previous), directory) if basis]
    tallies = tuple(
        Tally(basis.version, nation.id, nation.threshold, *_split(nation.authorities, {s.key_id for s in good}))
        for basis in bases
        for nation in basis.nations
    )
    if not good:
        return Review(tallies, faults, Refused(4, "threshold-missing", "nobody has signed it yet"))
    verdict = judge(exchange, submission_of(directory, good), now, JsonBeside(directory))
    return Review(tallies, faults, verdict if isinstance(verdict, Refused) else None)


def _sort_out(
    directory: Directory, signatures: Sequence[Signature], exchange: Exchange
) -> tuple[list[Signature], tuple[str, ...]]:
    """The signatures that verify, of keys that have a say; and a line for each of the others."""
    bases = [basis for basis in (exchange.versions.get(directory.previous), exchange.directory, directory) if basis]
    keys = {a.key.key_id: a.key for basis in bases for nation in basis.nations for a in nation.authorities}
    message = signed_message(Kind.DIRECTORY, statement_of(directory).encode())
    good, faults = [], []
    for signature in signatures:
        key = keys.get(signature.key_id)
        if key is None:
            faults.append(f"key {signature.key_id.hex()[:16]} has no say in this version")
            continue
        try:
            SignatureCheck(key, message, signature, 2).verify()
            good.append(signature)
        except BadSignature as error:
            faults.append(f"the signature of key {signature.key_id.hex()[:16]} does not hold: {error.detail}")
    return good, tuple(faults)


def _split(authorities: Iterable[Authority], signed: set[bytes]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    authorities = tuple(authorities)
    return (
        tuple(a.name for a in authorities if a.key.key_id in signed),
        tuple(a.name for a in authorities if a.key.key_id not in signed),
    )
