"""Streams of submissions over a real socket (SPEC §11.7): answers in order, refusals among them, what ends a stream."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from broker import subscribers
from broker.node import Node
from broker.submitters import SUBMITTERS_PER_SPEAKER_MAX, Submitter
from clients.errors import Declined, Unreachable, UpgradeRefused
from clients.submitting import Answered, Submitting, submitting
from clients.transport import Wire
from keys.signing import SignatureCheck
from protocol import canonical, limits
from protocol.entry import Entry, Submission, encode_batch
from protocol.policy import Policy
from protocol.problem import Problem
from protocol.stream import decode_answers, encode_answers
from protocol.treehead import Receipt
from tests.support.door import logged_in, post, until
from tests.support.live import live_node, world_of_today
from tests.support.world import World, node_keys

ENDLESS = Policy(attempts_per_minute=10**9, bulletins_per_hour=10**9)


@contextlib.asynccontextmanager
async def node_and_wire(folder: Path, who: str = "pk-liaison/desk") -> AsyncIterator[tuple[World, Node, Wire]]:
    world = world_of_today(policy=ENDLESS)
    async with live_node(folder, world) as node, logged_in(node, who) as wire:
        yield world, node, wire


def bulletins(world: World, node: Node, count: int) -> list[Submission]:
    return [world.bulletin(created=node.clock()) for _ in range(count)]


async def all_answers(stream: Submitting) -> list[Answered]:
    """To everything that is in flight."""
    answered: list[Answered] = []
    while len(stream):
        answered += await stream.answers()
    return answered


async def answers_before(stream: Submitting, end: str) -> list[Answered]:
    """Whatever is answered before the node ends the stream with this code."""
    answered: list[Answered] = []

    async def read_on() -> None:
        while True:
            answered.extend(await stream.answers())

    with pytest.raises(Declined, match=end):
        await read_on()
    return answered


def held(submission: Submission, answer: Receipt | Problem) -> Receipt:
    """A receipt that leads from this submission to a head that the node signed."""
    assert isinstance(answer, Receipt), answer
    answer.leaf_of(Entry(submission.kind, submission.statement, submission.signatures, answer.time, answer.link))
    assert answer.head.signature is not None
    SignatureCheck(node_keys("PK").receipt.public, answer.head.message(), answer.head.signature, 1).verify()
    return answer


def the_one_open(node: Node) -> Submitter:
    (submitter,) = node.submitters._open
    return submitter


async def raw(wire: Wire) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
    """The socket itself, for what no client of ours would do."""
    await wire.session()
    return wire.socket("/v1/entries", limits.MESSAGE_BYTES_MAX)


async def until_ended(stream: aiohttp.ClientWebSocketResponse) -> tuple[list[Receipt | Problem], int | None, str]:
    """Everything that is answered, then the close code and reason."""
    answers: list[Receipt | Problem] = []
    while True:
        message = await stream.receive(timeout=120)
        if message.type is WSMsgType.CLOSE:
            return answers, message.data, str(message.extra)
        assert message.type is WSMsgType.BINARY, message
        answers += decode_answers(message.data)


# Answers


async def test_two_hundred_in_flight_are_answered_in_order(tmp_path: Path) -> None:
    """Each by its own receipt, and they stand in the ledger in that order (11.7.2)."""
    async with node_and_wire(tmp_path) as (world, node, wire), submitting(wire) as stream:
        sent = bulletins(world, node, 200)
        for at in range(0, len(sent), 8):
            await stream.send(sent[at : at + 8])
        answered = await all_answers(stream)
        assert [submission for submission, _ in answered] == sent
        receipts = [held(*one) for one in answered]
        first = receipts[0].index
        assert [receipt.index for receipt in receipts] == list(range(first, first + 200))
        for receipt, submission in zip(receipts, sent, strict=True):
            entry = node.storage.entry(receipt.index)
            assert entry is not None
            assert entry.statement == submission.statement


async def test_what_arrives_at_once_becomes_durable_at_once_and_is_told_at_once(tmp_path: Path) -> None:
    """Several messages, one group, one head, one message of answers (11.7.3)."""
    async with node_and_wire(tmp_path) as (world, node, wire), submitting(wire) as stream:
        sent = bulletins(world, node, 8)  # fewer bytes than a socket takes at once
        for at in range(0, len(sent), 2):
            await stream.send(sent[at : at + 2])
        answered = await stream.answers()
        assert len(answered) == len(sent)
        assert len({held(*one).head for one in answered}) == 1


async def test_one_that_is_refused_is_answered_in_its_place_and_stops_none(tmp_path: Path) -> None:
    """With the problem that a post gets, and its step (11.7.2)."""
    async with node_and_wire(tmp_path) as (world, node, wire), submitting(wire) as stream:
        others = world.bulletin("cn-liaison", ("pk-liaison",), created=node.clock())
        ended = world.bulletin(created=node.clock() - 10_000, expires=node.clock() - 1)
        *good, other = bulletins(world, node, 4)
        forged = world.bulletin(created=node.clock()).replace(signatures=other.signatures)
        await stream.send([good[0], others, ended])
        await stream.send([good[1], forged, good[2]])
        answers = [answer for _, answer in await all_answers(stream)]
        assert [answer.code for answer in answers if isinstance(answer, Problem)] == [
            *("not-speaking-for", "expired", "bad-signature")
        ]
        assert [isinstance(answer, Receipt) for answer in answers] == [True, False, False, True, False, True]
        for submission, answer in zip((others, ended, forged), (answers[1], answers[2], answers[4]), strict=True):
            assert isinstance(answer, Problem)
            with pytest.raises(Problem) as posted:
                await post(wire, submission)
            assert (posted.value.code, posted.value.extra) == (answer.code, answer.extra)


async def test_an_envelope_that_is_none_spoils_no_other(tmp_path: Path) -> None:
    """It is refused for itself; a batch that is none has no places to answer in (11.7.2, 11.7.4)."""
    async with node_and_wire(tmp_path) as (world, node, wire):
        (good,) = bulletins(world, node, 1)
        async with await raw(wire) as stream:
            await stream.send_bytes(canonical.encode([b"junk", good.encode()]))
            await stream.send_bytes(b"junk")
            answers, code, reason = await until_ended(stream)
        assert (code, reason) == (4400, "malformed")
        refused, receipt = answers
        assert isinstance(refused, Problem)
        assert (refused.code, refused.extra) == ("malformed", {"step": 1})
        held(good, receipt)


async def test_what_stands_already_is_answered_by_its_first_receipt(tmp_path: Path) -> None:
    """However often it comes, and whichever way it came first (11.7.5)."""
    async with node_and_wire(tmp_path) as (world, node, wire), submitting(wire) as stream:
        posted, new = bulletins(world, node, 2)
        first = await post(wire, posted)
        await stream.send([posted, new, posted, new])
        answered = await all_answers(stream)
        receipts = [held(*one) for one in answered]
        assert [receipt.index for receipt in receipts] == [first.index, first.index + 1] * 2
        assert [receipt.entry is not None for receipt in receipts] == [True, False, True, True]


@pytest.mark.parametrize(
    "who, sender, code",
    [("pk-auditor/desk", "pk-auditor", "role-missing"), ("CN", "pk-liaison", "not-speaking-for")],
)
async def test_roles_are_those_of_a_post(tmp_path: Path, who: str, sender: str, code: str) -> None:
    """A seat that may not publish, and a peer's node, have every submission refused (11.7.2)."""
    async with node_and_wire(tmp_path, who) as (world, node, wire), submitting(wire) as stream:
        await stream.send([world.bulletin(sender, created=node.clock()) for _ in range(3)])
        answers = [answer for _, answer in await all_answers(stream)]
        assert [answer.code for answer in answers if isinstance(answer, Problem)] == [code] * 3


async def test_attempts_and_bulletins_are_counted_as_in_a_post(tmp_path: Path) -> None:
    """The budgets are the agency's, whatever way it takes (11.7.2)."""
    world = world_of_today(policy=Policy(attempts_per_minute=6, bulletins_per_hour=3))
    async with live_node(tmp_path, world) as node, logged_in(node, "pk-liaison/desk") as wire:
        async with submitting(wire) as stream:
            await stream.send(bulletins(world, node, 8))
            codes = [answer.code for _, answer in await all_answers(stream) if isinstance(answer, Problem)]
        assert codes == ["quota-exceeded"] * 3 + ["too-many-attempts"] * 2


# What ends a stream


@contextlib.asynccontextmanager
async def taken(node: Node, stream: Submitting, sent: Sequence[Submission]) -> AsyncIterator[None]:
    """Sent, and taken by the node, whose disk is kept from writing meanwhile."""
    async with node.writer.lock:
        for at in range(0, len(sent), limits.BATCH_SUBMISSIONS_MAX):
            await stream.send(sent[at : at + limits.BATCH_SUBMISSIONS_MAX])
        await until(lambda: len(the_one_open(node)._in_flight) == min(len(sent), limits.WINDOW_SUBMISSIONS_MAX))
        yield


async def test_more_than_the_window_ends_it_and_what_was_taken_is_answered(tmp_path: Path) -> None:
    """SPEC 11.7.4."""
    async with node_and_wire(tmp_path) as (world, node, wire):
        sent = bulletins(world, node, limits.WINDOW_SUBMISSIONS_MAX + 1)
        async with submitting(wire) as stream:
            async with taken(node, stream, sent):
                await until(lambda: the_one_open(node).ended)
            answered = await answers_before(stream, "too-large")
        assert [submission for submission, _ in answered] == sent[:-1]
        assert all(isinstance(answer, Receipt) for _, answer in answered)
        assert node.ledger.head.size == len(world.founding()) + len(sent) - 1


async def test_more_bytes_than_the_window_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And room for them comes back as answers go out (11.7.4)."""
    async with node_and_wire(tmp_path) as (world, node, wire):
        sent = bulletins(world, node, 4)
        monkeypatch.setattr(limits, "WINDOW_BYTES_MAX", sum(len(one.encode()) for one in sent[:3]))
        async with submitting(wire) as stream:
            for _ in range(3):
                await stream.send(sent[:3])
                assert all(isinstance(answer, Receipt) for _, answer in await all_answers(stream))
            await stream.send(sent)
            answered = await answers_before(stream, "too-large")
        assert [submission for submission, _ in answered] == sent[:3]


def test_a_client_of_ours_stays_within_the_window() -> None:
    """It sends while there is room for another whole message (11.7.4)."""
    stream = Submitting(None, None)  # type: ignore[arg-type]
    full = limits.WINDOW_SUBMISSIONS_MAX - limits.BATCH_SUBMISSIONS_MAX
    for size, count in ((1000, full), (limits.MESSAGE_BYTES_MAX, 3)):
        stream._in_flight.extend([(None, size)] * count)  # type: ignore[list-item]
        stream._bytes = size * count
        assert stream.has_room
        stream._in_flight.append((None, 1))  # type: ignore[arg-type]
        stream._bytes += 1
        assert not stream.has_room
        stream._in_flight.clear()


async def test_a_session_that_ends_in_the_middle_ends_it_after_what_was_taken(tmp_path: Path) -> None:
    """And the next stream has another session (11.7.4)."""
    async with node_and_wire(tmp_path) as (world, node, wire):
        sent = bulletins(world, node, 3)
        async with submitting(wire) as stream:
            async with taken(node, stream, sent):
                for session in node.sessions._sessions.values():
                    session.expires = node.clock()
                await until(lambda: the_one_open(node).ended)
            for one in await all_answers(stream):
                held(*one)
            with pytest.raises(Declined) as ended:
                await stream.answers()
            assert ended.value.code == "not-logged-in"
        async with submitting(wire) as stream:
            await stream.send(bulletins(world, node, 1))
            await all_answers(stream)


async def test_a_message_that_comes_after_the_session_ended_is_not_taken(tmp_path: Path) -> None:
    """It is checked with every message, not only each second (11.7.4)."""
    async with node_and_wire(tmp_path) as (world, node, wire), submitting(wire) as stream:
        size = node.ledger.head.size
        for session in node.sessions._sessions.values():
            session.expires = node.clock()
        await stream.send(bulletins(world, node, 1))
        with pytest.raises(Declined, match="not-logged-in"):
            await stream.answers()
        assert node.ledger.head.size == size


async def test_a_revocation_ends_it(tmp_path: Path) -> None:
    """The key speaks for nobody any more (11.7.4)."""
    async with node_and_wire(tmp_path) as (world, node, wire), submitting(wire) as stream:
        async with logged_in(node, "pk-liaison/identity") as custodian:
            await post(custodian, world.revocation("pk-liaison/desk", created=node.clock()))
        with pytest.raises(Declined, match="not-logged-in"):
            await stream.answers()


async def test_a_stopping_node_answers_what_it_took_and_says_so(tmp_path: Path) -> None:
    """SPEC 11.7.4."""
    async with node_and_wire(tmp_path) as (world, node, wire):
        sent = bulletins(world, node, 3)
        async with submitting(wire) as stream:
            async with taken(node, stream, sent):
                node.begin_stop()
            for one in await all_answers(stream):
                held(*one)
            with pytest.raises(Unreachable, match="stopping"):
                await stream.answers()
        with pytest.raises(Unreachable):
            async with submitting(wire):
                pass


@pytest.mark.parametrize(
    "message",
    ["text", b"", b"\x90", bytes(limits.MESSAGE_BYTES_MAX + 1)],
    ids=["text", "nothing", "no envelope", "too long"],
)
async def test_any_other_message_ends_it(tmp_path: Path, message: str | bytes) -> None:
    """Batches are all that a client says (11.7.4)."""
    async with node_and_wire(tmp_path) as (_, node, wire), await raw(wire) as stream:
        await (stream.send_str(message) if isinstance(message, str) else stream.send_bytes(message))
        answers, code, reason = await until_ended(stream)
        assert answers == []
        assert (code, reason) == (4400, "malformed") or code == 1009
        await until(lambda: len(node.submitters) == 0)


@pytest.mark.parametrize("way", ["cut", "close"])
async def test_whoever_goes_away_leaves_nothing_behind(tmp_path: Path, way: str) -> None:
    """What the writer had not begun is dropped, what it had stands; the stream's place is free (11.7.5)."""
    async with node_and_wire(tmp_path) as (world, node, wire):
        sent = bulletins(world, node, 5)
        async with submitting(wire) as stream, taken(node, stream, sent):
            if way == "cut":
                stream._socket._response.connection.transport.abort()  # type: ignore[union-attr]
            else:
                await stream._socket.close()
            await until(lambda: len(node.submitters) == 0)
            assert node.submitters._speakers == {}
        async with submitting(wire) as stream:
            await stream.send(sent)
            receipts = [held(*one) for one in await all_answers(stream)]
        assert len({receipt.index for receipt in receipts}) == len(sent)
        assert node.ledger.head.size == len(world.founding()) + len(sent)


async def test_an_agency_has_so_many_streams_and_no_more(tmp_path: Path) -> None:
    """The next is refused before it is one, and posts; other agencies have theirs."""
    async with node_and_wire(tmp_path) as (world, node, wire), contextlib.AsyncExitStack() as stack:
        for _ in range(SUBMITTERS_PER_SPEAKER_MAX):
            await stack.enter_async_context(submitting(wire))
        async with logged_in(node, "pk-liaison/duty") as duty:
            with pytest.raises(UpgradeRefused, match="429"):
                await stack.enter_async_context(submitting(duty))
        await post(wire, world.bulletin(created=node.clock()))
        async with logged_in(node, "cn-liaison/desk") as other:
            await stack.enter_async_context(submitting(other))
        assert len(node.submitters) == SUBMITTERS_PER_SPEAKER_MAX + 1
    assert node.submitters._speakers == {}


async def test_it_is_a_websocket_or_nothing(tmp_path: Path) -> None:
    """SPEC 11.0.1, 11.7.2."""
    async with node_and_wire(tmp_path) as (_, _, wire):
        with pytest.raises(Declined, match="method-not-allowed"):
            await wire.request("GET", "/v1/entries")
        with pytest.raises(Declined, match="not-logged-in"):
            await wire.request("GET", "/v1/entries", login=False)


# Readers


async def _small_socket(wire: Wire) -> None:
    """What comes is soon too much for the buffers."""

    def make(address: tuple[Any, ...]) -> socket.socket:
        made = socket.socket(*address[:3])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.setblocking(False)
        return made

    await wire._session().close()
    wire._streams = aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=make))


@pytest.mark.parametrize("patience, end", [(0.3, "request-timeout"), (30, "too-large")])
async def test_who_never_reads_is_cut_off_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float, end: str
) -> None:
    """By the time that a message may take, or by the window; no more than that is ever held (11.7.4)."""
    monkeypatch.setattr(subscribers, "SEND_SECONDS_MAX", patience)
    async with node_and_wire(tmp_path) as (world, node, wire), logged_in(node, "cn-liaison/desk") as other:
        (stands,) = bulletins(world, node, 1)
        await post(wire, stands)
        await _small_socket(wire)
        most = 0
        async with await raw(wire) as stuck:
            stuck._response.connection.transport.pause_reading()  # type: ignore[union-attr]
            submitter = the_one_open(node)

            async def send_on() -> None:
                nonlocal most
                while not submitter.ended:
                    if end == "too-large" or not submitter._in_flight:
                        await stuck.send_bytes(encode_batch([stands] * 64))
                    most = max(most, len(submitter._in_flight))
                    await asyncio.sleep(0)

            sending = asyncio.create_task(send_on())
            await until(lambda: most > 0 or submitter.ended)
            await post(other, world.bulletin("cn-liaison", ("pk-liaison",), created=node.clock()))
            await until(lambda: submitter.ended)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            assert most <= limits.WINDOW_SUBMISSIONS_MAX
            stuck._response.connection.transport.abort()  # type: ignore[union-attr]
        await until(lambda: len(node.submitters) == 0)
        timed_out = node.registry.get_sample_value("khunjerab_refusals_total", {"code": "request-timeout"})
        assert end == (submitter.why.code if submitter.why else "request-timeout" if timed_out else "")


async def test_what_a_node_says_that_is_no_answer_is_as_if_it_said_nothing(tmp_path: Path) -> None:
    """Junk, and more answers than were asked for: nobody knows what was taken (11.7.3, 11.7.5)."""
    async with node_and_wire(tmp_path) as (world, node, wire):
        receipt = await post(wire, *bulletins(world, node, 1))

        class Socket:
            said = b""

            async def receive(self) -> aiohttp.WSMessage:
                return aiohttp.WSMessage(WSMsgType.BINARY, self.said, None)

        said = Socket()
        stream = Submitting(wire, said)  # type: ignore[arg-type]
        for said.said in (b"junk", *encode_answers([receipt])):
            with pytest.raises(Unreachable, match="answers"):
                await stream.answers()
