"""What a node asks of its store, in words that every driver must keep.

*Durability*: when ``append`` returns, its rows survive the loss of power. *Atomicity*: they are there all or none.
*Order*: indexes have no gap; ``append`` is called by one thread at a time, with rows that begin at ``size()``; readers
on other threads see the state before or after it, never between. *Errors*: StorageError means that nothing happened;
StorageUnsure that it may have, and the caller reloads before it appends again. Reads raise StorageError too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from keys.judge import First
from protocol.entry import Entry
from protocol.record import Record
from protocol.statements import Kind

EVERYONE = ""  # the reader whom governance is for


class StoredWrap(Record):
    """A wrap and the seat it is for, by its signing key, which outlives its bundles."""

    seat_key_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class AcknowledgedLine:
    """How far a bulletin of some ledger came with an agency, and when, by its own word."""

    origin: str
    index: int
    leaf: bytes  # which bulletin it means: where that lies in another ledger, nobody has compared it yet
    agency: str
    addressee: str  # to whom it says so: the bulletin's sender, else it counts for nothing
    state: str
    time: int


class NewEntry(Record):
    """An entry to append, with what lies beside it and under what it is found again: by nothing without ``digest``."""

    index: int
    kind: Kind
    data: bytes
    leaf: bytes
    digest: bytes  # statement hash
    readers: tuple[str, ...]
    bulletin: tuple[str, bytes] | None = None  # sender and id
    wraps: tuple[StoredWrap, ...] = ()
    body: bytes | None = None
    body_hash: bytes = b""
    expires: int | None = None  # a bulletin's: its body is expunged some time after
    acknowledged: tuple[AcknowledgedLine, ...] = ()


@dataclass(frozen=True, slots=True)
class NewTile:
    """A hash tile that became full, and the hash that stands for it one level up."""

    level: int
    index: int
    data: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint that this node has shown, or is about to: ``note`` and ``head`` are empty until it is signed.

    ``head`` is the signed tree head of the same size: what a node that signs nothing can still show.
    """

    size: int
    root: bytes
    note: str
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Halt:
    """Why this ledger must sign nothing until its operator has repaired it; ``note`` is the evidence, if any."""

    reason: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Together:
    """An entry and what lies beside it; ``body`` is left out where it is long, and its length 0 where there is none."""

    index: int
    data: bytes
    body: bytes | None
    body_bytes: int
    wraps: tuple[StoredWrap, ...]


class Storage(Protocol):
    """One ledger and what lies beside it."""

    def size(self) -> int:
        """How many entries are durable."""

    def append(self, entries: Sequence[NewEntry], tiles: Sequence[NewTile]) -> None:
        """Append in one durable step. The commit point is inside; see the module's contract."""

    def entry_bytes(self, start: int, stop: int) -> list[bytes]:
        """The leaves of [start, stop), as stored."""

    def reread(self, start: int, stop: int) -> list[bytes]:
        """The leaves of [start, stop) read by another way, from another thread, before they are signed."""

    def leaf_hashes(self, start: int, stop: int) -> list[bytes]:
        """Their recorded hashes."""

    def tile(self, level: int, index: int) -> bytes | None:
        """A full hash tile."""

    def tile_roots(self, level: int, start: int) -> list[bytes]:
        """The roots of the full tiles of ``level`` from ``start`` on: the partial tile one level up."""

    def governance(self) -> Iterator[tuple[int, bytes]]:
        """Index and bytes of every governance entry, in order."""

    def entry(self, index: int) -> Entry | None:
        """A decoded entry."""

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """Where a bulletin stands."""

    def firsts(self, names: Sequence[tuple[str, bytes]]) -> dict[tuple[str, bytes], First]:
        """Where those of many bulletins stand that do."""

    def seen(self, digest: bytes) -> int | None:
        """Where another statement stands."""

    def directory(self, sha256: bytes) -> bytes | None:
        """The JSON of a directory version."""

    def deliveries(self, agency: str | None, start: int, stop: int, limit: int) -> list[int]:
        """Indexes in [start, stop) for an agency and for everyone; every index for None, which is the role audit."""

    def wrap(self, index: int, seat_key_id: bytes) -> bytes | None:
        """The wrap of a bulletin for a seat; None where there is none or it is expunged."""

    def wraps(self, index: int) -> list[StoredWrap]:
        """Every wrap of a bulletin that is here."""

    def together(self, start: int, stop: int, body_bytes_max: int) -> list[Together]:
        """The entries of [start, stop) with what lies beside each, read at once; a directory's JSON however long."""

    def body(self, index: int) -> bytes | None:
        """The body of a bulletin or a directory version; None where there is none or it is expunged."""

    def directory_indexes(self, sha256: bytes) -> list[int]:
        """The entries that publish a directory version, in order."""

    def body_indexes(self, sha256: bytes) -> list[int]:
        """The bulletins that a body belongs to, in order; still known after it is expunged.

        Whoever has seen a body, or the draft of a directory, can post the same bytes as another bulletin's.
        """

    def acknowledged(self, origin: str, index: int) -> list[AcknowledgedLine]:
        """Every acknowledgement of one bulletin, in order."""

    def expirable(self, before: int, limit: int) -> list[int]:
        """Bulletins that expired before this time and still have a body or wraps."""

    def expunge(self, indexes: Sequence[int]) -> None:
        """Forget bodies and wraps for good; entries stay."""

    def fill(self, index: int, wraps: Sequence[StoredWrap], body: bytes) -> None:
        """Put back the body and wraps of a bulletin that a restored ledger lacks."""

    def record_root(self, size: int, root: bytes) -> None:
        """Make durable what is about to be signed; the first of the two steps of a checkpoint."""

    def publish(self, size: int, note: str, head: bytes = b"") -> None:
        """Keep the signed note of a recorded root, and the head of the same size; the second step."""

    def newest_recorded(self) -> Published | None:
        """The largest recorded root, signed or not."""

    def newest_published(self, at_most: int | None = None) -> Published | None:
        """The largest signed checkpoint, or the largest up to a size."""

    def halt(self, halt: Halt | None) -> None:
        """Make it durable that this ledger must sign nothing; or, with None, that it may again."""

    def halted(self) -> Halt | None:
        """Why it must sign nothing."""

    def bytes_used(self) -> int:
        """What it takes on the disk."""

    def checkpoint_wal(self) -> bool:
        """Housekeeping that must not hold up a write; called every few seconds from a thread of its own.

        Whether the log has grown long all the same: it is begun anew if this is called while nobody writes.
        """

    def close(self) -> None:
        """Release files; further calls are errors."""
