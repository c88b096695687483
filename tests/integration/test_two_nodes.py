"""Officers of two nations, each at the own node: the real command, real nodes that follow and cosign each other."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from clients.errors import Declined
from clients.moving import find_at_old_home
from clients.transport import Wire
from protocol.entry import Submission
from tests.integration.test_path import draft
from tests.support.live import seat
from tests.support.officers import Officer, officer
from tests.support.pair import Pair, live_pair
from tests.support.relay import Relay
from tests.support.world import ORIGINS

PK, CN = ORIGINS["PK"], ORIGINS["CN"]
POST = ("post", "--feed", "convoys", "--label", "Restricted//REL CHN, PAK", "--status", "exercise", "--json")
SECONDS_MAX = 180


def _officer(folder: Path, pair: Pair, agency: str) -> Officer:
    """At the node of its nation."""
    return officer(folder, pair.world, agency, url=pair.nodes[agency[:2].upper()].config.url)


async def test_an_officer_sees_what_became_of_a_bulletin_across_the_border(tmp_path: Path) -> None:
    """Posted at one node, opened and acknowledged at the other; witnessed by that one. SPEC 11.3.5."""
    async with live_pair(tmp_path) as pair:
        pk, cn = _officer(tmp_path, pair, "pk-liaison"), _officer(tmp_path, pair, "cn-liaison")
        posted = (await pk(*POST, "--to", "cn-liaison", "--title", "Slide at Sost")).line
        name = posted["id"]
        listed = await cn.until("inbox", shows=lambda line: line["id"] == name)
        assert (listed["origin"], listed["index"], listed["state"]) == (PK, posted["index"], "received")
        await cn("ack", name, "--acted")
        state = await pk.until(
            "status",
            name,
            shows=lambda line: line["recipients"][0]["state"] == "acted" and line["witnessed_by"] == [CN],
        )
        assert state["witnessed"] is True
        assert state["recipients"][0]["late"] is False
        await cn.until("inbox", "--all", shows=lambda line: line["id"] == name and line["witnessed_by"] == [CN])
        shown = (await cn("show", name)).out
        assert f"witnessed by {CN}" in shown
        await cn.until("status", name, shows=lambda line: line["witnessed_by"] == [CN])
        assert (await pk("outbox", "--json")).lines == []
        examined = await pk("doctor", "--json")
        ledgers = [line for line in examined.lines if line["check"] == "ledger"]
        assert [line["detail"].split(",")[0] for line in ledgers] == [PK, CN]
        assert all("the directory's default policy" in line["detail"] for line in ledgers)


async def test_follow_hands_over_what_is_posted_in_either_ledger(tmp_path: Path) -> None:
    """Over one stream, each once. SPEC 11.6.1."""
    async with live_pair(tmp_path) as pair:
        pk, cn = _officer(tmp_path, pair, "pk-liaison"), _officer(tmp_path, pair, "cn-embassy")
        reader = _officer(tmp_path, pair, "cn-liaison")
        child = await reader.start("follow", "--json", "--count", "2")
        assert child.stdout is not None
        names = [(await pk(*POST, "--to", "cn-liaison", "--title", "From abroad")).line["id"]]
        domestic = ("post", "--feed", "sites", "--label", "内部//REL CHN, PAK", "--status", "exercise", "--json")
        names.append((await cn(*domestic, "--to", "cn-liaison", "--title", "From home")).line["id"])
        async with asyncio.timeout(SECONDS_MAX):
            out, _ = await child.communicate()
        told = [json.loads(line) for line in out.splitlines()]
        assert sorted((line["id"], line["origin"]) for line in told) == sorted(zip(names, (PK, CN), strict=True))
        state = await pk.until("status", names[0], shows=lambda line: line["recipients"][0]["state"] == "received")
        assert state["origin"] == PK


async def test_a_cut_link_keeps_the_envelope_in_the_outbox_until_it_is_witnessed(tmp_path: Path) -> None:
    """Posting goes on; what was posted arrives and is let go when the link is there again. SPEC 9.6.2."""
    links = {"PK": Relay(0, 1), "CN": Relay(0, 2)}
    async with live_pair(tmp_path, links=links) as pair:
        pk, cn = _officer(tmp_path, pair, "pk-liaison"), _officer(tmp_path, pair, "cn-liaison")
        await pair.level()
        for link in links.values():
            await link.cut()
        name = (await pk(*POST, "--to", "cn-liaison", "--title", "While it is cut")).line["id"]
        await pk.until("status", name, shows=lambda line: line["witnessed"] is False)
        kept = await pk.until("outbox", "send", shows=lambda line: line["state"] == "published")
        assert (kept["id"], kept["queued"]) == (name, False)
        assert (await cn("inbox", "--json")).lines == []
        for link in links.values():
            link.open()
        await cn.until("inbox", shows=lambda line: line["id"] == name)
        await pk.until("status", name, shows=lambda line: line["witnessed"])
        await cn.until("status", name, shows=lambda line: line["witnessed_by"] == [CN])  # though nothing more comes
        assert (await pk("outbox", "--json")).lines == []


async def test_the_node_of_an_old_home_is_asked_for_an_id_where_its_ledger_does_not_tell(tmp_path: Path) -> None:
    """That it stands there is believed when it is read; that it does not, at once. SPEC 11.3.7."""
    async with live_pair(tmp_path) as pair:
        await pair.level()
        url = pair.nodes["PK"].config.url
        with seat(tmp_path, pair.world, "pk-liaison", url=url) as client:
            async with client:
                await client.sync()
                client.wire_to = lambda node, url=url: Wire(url, node.tls)  # type: ignore[method-assign]
                one = draft(client)
                assert await find_at_old_home(client, one, PK) is None
                submission: Submission = client.sender.seal(one)
                await client.post(submission)
                with pytest.raises(Declined) as caught:
                    await find_at_old_home(client, one, PK)
                assert "as its node says" in caught.value.detail
                await client.sync()
                held = await find_at_old_home(client, one, PK)
                assert held is not None
                assert held.origin == PK
