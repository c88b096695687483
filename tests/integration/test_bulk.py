"""What has waited goes in one post, much of it over a stream; what does not get through so is told of one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from broker import submitters
from broker.sessions import Session
from clients import bulk, submitting
from clients.errors import Declined, Tampering
from clients.outbox import OPEN
from protocol import limits
from protocol.entry import Submission
from protocol.problem import Problem
from protocol.stream import decode_answers
from protocol.treehead import Receipt, TreeHead
from tests.integration.test_outbox import Link, clients, exchange, keep, received
from tests.integration.test_path import draft
from tests.support.altering import replace
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.relay import Relay
from tests.support.world import node as node_of

TITLES = [str(number) for number in range(7)]
MANY = [str(number) for number in range(150)]


async def test_what_waited_goes_in_one_post_in_order_and_each_has_its_receipt(tmp_path: Path) -> None:
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        link = Link(pk)
        numbers = [keep(pk, title) for title in TITLES]
        assert await pk.flush() == []
        assert (link.posts, len(link.posted)) == (1, len(TITLES))
        assert [one.draft.id for one in pk.state.outbox("receipted") if one.receipt] == numbers
        await cn.sync()
        assert received(cn) == TITLES
        assert cn.state.alarms() == []
        keep(pk, "after")  # its wraps count all of them
        await pk.flush()
        await cn.sync()
        assert (received(cn)[-1], cn.state.alarms()) == ("after", [])


async def test_the_most_urgent_goes_first(tmp_path: Path) -> None:
    """One by one, in a post and over a stream: what is as urgent goes as it was written, and nobody is alarmed."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        for title in TITLES:
            keep(pk, title)
        keep(pk, "roadblock", precedence="immediate")
        await pk.sender.send(keep(pk, "attack", precedence="flash"))
        await cn.sync()
        assert received(cn) == ["attack"]
        keep(pk, "second attack", precedence="flash")
        assert await pk.flush() == []
        for title in MANY:
            keep(pk, title)
        keep(pk, "third attack", precedence="flash")
        assert await pk.flush() == []
        await cn.sync()
        first = ["attack", "second attack", "roadblock", *TITLES]
        assert received(cn) == [*first, "third attack", *MANY]
        assert cn.state.alarms() == []


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_post_of_unknown_outcome_is_repeated_with_the_same_bytes(tmp_path: Path, lost: str) -> None:
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        link = Link(pk)
        link.lost = lost
        for title in TITLES:
            keep(pk, title)
        assert len(await pk.flush()) == len(TITLES)
        link.lost = ""
        assert await pk.flush() == []
        assert link.posted[: len(TITLES)] == link.posted[len(TITLES) :]
        await cn.sync()
        assert received(cn) == TITLES


async def test_one_that_is_refused_holds_up_none_and_is_settled_by_itself(tmp_path: Path) -> None:
    """An id that another sealing of the same draft has in the ledger already is found to be that bulletin."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        stands = draft(pk, "stands")
        await pk.post(pk.sender.seal(stands))
        keep(pk, "before")
        with pk.state.transaction():
            pk.state.add_draft(stands)
        keep(pk, "behind")
        assert await pk.flush() == []
        assert pk.state.outbox("refused") == []
        await cn.sync()
        assert received(cn) == ["stands", "before", "behind"]


async def test_stale_keys_are_sealed_anew_for_each(tmp_path: Path) -> None:
    world = world_of_today()
    async with exchange(tmp_path, "pk-liaison", "cn-liaison", world=world) as (node, (pk, cn)):
        for title in TITLES:
            keep(pk, title)
        await node.writer.submit(world.revocation("cn-liaison/duty"))
        assert await pk.flush() == []
        await cn.sync()
        assert received(cn) == TITLES


async def test_what_expired_is_left_out_and_told(tmp_path: Path) -> None:
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        late = replace(draft(pk, "late"), expires=now_ms() - 1)
        for title in TITLES[:3]:
            keep(pk, title)
        with pk.state.transaction():
            pk.state.add_draft(late)
        keep(pk, "last")
        assert await pk.flush() == []
        assert [one.draft.id for one in pk.state.outbox("expired")] == [late.id]
        await cn.sync()
        assert received(cn) == [*TITLES[:3], "last"]


async def test_a_post_is_no_larger_than_a_node_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        link = Link(pk)
        for title in TITLES:
            keep(pk, title)
        monkeypatch.setattr(bulk, "_POST_BYTES_MAX", 3 * len(pk.sender.seal(draft(pk, "0")).encode()))
        assert await pk.flush() == []
        assert link.posts == 3
        await cn.sync()
        assert received(cn) == TITLES


async def test_a_false_receipt_among_them_raises_the_alarm(tmp_path: Path) -> None:
    async with exchange(tmp_path, "pk-liaison") as (_, (pk,)):
        honest = pk.wire.post

        async def forged(submissions: list[Submission]) -> list[object]:
            first, *rest = await honest(submissions)
            assert isinstance(first, Receipt)
            return [first.replace(index=first.index + 1), *rest]

        pk.wire.post = forged  # type: ignore[assignment, method-assign]
        for title in TITLES:
            keep(pk, title)
        with pytest.raises(Tampering, match="receipt"):
            await pk.flush()
        assert [name for _, name, *_ in pk.state.alarms()] == ["receipt"]
        assert len(pk.state.outbox(*OPEN)) == len(TITLES)


async def test_one_that_cannot_be_sealed_is_refused_and_the_others_go(tmp_path: Path) -> None:
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        for title in TITLES[:2]:
            keep(pk, title)
        nobody = replace(draft(pk, "too high"), recipients=("pk-auditor",))
        with pk.state.transaction():
            pk.state.add_draft(nobody)
        keep(pk, "last")
        assert await pk.flush() == []
        assert [one.draft.id for one in pk.state.outbox("refused")] == [nobody.id]
        await cn.sync()
        assert received(cn) == [*TITLES[:2], "last"]


async def test_where_a_node_takes_no_posts_of_many_they_go_one_by_one(tmp_path: Path) -> None:
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        honest = pk.wire.post

        async def one_at_a_time(submissions: list[Submission]) -> object:
            if len(submissions) > 1:
                raise Declined("too-large: one at a time", code="too-large")
            return await honest(submissions)

        pk.wire.post = one_at_a_time  # type: ignore[assignment, method-assign]
        for title in TITLES:
            keep(pk, title)
        assert await pk.flush() == []
        await cn.sync()
        assert received(cn) == TITLES


# Over a stream (SPEC §11.7)


async def test_more_than_a_post_takes_goes_over_a_stream_in_order(tmp_path: Path) -> None:
    """Each has its receipt; the signature of a head that they share is verified once."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        link, heads = Link(pk), Counter[int]()
        honest = pk.replica.check_signed

        def count(head: TreeHead) -> None:
            heads[head.size] += 1
            honest(head)

        pk.replica.check_signed = count  # type: ignore[method-assign]
        numbers = [keep(pk, title) for title in MANY]
        assert await pk.flush() == []
        assert link.posts == 0
        kept = pk.state.outbox("receipted")
        assert [one.draft.id for one in kept] == numbers
        sizes = {Receipt.decode(one.receipt or b"").head.size for one in kept}
        assert heads == Counter(sizes)
        assert len(heads) < len(MANY) / 4
        await cn.sync()
        assert received(cn) == MANY
        assert cn.state.alarms() == []


async def test_a_stream_that_is_cut_loses_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    """What was in flight goes again with the same bytes, whether it had been taken or not. SPEC 11.7.5."""
    world = world_of_today(nodes=(node_of("PK"),))
    async with live_node(tmp_path, world) as node, Relay(int(node.config.listen.split(":")[1]), seed=1) as relay:
        async with clients(tmp_path, world, relay.url, "pk-liaison", "cn-liaison") as (pk, cn):
            honest, cuts = pk.sender.keep_receipts, list[asyncio.Task[None]]()

            def keep_and_cut(logged: Sequence[tuple[Submission, Receipt]]) -> None:
                honest(logged)
                if len(cuts) < 2:
                    cuts.append(asyncio.create_task(relay.cut()))

            pk.sender.keep_receipts = keep_and_cut  # type: ignore[method-assign]
            for title in MANY:
                keep(pk, title)
            left = [len(MANY)]
            while left[-1]:
                left.append(len(await pk.flush()))
                await asyncio.gather(*cuts)
                relay.open()
            assert len(left) > 2
            assert sorted(left, reverse=True) == left
            await cn.sync()
            assert received(cn) == MANY
            assert pk.state.alarms() == []
        assert node.ledger.head.size == len(world.founding()) + len(MANY)


async def test_one_that_is_refused_on_a_stream_is_settled_by_itself(tmp_path: Path) -> None:
    """As in a post; and what is behind it goes nonetheless."""
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        stands = draft(pk, "stands")
        await pk.post(pk.sender.seal(stands))
        for title in MANY[:40]:
            keep(pk, title)
        with pk.state.transaction():
            pk.state.add_draft(stands)
        for title in MANY[40:80]:
            keep(pk, title)
        assert await pk.flush() == []
        assert pk.state.outbox("refused") == []
        await cn.sync()
        assert received(cn) == ["stands", *MANY[:80]]


async def test_a_session_that_ends_while_much_is_sent_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outbox may take longer than a session lasts. SPEC 11.7.4."""
    monkeypatch.setattr(limits, "WINDOW_SUBMISSIONS_MAX", 2 * bulk.BATCH)
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (node, (pk, cn)):
        link, ended = Link(pk), list[Session]()
        honest = pk.sender.keep_receipts

        def keep_and_end(logged: Sequence[tuple[Submission, Receipt]]) -> None:
            honest(logged)
            if not ended:
                ended.extend(node.sessions._sessions.values())
                node.sessions._sessions.clear()
                for session in ended:
                    session.expires = 0

        pk.sender.keep_receipts = keep_and_end  # type: ignore[method-assign]
        for title in MANY:
            keep(pk, title)
        assert await pk.flush() == []
        assert (link.posts, len(ended)) == (0, 2)
        cn.wire._token = None
        await cn.sync()
        assert received(cn) == MANY


async def test_where_no_stream_passes_much_goes_in_posts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitters, "SUBMITTERS_MAX", 0)
    async with exchange(tmp_path, "pk-liaison", "cn-liaison") as (_, (pk, cn)):
        link = Link(pk)
        for title in MANY:
            keep(pk, title)
        assert await pk.flush() == []
        assert link.posts == 3
        await cn.sync()
        assert received(cn) == MANY


async def test_a_false_receipt_on_a_stream_raises_the_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of the message that brought it is kept."""

    def forged(data: bytes) -> list[Receipt | Problem]:
        first, *rest = decode_answers(data)
        assert isinstance(first, Receipt)
        return [first.replace(path=(bytes(32),)), *rest]

    async with exchange(tmp_path, "pk-liaison") as (_, (pk,)):
        monkeypatch.setattr(submitting, "decode_answers", forged)
        for title in MANY:
            keep(pk, title)
        with pytest.raises(Tampering, match="receipt"):
            await pk.flush()
        assert [name for _, name, *_ in pk.state.alarms()] == ["receipt"]
        assert len(pk.state.outbox(*OPEN)) == len(MANY)
