"""A seat's client: syncs what was sent to it, sends what it wrote, acknowledges, and believes nothing unverified.

    async with Client(home) as client:
        await client.sync()
        await client.flush()

Every step leaves ``state.db`` as it was or as it should be: a page is stored with its cursor in one transaction, a draft is
kept before it is tried, an envelope before it is posted, so that a crash loses nothing and sends nothing twice.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self

from clients.drafts import Draft
from clients.errors import Declined, Tampering, UsageError
from clients.home import Home
from clients.opening import Opener
from clients.replica import Believed, Replica
from clients.sending import Sender
from clients.state import State
from clients.transport import Wire
from keys.exchange import Exchange
from keys.signing import SigningKey

from protocol.directory import Directory, Node
from protocol.entry import Submission
from protocol.names import format_id
from protocol.page import Part
from protocol.problem import Problem
from protocol.statements import (
    GOVERNANCE,
    Acknowledgement,
    AcknowledgementLine,
    Bulletin,
    Kind,
    decode,
)
from protocol.signing import encode_signatures
from protocol.treehead import Receipt

URGENT = ("immediate", "flash")  # received is sent at once; else gathered


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Client:
    """One home at its home node. ``async with``; raises ClientError and its kinds."""

    def __init__(self, home: Home) -> None:
        self.home = home
        profile = home.profile
        if not profile.pin or not profile.origin:
            raise UsageError("this home has not joined an exchange", "khunjerab join DIRECTORY.json SIG… --pin …")
        self.state: State = home.state
        self.pin = bytes.fromhex(profile.pin)
        self.replica = Replica(self.state, profile.origin, self.pin)
        node = self._node()
        self.wire = Wire(profile.node or node.url, node.tls)
        signing = home.keyring.get("signing") or home.keyring.get("authority")
        if signing is None:
            raise UsageError("this home has no key to log in with")
        self.key = SigningKey(signing)
        self.opener = Opener(profile.agency, home.keyring, self.state)
        self.sender = Sender(home, self)

    def _node(self) -> Node:
        """The home node, by the newest directory verified here, else by the one that was joined with."""
        directory = self.replica.exchange.directory
        if directory is None:
            files = sorted((self.home.folder / "directory").glob("*.json"), key=_version_in_name)
            if not files:
                raise UsageError("this home has no directory", "join again with the directory's file")
            directory = Directory.decode(files[-1].read_bytes())
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

    # Receiving

    async def sync(self, wait: int = 0) -> int:
        """Fetch, verify and keep everything that is there; how many entries came. ``wait`` seconds for the first."""
        came = 0
        while True:
            verified = self.replica.verified
            origin = self.replica.origin
            parts = await self.wire.deliveries({origin: verified.next}, {origin: verified.size}, wait=wait)
            part = next((part for part in parts if part.head.origin == origin), None)
            if part is None:
                raise Tampering("tree-head", "the node answered for another ledger", origin)
            await self.take(part)
            came += len(part.items)
            wait = 0
            if part.next >= part.head.size:
                return came

    async def take(self, part: Part) -> None:
        """Verify one part and keep it: entries, contents and cursor in one transaction."""
        try:
            believed = self.replica.take(part)
        except Tampering as found:
            with self.state.transaction():
                self.state.add_alarm(now_ms(), found.check, found.origin, found.index, found.detail)
            raise
        bodies = {one.item.index: await self._fetch_body(one) for one in believed}
        with self.state.transaction():
            for one in believed:
                self._keep(one, *bodies[one.item.index])
            self.state.set_verified(self.replica.verified)  # commit point: cursor and entries together
        self._save_directories()

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

    def _keep(self, one: Believed, body: bytes | None, wrap: bytes | None) -> None:
        origin, index = self.replica.origin, one.item.index
        if one.entry.kind in GOVERNANCE:
            self.state.add_governance(origin, index, one.item.entry, body)
        if one.step.accepted is None:
            fault = one.step.faults[0]
            self.state.add_alarm(
                now_ms(), fault.check, origin, index, f"a node let in what the judge refuses: {fault.found}"
            )
            return
        statement = decode(one.entry.kind, one.entry.statement)
        if isinstance(statement, Bulletin):
            self._keep_bulletin(one, statement, body, wrap)
        elif isinstance(statement, Acknowledgement):
            for line in statement.lines:
                self.state.add_acknowledged(line.origin, line.index, statement.sender, line.state, line.time)

    def _keep_bulletin(self, one: Believed, bulletin: Bulletin, body: bytes | None, wrap: bytes | None) -> None:
        origin, index, header = self.replica.origin, one.item.index, bulletin.header
        own = header.sender == self.home.profile.agency
        if not own and not header.is_sent_to(self.home.profile.agency):
            return  # an auditor's page has everything
        opened = self.opener.open(one, bulletin, body, wrap)
        state = "sent" if own else "new"
        self.state.add_bulletin(origin, index, header, one.item.entry, one.leaf, opened.content, opened.problem, state)
        if opened.missing:
            detail = f"{header.sender} had receipts for {opened.missing} more in {header.feed} than ever came here"
            self.state.add_alarm(now_ms(), "denied", origin, index, detail)
        if opened.problem == "body-altered" or opened.problem.startswith("cannot-open"):
            self.state.add_alarm(now_ms(), "body", origin, index, opened.problem)
        for relation in header.relations:
            if relation.kind in {"supersedes", "cancels"}:
                self._relate(header.sender, relation.kind, relation.origin, relation.index, header.name)

    def _relate(self, sender: str, kind: str, origin: str, index: int, by: str) -> None:
        """Whoever holds the target checks the rule before it has any effect."""
        target = self.state.bulletin_at(origin, index)
        if target is not None and target.header.sender == sender:
            self.state.relate(origin, index, f"{kind} {by}")

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

    async def flush_before(self, number: bytes) -> None:
        """Send what was written before ``number``, so that nothing overtakes. Raises Unreachable."""
        for outgoing in self.state.outbox("draft", "tried"):
            if outgoing.draft.id < number:
                await self.sender.send_quietly(outgoing)

    async def acknowledge(self, index: int, state: str, origin: str | None = None) -> None:
        """Note that this reader received, read or acted on a bulletin; ``send_owed`` tells the sender."""
        origin = origin or self.replica.origin
        with self.state.transaction():
            self.state.owe(origin, index, state, now_ms())
            self.state.add_acknowledged(origin, index, self.home.profile.agency, state, now_ms())
            self.state.set_state(origin, index, state)

    async def send_owed(self) -> int:
        """Send the acknowledgements that are owed, one statement for each sender; how many lines were sent."""
        owed = self.state.owed()
        by_sender: dict[str, list[AcknowledgementLine]] = {}
        for origin, index, state, moment in owed:
            held = self.state.bulletin_at(origin, index)
            if held is not None:
                line = AcknowledgementLine(origin, index, held.leaf, state, moment)
                by_sender.setdefault(held.header.sender, []).append(line)
        for sender, lines in by_sender.items():
            await self._send_acknowledgement(sender, lines)
        return len(owed)

    async def _send_acknowledgement(self, to: str, lines: list[AcknowledgementLine]) -> None:
        statement = Acknowledgement(
            1,
            self.pin,
            self.replica.origin,
            self.home.profile.agency,
            self.key.public.key_id,
            to,
            now_ms(),
            tuple(lines),
        ).encode()
        signature = self.key.sign_statement(Kind.ACKNOWLEDGEMENT, statement, 1)
        submission = Submission(Kind.ACKNOWLEDGEMENT, statement, encode_signatures((signature,)))
        await self.post(submission)
        with self.state.transaction():
            for line in lines:
                self.state.settle(line.origin, line.index, line.state)

    async def post(self, submission: Submission) -> Receipt:
        """Post one statement and verify its receipt. Raises Declined, Unreachable, Tampering."""
        (answer,) = await self.wire.post([submission])
        if isinstance(answer, Problem):
            raise Declined(f"{answer.code}: {answer.detail}", answer.hint, answer.code) from answer
        self.sender.check_receipt(submission, answer)
        return answer

    async def post_governance(self, submission: Submission) -> Receipt:
        """Post governance, and take it in."""
        receipt = await self.post(submission)
        await self.sync()
        return receipt

    def name_of(self, origin: str, index: int) -> str:
        """``SENDER/UUID`` of a bulletin held here."""
        held = self.state.bulletin_at(origin, index)
        return format_id(held.header.sender, held.header.id) if held else f"{origin}#{index}"


def _version_in_name(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0
