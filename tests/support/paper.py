"""A ledger on paper, for tests of the judge: entries in memory, judged and applied by keys/ alone; no node, no file."""

from __future__ import annotations

import copy
import hashlib

from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.judge import NOT_SENT_TO_ME, Accepted, First, NotSentToMe, Refused, apply, judge
from keys.signing import verify_all
from protocol.entry import Entry, Link, Submission
from protocol.header import Relation
from protocol.statements import LINKED, AcknowledgementLine, Bulletin, Kind
from tests.support.world import NOW, ORIGINS, World, line_about


class PaperLedger:
    """One nation's ledger, which answers the judge's questions itself. Indexes in ``hidden`` were not sent to it."""

    def __init__(self, world: World | None = None, nation: str = "PK") -> None:
        """Begun with the founding of ``world``, or with nothing."""
        self.origin = ORIGINS[nation]
        self.exchange = Exchange(self.origin, world.pin if world else World.found().pin)
        self.entries: list[Entry] = []
        self.hidden = set[int]()
        self._link: Link | None = None
        self._first: dict[tuple[str, bytes], First] = {}
        self._seen: dict[bytes, int] = {}
        self._json: dict[bytes, bytes] = {}
        for submission in world.founding() if world else ():
            self.admit(submission)

    def copy(self) -> PaperLedger:
        """Another one that stands where this does."""
        other = copy.copy(self)
        other.entries, other.hidden = list(self.entries), set(self.hidden)
        other._first, other._seen, other._json = dict(self._first), dict(self._seen), dict(self._json)
        return other

    def judge(self, submission: Submission, now: int = NOW) -> Accepted | Refused:
        """The verdict; nothing changes but the JSON that lies beside."""
        if submission.kind is Kind.DIRECTORY:
            self._json[hashlib.sha256(submission.body).digest()] = submission.body
        return judge(self.exchange, submission, now, self)

    def refusal(self, submission: Submission, now: int = NOW) -> tuple[int, str] | None:
        """The step and the code that keep it out; None if it may stand, signatures checked."""
        verdict = self.judge(submission, now)
        if isinstance(verdict, Refused):
            return verdict.step, verdict.code
        try:
            verify_all(verdict.checks)
        except BadSignature as error:
            return 8, error.code
        return None

    def admit(self, submission: Submission, now: int = NOW) -> int:
        """The index at which it stands from now on. Raises Refused, BadSignature."""
        verdict = self.judge(submission, now)
        if isinstance(verdict, Refused):
            raise verdict
        verify_all(verdict.checks)
        index = len(self.entries)
        self.entries.append(Entry(submission.kind, submission.statement, submission.signatures, now, self._link))
        if submission.kind in LINKED:
            self._link = Link(submission.kind, index)
        if isinstance(verdict.statement, Bulletin):
            header = verdict.statement.header
            self._first[header.sender, header.id] = First(index, verdict.digest)
        else:
            self._seen[verdict.digest] = index
        self.exchange = apply(self.exchange, verdict, index, now)
        return index

    def relation(self, kind: str, index: int) -> Relation:
        """What a bulletin says that relates to the one at ``index``."""
        return Relation(kind, self.origin, index, self.entries[index].leaf())

    def line(self, index: int, state: str = "received") -> AcknowledgementLine:
        """What an acknowledgement says of the bulletin at ``index``."""
        return line_about(self.origin, index, self.entries[index], state)

    # keys.judge.Lookup

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        return self._first.get((sender, bulletin_id))

    def seen(self, digest: bytes) -> int | None:
        return self._seen.get(digest)

    def entry(self, index: int) -> Entry | NotSentToMe | None:
        if index in self.hidden:
            return NOT_SENT_TO_ME
        return self.entries[index] if index < len(self.entries) else None

    def directory(self, sha256: bytes) -> bytes | None:
        return self._json.get(sha256)
