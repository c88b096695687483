"""Directory versions outside any ledger: each as it was signed, judged by the one judge on the one before it.

What comes with a statement, its signatures and its JSON authenticates itself, from the pinned version 1 on: a home
joins by it, and evidence says by it whose keys signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.judge import Accepted, Lookup, Refused, apply, judge
from keys.signing import verify_all
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.errors import ProofFailed
from protocol.statements import NO_HASH, DirectoryVersion


def enter(exchange: Exchange, submission: Submission, now: int) -> Exchange:
    """The exchange after a directory version; raises Refused or BadSignature. The one judge, outside any ledger."""
    verdict = judge(exchange, submission, now, JsonBeside(Directory.decode(submission.body)))
    if isinstance(verdict, Refused):
        raise verdict
    return _after(exchange, verdict)


def _after(exchange: Exchange, accepted: Accepted) -> Exchange:
    verify_all(accepted.checks)
    return apply(exchange, accepted, 0, 0)


def fold(origin: str, pin: bytes, versions: Sequence[Submission]) -> Exchange:
    """The exchange after all of them, each judged at its own issue: how late it is now changes nothing.

    Raises ProofFailed, or ProtocolError for what is no directory.
    """
    exchange = Exchange(origin, pin)
    for submission in versions:
        directory = Directory.decode(submission.body)
        try:
            exchange = enter(exchange, submission, directory.issued)
        except (Refused, BadSignature) as error:
            raise ProofFailed(f"directory version {directory.version} is refused: {error.detail}") from error
    return exchange


def lineage(versions: Iterable[Submission], newest: bytes) -> tuple[Submission, ...]:
    """Those that lead from version 1 to the one of SHA-256 ``newest``; none where one is missing."""
    signed = {DirectoryVersion.decode(submission.statement).sha256: submission for submission in versions}
    line, wanted = list[Submission](), newest
    while wanted != NO_HASH:
        submission = signed.pop(wanted, None)
        if submission is None:
            return ()
        line.append(submission)
        wanted = DirectoryVersion.decode(submission.statement).previous
    return tuple(reversed(line))


class JsonBeside(Lookup):
    """The judge's lookup where there is no ledger, only a version of the directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def first(self, sender: str, bulletin_id: bytes) -> None:
        """No bulletin stands anywhere."""
        del sender, bulletin_id

    def seen(self, digest: bytes) -> None:
        """Nothing was seen."""
        del digest

    def entry(self, index: int) -> None:
        """There are no entries."""
        del index

    def directory(self, sha256: bytes) -> bytes | None:
        """The JSON of this one version."""
        return self._directory.encode() if sha256 == self._directory.hash else None
