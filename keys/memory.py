"""What a replay remembers of a ledger so that it need not keep it: where each statement stands, by hash or id.

It answers the judge's questions. Whatever it is asked about is settled first: an entry whose signatures do not hold
does not exist for those after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from keys.judge import First, NotSentToMe
from keys.replay import Step
from protocol.entry import Entry
from protocol.statements import Bulletin, statement_hash


class Source(Protocol):
    """The bytes of a ledger and of what lies beside it, wherever they come from. Nothing of it is believed."""

    def entries(self, start: int, stop: int) -> list[bytes]:
        """The leaves of [start, stop): fewer where it has no more."""

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """The first ``width`` hashes of a hash tile; None where it has none."""

    def directory(self, sha256: bytes) -> bytes | None:
        """The JSON of a directory version; the one who asks hashes it."""

    def body(self, sha256: bytes) -> bytes | None:
        """The body of a bulletin; None where it has none, or no more."""


class Memory:
    """The judge's lookup over the entries taken so far; under 200 bytes an entry."""

    def __init__(
        self, source: Source, settle: Callable[[int], None], directory: Callable[[bytes], bytes | None]
    ) -> None:
        self._source, self._settle = source, settle
        self._first: dict[bytes, int] = {}
        self._seen: dict[bytes, int] = {}
        self._refused = set[int]()
        self.directory = directory

    def take(self, step: Step) -> None:
        """Remember an entry that was stepped over."""
        accepted = step.accepted
        if accepted is None:
            self._refused.add(step.index)
        elif isinstance(accepted.statement, Bulletin):
            header = accepted.statement.header
            self._first[header.id + header.sender.encode()] = step.index
        else:
            self._seen[accepted.digest] = step.index

    def refuse(self, index: int) -> None:
        """Forget an entry whose signatures turned out not to hold."""
        self._refused.add(index)

    def _stands(self, index: int) -> bool:
        self._settle(index)
        return index not in self._refused

    def first(self, sender: str, bulletin_id: bytes) -> First | None:
        """The accepted bulletin under this id."""
        index = self._first.get(bulletin_id + sender.encode())
        if index is None or not self._stands(index):
            return None
        first = self._read(index)
        return First(index, statement_hash(first.kind, first.statement))

    def seen(self, digest: bytes) -> int | None:
        """Where an accepted statement stands."""
        index = self._seen.get(digest)
        return index if index is not None and self._stands(index) else None

    def entry(self, index: int) -> Entry | NotSentToMe | None:
        """An accepted entry before the one at hand, read back."""
        if index >= self.size or not self._stands(index):
            return None
        return self._read(index)

    def _read(self, index: int) -> Entry:
        (data,) = self._source.entries(index, index + 1)
        return Entry.decode(data)

    size = 0  # how many entries exist for the judge: those before the one at hand
