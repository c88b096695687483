"""The answer is lost and the client asks again: the same bytes stand once, in the place of the first (SPEC §12.2)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from clients.errors import Unreachable
from keys.signing import signed_message
from protocol.entry import Entry, Submission
from protocol.problem import Problem
from protocol.signing import encode_signatures
from protocol.statements import Bulletin, Kind
from protocol.treehead import Receipt
from tests.integration.test_path import draft, post
from tests.support.altering import replace
from tests.support.caller import Caller, callers
from tests.support.cutting import link_to
from tests.support.live import live_node, now_ms, seat, world_of_today
from tests.support.process import NodeProcess, make_home
from tests.support.world import World, line_about, signing_key


@pytest.fixture
def world() -> World:
    return world_of_today()


def _leaf(submission: Submission, receipt: Receipt) -> bytes:
    """That the receipt is for this statement; its leaf, which may carry the first signatures."""
    entry = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
    return receipt.leaf_of(entry)


async def test_a_lost_answer_costs_nothing(tmp_path: Path, world: World) -> None:
    """However often: one entry, and a receipt that carries it."""
    async with (
        live_node(tmp_path, world) as node,
        link_to(node.config.url) as link,
        Caller(link.url, world) as caller,
    ):
        await caller.log_in()
        submission, size = world.bulletin(created=now_ms()), node.ledger.head.size
        link.cut = True
        for _ in range(3):
            with pytest.raises(aiohttp.ClientError):
                await caller.post(submission)
        assert link.answers_lost == 3
        link.cut = False
        first, second = await caller.receipt(submission), await caller.receipt(submission)
        assert first.index == second.index == size == node.ledger.head.size - 1
        assert first.entry is not None
        assert _leaf(submission, first) == _leaf(submission, second) == node.storage.leaf_hashes(size, size + 1)[0]


async def test_an_officer_whose_answer_is_lost_has_sent_once(tmp_path: Path, world: World) -> None:
    """The outbox keeps it, and the same bytes go again."""
    async with live_node(tmp_path, world) as node, link_to(node.config.url) as link:
        with seat(tmp_path, world, "pk-liaison", url=link.url) as officer:
            async with officer:
                await officer.sync()
                size, one = node.ledger.head.size, draft(officer)
                with officer.state.transaction():
                    officer.state.add_draft(one)
                link.cut = True
                with pytest.raises(Unreachable):
                    await officer.sender.send(one.id)
                link.cut = False
                assert (await officer.sender.send(one.id)).index == size
                assert await post(officer, "Another") == size + 1


async def test_again_after_a_kill(tmp_path: Path, world: World) -> None:
    """What a node knows of before, it knows from its ledger."""
    async with NodeProcess(make_home(tmp_path / "node", world)) as node, Caller(node.url, world) as caller:
        await caller.log_in()
        submissions = [world.bulletin(created=now_ms()) for _ in range(4)]
        before = await caller.post(*submissions)
        node.kill()
        await node.start()
        await caller.log_in()
        after = await caller.post(*reversed(submissions))
        assert all(isinstance(one, Receipt) for one in before + after)
        pairs = zip(submissions, before, reversed(after), strict=True)
        for submission, one, other in pairs:
            assert isinstance(one, Receipt)
            assert isinstance(other, Receipt)
            assert (one.index, one.time, one.link) == (other.index, other.time, other.link)
            assert _leaf(submission, one) == _leaf(submission, other)


async def test_the_same_id_with_other_bytes_names_the_first(tmp_path: Path, world: World) -> None:
    """Before and after a restart, alone and in one batch with it. SPEC 12.2.2."""
    first = world.bulletin(created=now_ms())
    id_ = Bulletin.decode(first.statement).header.id
    second = world.bulletin(created=now_ms(), id=id_, status="exercise")
    for _ in range(2):
        async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
            await caller.log_in()
            receipt, problem, *again = await caller.post(first, second, first, second)
            assert isinstance(receipt, Receipt)
            assert isinstance(problem, Problem)
            for refused in (problem, again[1], await caller.refusal(second)):
                assert isinstance(refused, Problem)
                assert (refused.code, refused.extra["step"]) == ("id-reused", 2)
                assert refused.extra["index"] == receipt.index
            assert node.ledger.head.size == receipt.index + 1


async def test_ids_are_each_senders_own(tmp_path: Path, world: World) -> None:
    """Another agency may come upon the same number."""
    async with (
        live_node(tmp_path, world) as node,
        callers(node.config.url, world, ["pk-liaison/desk", "cn-liaison/desk"]) as (ours, theirs),
    ):
        first = world.bulletin(created=now_ms())
        id_ = Bulletin.decode(first.statement).header.id
        other = world.bulletin("cn-liaison", to=("pk-liaison",), created=now_ms(), id=id_)
        assert (await ours.receipt(first)).index + 1 == (await theirs.receipt(other)).index


async def test_other_signatures_are_not_other_bytes(tmp_path: Path, world: World) -> None:
    """ML-DSA signs differently each time: the first signatures stand, and the receipt shows them. SPEC 12.2.2."""
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
        await caller.log_in()
        bulletin = world.bulletin(created=now_ms(), suite=2)
        receipt = await caller.receipt(bulletin)
        message = Kind.BULLETIN, bulletin.statement
        again = replace(bulletin, signatures=_signed_again(*message))
        assert again.signatures != bulletin.signatures
        second = await caller.receipt(again)
        assert (second.index, second.entry) == (
            receipt.index,
            node.storage.entry_bytes(receipt.index, receipt.index + 1)[0],
        )
        assert _leaf(again, second) == _leaf(bulletin, receipt)
        broken = replace(bulletin, signatures=bulletin.signatures[:-1] + bytes([bulletin.signatures[-1] ^ 1]))
        assert (await caller.receipt(broken)).index == receipt.index
        assert node.ledger.head.size == receipt.index + 1


def _signed_again(kind: Kind, statement: bytes) -> bytes:
    return encode_signatures((signing_key("pk-liaison/desk").sign(signed_message(kind, statement), 2),))


@pytest.mark.parametrize("ways", [1, 2])
async def test_duplicates_at_once_stand_once(tmp_path: Path, world: World, ways: int) -> None:
    """In one batch, and in two requests that cross; governance and acknowledgements too. SPEC 12.5.1."""
    async with live_node(tmp_path, world) as node:
        names = ["pk-liaison/desk", "pk-liaison/desk", "cn-liaison/desk", "cn-liaison/desk"]
        async with callers(node.config.url, world, names) as (one, two, three, four):
            bulletins = [world.bulletin(created=now_ms()) for _ in range(10)]
            bundle = world.with_bundle("pk-liaison", ("desk", "duty")).key_bundle("pk-liaison")
            size = node.ledger.head.size
            batch = [*bulletins[:5], bundle, *bulletins[5:]]
            answers = await _at_once(ways, batch, one, two)
            assert {answer.index for answer in answers} == set(range(size, size + len(batch)))
            assert node.ledger.head.size == size + len(batch)
            entry = node.storage.entry(answers[0].index)
            assert entry is not None
            line = line_about(node.ledger.origin, answers[0].index, entry, time=now_ms())
            word = world.acknowledgement("cn-liaison", "pk-liaison", [line], created=now_ms())
            assert len({answer.index for answer in await _at_once(ways, [word], three, four)}) == 1
            assert node.ledger.head.size == size + len(batch) + 1


async def _at_once(ways: int, batch: list[Submission], one: Caller, two: Caller) -> list[Receipt]:
    """Everything twice: in a batch, or by two connections; each pair has one place."""
    if ways == 1:
        answers = await one.post(*batch, *reversed(batch))
    else:
        halves = await asyncio.gather(one.post(*batch), two.post(*reversed(batch)))
        answers = [*halves[0], *halves[1]]
    receipts = [answer for answer in answers if isinstance(answer, Receipt)]
    assert len(receipts) == 2 * len(batch), answers
    for submission, first, second in zip(batch, receipts, reversed(receipts), strict=False):
        assert (first.index, _leaf(submission, first)) == (second.index, _leaf(submission, second))
    return receipts


async def test_governance_is_on_its_way_alone(tmp_path: Path, world: World) -> None:
    """Whatever stands around it in a batch: what follows is judged by the state after it. SPEC 12.5.1."""
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
        await caller.log_in()
        bundle = world.with_bundle("pk-liaison", ("desk", "duty")).key_bundle("pk-liaison")
        batch = [world.bulletin(created=now_ms()), bundle, world.bulletin(created=now_ms())]
        heads = []
        for receipt in await caller.post(*batch):
            assert isinstance(receipt, Receipt)
            heads.append(receipt.head.size - receipt.index)
        assert heads == [1, 1, 1]
