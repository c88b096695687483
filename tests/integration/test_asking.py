"""A node has its checkpoints cosigned: over real sockets, and by witnesses that are slow, dead or hostile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.certificate import certificate_hash, make_certificate
from broker.http import server
from broker.node import Node
from broker.witness import store
from broker.witness.asking import Away
from broker.witness.roster import AskedWitness, witnesses_of
from broker.witness.store import WitnessStore
from broker.witness.witness import Answer, Witness, holds_nothing_to_compare
from keys.lognote import CosignerKeys
from keys.witnessing import policy_of, witnessed
from khunjerab.demo.ports import free_port
from khunjerab.reach import reach_with
from khunjerab.witnesses import HttpWitness
from protocol.addcheckpoint import AddCheckpoint, decode_lines, encode_lines
from protocol.checkpoint import Checkpoint
from protocol.names import format_id
from protocol.note import Note, SignatureLine
from protocol.statements import Bulletin
from protocol.tlogpolicy import Policy
from tests.support.caller import Caller
from tests.support.door import logged_in, post, until
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.submitting import KnownLogs, cosigner_keys
from tests.support.world import ORIGINS, World, node_keys

PK, CN = ORIGINS["PK"], ORIGINS["CN"]


@dataclass
class Peer:
    """A witness in this process under the keys of CN's node; tests say what becomes of its answers."""

    witness: Witness
    asked: list[AddCheckpoint] = field(default_factory=list)
    away: bool = False
    closed: bool = False
    alter: Callable[[Answer], Answer] = lambda answer: answer
    shown: str = ""
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def submit(self, body: bytes) -> Answer:
        self.asked.append(AddCheckpoint.parse(body))
        await self.gate.wait()
        if self.away:
            raise Away("no answer")
        return self.alter(await self.witness.add_checkpoint(body))

    async def cosigned(self, origin: str) -> str:
        assert origin == PK
        return self.shown

    async def close(self) -> None:
        self.closed = True


def peer_of(folder: Path, keys: CosignerKeys) -> Peer:
    path = folder / f"{keys.name.replace('/', '-')}.db"
    if not path.exists():
        store.create(path)
    logs = KnownLogs(node_keys("PK").log)
    return Peer(Witness(keys, WitnessStore(path), logs, holds_nothing_to_compare, lambda: now_ms() // 1000))


@pytest.fixture
def world() -> World:
    return world_of_today()


@contextlib.asynccontextmanager
async def asking_node(folder: Path, world: World, peer: Peer, policy: Policy | None = None) -> AsyncIterator[Node]:
    """The node of PK, which asks ``peer`` in the place of every witness; time passes fast for its lanes."""
    async with live_node(folder, world) as node:
        node.ask_witnesses(lambda _: peer, policy)
        assert node.asking is not None
        node.asking.pause_s = 0.001
        node.asking.begin()
        try:
            yield node
        finally:
            if node.asking is not None:
                await node.asking.close()
            peer.witness.close()


async def grow(node: Node, world: World) -> int:
    """One bulletin more, under a checkpoint; its index."""
    async with logged_in(node, "pk-liaison/desk") as sender:
        index = (await post(sender, world.bulletin(created=node.clock()))).index
    await node.publish()
    return index


def by(node: Node) -> tuple[str, ...]:
    """Who stands under the newest checkpoint, as a reader finds."""
    assert node.publisher.newest is not None
    directory = node.ledger.exchange.in_force
    return witnessed(node.publisher.newest.note, PK, directory, policy_of(directory, PK)).by


async def test_each_checkpoint_is_cosigned_by_the_peer(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the size that it saw last, with a proof; and shown where readers look. SPEC 9.7.7, 11.5.1."""
    monkeypatch.setattr("broker.node.PUBLISH_SECONDS", 3600)  # but for `grow` it publishes nothing
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    async with asking_node(tmp_path, world, peer) as node, Caller(node.config.url, world) as caller:
        await until(lambda: by(node) == (CN,))
        begun = node.ledger.head.size
        for _ in range(3):
            index = await grow(node, world)
            await until(lambda: by(node) == (CN,))
            shown = await caller.ask("GET", "/checkpoint")
            assert shown.data.decode() == (node.publisher.newest and node.publisher.newest.note)
            await caller.log_in()
            part = await caller.page(known=begun)
            assert part.checkpoint == shown.data.decode()
            assert node.asking is not None
            assert (node.asking.witnessed_by(index), node.asking.witnessed_by(index + 1)) == ([CN], [])
        assert [request.old for request in peer.asked] == [0, begun, begun + 1, begun + 2]
        assert all(len(request.note.lines) == 2 for request in peer.asked)
        (told,) = node.state()["witnesses"]
        assert (told["name"], told["size"], told["error"]) == (CN, begun + 3, None)


async def test_the_state_of_a_bulletin_tells_who_witnessed_it(tmp_path: Path, world: World) -> None:
    """As soon as a checkpoint that covers it is cosigned. SPEC 11.5.1."""
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    async with asking_node(tmp_path, world, peer) as node, Caller(node.config.url, world) as caller:
        await caller.log_in()
        bulletin = world.bulletin(created=node.clock())
        peer.gate.clear()
        await caller.receipt(bulletin)
        header = Bulletin.decode(bulletin.statement).header
        path = f"/v1/bulletins/{format_id(header.sender, header.id)}"
        assert (await caller.ask("GET", path)).json()["witnessed_by"] == []
        await node.publish()
        peer.gate.set()
        await until(lambda: by(node) == (CN,))
        assert (await caller.ask("GET", path)).json()["witnessed_by"] == [CN]


async def test_a_renewed_checkpoint_keeps_its_cosignatures_and_gets_fresh_ones(tmp_path: Path, world: World) -> None:
    """The tree is the same; the lines of a witness that is away now still hold. SPEC 9.7.7."""
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    async with asking_node(tmp_path, world, peer) as node:
        await until(lambda: by(node) == (CN,))
        peer.away = True
        before = node.publisher.newest
        node.publisher._signed_s = 0
        await node.publish()
        assert node.publisher.newest != before
        assert by(node) == (CN,)


async def test_a_restart_knows_what_was_cosigned(tmp_path: Path, world: World) -> None:
    """It stands under the checkpoint that is kept; a witness that is away then counts on. SPEC 9.7.7."""
    async with asking_node(tmp_path, world, peer_of(tmp_path, node_keys("CN").cosigner)) as node:
        await until(lambda: by(node) == (CN,))
        size = node.ledger.head.size
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    peer.away = True
    async with asking_node(tmp_path, world, peer) as node:
        assert node.asking is not None
        assert node.asking.witnessed_by(size - 1) == [CN]
        assert by(node) == (CN,)
        peer.away = False
        await until(lambda: [request.old for request in peer.asked][-2:] == [0, size])  # by a conflict


async def test_a_witness_that_is_away_is_asked_again(tmp_path: Path, world: World) -> None:
    """And told of in the state, until it is back."""
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    peer.away = True
    async with asking_node(tmp_path, world, peer) as node:
        await until(lambda: len(peer.asked) > 2)
        (told,) = node.state()["witnesses"]
        assert (told["size"], told["error"]) == (0, "no answer")
        await grow(node, world)
        peer.away = False
        await until(lambda: by(node) == (CN,))
        (told,) = node.state()["witnesses"]
        assert (told["size"], told["error"]) == (node.ledger.head.size, None)


def _altered(change: Callable[[tuple[SignatureLine, ...]], tuple[SignatureLine, ...]]) -> Callable[[Answer], Answer]:
    def alter(answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        return Answer(200, encode_lines(change(decode_lines(answer.body))))

    return alter


def _broken(line: SignatureLine) -> SignatureLine:
    return SignatureLine(line.name, line.key_id, line.signature[:-1] + bytes([line.signature[-1] ^ 1]))


def _over_another(answer: Answer) -> Answer:
    lines = node_keys("CN").cosigner.lines(Checkpoint(PK, 99, b"\1" * 32), 1_800_000_000)
    return Answer(200, encode_lines(lines))


def _without_time(answer: Answer) -> Answer:
    return Answer(200, encode_lines(node_keys("CN").cosigner.lines(Checkpoint(PK, 8, b"\1" * 32), 0)))


@pytest.mark.parametrize(
    "alter",
    [
        lambda _: Answer(200, b""),
        lambda _: Answer(200, b"\xff\x00junk"),
        lambda _: Answer(200, b"x" * 60_000),
        lambda _: Answer(409, b"junk"),
        lambda _: Answer(409, b"0\n"),
        lambda _: Answer(409, b"99999999\n"),
        lambda _: Answer(422, b"no\n"),
        lambda _: Answer(500, b"\xff" * 50_000),
        lambda _: Answer(302, b""),
        _altered(lambda lines: tuple(_broken(line) for line in lines)),
        _altered(lambda lines: (_broken(lines[0]), lines[1])),
        _altered(lambda lines: lines[:1]),
        _altered(lambda lines: lines[1:]),
        _over_another,
        _without_time,
    ],
    ids=[
        *("nothing", "junk", "too much", "no size", "a conflict again", "a size beyond", "422", "500", "302"),
        *("broken", "half broken", "no ML-DSA", "no Ed25519", "another tree", "no time"),
    ],
)
async def test_a_hostile_witness_adds_nothing(tmp_path: Path, world: World, alter: Callable[[Answer], Answer]) -> None:
    """Whatever it answers, only lines that verify, of all its keys, stand under a checkpoint. SPEC 9.7.7."""
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    async with asking_node(tmp_path, world, peer) as node:
        peer.alter = alter
        await grow(node, world)
        await until(lambda: bool(node.asking and node.asking.lanes[0].failures > 2))
        assert node.publisher.newest is not None
        shown = Note.parse(node.publisher.newest.note)
        assert len(shown.lines) in {2, 4}  # four where the first answer came before it turned
        assert len(shown.lines) == 2 or by(node) == (CN,)
        assert node.not_signing is None
        assert not node.failed.done()
        peer.alter = lambda answer: answer
        await grow(node, world)
        await until(lambda: by(node) == (CN,))


async def test_lines_of_others_are_not_taken_from_a_witness(tmp_path: Path, world: World) -> None:
    """Each stands for its own keys alone. SPEC 9.7.7."""
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    stranger = cosigner_keys("xx.example/witness")

    def with_more(answer: Answer) -> Answer:
        request = peer.asked[-1]
        return Answer(answer.status, answer.body + encode_lines(stranger.lines(request.checkpoint, 1_800_000_000)))

    peer.alter = with_more
    async with asking_node(tmp_path, world, peer) as node:
        await until(lambda: bool(node.publisher.newest and node.pages.own.checkpoint_lines == 4))
        assert node.publisher.newest is not None
        assert "xx.example" not in node.publisher.newest.note


async def test_one_that_never_answers_holds_up_nobody(tmp_path: Path, world: World) -> None:
    """Checkpoints go on, and the other witness cosigns them. SPEC 9.7.7."""
    peer, other_keys = peer_of(tmp_path, node_keys("CN").cosigner), cosigner_keys("w.example/one")
    other = peer_of(tmp_path, other_keys)
    peer.gate.clear()
    keys = other_keys.vkeys()
    policy = Policy.parse(
        "".join(f"witness w{number} {key.encode()} https://w.example\n" for number, key in enumerate(keys))
        + "quorum none\n"
    )
    async with live_node(tmp_path, world) as node:
        node.ask_witnesses(lambda witness: peer if witness.is_peer else other, policy)
        assert node.asking is not None
        node.asking.pause_s = 0.001
        node.asking.begin()
        for _ in range(3):
            index = await grow(node, world)
            await until(lambda index=index: node.asking.witnessed_by(index) == ["w.example/one"])  # type: ignore[misc]
        assert len(peer.asked) == 1
    assert peer.closed
    assert other.closed
    peer.witness.close()
    other.witness.close()


class Turns:
    """How often a node was about to publish, and whether each answer of a witness came in time to be shown."""

    def __init__(self, node: Node) -> None:
        self.count, self.shown = 0, list[bool]()
        self._age_s, self._cosign = node.publisher.age_s, node.publisher.cosign
        node.publisher.age_s = self._counted  # type: ignore[method-assign]
        node.publisher.cosign = self._noted  # type: ignore[method-assign]

    def _counted(self, now_s: int) -> int:
        self.count += 1
        return self._age_s(now_s)

    def _noted(self, checkpoint: Checkpoint, lines: Sequence[SignatureLine]) -> bool:
        self.shown.append(self._cosign(checkpoint, lines))
        return self.shown[-1]


async def test_over_a_long_line_a_busy_ledger_is_seen_witnessed_all_the_same(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer comes after the ledger grew and a checkpoint was due; for who is away none waits. SPEC 9.7.7."""
    monkeypatch.setattr("broker.node.PUBLISH_SECONDS", 0.01)
    monkeypatch.setattr("broker.node.AWAITED_SECONDS_MAX", 600)
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    async with asking_node(tmp_path, world, peer) as node, logged_in(node, "pk-liaison/desk") as sender:
        await until(lambda: by(node) == (CN,))
        turns = Turns(node)
        for answers in range(1, 4):
            peer.gate.clear()
            size = (await post(sender, world.bulletin(created=node.clock()))).index + 1
            await until(lambda size=size: peer.asked[-1].checkpoint.size == size)  # type: ignore[misc]
            await post(sender, world.bulletin(created=node.clock()))
            await until(lambda after=turns.count + 3: turns.count > after)  # type: ignore[misc]
            peer.gate.set()
            await until(lambda answers=answers: len(turns.shown) >= 2 * answers)  # type: ignore[misc]
        assert all(turns.shown)
        peer.away = True
        for _ in range(2):
            size = (await post(sender, world.bulletin(created=node.clock()))).index + 1
            await until(lambda size=size: node.pages.own.checkpoint_size == size)  # type: ignore[misc]


async def test_readers_of_a_stream_get_the_cosigned_checkpoint(tmp_path: Path, world: World) -> None:
    """Those who were sent what it covers, as for a new checkpoint. SPEC 11.6.2."""
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    async with asking_node(tmp_path, world, peer) as node, logged_in(node, "cn-liaison/desk") as reader:
        await until(lambda: by(node) == (CN,))
        pages = reader.stream({PK: node.ledger.head.size}, {PK: node.ledger.head.size})
        peer.gate.clear()
        index = await grow(node, world)
        lines = list[int]()
        async with contextlib.aclosing(pages), asyncio.timeout(120):
            async for (part,) in pages:
                size = Checkpoint.parse(Note.parse(part.checkpoint).text).size
                if size > index:
                    lines.append(len(Note.parse(part.checkpoint).lines))
                    peer.gate.set()
                if lines[-1:] == [4]:
                    break
        assert lines == [2, 4]


async def test_a_larger_checkpoint_that_a_witness_shows_ends_signing(tmp_path: Path, world: World) -> None:
    """If it is signed with this log's keys; a claim without one counts for nothing."""
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    peer.alter = lambda _: Answer(409, b"1000\n")
    async with asking_node(tmp_path, world, peer) as node:
        peer.shown = "junk"
        await until(lambda: bool(node.asking and node.asking.lanes[0].failures > 2))
        assert node.not_signing is None
        beyond = Checkpoint(PK, 1000, b"\1" * 32)
        peer.shown = Note(beyond.text(), tuple(node_keys("PK").log.lines(beyond, 1_800_000_000))).encode()
        await until(lambda: node.not_signing is not None)


def test_whom_a_node_asks(world: World) -> None:
    """The other nodes of the directory, and those of its policy that have a URL, their keys together; none twice."""
    own, cn = cosigner_keys("w.example/one").vkeys(), node_keys("CN").cosigner.vkeys()
    stranger = cosigner_keys("w.example/two").vkeys()
    text = "".join(
        [
            *(f"witness a{n} {key.encode()} https://w.example\n" for n, key in enumerate(own)),
            *(f"witness b{n} {key.encode()} https://cn.example\n" for n, key in enumerate(cn)),
            *(f"witness c{n} {key.encode()}\n" for n, key in enumerate(stranger)),
            "quorum none\n",
        ]
    )
    listed = world.directory.by_origin[CN]
    assert witnesses_of(world.directory, PK, Policy.parse(text)) == [
        AskedWitness(CN, listed.url, tuple(cn), listed.tls, is_peer=True),
        AskedWitness("w.example/one", "https://w.example", tuple(own)),
    ]
    assert [witness.name for witness in witnesses_of(world.directory, CN, None)] == [PK]


# Over HTTP


async def test_over_real_sockets(tmp_path: Path, world: World) -> None:
    """Two nodes: what one has published the other cosigns, by its own route. SPEC 9.7.1, 9.7.7."""
    (tmp_path / "cn").mkdir()
    async with live_node(tmp_path, world) as node:
        listen = f"127.0.0.1:{free_port()}"
        cosigned = tmp_path / "cn" / "witness.db"
        store.create(cosigned)
        peer = peer_of(tmp_path / "cn", node_keys("CN").cosigner)
        reach = reach_with(node.keys.receipt, world.pin)
        other = Node(node.config, node.keys, node.storage, node.clock, home=tmp_path, reach=reach)
        other.witness = peer.witness
        runner = await server.run_application(server.application(other), listen, None)
        asked = AskedWitness(CN, f"http://{listen}", tuple(node_keys("CN").cosigner.vkeys()), is_peer=True)
        http = HttpWitness(asked, str)
        node.ask_witnesses(lambda _: http, None)
        assert node.asking is not None
        node.asking.pause_s = 0.001
        node.asking.begin()
        try:
            for _ in range(3):
                await grow(node, world)
                await until(lambda: by(node) == (CN,))
            mine = node.publisher.newest
            assert mine is not None
            assert await http.cosigned(PK) == mine.note
        finally:
            await node.asking.close()
            await runner.cleanup()
            peer.witness.close()


async def test_a_peer_is_known_by_its_certificate(tmp_path: Path) -> None:
    """The one that the directory lists; a third party by its signatures, whatever certificate it shows."""
    listen = f"127.0.0.1:{free_port()}"
    url, pem = f"https://{listen}", tmp_path / "tls.pem"
    pem.write_bytes(make_certificate(url))
    peer = peer_of(tmp_path, node_keys("CN").cosigner)
    runner = await server.serve_witness(peer.witness, listen, server.tls_context(pem))
    try:
        for tls in ((certificate_hash(pem),), (b"\1" * 32, certificate_hash(pem)), ()):
            http = HttpWitness(AskedWitness(CN, url, (), tls, is_peer=bool(tls)), str)
            assert (await http.submit(b"junk")).status == 400
            await http.close()
        http = HttpWitness(AskedWitness(CN, url, (), (b"\1" * 32,), is_peer=True), str)
        with pytest.raises(Away, match="certificate that the directory does not list"):
            await http.submit(b"junk")
        await http.close()
    finally:
        await runner.cleanup()
        peer.witness.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://", "nonsense", "http://host.invalid:99999/"])
async def test_a_witness_that_cannot_be_reached_is_away(url: str) -> None:
    """In one kind of error, whatever is wrong with where it should be."""
    http = HttpWitness(AskedWitness("w.example", url, ()), str)
    with pytest.raises(Away):
        await http.submit(b"")
    await http.close()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70_000, b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"],
    ids=["endless", "no HTTP", "cut off"],
)
async def test_an_answer_that_is_none_is_away(answer: bytes) -> None:
    """Bounded, whatever its length."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    http = HttpWitness(AskedWitness("w.example", f"http://127.0.0.1:{port}", ()), str)
    async with listening:
        with pytest.raises(Away):
            await http.submit(b"x")
        await http.close()
        await closed.wait()
