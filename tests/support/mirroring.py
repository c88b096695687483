"""A peer's ledger and a mirror of it, without a network: parts as the peer's node makes them, to be altered."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from broker.deliveries import Deliveries, Room
from broker.ledger import Ledger
from broker.mirror import Mirror, Taken
from broker.pages import Pages
from broker.publisher import Publisher
from broker.sessions import Session, speaker_of
from broker.standing import Standing
from broker.storage import mirrored
from broker.storage.mirrored import MirrorStorage
from protocol import limits
from protocol.entry import Entry, Submission
from protocol.merkle import leaf_hash
from protocol.page import Item, Part
from protocol.statements import Kind
from protocol.treehead import Receipt, TreeHead
from tests.support.world import NOW, ORIGINS, World, admit, node_keys, open_ledger, signing_key


@dataclass
class Site:
    """PK's ledger as its node shows it to CN's, and what CN's holds of it. ``now`` is both their clocks."""

    folder: Path
    world: World = field(default_factory=World.found)
    now: int = NOW

    def __post_init__(self) -> None:
        self.ledger: Ledger = open_ledger(self.folder, self.world, now=self.now)
        self.publisher = Publisher(self.ledger, node_keys("PK").log)
        self._deliveries = Deliveries(self.ledger, self.ledger, Standing(), lambda _: None, self.clock)
        self.asked: list[bytes] = []  # bodies that the mirror fetched
        self.mirror = self.open_mirror()
        self._pages: Pages | None = None

    def reopen_peer(self) -> None:
        """With nothing at hand that was read before."""
        self._deliveries = Deliveries(self.ledger, self.ledger, Standing(), lambda _: None, self.clock)

    def clock(self) -> int:
        """Milliseconds, as told."""
        return self.now

    def open_mirror(self) -> Mirror:
        """From its file, which is made the first time."""
        path = self.folder / "mirror.db"
        if not path.exists():
            mirrored.create(path)
        return Mirror(MirrorStorage(path), ORIGINS["PK"], self.world.pin, ORIGINS["CN"], self.clock)

    def reopen(self) -> Mirror:
        """As after a restart of CN's node."""
        self.mirror.close()
        self.mirror = self.open_mirror()
        return self.mirror

    def post(self, submission: Submission) -> Receipt:
        """Into the peer's ledger, past its door."""
        return admit(self.ledger, submission, self.now)

    def publish(self) -> str:
        """A checkpoint of the peer's, signed now."""
        self.publisher.publish(self.publisher.derive(), self.now // 1000)
        published = self.publisher.newest
        assert published is not None
        return published.note

    def part(self, limit: int = 256, after: int | None = None) -> Part:
        """What the peer's node gives a mirror that stands where this one does."""
        start = self.mirror.size if after is None else after
        return self._deliveries.part(self._session("CN"), start, start, Room(limit))

    def served(self, after: int) -> list[int]:
        """What CN's node, which keeps its pages, serves to an agency there of the mirror."""
        if self._pages is None:
            own = open_ledger(self.folder, self.world, "CN", self.now)
            own_part, mirrored_part = (
                Deliveries(shown, own, Standing(), lambda _: None, self.clock) for shown in (own, self.mirror)
            )
            self._pages = Pages(own_part)
            self._pages.serve(mirrored_part)
        page = self._pages.page(self._session("cn-liaison/desk"), {ORIGINS["PK"]: after}, {}, limits.PAGE_ENTRIES_MAX)
        return [item.index for part in page.parts if part.head.origin == ORIGINS["PK"] for item in part.items]

    def _session(self, key: str) -> Session:
        speaker = speaker_of(self.ledger.exchange, signing_key(key).public.key_id, self.now)
        assert speaker is not None
        return Session(b"", self.now, speaker, self.ledger.exchange)

    async def take(self, part: Part | None = None) -> Taken:
        """Into the mirror; large bodies are fetched from the peer's store."""
        return await self.mirror.take(part or self.part(), self.fetch)

    async def fetch(self, sha256: bytes) -> tuple[bytes, bytes] | None:
        """A body and its wraps, as the peer's route gives them."""
        self.asked.append(sha256)
        storage = self.ledger.storage
        index = next(iter(storage.body_indexes(sha256)), None)
        body = storage.body(index) if index is not None else None
        return (body, b"".join(w.data for w in storage.wraps(index))) if body and index is not None else None

    def close(self) -> None:
        """Both files."""
        self.mirror.close()
        self.ledger.storage.close()
        if self._pages is not None:
            self._pages.own.shown.storage.close()


def signed_head(part: Part, size: int, root: bytes, signer: str = "PK") -> TreeHead:
    """A head as whoever holds the peer's receipt key can make it."""
    head = part.head.replace(size=size, root=root, signature=None)
    return head.replace(signature=signing_key(signer).sign(head.message(), 1))


def forged(site: Site, *entries: bytes) -> Part:
    """A part whose entries are these, under a head that the peer signed over them: an operator who lies."""
    size = site.mirror.size
    for entry in entries:
        site.mirror.tree.append(leaf_hash(entry))
    root = site.mirror.tree.root(size + len(entries))
    site.mirror.tree.reload()
    items = tuple(Item(size + at, entry, ()) for at, entry in enumerate(entries))
    honest = site.part()
    return honest.replace(
        head=signed_head(honest, size + len(entries), root),
        items=items,
        next=size + len(entries),
        checkpoint="",
    )


def entry_of(site: Site, submission_kind: Kind, statement: bytes, signatures: bytes, **changes: int) -> bytes:
    """An entry as the peer's ledger would have made it, or nearly."""
    ledger = site.ledger
    return Entry(submission_kind, statement, signatures, changes.get("time", site.now), ledger.link).encode()
