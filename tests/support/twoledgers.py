"""Two nations' ledgers in this process, and what each nation's node would serve of both: to be steered; no socket."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from broker.ledger import Ledger
from broker.storage import sqlite
from clients.client import Client
from clients.errors import Declined
from clients.transport import error_of
from keys.errors import BadSignature
from keys.judge import Refused, why_not_recipient
from protocol import limits
from protocol.checkpoint import Checkpoint
from protocol.entry import Submission
from protocol.note import Note
from protocol.page import Consistency, Item, Part
from protocol.problem import Problem
from protocol.statements import Bulletin, Kind
from protocol.tiles import parse_tile_path, partial_width
from protocol.treehead import Receipt
from tests.support.live import now_ms, seat_home
from tests.support.world import ORIGINS, World, admit, node, node_keys, open_ledger

Spoil = Callable[[Part], Part]
_NOBODY = "http://127.0.0.1:9"  # where no node listens


class TwoLedgers:
    """PK's and CN's ledger of one world. ``cosigned`` says whether each cosigns the other's checkpoints."""

    def __init__(self, folder: Path, world: World | None = None) -> None:
        self.folder, self.cosigned = folder, True
        nobody = (node("PK", _NOBODY), node("CN", _NOBODY))
        self.world = world or World.found(now_ms() // 1000 * 1000 - 60_000, nodes=nobody)
        self.ledgers: dict[str, Ledger] = {}
        self.changed = asyncio.Condition()
        self._notes: dict[tuple[str, bytes, bool], str] = {}
        for nation in ORIGINS:
            self.begin(nation)

    def begin(self, nation: str) -> Ledger:
        """A nation's ledger from its file, or with the founding."""
        ledger = open_ledger(self.folder, self.world, nation, now_ms())
        self.ledgers[ORIGINS[nation]] = ledger
        return ledger

    def fork(self, nation: str, keep: int) -> None:
        """The nation's node loses all entries from ``keep`` on, whatever it promised, and signs what is left."""
        old = self.ledgers[ORIGINS[nation]]
        path = self.folder / f"{nation.lower()}-lost-{keep}-{len(self._notes)}.db"
        sqlite.create(path)
        new = Ledger(sqlite.SqliteStorage(path), old.origin, self.world.pin, node_keys(nation).receipt)
        for index in range(keep):
            admit(new, _submission(old, index), _time(old, index))
        self.ledgers[old.origin] = new

    def admit(self, nation: str, *submissions: Submission) -> list[Receipt]:
        """Into one nation's ledger."""
        return [admit(self.ledgers[ORIGINS[nation]], submission, now_ms()) for submission in submissions]

    def govern(self, *submissions: Submission) -> None:
        """Governance, entered in both."""
        for nation in ORIGINS:
            self.admit(nation, *submissions)

    async def tell(self) -> None:
        """Streams look for what is new."""
        async with self.changed:
            self.changed.notify_all()

    def note(self, origin: str) -> str:
        """The newest checkpoint, with the other node's cosignatures."""
        ledger = self.ledgers[origin]
        key = (origin, ledger.head.root, self.cosigned)
        if key not in self._notes:
            checkpoint = Checkpoint(origin, ledger.head.size, ledger.head.root)
            lines = node_keys(_nation(origin)).log.lines(checkpoint, now_ms() // 1000)
            if self.cosigned:
                lines += node_keys("CN" if origin == ORIGINS["PK"] else "PK").cosigner.lines(
                    checkpoint, now_ms() // 1000
                )
            self._notes[key] = Note(checkpoint.text(), tuple(lines)).encode()
        return self._notes[key]

    @contextlib.contextmanager
    def seat(self, agency: str, seat: str = "desk") -> Any:
        """A seat's client at its nation's node; ``client.wire`` is the node, and can be steered."""
        home = seat_home(self.folder, self.world, agency, seat)
        client = Client(home)
        client.wire = NodeOfOne(self, client)  # type: ignore[assignment]
        try:
            yield client
        finally:
            home.close()


class NodeOfOne:
    """What one reader is served by its home node, in the place of ``Wire``."""

    def __init__(self, two: TwoLedgers, client: Client) -> None:
        self.url, self._two, self._client = "https://node.test", two, client
        self.mirrors = set(ORIGINS.values()) - {client.ledgers.home_origin}  # served beside the home ledger
        self.spoil: dict[str, Spoil] = {}  # what is done to the parts of a ledger
        self.withheld: set[bytes] = set()  # bodies' hashes
        self.files: dict[str, bytes] = {}  # by path
        self.requested: list[str] = []
        self.asked: list[dict[str, int]] = []  # the cursors that pages were asked for with
        self.streams: list[dict[str, int]] = []  # and streams

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    def log_in_as(self, *_: object) -> None: ...

    async def deliveries(
        self, after: Mapping[str, int], known: Mapping[str, int], *, wait: int = 0, limit: int = 256
    ) -> tuple[Part, ...]:
        """A page."""
        del wait
        self.asked.append(dict(after))
        return self._page(after, known, limit)

    def _page(self, after: Mapping[str, int], known: Mapping[str, int], limit: int) -> tuple[Part, ...]:
        home = self._client.ledgers.home_origin
        served = sorted(self._two.ledgers.keys() & {home, *self.mirrors})
        parts = [self._part(origin, after.get(origin, 0), known.get(origin, 0), limit) for origin in served]
        return tuple(part for part in parts if part is not None)

    def _part(self, origin: str, after: int, known: int, limit: int) -> Part | None:
        ledger = self._two.ledgers[origin]
        head = ledger.head
        if max(after, known) > head.size:
            if origin != self._client.ledgers.home_origin:
                return None
            raise error_of(Problem("bad-cursor", "beyond what the ledger has"))
        indexes = ledger.storage.deliveries(self._client.agency, after, head.size, limit)
        following = head.size if len(indexes) < limit else indexes[-1] + 1
        joints: tuple[Consistency, ...] = ()
        if 0 < known < head.size:
            joints = (Consistency(known, head.size, ledger.tree.consistency(known, head.size)),)
        items = tuple(self._item(ledger, index) for index in indexes)
        part = Part(head, items, self._two.note(origin), joints, following)
        return self.spoil[origin](part) if origin in self.spoil else part

    def _item(self, ledger: Ledger, index: int) -> Item:
        (data,) = ledger.storage.entry_bytes(index, index + 1)
        path, entry = ledger.tree.inclusion(index, ledger.head.size), ledger.storage.entry(index)
        if entry is None or entry.kind is not Kind.BULLETIN:
            return Item(index, data, path, None, ledger.storage.body(index))
        header = Bulletin.decode(entry.statement).header
        home = self._two.ledgers[self._client.ledgers.home_origin]
        reason = why_not_recipient(home.exchange, header, self._client.agency)
        if reason and header.sender != self._client.agency:
            return Item(index, data, path, withheld=reason)
        wrap = ledger.storage.wrap(index, self._client.key.public.key_id)
        return Item(index, data, path, wrap, ledger.storage.body(index))

    async def request(self, method: str, path: str, **_: object) -> bytes:
        """What is open to all: a file that a test put there, or a hash tile of a ledger."""
        self.requested.append(path)
        if path in self.files:
            return self.files[path]
        prefix, rest = path.rpartition("tile/")[::2]
        for origin, ledger in self._two.ledgers.items():
            mirror = f"/mirror/{hashlib.sha256(origin.encode()).hexdigest()}/"
            if rest and method == "GET" and prefix == ("/" if origin == self._client.ledgers.home_origin else mirror):
                wanted = parse_tile_path(f"tile/{rest}")
                if wanted.width <= partial_width(ledger.tree.size, wanted.level or 0, wanted.index):
                    return ledger.tree.tile_data(wanted.level or 0, wanted.index, wanted.width)
        raise Declined(f"not-found: {path}", code="not-found")

    async def stream(
        self, after: Mapping[str, int], known: Mapping[str, int], **_: object
    ) -> AsyncIterator[tuple[Part, ...]]:
        """Pages as entries come: a part for each ledger that has something new."""
        after, known = dict(after), dict(known)
        self.streams.append(dict(after))
        while True:
            page = self._page(after, known, limits.PAGE_ENTRIES_MAX)
            news = tuple(part for part in page if part.head.size > known.get(part.head.origin, 0))
            for part in news:
                after[part.head.origin], known[part.head.origin] = part.next, part.head.size
            if news:
                yield news
            else:
                async with self._two.changed:
                    await self._two.changed.wait()

    async def post(self, submissions: Sequence[Submission]) -> list[Receipt | Problem]:
        """Into the home ledger."""
        answers: list[Receipt | Problem] = []
        ledger = self._two.ledgers[self._client.ledgers.home_origin]
        for submission in submissions:
            try:
                answers.append(admit(ledger, submission, now_ms()))
            except Refused as refused:
                if refused.code == "seen-before" and refused.index is not None:
                    answers.append(ledger.receipt_of(refused.index))
                else:
                    answers.append(Problem(refused.code, refused.detail, {"step": refused.step}))
            except BadSignature as error:
                answers.append(Problem(error.code, error.detail, {"step": 8}))
        await self._two.tell()
        return answers

    async def body(self, sha256: bytes) -> tuple[bytes, bytes | None]:
        """From whichever ledger has it."""
        for ledger in self._two.ledgers.values():
            index = next(iter(ledger.storage.body_indexes(sha256)), None)
            if index is not None and sha256 not in self.withheld:
                return ledger.storage.body(index) or b"", ledger.storage.wrap(index, self._client.key.public.key_id)
        raise Declined("withheld: not now", code="withheld")


def node_of(client: Client) -> NodeOfOne:
    """What a seat of ``TwoLedgers`` is served by."""
    wire: Any = client.wire
    assert isinstance(wire, NodeOfOne)
    return wire


def _nation(origin: str) -> str:
    return next(nation for nation, of in ORIGINS.items() if of == origin)


def _submission(ledger: Ledger, index: int) -> Submission:
    """An entry as it was posted, wraps and body with it."""
    entry, body = ledger.storage.entry(index), ledger.storage.body(index) or b""
    assert entry is not None
    wraps: tuple[bytes, ...] = ()
    if entry.kind is Kind.BULLETIN:
        held = {stored.seat_key_id: stored.data for stored in ledger.storage.wraps(index)}
        header = Bulletin.decode(entry.statement).header
        named = [ledger.exchange.seats_named(addressee, entry.time) or () for addressee in header.addressees]
        wraps = tuple(held[seat.signing.key_id] for seat in itertools.chain(*named))
    return Submission(entry.kind, entry.statement, entry.signatures, wraps, body)


def _time(ledger: Ledger, index: int) -> int:
    entry = ledger.storage.entry(index)
    assert entry is not None
    return entry.time
