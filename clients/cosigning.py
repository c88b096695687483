"""Revocations and suspensions on their way to a nation's threshold: a file that goes from custodian to custodian.

The file is the submission itself, with the signatures so far; whoever completes the threshold posts it.
"""

from __future__ import annotations

from pathlib import Path

from clients.errors import UsageError
from keys.exchange import Exchange
from keys.signing import SigningKey
from protocol.entry import Submission
from protocol.errors import ProtocolError
from protocol.parties import Nation
from protocol.signing import decode_signatures, encode_signatures
from protocol.statements import Kind, Revocation, Suspension, decode, statement_hash
from protocol.times import format_time

KINDS = (Kind.REVOCATION, Kind.SUSPENSION)


def begin(statement: Revocation | Suspension, key: SigningKey) -> Submission:
    """With the first signature."""
    kind = Kind.REVOCATION if isinstance(statement, Revocation) else Kind.SUSPENSION
    data = statement.encode()
    return Submission(kind, data, encode_signatures((key.sign_statement(kind, data, 2),)))


def cosign(submission: Submission, key: SigningKey) -> Submission:
    """With one signature more; signing twice changes nothing."""
    others = tuple(s for s in decode_signatures(submission.signatures) if s.key_id != key.public.key_id)
    mine = key.sign_statement(submission.kind, submission.statement, 2)
    return submission.replace(signatures=encode_signatures((*others, mine)))


def read(path: Path) -> Submission:
    """A file of ``keys revoke -o`` or ``keys suspend -o``. Raises UsageError."""
    try:
        submission = Submission.decode(path.read_bytes())
        decode(submission.kind, submission.statement)
        decode_signatures(submission.signatures)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ProtocolError as error:
        raise UsageError(f"{path} is no revocation or suspension: {error.detail}") from None
    if submission.kind not in KINDS:
        raise UsageError(f"{path} is a {submission.kind.word}", "only revocations and suspensions go round")
    return submission


def statement_of(submission: Submission) -> Revocation | Suspension:
    """What the file says."""
    statement = decode(submission.kind, submission.statement)
    if not isinstance(statement, Revocation | Suspension):
        raise UsageError(f"this is a {submission.kind.word}")
    return statement


def in_words(submission: Submission, exchange: Exchange) -> list[str]:
    """What a custodian is asked to sign, and who has signed it."""
    statement = statement_of(submission)
    lines = [f"written {format_time(statement.created)}, because: {statement.reason}"]
    if isinstance(statement, Revocation):
        lines.insert(0, f"end {len(statement.key_ids)} keys of {statement.agency} for good:")
        lines += [f"  {key_id.hex()} {name_of(exchange, statement.agency, key_id)}" for key_id in statement.key_ids]
        if statement.suspect:
            lines.append(f"suspect since {statement.suspect.origin}#{statement.suspect.index}")
    elif statement.lifts is None:
        lines.insert(0, f"suspend {statement.agency}")
    else:
        lines.insert(0, f"lift the suspension {statement.lifts.hex()} of {statement.agency}")
    lines.append(f"statement {statement_hash(submission.kind, submission.statement).hex()}")
    return lines


def name_of(exchange: Exchange, agency: str, key_id: bytes) -> str:
    """Whose key it is, as far as is known."""
    found = exchange.agency(agency)
    if found is not None and found.identity.key_id == key_id:
        return f"(the identity key of {agency})"
    for held in reversed(exchange.chain(found) if found else ()):
        for seat in held.bundle.seats:
            if seat.signing.key_id == key_id:
                return f"(the seat {agency}/{seat.name})"
    return "(a key that is not known here)"


def missing(submission: Submission, nation: Nation) -> int:
    """How many signatures of ``nation`` are still to come."""
    signed = {signature.key_id for signature in decode_signatures(submission.signatures)}
    return nation.threshold - len({authority.key.key_id for authority in nation.authorities} & signed)
