"""The ledger of a node: what is judged, appended and promised, in that order. Plain functions, no waiting.

The life of a group: ``stage`` judges each submission against the state after those staged before it; the caller
verifies the signatures owed; ``build`` makes entries and leaves; ``commit`` is one durable append, on any thread;
``promise`` signs a head and gives each its receipt. ``abandon`` drops what was built when the append failed. Readers
see ``head`` and ``exchange``, which move only in ``promise``.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from broker.sealed import by_seat
from broker.storage.contract import EVERYONE, AcknowledgedLine, NewEntry, NewTile, Published, Storage, StoredWrap
from broker.tree import Tree
from keys.exchange import Exchange
from keys.judge import Accepted, First, NotSentToMe, Refused, apply, judge, judge_related
from keys.replay import Replay
from keys.signing import SignatureCheck, SigningKey
from protocol import limits, merkle
from protocol.entry import WRAP_BYTES, Entry, Link, Submission
from protocol.errors import ProtocolError
from protocol.header import Header
from protocol.record import Record
from protocol.statements import GOVERNANCE, LINKED, Acknowledgement, Bulletin, Kind, Statement, decode
from protocol.times import DAY_MS
from protocol.treehead import Receipt, TreeHead


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Staged(Record):
    """A submission that the judge accepted, and the signature checks it owes."""

    submission: Submission
    accepted: Accepted
    time: int

    @property
    def checks(self) -> tuple[SignatureCheck, ...]:
        """What the caller verifies before it builds."""
        return self.accepted.checks

    @property
    def header(self) -> Header | None:
        """Of a bulletin."""
        statement = self.accepted.statement
        return statement.header if isinstance(statement, Bulletin) else None


Elsewhere = Callable[[str, int], Entry | None]  # an entry of another ledger that was accepted here
Firsts = Mapping[tuple[str, bytes], First | None]  # by sender and id


@dataclass(frozen=True, slots=True)
class Built:
    """A group ready for its append: entries, the tiles they fill, and the state after them."""

    entries: tuple[NewEntry, ...]
    decoded: tuple[Entry, ...]
    tiles: tuple[NewTile, ...]
    exchange: Exchange
    link: Link | None
    time: int


class Replayed:
    """The lookup of a replay over one's own store: only what stands before ``index`` exists."""

    def __init__(self, storage: Storage, index: int = 0) -> None:
        self._storage = storage
        self.index = index

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """An earlier bulletin under this id."""
        first = self._storage.first(sender, bulletin_id)
        return first if first and first.index < self.index else None

    def seen(self, digest: bytes) -> int | None:
        """An earlier statement with this hash."""
        index = self._storage.seen(digest)
        return index if index is not None and index < self.index else None

    def entry(self, index: int) -> Entry | NotSentToMe | None:
        """An earlier entry."""
        return self._storage.entry(index) if index < self.index else None

    def directory(self, sha256: bytes) -> bytes | None:
        """The JSON beside the ledger."""
        return self._storage.directory(sha256)


class Beside(Replayed):
    """The judge's lookup for what is posted: the first ``size`` entries, and the JSON that came with a directory.

    Every entry of a node's own ledger was accepted. What a commit on another thread has just added is not there yet.
    """

    def __init__(self, storage: Storage, size: int, body: bytes, firsts: Firsts | None = None) -> None:
        super().__init__(storage, size)
        self._body, self._firsts = body, firsts or {}

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """An earlier bulletin under this id, as it was asked for with the whole group."""
        name = sender, bulletin_id
        first = self._firsts[name] if name in self._firsts else self._storage.first(*name)
        return first if first and first.index < self.index else None

    def directory(self, sha256: bytes) -> bytes | None:
        """What was posted beside the statement, if it is what the statement names."""
        if self._body and hashlib.sha256(self._body).digest() == sha256:
            return self._body
        return super().directory(sha256)


def fold(storage: Storage, origin: str, pin: bytes) -> Replay:
    """Governance folded from a store whose every entry was accepted: over the few entries that matter."""
    replay, lookup = Replay(Exchange(origin, pin)), Replayed(storage)
    for index, data in storage.governance():
        lookup.index = index
        replay.step(index, data, lookup)
    return replay


class Ledger:
    """One ledger, named by its origin. Raises StorageError, StorageUnsure, LedgerBroken."""

    def __init__(self, storage: Storage, origin: str, pin: bytes, receipt_key: SigningKey) -> None:
        self.storage = storage
        self.origin = origin
        self.pin = pin
        self._receipt_key = receipt_key
        self.published: Published | None = None  # the newest signed checkpoint (``broker/publisher.py``)
        self.elsewhere: Elsewhere = lambda _origin, _index: None
        self.not_before = 0  # when the newest checkpoint was signed: a clock that goes back backdates no entry
        self.tree = Tree(storage)
        self._restore_state()

    def _restore_state(self) -> None:
        """Fold governance again from the store: the same machine as everywhere, over the few entries that matter."""
        replay = fold(self.storage, self.origin, self.pin)
        last = self.storage.entry(self.tree.size - 1) if self.tree.size else None
        self.exchange, self.link = replay.exchange, replay.link
        self.time = last.time if last else 0
        self.committed = self.tree.size
        self.broken = self._why_broken()
        self.head = self._last_signed_head() if self.broken else self._sign_head(self.tree.size, self.time)

    def _why_broken(self) -> str | None:
        """Why nothing may be signed over what is here; None if it is what this node has signed, and more."""
        halt = self.storage.halted()
        if halt is not None:
            return halt.reason
        recorded = self.storage.newest_recorded()
        if recorded is None:
            return None
        if recorded.size > self.tree.size:
            return f"{recorded.size} entries were signed for and {self.tree.size} are here: this ledger is an older one"
        if self.tree.root(recorded.size) != recorded.root:
            return f"the root at {recorded.size} is not the one that was recorded before signing"
        return None

    def _last_signed_head(self) -> TreeHead:
        """The largest head that was signed while things were well, over what is still here; else an unsigned one."""
        at_most = self.tree.size
        while published := self.storage.newest_published(at_most):
            if published.head and self.tree.root(published.size) == published.root:
                return TreeHead.decode(published.head)
            at_most = published.size - 1
        return TreeHead(self.pin, self.origin, 0, merkle.EMPTY_ROOT, 0)

    def firsts(self, submissions: Iterable[Submission]) -> Firsts:
        """What stands under the ids of bulletins that are about to be staged: one question instead of one each."""
        names = []
        for submission in submissions:
            if submission.kind is Kind.BULLETIN:
                with contextlib.suppress(ProtocolError):  # which the judge tells
                    bulletin = decode(submission.kind, submission.statement)
                    names += [(bulletin.header.sender, bulletin.header.id)] if isinstance(bulletin, Bulletin) else []
        return {**dict.fromkeys(names), **self.storage.firsts(names)}

    def stage(self, submission: Submission, now: int, firsts: Firsts | None = None) -> Staged:
        """Judge one submission, and what lies beside it. Raises Refused. ``firsts`` was asked for in this turn.

        The state is that of what is promised: governance comes alone, and duplicates wait (``broker/admission.py``).
        """
        admitted = max(now, self.time, self.not_before)
        lookup = Beside(self.storage, self.committed, submission.body, firsts)
        verdict = judge(self.exchange, submission, admitted, lookup)
        if isinstance(verdict, Refused):
            raise verdict
        self._check_beside(submission, verdict)
        self._check_elsewhere(verdict, admitted)
        return Staged(submission, verdict, admitted)

    def _check_beside(self, submission: Submission, accepted: Accepted) -> None:
        """(1) The entry's size; (8) wraps and body are those whose hashes were signed."""
        if len(submission.statement) + len(submission.signatures) > limits.ENTRY_BYTES_MAX - 64:
            raise Refused(1, "too-large", f"statement and signatures exceed an entry of {limits.ENTRY_BYTES_MAX} bytes")
        statement = accepted.statement
        if isinstance(statement, Bulletin):
            hashes, body = submission.hashes()
            if hashes != tuple(wrap.hash for wrap in statement.wraps) or body != statement.body:
                raise Refused(8, "wrong-hash", "a wrap or the body is not the one that was signed")
            if any(len(wrap) != WRAP_BYTES for wrap in submission.wraps):
                raise Refused(8, "wrong-hash", f"a wrap is not {WRAP_BYTES} bytes")
            if len(submission.body) > limits.BODY_BYTES_MAX:
                raise Refused(1, "too-large", f"the body exceeds {limits.BODY_BYTES_MAX} bytes")
        elif submission.wraps or (submission.body and accepted.directory is None):
            raise Refused(1, "malformed", f"a {submission.kind.word} has nothing beside it")

    def _check_elsewhere(self, accepted: Accepted, time: int) -> None:
        """(7) of targets in ledgers that are mirrored here: never replayed, as no other node has this mirror."""
        if not isinstance(accepted.statement, Bulletin):
            return
        header = accepted.statement.header
        for relation in header.relations:
            entry = self.elsewhere(relation.origin, relation.index) if relation.origin != self.origin else None
            if entry is not None and entry.kind is Kind.BULLETIN and entry.leaf() == relation.leaf:
                target = Bulletin.decode(entry.statement).header
                judge_related(self.exchange, header, relation.kind, target, time)

    def build(self, group: list[Staged]) -> Built:
        """Entries and leaves of a verified group, in order; the tree in memory moves ahead of the store."""
        entries, decoded = [], []
        exchange, link, last = self.exchange, self.link, self.time
        for staged in group:
            index, last = self.tree.size, max(last, staged.time)
            submission = staged.submission
            entry = Entry(submission.kind, submission.statement, submission.signatures, last, link)
            new = new_entry(index, entry, entry.encode(), submission, staged.accepted, self.exchange)
            self.tree.append(new.leaf)
            if entry.kind in LINKED:
                link = Link(entry.kind, index)
            if entry.kind in GOVERNANCE:
                exchange = apply(exchange, staged.accepted, index, last)
            entries.append(new)
            decoded.append(entry)
        return Built(tuple(entries), tuple(decoded), tuple(self.tree.take_new_tiles()), exchange, link, last)

    def commit(self, built: Built) -> None:
        """The durable append. On a thread of its own it holds nobody up; when it returns, promises may be made."""
        self.storage.append(built.entries, built.tiles)

    def reopen(self) -> None:
        """What is durable, judged anew, under a head signed now if nothing is broken: after a tail was taken back."""
        self.tree.reload()
        self._restore_state()

    def abandon(self) -> None:
        """After a commit that failed: believe only what is durable. The group may be in it, or not.

        If this raises, nothing has changed, and it is called again before anything is built.
        """
        self.reopen()

    def advance(self, built: Built) -> None:
        """The state after a committed group. Nothing is signed."""
        self.exchange, self.link, self.time = built.exchange, built.link, built.time
        self.committed = built.entries[-1].index + 1

    def promise(self, built: Built) -> list[Receipt]:
        """Show the group to readers and give a receipt for each entry, all under one head."""
        self.advance(built)
        self.head = self._sign_head(self.tree.size, built.time)
        paths = self.tree.newest_inclusions(built.entries[0].index)
        return [
            Receipt(new.index, entry.time, entry.link, path, self.head)
            for new, entry, path in zip(built.entries, built.decoded, paths, strict=True)
        ]

    def receipt_of(self, index: int) -> Receipt:
        """The receipt of an entry that stands already: with its bytes, as its signatures may differ from a retry's."""
        (data,) = self.storage.entry_bytes(index, index + 1)
        entry = Entry.decode(data)
        path = self.tree.inclusion(index, self.head.size)
        return Receipt(index, entry.time, entry.link, path, self.head, data)

    def wraps_to_put_back(self, index: int, submission: Submission, now: int) -> tuple[StoredWrap, ...]:
        """What a restored ledger lacks of a bulletin that its sender posts again: its wraps, by seat; or nothing.

        Nothing is put back whose retention is over, and nothing but what was signed.
        """
        if submission.kind is not Kind.BULLETIN or self.storage.body(index) is not None:
            return ()
        bulletin, policy = Bulletin.decode(submission.statement), self.exchange.in_force.policy
        if bulletin.header.expires + policy.retention_days * DAY_MS <= now:
            return ()
        if submission.hashes() != (tuple(wrap.hash for wrap in bulletin.wraps), bulletin.body):
            return ()
        return by_seat(self.exchange, bulletin, submission.wraps)

    def _sign_head(self, size: int, time_ms: int) -> TreeHead:
        head = TreeHead(self.pin, self.origin, size, self.tree.root(size), time_ms)
        return head.replace(signature=self._receipt_key.sign(head.message(), 1))

    def entries(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Index and bytes of [start, stop), a tile's worth at a time."""
        for at in range(start, stop, limits.TILE_HASHES):
            yield from enumerate(self.storage.entry_bytes(at, min(stop, at + limits.TILE_HASHES)), at)


def readers_of(statement: Statement) -> tuple[str, ...]:
    """Whom an entry is for: those that it names, and of governance everyone."""
    if isinstance(statement, Bulletin):
        return tuple([addressee.agency for addressee in statement.header.addressees])
    if isinstance(statement, Acknowledgement):
        return statement.sender, statement.to
    return (EVERYONE,)


def new_entry(
    index: int, entry: Entry, data: bytes, submission: Submission, accepted: Accepted, exchange: Exchange
) -> NewEntry:
    """An accepted entry with what lies beside it, whom it is for, and under what it is found again."""
    statement = accepted.statement
    found = index, entry.kind, data, merkle.leaf_hash(data), accepted.digest, readers_of(statement)
    if isinstance(statement, Bulletin):
        header = statement.header
        named = [exchange.seats_named(addressee, entry.time) for addressee in header.addressees]
        seats = [seat.signing.key_id for seats in named for seat in seats or ()]
        wraps = zip(seats, submission.wraps, strict=bool(submission.wraps))
        return NewEntry(
            *found,
            bulletin=(header.sender, header.id),
            wraps=tuple([StoredWrap(*wrap) for wrap in wraps]),
            body=submission.body or None,  # none where a ledger is taken back from a copy that lacks it
            body_hash=statement.body,
            expires=header.expires,
        )
    if isinstance(statement, Acknowledgement):
        lines = tuple(
            AcknowledgedLine(line.origin, line.index, line.leaf, statement.sender, statement.to, line.state, line.time)
            for line in statement.lines
        )
        return NewEntry(*found, acknowledged=lines)
    if accepted.directory is not None:
        return NewEntry(*found, body=submission.body, body_hash=accepted.directory.hash)
    return NewEntry(*found)
