"""A ledger that is older than its promises: it serves reads, signs nothing, and says what it wants."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.backup import RESTORED
from broker.errors import LedgerBroken
from broker.ledger import Ledger
from broker.node import Node
from broker.publisher import Publisher
from broker.restore import StoredTail, take_back
from broker.storage.contract import Halt
from broker.storage.sqlite import SqliteStorage, copy_ledger
from clients.archive import Archive
from clients.auditor import export_ledger
from clients.copies import Copy
from clients.errors import Unreachable
from clients.transport import Wire
from keys.lognote import LogSigner
from protocol.checkpoint import Checkpoint
from protocol.merkle import Frontier
from protocol.note import Note
from protocol.problem import Problem
from tests.support.door import logged_in, post, refusal
from tests.support.live import live_node, world_of_today
from tests.support.world import ORIGINS, World, node_keys, seed, signing_key

ORIGIN = ORIGINS["PK"]
LOG = node_keys("PK").log


@dataclass
class Past:
    """A node that was backed up, went on, and is then put back to what it was."""

    folder: Path
    world: World = field(default_factory=world_of_today)
    newest: str = ""  # the checkpoint of the last moment
    size: int = 0

    @property
    def ledger(self) -> Path:
        return self.folder / "pk-ledger.db"

    async def live(self, wire: Wire, node: Node, count: int) -> None:
        for _ in range(count):
            await post(wire, self.world.bulletin(created=node.clock()))
        await node.publish()

    def put_back(self) -> None:
        """As an operator would who copies files: nothing marks the ledger as old."""
        for path in self.folder.glob("pk-ledger.db*"):
            path.unlink()
        shutil.copy(self.folder / "backup.db", self.ledger)


@pytest.fixture
async def past(tmp_path: Path) -> Past:
    """Three bulletins, a backup, five more and a revocation; an export of all of it in ``export``."""
    past = Past(tmp_path)
    async with live_node(tmp_path, past.world) as node, logged_in(node, "pk-liaison/desk") as sender:
        await past.live(sender, node, 3)
        copy_ledger(past.ledger, tmp_path / "backup.db")
        await past.live(sender, node, 5)
        async with logged_in(node, "pk-liaison/identity") as custodian:
            await post(custodian, past.world.revocation("pk-liaison/desk", created=node.clock()))
        await node.publish()
        async with logged_in(node, "pk-auditor/desk") as auditor:
            await export_ledger(Copy(auditor), Archive(tmp_path / "export"), bodies=True, progress=lambda *_: None)
        assert node.publisher.newest is not None
        past.newest, past.size = node.publisher.newest.note, node.ledger.tree.size
    copy_ledger(past.ledger, tmp_path / "newer.db")
    past.put_back()
    return past


@contextlib.contextmanager
def opened(path: Path, world: World) -> Iterator[Ledger]:
    with contextlib.closing(SqliteStorage(path)) as storage:
        yield Ledger(storage, ORIGIN, world.pin, signing_key("PK"))


def signed(checkpoint: Checkpoint, signer: LogSigner = LOG) -> str:
    return Note(checkpoint.text(), tuple(signer.lines(checkpoint, 1_800_000_000))).encode()


async def is_stopped(node: Node, wire: Wire, world: World) -> bool:
    """Whether it admits nothing and signs nothing, and serves what it has."""
    (part,) = await wire.deliveries({}, {})
    assert part.items
    head, note = node.ledger.head, part.checkpoint
    answer = await refusal(wire, world.bulletin("cn-liaison", ("pk-liaison",), created=node.clock()))
    assert (answer.code, answer.status) == ("not-signing", 503)
    await node.publish()
    (part,) = await wire.deliveries({}, {})
    assert (part.head, part.checkpoint) == (head, note)
    assert not node.state()["ready"]
    return node.not_signing is not None


async def test_a_login_that_shows_a_larger_checkpoint_stops_signing_for_good(past: Past) -> None:
    """Signed by the log's own keys it is proof enough; a restart forgets nothing."""
    async with live_node(past.folder, past.world) as node:
        assert node.not_signing is None
        async with logged_in(node, "cn-liaison/desk", past.newest) as reader:
            assert await is_stopped(node, reader, past.world)
            assert f"of {past.size} entries" in str(node.not_signing)
            with pytest.raises(Unreachable, match="not-signing"):
                await reader.deliveries({ORIGIN: past.size}, {ORIGIN: past.size})
    async with live_node(past.folder, past.world) as node, logged_in(node, "cn-liaison/desk") as reader:
        assert await is_stopped(node, reader, past.world)


async def test_another_tree_of_a_size_that_is_here_stops_signing_for_good(past: Past) -> None:
    """A second history under the same keys: it is kept as evidence, and no tail mends it."""
    evidence = signed(Checkpoint(ORIGIN, 4, bytes(32)))
    async with live_node(past.folder, past.world) as node, logged_in(node, "cn-liaison/desk", evidence) as reader:
        assert await is_stopped(node, reader, past.world)
    with opened(past.ledger, past.world) as ledger:
        assert ledger.storage.halted() == Halt(str(ledger.broken), evidence)
        with pytest.raises(LedgerBroken, match="new origin"):
            take_back(ledger, Archive(past.folder / "export"), LOG.vkeys())


@pytest.mark.parametrize("claim", ["unsigned", "other keys", "other origin", "one key", "known", "no note", "empty"])
async def test_a_claim_that_is_not_signed_counts_for_nothing(past: Past, claim: str) -> None:
    """Nor does one of another log, or one that is known: the login is opened and the node goes on."""
    larger = Checkpoint(ORIGIN, 10**6, bytes(32))
    strangers = LogSigner(ORIGIN, seed("x", 32), seed("y", 32))
    others = LogSigner("other.test/log", seed("x", 32), seed("y", 32))
    text, _, _ = signed(larger).rpartition("\n\n")
    note = {
        "unsigned": Note(larger.text(), tuple(strangers.lines(larger, 1)[:1])).encode(),
        "other keys": signed(larger, strangers),
        "other origin": signed(Checkpoint("other.test/log", 10**6, bytes(32)), others),
        "one key": Note(larger.text(), tuple(LOG.lines(larger, 1)[:1])).encode(),
        "known": "",
        "no note": text,
        "empty": "",
    }[claim]
    async with live_node(past.folder, past.world) as node:
        if claim == "known":
            assert node.publisher.newest is not None
            note = node.publisher.newest.note
        async with logged_in(node, "pk-liaison/desk", note) as sender:
            assert (await post(sender, past.world.bulletin(created=node.clock()))).index
        assert node.not_signing is None


async def test_a_marked_ledger_serves_what_was_signed_before(past: Past) -> None:
    """After ``node restore`` nothing is signed, not even a head: readers get the last one that was."""
    with contextlib.closing(SqliteStorage(past.ledger)) as storage:
        storage.halt(Halt(RESTORED))
        published = storage.newest_published()
        assert published is not None
    async with live_node(past.folder, past.world) as node, logged_in(node, "cn-liaison/desk") as reader:
        assert await is_stopped(node, reader, past.world)
        assert node.not_signing == RESTORED
        assert node.ledger.head.size == published.size
        tile = await reader.request("GET", f"/tile/0/000.p/{published.size}", login=False)
        leaves = [tile[at : at + 32] for at in range(0, len(tile), 32)]
        frontier = Frontier()
        for leaf in leaves:
            frontier.append(leaf)
        assert (frontier.size, frontier.root()) == (published.size, published.root)


async def test_altered_entries_are_not_signed_over(past: Past) -> None:
    """The root that was recorded is not the root of what is there: found at the start, and no head is signed."""
    with contextlib.closing(SqliteStorage(past.ledger)) as storage:
        storage._writer.execute("UPDATE entry SET leaf = zeroblob(32) WHERE idx = 2")
    async with live_node(past.folder, past.world) as node, logged_in(node, "cn-liaison/desk") as reader:
        assert "root" in str(node.not_signing)
        with pytest.raises(Unreachable, match="not-signing"):
            await reader.deliveries({}, {})


@pytest.mark.parametrize("source", ["export", "newer.db"])
async def test_with_the_tail_it_signs_again(past: Past, source: str) -> None:
    """From an export or a newer backup: the same tree, the same state, the same bytes; and it goes on from there."""
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(opened(past.ledger, past.world))
        ledger.storage.halt(Halt(RESTORED))
        start = ledger.tree.size
        path = past.folder / source
        tail = (
            Archive(path) if path.is_dir() else StoredTail(stack.enter_context(contextlib.closing(SqliteStorage(path))))
        )
        assert take_back(ledger, tail, LOG.vkeys()) == past.size - start == 6
    async with live_node(past.folder, past.world) as node:
        assert node.not_signing is None
        async with logged_in(node, "cn-liaison/desk", past.newest) as reader:
            (part,) = await reader.deliveries({ORIGIN: past.size - 2}, {})
            assert part.items[0].withheld == ("" if source == "newer.db" else "missing")
            assert (part.items[0].wrap is not None) == (source == "newer.db")
            await post(reader, past.world.bulletin("cn-liaison", ("pk-site-security",), created=node.clock()))
        assert node.not_signing is None
        assert node.ledger.exchange.is_revoked("pk-liaison", signing_key("pk-liaison/desk").public.key_id)
    with opened(past.ledger, past.world) as ledger:
        Publisher(ledger, LOG)
        assert ledger.broken is None


async def test_no_tail_is_enough_for_a_node_with_peers(past: Past) -> None:
    """Halted by now or not, as files were copied by hand; a tail that is refused or brings nothing changes nothing."""
    tail = Archive(past.folder / "export")
    with opened(past.ledger, past.world) as ledger:
        strangers = LogSigner(ORIGIN, seed("x", 32), seed("y", 32))
        with pytest.raises(LedgerBroken):
            take_back(ledger, tail, strangers.vkeys(), has_peers=True)
        assert ledger.storage.halted() is None
        assert take_back(ledger, tail, LOG.vkeys(), has_peers=True) == 6
        assert ledger.storage.halted() == Halt(RESTORED)
        ledger.storage.halt(None)
        assert take_back(ledger, tail, LOG.vkeys(), has_peers=True) == 0
        assert ledger.storage.halted() is None


@pytest.mark.parametrize("damage", ["checkpoint", "entry", "short", "stranger", "nothing"])
async def test_a_tail_that_is_not_this_log_is_refused_and_leaves_the_halt(past: Past, damage: str) -> None:
    """Another log's checkpoint, an altered or missing entry, or one that does not reach what was promised."""
    export = past.folder / "export"
    bundle = next((export / "tile" / "entries").glob("**/0*/*"), None) or next((export / "tile/entries").rglob("*"))
    if damage == "checkpoint":
        (export / "checkpoint").write_text(signed(Checkpoint(ORIGIN, past.size, bytes(32))))
    elif damage == "stranger":
        strangers = LogSigner(ORIGIN, seed("x", 32), seed("y", 32))
        (export / "checkpoint").write_text(signed(Checkpoint(ORIGIN, past.size, bytes(32)), strangers))
    elif damage == "entry":
        data = bytearray(bundle.read_bytes())
        data[-10] ^= 1
        bundle.write_bytes(data)
    elif damage == "short":
        bundle.unlink()
    with opened(past.ledger, past.world) as ledger:
        ledger.storage.halt(Halt(RESTORED))
        if damage == "nothing":
            ledger.storage.record_root(past.size + 5, bytes(32))  # a login showed more than the export has
        with pytest.raises(LedgerBroken):
            take_back(ledger, Archive(export), LOG.vkeys())
        assert ledger.storage.halted() == Halt(RESTORED)


async def test_what_a_problem_says(past: Past) -> None:
    """A client keeps its outbox: 503 is no refusal of the bulletin."""
    with contextlib.closing(SqliteStorage(past.ledger)) as storage:
        storage.halt(Halt(RESTORED))
    async with live_node(past.folder, past.world) as node, logged_in(node, "pk-liaison/desk") as sender:
        with pytest.raises(Unreachable, match="restored"):
            await sender.post([past.world.bulletin(created=node.clock())])
        answers = await sender.post([past.world.bulletin(created=node.clock()) for _ in range(2)])
        assert [answer.code for answer in answers if isinstance(answer, Problem)] == ["not-signing"] * 2
