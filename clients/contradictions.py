"""Evidence against logs in a home: what its node told of and this home believes, and what it found itself.

A page may name evidence that its node holds. That is a claim: the file is fetched, checked with the home's own pin and
against directories that the home's own ledgers have entered, and only then kept and told, on every screen, until
somebody looked. What does not hold is told once and forgotten.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clients.clock import now_ms
from clients.copies import Copy
from clients.errors import Declined, Unreachable
from clients.screen import warn
from clients.state import State
from keys.exchange import Exchange
from keys.fork import Contradiction, Fork, SignedTree, check
from keys.gathering import Pair
from keys.versions import lineage
from protocol import limits
from protocol.entry import Entry, Submission
from protocol.errors import ProtocolError
from protocol.statements import DirectoryVersion, Kind
from protocol.tiles import TilePath
from protocol.treehead import Receipt

if TYPE_CHECKING:
    from clients.client import Client

KIND = "fork"
FILES_MAX, FILES_PER_LOG_MAX = 64, 8
REVIEWED_MAX = 8  # receipts in one sync; each costs requests
AGAIN_SECONDS = 60.0  # before what could not be had or judged is asked for again


def files(state: State) -> list[tuple[int, str, bytes]]:
    """When it was found, the log that it is about, and the file: all that a home holds, the oldest first."""
    return [(moment, origin, data) for moment, origin, _, kind, data in state.evidence() if kind == KIND]


def keep(state: State, shown: Contradiction) -> None:
    """Keep evidence that holds, a pair of trees once, and raise the alarm."""
    held, index, now = files(state), shown.old.size - 1, now_ms()
    of_log = [data for _, origin, data in held if origin == shown.origin]
    known = {check(Fork.decode(data), shown.pin).trees for data in of_log}
    if shown.trees in known or len(of_log) >= FILES_PER_LOG_MAX or len(held) >= FILES_MAX:
        return
    with state.transaction():
        state.add_alarm(now, KIND, shown.origin, index, str(shown))
        state.add_evidence(now, shown.origin, index, KIND, shown.fork.encode())


class Contradictions:
    """Of one home at its node."""

    def __init__(self, client: Client) -> None:
        self._client, self._state = client, client.state
        self._held = {hashlib.sha256(data).digest() for _, _, data in files(client.state)}
        self._again: dict[bytes, float] = {}

    async def told(self, origin: str, sha256: bytes) -> None:
        """A page names evidence against the log ``origin``. Never raises for what others did."""
        if sha256 in self._held or time.monotonic() < self._again.get(sha256, 0.0):
            return
        self._again[sha256] = time.monotonic() + AGAIN_SECONDS
        name = f"/v1/evidence/{sha256.hex()}"
        try:
            data = await self._client.wire.request("GET", name, login=False, bytes_max=limits.FORK_BYTES_MAX)
        except (Unreachable, Declined):
            return
        try:
            shown = check(Fork.decode(data), self._client.pin)
        except ProtocolError as error:
            self._refuse(origin, sha256, error.detail)
            return
        if shown.origin != origin or hashlib.sha256(data).digest() != sha256:
            self._refuse(origin, sha256, "it is another file than was named")
        elif self._knows(shown.exchange):
            self._held.add(sha256)
            keep(self._state, shown)

    def _knows(self, exchange: Exchange) -> bool:
        """Whether its directories stand in this home's own ledger: old keys could sign others, which never did."""
        return exchange.versions.keys() <= self._client.exchange.versions.keys()

    def _refuse(self, origin: str, sha256: bytes, why: str) -> None:
        self._again[sha256] = float("inf")
        with self._state.transaction():
            new = self._state.tell("evidence-refused", origin, 0, sha256.hex())
        if new:
            warn(f"{self._client.wire.url} names evidence against {origin} that shows nothing: {why}")

    async def review(self) -> None:
        """Receipts that were kept as broken promises, each once against a checkpoint that covers it."""
        left = REVIEWED_MAX
        for _, origin, index, kind, data in self._state.evidence():
            if kind != "receipt" or not left:
                continue
            head, checkpoint = Receipt.decode(data).head, self._state.verified(origin).checkpoint
            name = ("receipt-reviewed", origin, index, hashlib.sha256(data).hexdigest())
            pair = Pair.of(head, checkpoint)
            if pair is None or pair.old is not head or self._state.was_told(*name):
                continue
            left -= 1
            if await self.found(head, checkpoint):
                with self._state.transaction():
                    self._state.tell(*name)

    async def found(self, ours: SignedTree, theirs: SignedTree) -> bool:
        """Two trees that do not fit: keep what shows that their log signed both, where it does.

        False where the tiles that would tell are not to be had now. Never raises for what others did.
        """
        pair = Pair.of(ours, theirs)
        if pair is None:
            return True
        home = self._client.ledgers.home_origin
        copy = Copy(self._client.wire, "" if pair.origin == home else pair.origin)
        tiles: dict[TilePath, bytes] = {}
        for path in pair.wanted():
            data = await copy.hash_tile(path)
            if data is None:
                return False
            tiles[path] = data
        shown = pair.prove(tiles, self._versions(), self._client.pin)
        if shown is not None:
            keep(self._state, shown)
        return True

    def _versions(self) -> Sequence[Submission]:
        """The directory in force and those before it, as they stand in the home ledger."""
        directory, home = self._client.exchange.directory, self._client.ledgers.home_origin
        if directory is None:
            return ()
        signed = []
        for _, data in self._state.governance(home):
            entry = Entry.decode(data)
            if entry.kind is Kind.DIRECTORY:
                json = self._state.governance_body(home, DirectoryVersion.decode(entry.statement).sha256)
                signed.append(Submission(Kind.DIRECTORY, entry.statement, entry.signatures, (), json or b""))
        return lineage(signed, directory.hash)
