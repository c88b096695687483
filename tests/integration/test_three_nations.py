"""A third nation: each node follows and cosigns both others, and what holds between two holds between any two."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.errors import Declined
from protocol.entry import Entry, Submission
from protocol.statements import Bulletin
from tests.support.door import logged_in, refusal, until
from tests.support.live import now_ms
from tests.support.officers import Officer, officer
from tests.support.three import NATIONS, Three, enter, is_witnessed, live_three
from tests.support.world import origin_of, signing_key

PK, CN, TJ = (origin_of(nation) for nation in NATIONS)
EVERYONE = "Restricted//REL CHN, PAK, TJK"


def _officer(three: Three, agency: str) -> Officer:
    """At the node of its nation."""
    return officer(three.folder, three.world, agency, url=three.nodes[agency[:2].upper()].config.url)


def _post(label: str, *recipients: str) -> list[str]:
    to = [word for recipient in recipients for word in ("--to", recipient)]
    title = ["--title", "Slide at the Kulma"]
    return ["post", "--feed", "convoys", "--label", label, "--status", "exercise", "--json", *to, *title]


async def test_a_bulletin_is_opened_and_acknowledged_in_both_other_nations(tmp_path: Path) -> None:
    """Witnessed by both; and an auditor reads all three ledgers at one node. SPEC 9.6.1, 11.3.5, 14.5.1."""
    async with live_three(tmp_path) as three:
        pk, cn, tj = (_officer(three, f"{nation.lower()}-liaison") for nation in NATIONS)
        name = (await pk(*_post(EVERYONE, "cn-liaison", "tj-liaison"))).line["id"]
        for reader, level in ((cn, "内部"), (tj, "Барои хизмат")):
            listed = await reader.until("inbox", shows=lambda line: line["id"] == name)
            assert (listed["origin"], listed["state"]) == (PK, "received")
            assert level in (await reader("show", name)).out
        await cn("ack", name)
        await tj("ack", name, "--acted")
        state = await pk.until(
            "status",
            name,
            shows=lambda line: {one["state"] for one in line["recipients"]} == {"read", "acted"} and line["witnessed"],
        )
        assert state["witnessed_by"] == [CN, TJ]
        answer = (await tj(*_post("Барои хизмат//REL CHN, PAK, TJK", "cn-liaison"), "--replies-to", name)).line
        assert (await cn.until("inbox", shows=lambda line: line["id"] == answer["id"]))["origin"] == TJ
        ledgers = [
            line["detail"].split(",")[0] for line in (await tj("doctor", "--json")).lines if line["check"] == "ledger"
        ]
        assert sorted(ledgers) == sorted([PK, CN, TJ])
        await until(lambda: all(is_witnessed(node) for node in three.nodes.values()))
        auditor, one_node = _officer(three, "tj-auditor"), three.nodes["CN"].config.url
        for sources in ((one_node,), ()):
            verdict = (await auditor("audit", "verify", "--json", *sources)).lines[-1]
            assert (verdict["verdict"], verdict["findings"], verdict["warnings"]) == ("ok", [], [])
            sizes = {of: three.nodes[of].ledger.head.size for of in NATIONS}
            assert {one["origin"]: one["size"] for one in verdict["ledgers"]} == {
                origin_of(of): size for of, size in sizes.items()
            }


async def test_what_two_nations_may_read_is_kept_from_the_third(tmp_path: Path) -> None:
    """Nothing goes out to it unasked; posted all the same it is refused; its node has only the entry. SPEC 11.2.5."""
    between_two = "Restricted//REL CHN, PAK"
    async with live_three(tmp_path) as three:
        pk, cn, tj = (_officer(three, f"{nation.lower()}-liaison") for nation in NATIONS)
        refused = await pk(*_post(between_two, "cn-liaison", "tj-liaison"), expect=3)
        assert "tj-liaison" in refused.err
        name = (await pk(*_post(between_two, "cn-liaison", "tj-liaison"), "--partial")).line["id"]
        await cn.until("inbox", shows=lambda line: line["id"] == name)
        after = (await pk(*_post(EVERYONE, "tj-liaison"))).line
        await tj.until("inbox", shows=lambda line: line["id"] == after["id"])
        assert [line["id"] for line in (await tj("inbox", "--all", "--json")).lines] == [after["id"]]
        await three.level()
        mirror = three.nodes["TJ"].mirrors.get(PK)
        assert mirror is not None
        entry = mirror.storage.entry(after["index"] - 1)
        assert entry is not None
        digest = Bulletin.decode(entry.statement).body
        assert mirror.storage.body(after["index"] - 1) is None
        assert three.nodes["CN"].mirrors.get(PK).storage.body(after["index"] - 1) is not None  # type: ignore[union-attr]
        async with logged_in(three.nodes["TJ"], "tj-liaison/desk") as wire:
            with pytest.raises(Declined, match="not-found"):
                await wire.body(digest)
        async with logged_in(three.nodes["PK"], "pk-liaison/desk") as wire:
            unreadable = three.world.bulletin(to=("cn-liaison", "tj-liaison"), created=now_ms())
            assert (await refusal(wire, unreadable)).code == "recipient-denied"


async def test_a_statement_is_copied_once_into_each_ledger_though_a_node_was_away(tmp_path: Path) -> None:
    """It hears of it from two peers that both have it. SPEC 11.9.4."""
    async with live_three(tmp_path, running=("PK", "CN")) as three:
        bundle = three.world.with_bundle("cn-liaison", ("desk", "duty")).key_bundle("cn-liaison")
        revocation = three.world.revocation("pk-liaison/duty", created=now_ms())
        await enter(three.nodes["CN"], "cn-liaison/identity", bundle)
        await enter(three.nodes["PK"], "pk-liaison/identity", revocation)
        await until(lambda: _counts(three, bundle, revocation) == {(1, 1)})
        async with three.running("TJ"):
            suspension = three.world.suspension("tj-auditor", created=now_ms())
            await enter(three.nodes["TJ"], "tj-custodian-1", suspension)
            await until(lambda: _counts(three, bundle, revocation, suspension) == {(1, 1, 1)})
            await until(lambda: all(is_witnessed(node) for node in three.nodes.values()))
            await three.level()
            assert _counts(three, bundle, revocation, suspension) == {(1, 1, 1)}
            for node in three.nodes.values():
                assert [mirror.storage.flags() for mirror in node.mirrors] == [[], []]
                assert node.ledger.exchange.is_revoked("pk-liaison", signing_key("pk-liaison/duty").public.key_id)


def _counts(three: Three, *submissions: Submission) -> set[tuple[int, ...]]:
    """How often each statement stands in the own ledger of each node that runs, if that differs."""
    stand = [
        [Entry.decode(data).statement for data in node.ledger.storage.entry_bytes(0, node.ledger.head.size)]
        for node in three.nodes.values()
    ]
    return {tuple(statements.count(one.statement) for one in submissions) for statements in stand}
