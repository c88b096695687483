"""An operator who holds every key of a node: a long honest ledger, and what such a one can do to a copy of it.

``build`` makes the honest ledger once; ``Operator`` opens a copy of its file, alters it at the level of SQL, and
``cover_up`` makes all of it agree again: links, leaves, tiles, recorded roots and a checkpoint signed by the log's own
keys. What no operator can do is sign for an agency, or take back what clients hold: receipts and earlier checkpoints.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from broker.ledger import Ledger
from broker.publisher import Publisher
from broker.storage.sqlite import SqliteStorage
from keys.signing import verify_all
from protocol.checkpoint import Checkpoint
from protocol.entry import Entry, Link, Submission
from protocol.header import Relation
from protocol.merkle import Frontier, leaf_hash
from protocol.note import Note
from protocol.statements import LINKED, Bulletin, Kind, statement_hash
from protocol.tiles import WIDTH, Tile
from protocol.treehead import Receipt
from tests.support.altering import replace
from tests.support.world import NOW, ORIGINS, World, line_about, node_keys, open_ledger, signing_key

ENTRIES = 2000
ORIGIN = ORIGINS["PK"]
NEXT_BUNDLE, REVOCATION, NEXT_DIRECTORY, SUSPENSION, LIFTING, THIRD_BUNDLE = 600, 800, 1000, 1100, 1200, 1400
CHECKPOINTS = (500, 1000, 1500, ENTRIES)
REVOKED = "pk-liaison/duty"
TABLES = ("entry", "bulletin", "statement", "delivery", "body")  # what is kept by index


def time_of(index: int) -> int:
    """When the entry at ``index`` was admitted, unless it is a founding one: an entry a second."""
    return NOW + index * 1000


@dataclass(frozen=True)
class Honest:
    """The ledger as it was, and what others kept of it."""

    path: Path
    world: World
    checkpoints: dict[int, str]  # by size
    receipts: dict[int, Receipt]  # by index, each with its entry
    acknowledgements: tuple[int, ...]


class _Author:
    """Writes what stands in the honest ledger, one entry an index."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.world = World.found()
        self._next = self.world.with_bundle("pk-liaison", ("desk", "duty"))
        self._third = self._next.with_bundle("pk-liaison", ("desk",))
        self._suspension = self.world.suspension("pk-site-security")
        self._directory = self.world.with_directory(issued=NOW)

    def at(self, index: int) -> Submission:
        """The statement for ``index``."""
        world = self.world
        lifts = statement_hash(Kind.SUSPENSION, self._suspension.statement)
        special: dict[int, Callable[[], Submission]] = {
            NEXT_BUNDLE: lambda: self._next.key_bundle("pk-liaison"),
            REVOCATION: lambda: world.revocation(REVOKED),
            NEXT_DIRECTORY: self._directory.publication,
            SUSPENSION: lambda: self._suspension,
            LIFTING: lambda: world.suspension("pk-site-security", lifts=lifts),
            THIRD_BUNDLE: lambda: self._third.key_bundle("pk-liaison"),
        }
        if index in special:
            return special[index]()
        if index % 10 == 0 and not SUSPENSION < index < LIFTING:
            return self._acknowledgement(index - 1)
        return bulletin(world, index, to=("cn-embassy",) if SUSPENSION < index < LIFTING else ("pk-site-security",))

    def _acknowledgement(self, target: int) -> Submission:
        entry = self._ledger.storage.entry(target)
        assert entry is not None
        line = line_about(ORIGIN, target, entry, time=entry.time)
        return self.world.acknowledgement("pk-site-security", "pk-liaison", [line])


def bulletin(world: World, index: int, **changes: object) -> Submission:
    """One for the place ``index``, sealed to the seats in force there."""
    fields = {"feed": "sites", "created": time_of(index), "to": ("pk-site-security",)} | changes
    if fields["to"] == ("cn-embassy",):
        fields["feed"] = "convoys"
    if "seats" not in fields:
        header = world.header(**{name: value for name, value in fields.items() if name != "signer"})  # type: ignore[arg-type]
        revoked = world.bundles["pk-liaison"].seats[1].kem if index > REVOCATION else None
        fields["seats"] = [seat for seat in world.seats(header) if seat.key != revoked]
    return world.bulletin(**fields)  # type: ignore[arg-type]


def build(folder: Path) -> Honest:
    """An honest ledger of ENTRIES entries, appended in groups as a writer does."""
    with closing(open_ledger(folder).storage) as storage:
        ledger = Ledger(storage, ORIGIN, World.found().pin, signing_key("PK"))
        publisher, author, checkpoints = Publisher(ledger, node_keys("PK").log), _Author(ledger), {}
        while ledger.tree.size < ENTRIES:
            _append_group(ledger, author)
            size = ledger.tree.size
            if size in CHECKPOINTS:
                publisher.publish(publisher.derive(), time_of(size) // 1000)
                assert publisher.newest is not None
                checkpoints[size] = publisher.newest.note
        receipts = {index: ledger.receipt_of(index) for index in range(0, ENTRIES, 1)}
        acknowledgements = tuple(
            index
            for index in range(10, ENTRIES, 10)
            if Entry.decode(receipts[index].entry or b"").kind is Kind.ACKNOWLEDGEMENT
        )
    return Honest(folder / "pk-ledger.db", author.world, checkpoints, receipts, acknowledgements)


def _append_group(ledger: Ledger, author: _Author) -> None:
    """Up to the next index that stands alone, as governance does, or that refers to one before it."""
    group = []
    for index in range(ledger.tree.size, ENTRIES):
        submission = author.at(index)
        staged = ledger.stage(submission, time_of(index))
        verify_all(staged.checks)
        group.append(staged)
        if (index + 1) % 10 == 0 or submission.kind not in {Kind.BULLETIN, Kind.ACKNOWLEDGEMENT}:
            break
    ledger.commit(built := ledger.build(group))
    ledger.promise(built)


class Operator:
    """A copy of the honest ledger in dishonest hands. Use it with ``closing``."""

    def __init__(self, honest: Honest, folder: Path) -> None:
        self.path, self.honest = folder / "altered.db", honest
        with closing(sqlite3.connect(honest.path)) as source, closing(sqlite3.connect(self.path)) as copy:
            source.backup(copy)
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = MEMORY")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute("BEGIN")

    def close(self) -> None:
        """Release the copy."""
        self.db.close()

    @property
    def size(self) -> int:
        """How many entries there are."""
        return int(self.db.execute("SELECT count(*) FROM entry").fetchone()[0])

    def entry(self, index: int) -> Entry:
        """One of them."""
        return Entry.decode(self.db.execute("SELECT data FROM entry WHERE idx = ?", (index,)).fetchone()[0])

    def put(self, index: int, entry: Entry) -> None:
        """Other bytes at an index, under the same index rows."""
        self.put_bytes(index, entry.encode())

    def put_bytes(self, index: int, data: bytes) -> None:
        """Any bytes at an index."""
        self.db.execute("UPDATE entry SET data = ?, leaf = ? WHERE idx = ?", (data, leaf_hash(data), index))

    def drop(self, index: int) -> None:
        """Take an entry out; what follows moves up."""
        self._in_each("DELETE FROM {} WHERE idx = ?", index)
        self.db.execute("DELETE FROM acknowledged WHERE target = ?", (index,))
        self._shift(index, -1)

    def swap(self, index: int) -> None:
        """Exchange an entry with the next; the times stay where they are, so that they look in order."""
        first, second = self.entry(index), self.entry(index + 1)
        self._in_each("UPDATE {} SET idx = -1 - (2 * ? + 1 - idx) WHERE idx IN (?, ?)", index, index, index + 1)
        self._in_each("UPDATE {} SET idx = -1 - idx WHERE idx < 0")
        self.put(index, replace(second, time=first.time))
        self.put(index + 1, replace(first, time=second.time))

    def insert(self, index: int, submission: Submission, time: int | None = None) -> None:
        """Put in what no judge was asked about; what follows moves down."""
        self._shift(index, 1)
        time = self.entry(index - 1).time if time is None else time
        entry = Entry(submission.kind, submission.statement, submission.signatures, time, None)
        data, digest = entry.encode(), statement_hash(submission.kind, submission.statement)
        self.db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (index, int(entry.kind), data, leaf_hash(data)))
        if entry.kind is Kind.BULLETIN:
            statement = Bulletin.decode(entry.statement)
            header = statement.header
            key = (header.sender, header.id)
            self.db.execute("INSERT OR IGNORE INTO bulletin VALUES (?, ?, ?, ?)", (*key, index, digest))
            self.db.execute(
                "INSERT INTO body (idx, sha256, data) VALUES (?, ?, ?)", (index, statement.body, submission.body)
            )
            self.db.executemany(
                "INSERT INTO delivery VALUES (?, ?)", [(addressee.agency, index) for addressee in header.addressees]
            )
        else:
            self.db.execute("INSERT OR IGNORE INTO statement VALUES (?, ?)", (digest, index))
            self.db.execute("INSERT INTO delivery VALUES ('', ?)", (index,))

    def append(self, submission: Submission, time: int | None = None) -> int:
        """The index of what is put behind the last."""
        index = self.size
        self.insert(index, submission, time)
        return index

    def truncate(self, size: int) -> None:
        """Forget everything from ``size`` on."""
        self._in_each("DELETE FROM {} WHERE idx >= ?", size)

    def _shift(self, index: int, by: int) -> None:
        self._in_each("UPDATE {} SET idx = -1 - idx - ? WHERE idx >= ?", by, index)
        self._in_each("UPDATE {} SET idx = -1 - idx WHERE idx < 0")

    def _in_each(self, sql: str, *values: int) -> None:
        for table in TABLES:
            self.db.execute(sql.format(table), values)

    def cover_up(self, *, links: bool = True, time_s: int | None = None) -> str:
        """Make everything agree with the entries as they are now, and sign it; the new checkpoint."""
        if links:
            self._relink()
        leaves = [leaf for (leaf,) in self.db.execute("SELECT leaf FROM entry ORDER BY idx")]
        self._retile(leaves)
        frontier, roots = Frontier(), {}
        for leaf in leaves:
            frontier.append(leaf)
            roots[frontier.size] = frontier.root()
        self.db.execute("DELETE FROM checkpoint")
        self.db.execute("COMMIT")
        note = ""
        with closing(SqliteStorage(self.path)) as storage:
            for size in (*(size for size in CHECKPOINTS if size < frontier.size), frontier.size):
                moment = time_of(size) // 1000 if time_s is None or size < frontier.size else time_s
                note = signed_checkpoint(size, roots[size], moment)
                storage.record_root(size, roots[size])
                storage.publish(size, note)
        return note

    def _relink(self) -> None:
        """The governance links that an honest node would have made of these entries."""
        link: Link | None = None
        for index, data in self.db.execute("SELECT idx, data FROM entry ORDER BY idx").fetchall():
            try:
                entry = Entry.decode(data)
            except ValueError:
                continue
            except Exception:  # noqa: BLE001, S112 - what is no entry stays as it was put
                continue
            if entry.link != link:
                self.put(index, replace(entry, link=link))
            if entry.kind in LINKED:
                link = Link(entry.kind, index)

    def _retile(self, leaves: list[bytes]) -> None:
        self.db.execute("DELETE FROM tile")
        level, hashes = 0, leaves
        while len(hashes) >= WIDTH:
            tiles = list(_tiles(hashes))
            rows = [(level, index, tile.data(), tile.root()) for index, tile in enumerate(tiles)]
            self.db.executemany("INSERT INTO tile VALUES (?, ?, ?, ?)", rows)
            level, hashes = level + 1, [tile.root() for tile in tiles]


def signed_checkpoint(size: int, root: bytes, time_s: int) -> str:
    """What only the holder of the log's keys can make."""
    checkpoint = Checkpoint(ORIGIN, size, root)
    return Note(checkpoint.text(), tuple(node_keys("PK").log.lines(checkpoint, time_s))).encode()


def _tiles(hashes: list[bytes]) -> Iterator[Tile]:
    for at in range(0, len(hashes) - len(hashes) % WIDTH, WIDTH):
        yield Tile.from_data(b"".join(hashes[at : at + WIDTH]))


def relation_to(operator: Operator, kind: str, index: int) -> Relation:
    """What a bulletin says that relates to the one at ``index``."""
    return Relation(kind, ORIGIN, index, operator.entry(index).leaf())
