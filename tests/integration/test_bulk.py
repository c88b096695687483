"""What has waited goes in posts of many; what does not get through so is sent and told of one by one, as ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients import bulk
from clients.errors import Declined, Tampering
from clients.outbox import OPEN
from protocol.entry import Submission
from protocol.treehead import Receipt
from tests.integration.test_outbox import Link, exchange, keep, received
from tests.integration.test_path import draft
from tests.support.altering import replace
from tests.support.live import now_ms, world_of_today

TITLES = [str(number) for number in range(7)]


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
        monkeypatch.setattr(bulk, "_BYTES_MAX", 3 * len(pk.sender.seal(draft(pk, "0")).encode()))
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
