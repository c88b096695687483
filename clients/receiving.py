"""Receiving (SPEC §11.2, §11.3): pages fetched, each part of one verified and kept for itself, the home ledger's first.

A part is of one ledger: its entries are kept with that ledger's cursor in one transaction, whatever becomes of the
others. What does not hold in the home ledger ends the command; in another ledger it is an alarm that names it, and the
home ledger is read on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from clients import directories
from clients.clock import now_ms
from clients.errors import Declined, Tampering, Unreachable
from clients.promises import may_go_back
from clients.reopening import reopen
from clients.replica import Believed, Replica
from clients.state import Verified
from protocol import limits
from protocol.page import Part
from protocol.record import Record
from protocol.statements import LINKED, Bulletin, Kind

if TYPE_CHECKING:
    from clients.client import Client


class Taken(Record):
    """What came of a page: how many entries; whether there is more to ask for, from where the cursors are now."""

    entries: int
    more: bool
    moved: bool  # a cursor is not where the page leaves it: what follows that page does not follow here


class Receiver:
    """Takes in what a node serves. ``on_evidence`` hears of evidence that a part names, whatever the part is worth."""

    def __init__(self, client: Client) -> None:
        self._client, self._state, self._ledgers = client, client.state, client.ledgers
        self._left = set[str]()  # ledgers whose part did not hold: not read again before ``begin``
        self._skipped = set[str]()  # ledgers that no directory here listed when their part came
        self.on_evidence: Callable[[str, bytes], Awaitable[None]] | None = None

    def begin(self) -> None:
        """Read every ledger again: the next page is asked for from the cursors."""
        self._left.clear()
        self._skipped.clear()

    async def pages(self, wait: int = 0) -> AsyncGenerator[int, None]:
        """Fetch, verify and keep everything that is there; how many entries came, after each page.

        ``wait`` seconds for the first.
        """
        self.begin()
        while True:
            self._skipped.clear()
            try:
                parts = await self.fetch(wait=wait)
                self._require_home(parts)
                taken = await self.take_page(parts)
            except (Declined, Tampering) as error:
                if not may_go_back(error):
                    raise
                await self._client.promises.go_back(self._ledgers.home_origin, error)
                continue
            wait = 0
            yield taken.entries
            if not taken.more:
                return

    def _require_home(self, parts: Sequence[Part]) -> None:
        """A node serves its own ledger, whatever else; that it serves one mirror fewer is no tampering."""
        home = self._ledgers.home_origin
        if not any(part.head.origin == home for part in parts):
            raise Tampering("tree-head", "the node answered for another ledger", home)

    async def fetch(
        self, verified: Verified | None = None, *, wait: int = 0, limit: int = limits.PAGE_ENTRIES_MAX
    ) -> tuple[Part, ...]:
        """A page from the cursors, one ledger from ``verified`` instead; itself unverified."""
        after, known = self._ledgers.cursor()
        if verified is not None:
            after[verified.origin], known[verified.origin] = verified.next, verified.size
        return await self._client.wire.deliveries(after, known, wait=wait, limit=limit)

    async def fetch_part(self, verified: Verified, *, limit: int = limits.PAGE_ENTRIES_MAX) -> Part:
        """The part of one ledger. Raises Unreachable where the node does not serve a mirror of it now."""
        parts = await self.fetch(verified, limit=limit)
        self._require_home(parts)
        part = next((part for part in parts if part.head.origin == verified.origin), None)
        if part is None:
            raise Unreachable(f"{self._client.wire.url} does not serve {verified.origin} now", "try again later")
        return part

    async def take_page(self, parts: Sequence[Part]) -> Taken:
        """Take each part for itself. Raises Tampering where the home ledger's does not hold."""
        entries, more, moved = 0, False, False
        for part in self._ledgers.in_order(parts):
            origin = part.head.origin
            if part.evidence is not None and self.on_evidence is not None:
                await self.on_evidence(origin, part.evidence)
            if not self._is_read(part):
                moved = moved or (origin in self._skipped and self._ledgers.lists(origin))
                continue
            try:
                kept = await self.take(part)
            except Tampering as error:
                if origin == self._ledgers.home_origin:
                    raise
                moved = await self._has_gone_back(origin, error) or moved
                continue
            entries += len(part.items) if kept else 0
            more = more or not kept or part.next < part.head.size
            moved = moved or not kept
        return Taken(entries, more, moved)

    def _is_read(self, part: Part) -> bool:
        """The home ledger is; another where the directory lists its node, its parts held so far, and it has begun."""
        origin = part.head.origin
        if origin == self._ledgers.home_origin:
            return True
        if not self._ledgers.lists(origin) or not (part.items or self._ledgers.of(origin).verified.size):
            self._skipped.add(origin)
        return origin not in self._left | self._skipped

    async def _has_gone_back(self, origin: str, error: Tampering) -> bool:
        """Another ledger does not hold, which is an alarm by now: go back to its checkpoint, or leave it be."""
        try:
            if may_go_back(error):
                await self._client.promises.go_back(origin, error)
                return True
        except Tampering:
            pass  # it does not hold to its checkpoint either
        self._left.add(origin)
        return False

    async def take(self, part: Part, replica: Replica | None = None, *, lost_from: int | None = None) -> bool:
        """Verify one part and keep it: entries, contents and cursor in one transaction.

        False where another terminal of this home was quicker: nothing was kept, and the replica is read anew.
        ``replica`` and ``lost_from`` are for the way back (``clients/promises.py``): what is verified there takes the
        place of what was believed from that index on.
        """
        origin, client = part.head.origin, self._client
        try:
            expected = self._ledgers.of(origin).verified
            replica = replica or self._ledgers.of(origin)
            believed = replica.take(part)
            bodies = {one.item.index: await self._fetch_body(one) for one in believed}
            with self._state.transaction():
                if self._state.verified(origin) != expected:
                    self._ledgers.read_anew(origin)
                    return False
                replica.verified = client.witnesses.with_newest(replica.verified)
                if lost_from is not None:
                    self._state.forget_from(origin, lost_from, now_ms(), client.agency)
                for one in believed:
                    client.keeper.keep(origin, one, *bodies[one.item.index])
                self._state.set_verified(replica.verified)  # commit point: cursor and entries together
        except BaseException as error:
            self._ledgers.read_anew(origin)
            if isinstance(error, Tampering):
                with self._state.transaction():
                    self._state.add_alarm(now_ms(), error.check, error.origin, error.index, error.detail)
                if error.check == "consistency" and part.checkpoint:
                    await client.contradictions.found(self._state.verified(origin).checkpoint, part.checkpoint)
            raise
        self._ledgers.put(replica)
        if client.exchange.directory is not None:
            directories.keep(client.home, client.exchange.directory)
        if any(one.entry.kind in LINKED for one in believed):  # who may read what may be another now
            await reopen(client)
        return True

    async def _fetch_body(self, one: Believed) -> tuple[bytes | None, bytes | None]:
        """Body and wrap of an item: what came with it, or fetched where it was too large for the page."""
        item = one.item
        if one.entry.kind is not Kind.BULLETIN or item.body is not None or item.withheld:
            return item.body, item.wrap
        try:
            body, wrap = await self._client.wire.body(Bulletin.decode(one.entry.statement).body)
        except Declined as declined:
            if declined.code in {"expunged", "withheld", "not-found"}:
                return None, item.wrap
            raise
        return body, item.wrap or wrap  # two bulletins may have the same body
