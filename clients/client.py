"""A seat's client: syncs what was sent to it, sends what it wrote, acknowledges, and believes nothing unverified.

    async with Client(home) as client:
        await client.sync()
        await client.flush()

Every step leaves ``state.db`` as it was or as it should be: a page is stored with its cursor in one transaction, a
draft is kept before it is tried, an envelope before it is posted: a crash loses nothing and sends nothing twice.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Self

from clients.acknowledging import Acknowledger
from clients.clock import now_ms
from clients.drafts import Draft
from clients.errors import Declined, Tampering, UsageError
from clients.home import Home
from clients.keeping import Keeper
from clients.listening import listen
from clients.opening import Opener
from clients.outbox import OPEN
from clients.promises import Promises, may_go_back
from clients.reopening import reopen
from clients.replica import Believed, Replica
from clients.seeds import destroy_old_seeds
from clients.sending import Sender
from clients.state import State, Verified
from clients.turn import Turn
from keys.exchange import Exchange
from keys.signing import SigningKey
from protocol import limits
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.names import format_id
from protocol.page import Part
from protocol.parties import Node
from protocol.problem import Problem
from protocol.statements import LINKED, Bulletin, Kind
from protocol.treehead import Receipt

if TYPE_CHECKING:
    from clients.transport import Wire

__all__ = ["Client", "now_ms"]


class Client:
    """One home at its home node. ``async with``; raises ClientError and its kinds."""

    def __init__(self, home: Home, key: SigningKey | None = None) -> None:
        self.home = home
        profile = home.profile
        if not profile.pin or not profile.origin:
            raise UsageError("this home has not joined an exchange", "khunjerab join DIRECTORY.json SIG… --pin …")
        self.state = _open_state(home)
        self.pin = bytes.fromhex(profile.pin)
        self.replica = Replica(self.state, profile.origin, self.pin)
        from clients.transport import Wire

        node = self._node()
        self.wire: Wire = Wire(profile.node or node.url, node.tls)
        self.key = key or _login_key(home)
        self.turn = Turn(home.folder / "sending.lock")
        opener = Opener(home)
        self.keeper = Keeper(profile.agency, self.key.public.key_id, self.state, opener)
        self.sender = Sender(self)
        self.acknowledger = Acknowledger(self)
        self.promises = Promises(self)
        self.alarms_at_start = len(self.state.alarms())
        self._seeds_checked = False

    def _node(self) -> Node:
        """The home node by the newest directory known here: from its ledger, or joined with, which is verified too.

        To join again is how a home gets in that was away while the node's certificate changed.
        """
        directory = self.replica.exchange.directory
        newest = max((self.home.folder / "directory").glob("*.json"), key=_version_in_name, default=None)
        if newest is not None and (directory is None or _version_in_name(newest) > directory.version):
            directory = Directory.decode(newest.read_bytes())
        if directory is None:
            raise UsageError("this home has no directory", "join again with the directory's file")
        node = directory.by_origin.get(self.home.profile.origin)
        if node is None:
            raise UsageError(f"no node {self.home.profile.origin} in the directory")
        return node

    async def __aenter__(self) -> Self:
        await self.wire.__aenter__()
        self.wire.log_in_as(self.key, self.pin, self.replica.origin, self.replica.verified.checkpoint)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.wire.__aexit__(*exc)

    @property
    def exchange(self) -> Exchange:
        """Governance as far as it is verified here."""
        return self.replica.exchange

    @property
    def agency(self) -> str:
        """Whose seat this is."""
        return self.home.profile.agency

    # Receiving

    async def sync(self, wait: int = 0) -> int:
        """Fetch, verify and keep everything that is there; how many entries came. ``wait`` seconds for the first."""
        came, promised = 0, self.promises.held()
        while True:
            try:
                part = await self.fetch(self.replica.verified, wait=wait)
                taken = await self.take(part)
            except (Declined, Tampering) as error:
                if not may_go_back(error):
                    raise
                await self.promises.go_back(error)
                continue
            wait = 0
            if taken:
                came += len(part.items)
                if part.next >= part.head.size:
                    break
        await self.promises.check(promised)
        await reopen(self)
        if not self._seeds_checked:
            self._seeds_checked = True
            destroy_old_seeds(self.home, now_ms())
        return came

    def listen(self) -> AsyncGenerator[int, None]:
        """Keep what the node pushes, as it comes; how many entries, after each page (``clients/listening.py``)."""
        return listen(self)

    async def fetch(self, verified: Verified, *, wait: int = 0, limit: int = limits.PAGE_ENTRIES_MAX) -> Part:
        """A page of the home ledger from a point that is verified, itself unverified."""
        origin = verified.origin
        parts = await self.wire.deliveries({origin: verified.next}, {origin: verified.size}, wait=wait, limit=limit)
        part = next((part for part in parts if part.head.origin == origin), None)
        if part is None:
            raise Tampering("tree-head", "the node answered for another ledger", origin)
        return part

    async def take(self, part: Part, replica: Replica | None = None, *, lost_from: int | None = None) -> bool:
        """Verify one part and keep it: entries, contents and cursor in one transaction.

        False where another terminal of this home was quicker: nothing was kept, and ``replica`` is read anew.
        ``replica`` and ``lost_from`` are for the way back (``clients/promises.py``): what is verified there takes the
        place of what was believed from that index on.
        """
        expected = self.replica.verified
        replica = replica or self.replica
        try:
            believed = replica.take(part)
            bodies = {one.item.index: await self._fetch_body(one) for one in believed}
            with self.state.transaction():
                if self.state.verified(replica.origin) != expected:
                    self._read_anew()
                    return False
                if lost_from is not None:
                    self.state.forget_from(replica.origin, lost_from, now_ms(), self.agency)
                for one in believed:
                    self.keeper.keep(replica.origin, one, *bodies[one.item.index])
                self.state.set_verified(replica.verified)  # commit point: cursor and entries together
        except BaseException as error:
            self._read_anew()  # what was verified and not kept is not believed
            if isinstance(error, Tampering):
                with self.state.transaction():
                    self.state.add_alarm(now_ms(), error.check, error.origin, error.index, error.detail)
            raise
        self.replica = replica
        self._save_directories()
        if any(one.entry.kind in LINKED for one in believed):  # who may read what may be another now
            await reopen(self)
        return True

    def _read_anew(self) -> None:
        self.replica = Replica(self.state, self.replica.origin, self.pin)

    async def _fetch_body(self, one: Believed) -> tuple[bytes | None, bytes | None]:
        """Body and wrap of an item: what came with it, or fetched where it was too large for the page."""
        item = one.item
        if one.entry.kind is not Kind.BULLETIN or item.body is not None or item.withheld:
            return item.body, item.wrap
        try:
            return await self.wire.body(Bulletin.decode(one.entry.statement).body)
        except Declined as declined:
            if declined.code in {"expunged", "withheld", "not-found"}:
                return None, item.wrap
            raise

    def _save_directories(self) -> None:
        """The directory in force as a file, for people."""
        directory = self.exchange.directory
        if directory is None:
            return
        path = self.home.folder / "directory" / f"{directory.version}.json"
        if not path.exists():
            path.parent.mkdir(exist_ok=True, mode=0o700)
            path.write_bytes(directory.encode())

    # Sending

    async def flush(self) -> list[Draft]:
        """Send what waits in the outbox, oldest first; what remains there is returned."""
        return await self.sender.flush()

    async def flush_waiting(self) -> None:
        """Send what waits, where anything does and another terminal of this home is not at it."""
        if self.state.outbox(*OPEN) and self.turn.take():
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
        try:
            return self.sender.checked_receipt(submission, answer)
        except Tampering as found:
            with self.state.transaction():
                self.state.add_alarm(now_ms(), found.check, found.origin, found.index, found.detail)
                self.state.add_evidence(now_ms(), found.origin, found.index or 0, "receipt", answer.encode())
            raise

    async def post_governance(self, submission: Submission) -> Receipt:
        """Post governance, and take it in."""
        receipt = await self.post(submission)
        await self.sync()
        return receipt

    def name_of(self, origin: str, index: int) -> str:
        """``SENDER/UUID`` of a bulletin held here."""
        held = self.state.bulletin_at(origin, index)
        return format_id(held.header.sender, held.header.id) if held else f"{origin}#{index}"


def _open_state(home: Home) -> State:
    """``state.db``. The keyring's Argon2id, or a person at a prompt, leaves a core to import what talks to the node."""
    meanwhile = Thread(target=importlib.import_module, args=("clients.transport",))
    meanwhile.start()
    try:
        return home.state
    finally:
        meanwhile.join()


def _login_key(home: Home) -> SigningKey:
    """A seat's key, else an authority's, else an identity key of an agency that this custodian holds."""
    keyring = home.keyring
    for name in ("signing", "authority", *(f"identity/{agency}" for agency in keyring.names("identity"))):
        seed = keyring.get(name)
        if seed is not None:
            return SigningKey(seed)
    raise UsageError("this home has no key to log in with", "khunjerab keys new")


def _version_in_name(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0
