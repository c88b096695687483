"""A seat's client: syncs what was sent to it, sends what it wrote, acknowledges, and believes nothing unverified.

    async with Client(home) as client:
        await client.sync()
        await client.flush()

Every step leaves ``state.db`` as it was or as it should be: a page is stored with its cursor in one transaction, a
draft is kept before it is tried, an envelope before it is posted: a crash loses nothing and sends nothing twice.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Self

from clients import directories
from clients.acknowledging import Acknowledger
from clients.clock import now_ms
from clients.drafts import Draft
from clients.errors import Declined, Tampering, Unreachable, UsageError
from clients.home import Home
from clients.keeping import Keeper
from clients.ledgers import Ledgers
from clients.listening import listen
from clients.opening import Opener
from clients.promises import Promises
from clients.receiving import Receiver
from clients.reopening import reopen
from clients.replica import Replica
from clients.seeds import destroy_old_seeds
from clients.sending import Sender
from clients.transport import Wire
from clients.turn import Turn
from clients.witnesses import Witnesses
from keys.exchange import Exchange
from keys.signing import SigningKey
from protocol.entry import Submission
from protocol.names import format_id
from protocol.parties import Node
from protocol.problem import Problem
from protocol.promise import Promise
from protocol.statements import Kind
from protocol.treehead import Receipt, TreeHead

if TYPE_CHECKING:
    from clients.contradictions import Contradictions

__all__ = ["Client", "now_ms"]


class Client:
    """One home at its home node. ``async with``; raises ClientError and its kinds."""

    def __init__(self, home: Home, key: SigningKey | None = None) -> None:
        self.home = home
        profile = home.profile
        if not profile.pin or not profile.origin:
            raise UsageError("this home has not joined an exchange", "khunjerab join DIRECTORY.json SIG… --pin …")
        self.state = home.state
        self.pin = bytes.fromhex(profile.pin)
        self.ledgers = Ledgers(self.state, profile.origin, self.pin)
        node = self._node()
        self.wire = self.wire_to(node, profile.node)
        self.witnesses = Witnesses(home.folder, self.ledgers)
        self.key = key or _login_key(home)
        self.turn = Turn(home.folder / "sending.lock")
        opener = Opener(home)
        self.keeper = Keeper(profile.agency, self.key.public.key_id, self.state, opener)
        self.sender = Sender(self)
        self.acknowledger = Acknowledger(self)
        self.promises = Promises(self)
        self.receiver = Receiver(self)
        self.receiver.on_evidence = self._told_of_evidence
        self.alarms_at_start = len(self.state.alarms())
        self._seeds_checked = False

    def _node(self) -> Node:
        """The home node by the newest directory known here: from its ledger, or joined with, which is verified too.

        To join again is how a home gets in that was away while the node's certificate changed.
        """
        directory = self.replica.exchange.directory
        directory = directories.newest(self.home, directory.version if directory else 0) or directory
        if directory is None:
            raise UsageError("this home has no directory", "join again with the directory's file")
        node = directory.by_origin.get(self.home.profile.origin)
        if node is None:
            raise UsageError(f"no node {self.home.profile.origin} in the directory")
        return node

    def wire_to(self, node: Node, url: str = "") -> Wire:
        """A connection to a node, still to be entered; at another address than the directory's where one is given."""
        return Wire(url or node.url, node.tls)

    async def __aenter__(self) -> Self:
        await self.wire.__aenter__()
        self.wire.log_in_as(self.key, self.pin, self.replica.origin, self.replica.verified.checkpoint)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.wire.__aexit__(*exc)

    @property
    def replica(self) -> Replica:
        """The home ledger, by which everything that is sent is sealed and judged."""
        return self.ledgers.home

    @property
    def exchange(self) -> Exchange:
        """The home ledger's governance, as far as it is verified here."""
        return self.replica.exchange

    @property
    def agency(self) -> str:
        """Whose seat this is."""
        return self.home.profile.agency

    @functools.cached_property
    def contradictions(self) -> Contradictions:
        """Evidence against logs: seldom there, and much to import."""
        from clients.contradictions import Contradictions

        return Contradictions(self)

    async def _told_of_evidence(self, origin: str, sha256: bytes) -> None:
        await self.contradictions.told(origin, sha256)

    # Receiving

    async def sync(self, wait: int = 0) -> int:
        """Fetch, verify and keep everything that is there; how many entries came. ``wait`` seconds for the first."""
        async with contextlib.aclosing(self.catch_up(wait)) as pages:
            return sum([came async for came in pages])

    async def catch_up(self, wait: int = 0) -> AsyncGenerator[int, None]:
        """As ``sync``, but told after each page: a backlog may be long."""
        promised = self.promises.held()
        try:
            async with contextlib.aclosing(self.receiver.pages(wait)) as pages:
                async for came in pages:
                    yield came
        except Unreachable as away:
            await self.promises.show_all(away)
            raise
        await self.promises.check(promised)
        if self.state.evidence():
            await self.contradictions.review()
        await reopen(self)
        if not self._seeds_checked:
            self._seeds_checked = True
            destroy_old_seeds(self.home, now_ms())

    def listen(self) -> AsyncGenerator[int, None]:
        """Keep what the node pushes, as it comes; how many entries, after each page (``clients/listening.py``)."""
        return listen(self)

    # Sending

    async def flush(self) -> list[Draft]:
        """Send what waits in the outbox, the most urgent first; what remains there is returned."""
        return await self.sender.flush()

    async def flush_waiting(self) -> None:
        """Send what waits, where anything does, the node has room, and another terminal of this home is not at it."""
        if self.sender.spent_until <= now_ms() and self.state.waiting() and self.turn.take():
            try:
                await self.sender.flush()
            finally:
                self.turn.leave()

    async def acknowledge(self, index: int, state: str, origin: str | None = None) -> None:
        """Note that this reader received, read or acted on a bulletin; ``send_owed`` tells the sender."""
        held = self.state.bulletin_at(origin or self.replica.origin, index)
        if held is not None:
            self.acknowledger.note(held, state)

    async def send_owed(self) -> int:
        """Send the acknowledgements that are owed, one statement for each sender; how many lines were sent."""
        return await self.acknowledger.send()

    async def post(self, submission: Submission) -> Receipt:
        """Post one statement and verify its receipt. Raises Declined, Unreachable, Tampering."""
        (answer,) = await self.wire.post([submission])
        if isinstance(answer, Problem):
            raise Declined(f"{answer.code}: {answer.detail}", answer.hint, answer.code) from answer
        ((_, receipt),) = self.checked([(submission, answer)])
        if submission.kind is not Kind.BULLETIN:  # which the outbox keeps
            with self.state.transaction():
                self.state.add_promised(Promise(submission, receipt))
        return receipt

    def checked(self, answered: Sequence[tuple[Submission, Receipt]]) -> list[tuple[Submission, Receipt]]:
        """Receipts that hold; a head that they share is verified once. Raises Tampering, and keeps it as evidence."""
        heads, held = set[TreeHead](), []
        for submission, answer in answered:
            try:
                held.append((submission, self.sender.checked_receipt(submission, answer, heads)))
            except Tampering as found:
                with self.state.transaction():
                    self.state.add_alarm(now_ms(), found.check, found.origin, found.index, found.detail)
                    self.state.add_evidence(now_ms(), found.origin, found.index or 0, "receipt", answer.encode())
                raise
        return held

    async def post_governance(self, submission: Submission) -> Receipt:
        """Post governance, and take it in."""
        receipt = await self.post(submission)
        await self.sync()
        return receipt

    def name_of(self, origin: str, index: int) -> str:
        """``SENDER/UUID`` of a bulletin held here."""
        held = self.state.bulletin_at(origin, index)
        return format_id(held.header.sender, held.header.id) if held else f"{origin}#{index}"


def _login_key(home: Home) -> SigningKey:
    """A seat's key, else an authority's, else an identity key of an agency that this custodian holds."""
    keyring = home.keyring
    for name in ("signing", "authority", *(f"identity/{agency}" for agency in keyring.names("identity"))):
        seed = keyring.get(name)
        if seed is not None:
            return SigningKey(seed)
    raise UsageError("this home has no key to log in with", "khunjerab keys new")
