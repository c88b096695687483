"""Two live nodes, each following the other's ledger (SPEC §11.9)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from broker.node import Node
from clients.transport import Wire
from protocol.entry import Entry, Submission
from protocol.header import Relation
from protocol.names import format_id
from protocol.page import Item, Part
from protocol.statements import Bulletin, Kind
from protocol.treehead import Receipt
from tests.support.altering import replace
from tests.support.caller import Caller
from tests.support.door import logged_in, post, refusal, until
from tests.support.live import now_ms
from tests.support.pair import follow, live_pair, mirror_path, world_of_two
from tests.support.world import ORIGINS, World, digest_of, line_about, signed, signing_key

PK, CN = ORIGINS["PK"], ORIGINS["CN"]


async def said_at(node: Node, who: str, submission: Any) -> Receipt:
    async with logged_in(node, who) as wire:
        return await post(wire, submission)


async def _token(node: Node, who: str) -> str:
    async with logged_in(node, who) as wire:
        return (await wire.session())[0]


async def parts_of(wire: Wire) -> dict[str, Part]:
    """Everything that a reader is given, by origin."""
    return {part.head.origin: part for part in await wire.deliveries({}, {})}


def bulletins_in(part: Part) -> list[Item]:
    return [item for item in part.items if Entry.decode(item.entry).kind is Kind.BULLETIN]


async def test_a_bulletin_posted_at_one_node_is_read_at_the_other(tmp_path: Path) -> None:
    """By its recipient, at home there, with its own wrap and the body; by nobody else there. SPEC 11.9.5."""
    async with live_pair(tmp_path) as pair:
        receipt = await said_at(pair.nodes["PK"], "pk-liaison/desk", pair.world.bulletin(created=now_ms()))
        await pair.level()
        async with logged_in(pair.nodes["CN"], "cn-liaison/desk") as reader:
            parts = await parts_of(reader)
            assert sorted(parts) == sorted(ORIGINS.values())
            (item,) = bulletins_in(parts[PK])
            assert (item.index, item.withheld) == (receipt.index, "")
            assert item.wrap is not None
            assert item.body is not None
            body, wrap = await reader.body(Bulletin.decode(Entry.decode(item.entry).statement).body)
            assert (body, wrap) == (item.body, item.wrap)
        async with logged_in(pair.nodes["CN"], "cn-embassy/desk") as other:
            assert bulletins_in((await parts_of(other))[PK]) == []


async def test_a_body_that_is_posted_again_by_another_is_kept_from_nobody(tmp_path: Path) -> None:
    """An agency that was sent it posts the same ciphertext at its own home, for others. SPEC 11.4.1."""
    async with live_pair(tmp_path) as pair:
        sent = pair.world.bulletin(to=("cn-liaison", "cn-embassy"), created=now_ms())
        await said_at(pair.nodes["PK"], "pk-liaison/desk", sent)
        await pair.level()
        other = pair.world.bulletin(sender="cn-embassy", to=("pk-liaison",), created=now_ms())
        statement = Bulletin.decode(other.statement).replace(body=Bulletin.decode(sent.statement).body)
        again = signed(statement, "cn-embassy/desk", suite=1, body=sent.body).replace(wraps=other.wraps)
        await said_at(pair.nodes["CN"], "cn-embassy/desk", again)
        async with logged_in(pair.nodes["CN"], "cn-liaison/desk") as reader:
            assert (await reader.body(statement.body))[0] == sent.body


async def test_a_stream_brings_both_ledgers(tmp_path: Path) -> None:
    """As their entries are committed, each under its own head."""
    async with live_pair(tmp_path) as pair, logged_in(pair.nodes["CN"], "cn-liaison/desk") as reader:
        await pair.level()
        sizes = {origin: part.head.size for origin, part in (await parts_of(reader)).items()}
        pages = reader.stream(sizes, sizes)
        bulletin = pair.world.bulletin(sender="cn-embassy", to=("cn-liaison", "pk-liaison"), created=now_ms())
        sent = ((PK, "pk-liaison/desk", pair.world.bulletin(created=now_ms())), (CN, "cn-embassy/desk", bulletin))
        for origin, sender, submission in sent:  # one after the other: neither comes only as the other does
            await said_at(pair.nodes[sender[:2].upper()], sender, submission)
            found = 0
            async with asyncio.timeout(30):
                while not found:
                    found = sum(len(bulletins_in(part)) for part in await anext(pages) if part.head.origin == origin)
        await pages.aclose()


async def test_words_come_back_the_same_way(tmp_path: Path) -> None:
    """The sender's node says who received and read, though it was said in the other ledger. SPEC 11.3.5, 11.5.1."""
    async with live_pair(tmp_path) as pair:
        pk, cn = pair.nodes["PK"], pair.nodes["CN"]
        submission = pair.world.bulletin(to=("cn-embassy", "cn-liaison"), created=now_ms())
        receipt = await said_at(pk, "pk-liaison/desk", submission)
        await pair.level()
        entry = pair.mirror("CN").storage.entry(receipt.index)
        assert isinstance(entry, Entry)
        said = [line_about(PK, receipt.index, entry, state, now_ms()) for state in ("received", "read")]
        false = said[0].replace(leaf=bytes(32), state="acted")
        to_another = [line_about(PK, receipt.index, entry, state, now_ms() - 1000) for state in ("read", "acted")]
        for to, lines in (("pk-site-security", to_another), ("pk-liaison", [*said, false])):
            word = pair.world.acknowledgement("cn-liaison", to, lines, created=now_ms())
            await said_at(cn, "cn-liaison/desk", word)
        await pair.level()
        header = Bulletin.decode(submission.statement).header
        path = f"/v1/bulletins/{format_id('pk-liaison', header.id)}"
        for node, who in ((pk, "pk-liaison/desk"), (cn, "cn-liaison/desk")):
            async with logged_in(node, who) as wire:
                state = await wire.json("GET", path)
            told = {row["agency"]: row["state"] for row in state["recipients"]}
            assert told["cn-liaison"] == "read", (
                "a word about another bulletin, or to another agency, counts for nothing"
            )
            assert {row["read"] for row in state["recipients"]} <= {said[1].time, None}
            assert (state["origin"], state["index"]) == (PK, receipt.index)
            if who.startswith("pk"):
                assert told["cn-embassy"] == "pending"


async def test_governance_is_entered_in_every_ledger_once(tmp_path: Path) -> None:
    """A revocation, a directory version, a bundle; in the order of their ledger. SPEC 11.9.4."""
    async with live_pair(tmp_path) as pair:
        pk, cn, world = pair.nodes["PK"], pair.nodes["CN"], pair.world
        await pair.level()
        sizes = pk.ledger.tree.size, cn.ledger.tree.size
        assert sizes[0] == sizes[1], "what both founded with is copied to neither"
        following: World = world.with_feed("sites", title="Sites of the corridor")
        await said_at(cn, "cn-custodian-1", following.publication())
        await said_at(pk, "pk-liaison/identity", following.revocation("pk-liaison/duty", created=now_ms()))
        renewed = following.with_bundle("cn-embassy", starts=now_ms())
        await said_at(cn, "cn-embassy/identity", renewed.key_bundle("cn-embassy"))
        await until(lambda: pk.ledger.head.size == cn.ledger.head.size == sizes[0] + 3)
        for node in (pk, cn):
            exchange = node.ledger.exchange
            assert exchange.in_force.version == 2
            assert exchange.is_revoked("pk-liaison", signing_key("pk-liaison/duty").public.key_id)
            newest = exchange.newest_bundle("cn-embassy", now_ms())
            assert newest is not None
            assert newest.hash == digest_of(renewed.bundles["cn-embassy"])
        await pair.level()
        assert (pk.ledger.tree.size, cn.ledger.tree.size) == (sizes[0] + 3, sizes[0] + 3)


async def test_what_ends_an_agency_is_entered_before_anything_behind_it_is_shown(tmp_path: Path) -> None:
    """While it is on its way into the own ledger, readers are shown the peer's as it was before. SPEC 11.9.4."""
    async with live_pair(tmp_path) as pair:
        await pair.level()
        pk, cn, mirror = pair.nodes["PK"], pair.nodes["CN"], pair.mirror("CN")
        reached, gate, submit = asyncio.Event(), asyncio.Event(), cn.writer.submit

        async def held(submission: Submission) -> Receipt:
            reached.set()
            await gate.wait()
            return await submit(submission)

        cn.writer.submit = held  # type: ignore[method-assign,assignment]
        before = mirror.head.size
        receipt = await said_at(pk, "pk-custodian-1", pair.world.suspension("pk-liaison", created=now_ms()))
        async with asyncio.timeout(30):
            await reached.wait()
        async with logged_in(cn, "cn-liaison/desk") as reader:
            assert mirror.size > receipt.index
            assert (await parts_of(reader))[PK].head.size == before
            gate.set()
            await pair.level()
            assert (await parts_of(reader))[PK].head.size > receipt.index
        assert cn.ledger.exchange.is_suspended("pk-liaison")


async def test_a_bundle_is_posted_at_its_home_alone(tmp_path: Path) -> None:
    """So one sequence orders it against the loss of its keys. SPEC 11.9.4."""
    async with live_pair(tmp_path) as pair:
        renewed = pair.world.with_bundle("cn-embassy", starts=now_ms())
        async with logged_in(pair.nodes["PK"], "cn-embassy/identity") as wire:
            assert (await refusal(wire, renewed.key_bundle("cn-embassy"))).code == "not-home"


async def test_a_key_that_one_nation_ended_reads_nothing_at_the_other(tmp_path: Path) -> None:
    """Once its node knows: its session ends there too, and what waits for it is withheld. SPEC 11.9.4, 11.9.5."""
    async with live_pair(tmp_path) as pair:
        pk, cn, world = pair.nodes["PK"], pair.nodes["CN"], pair.world
        await pair.level()
        async with logged_in(cn, "cn-liaison/desk") as reader:
            await reader.session()
            await said_at(pk, "cn-custodian-1", world.suspension("cn-liaison", created=now_ms()))
            await until(lambda: cn.ledger.exchange.is_suspended("cn-liaison"))
            async with Caller(cn.config.url, world, "cn-liaison/desk") as caller:
                caller.token = (await reader.session())[0]
                assert (await caller.ask("GET", "/v1/deliveries")).problem().code == "not-logged-in"


async def test_a_link_that_was_cut_delays_and_loses_nothing(tmp_path: Path) -> None:
    """Both go on at home; on return each catches up."""
    async with live_pair(tmp_path) as pair:
        await pair.level()
        urls = {nation: node.config.url for nation, node in pair.nodes.items()}
        for nation in pair.nodes:
            follow(tmp_path, nation, "")
        await until(lambda: not any(node.peers.state() for node in pair.nodes.values()))
        for _ in range(5):
            await said_at(pair.nodes["PK"], "pk-liaison/desk", pair.world.bulletin(created=now_ms()))
        bulletin = pair.world.bulletin(sender="cn-liaison", to=("pk-liaison",), created=now_ms())
        await said_at(pair.nodes["CN"], "cn-liaison/desk", bulletin)
        assert pair.mirror("CN").head.size < pair.nodes["PK"].ledger.head.size
        for nation, peer in (("PK", "CN"), ("CN", "PK")):
            follow(tmp_path, nation, urls[peer])
        await pair.level()
        async with logged_in(pair.nodes["CN"], "cn-liaison/desk") as reader:
            assert len(bulletins_in((await parts_of(reader))[PK])) == 5


async def test_the_end_of_a_session_is_no_alarm(tmp_path: Path) -> None:
    """It ends each quarter of an hour; the lane goes on in the next one, from where it was. SPEC 11.6.3."""
    async with live_pair(tmp_path) as pair:
        await pair.level()
        pk, cn = pair.nodes["PK"], pair.nodes["CN"]
        with capture_logs() as logged:
            for session in list(pk.sessions._sessions.values()):
                session.expires = 0
            receipt = await said_at(pk, "pk-liaison/desk", pair.world.bulletin(created=now_ms()))
            await until(lambda: pair.mirror("CN").size > receipt.index and cn.peers.state()[0]["connected"])
        assert [line for line in logged if line["event"] == "peer-away" and line["origin"] == PK] == []
        assert [line["entries"] for line in logged if line["event"] == "peer-followed"] != []


async def test_a_peer_with_nothing_new_is_followed_all_the_same(tmp_path: Path) -> None:
    """A stream brings news alone; whether the line is whole again must not wait for any."""
    async with live_pair(tmp_path) as pair:
        await pair.level()
        pk = pair.nodes["PK"]
        follow(tmp_path, "PK", "")
        await until(lambda: not pk.peers.state())
        follow(tmp_path, "PK", pair.nodes["CN"].config.url)
        await until(lambda: any(peer["connected"] for peer in pk.peers.state()))
        (peer,) = pk.peers.state()
        assert (peer["error"], peer["lag_entries"]) == (None, 0)


async def test_an_auditor_reads_a_mirror_as_a_log(tmp_path: Path) -> None:
    """Checkpoint and hash tiles are open, entry bundles for the role audit. SPEC 11.0.1."""
    async with live_pair(tmp_path) as pair:
        await said_at(pair.nodes["PK"], "pk-liaison/desk", pair.world.bulletin(created=now_ms()))
        await pair.level()
        mirror, cn = pair.mirror("CN"), pair.nodes["CN"]
        await until(lambda: mirror.published is not None and mirror.published.size == mirror.size)
        async with Caller(cn.config.url, pair.world, "cn-auditor/desk") as caller:
            described = (await caller.ask("GET", "/v1/node")).json()
            assert described["mirrors"] == [{"origin": PK, "size": mirror.size}]
            base = f"/mirror/{pair.digest('PK')}"
            assert (await caller.ask("GET", f"{base}/checkpoint")).data.decode().startswith(f"{PK}\n{mirror.size}\n")
            tile = await caller.ask("GET", f"{base}/tile/0/000.p/{mirror.size}")
            assert tile.data == b"".join(mirror.storage.leaf_hashes(0, mirror.size))
            bundle = f"{base}/tile/entries/000.p/{mirror.size}"
            assert (await caller.ask("GET", bundle)).problem().code == "not-logged-in"
            caller.token = await _token(cn, "cn-auditor/desk")
            assert (await caller.ask("GET", bundle)).status == 200
            assert (await caller.ask("GET", f"{base}/tile/0/000.p/{mirror.size + 1}")).problem().code == "not-found"


async def test_a_peers_node_reads_everything_and_posts_nothing(tmp_path: Path) -> None:
    """And is given its own ledger back where it asks for that. SPEC 11.1.2, 11.2.5."""
    async with live_pair(tmp_path) as pair:
        pk, cn, world = pair.nodes["PK"], pair.nodes["CN"], pair.world
        receipt = await said_at(pk, "pk-liaison/desk", world.bulletin(created=now_ms()))
        domestic = world.bulletin(to=("pk-site-security",), feed="sites", created=now_ms())
        await said_at(pk, "pk-liaison/desk", domestic)
        await pair.level()
        async with logged_in(cn, "PK") as lost:
            (own,) = await lost.deliveries({CN: 0}, {})
            assert own.head.origin == CN
            (mine,) = await lost.deliveries({PK: 0}, {})
            assert [item.index for item in mine.items] == list(range(pk.ledger.tree.size))
            assert mine.items[receipt.index].body is not None
            assert mine.head == pk.ledger.head
            assert (await refusal(lost, world.bulletin(created=now_ms()))).code == "not-speaking-for"
            assert (await refusal(lost, world.revocation("pk-liaison/duty"))).code == "not-speaking-for"
        async with logged_in(pk, "CN") as peer:
            (part,) = await peer.deliveries({}, {})
            kept = [item for item in bulletins_in(part) if item.body is not None]
            assert [item.index for item in kept] == [receipt.index]


async def test_a_node_holds_a_relation_against_what_it_mirrors(tmp_path: Path) -> None:
    """Who was not asked does not answer, though the request stands in the other nation's ledger. SPEC 11.3.8."""
    async with live_pair(tmp_path) as pair:
        await pair.level()
        cn = pair.nodes["CN"]
        asked = await said_at(pair.nodes["PK"], "pk-liaison/desk", pair.world.bulletin(created=now_ms()))
        await pair.level()
        entry = pair.mirror("CN").storage.entry(asked.index)
        assert entry is not None
        answers = (Relation("answers", PK, asked.index, entry.leaf()),)
        for sender, code in (("cn-embassy", "not-asked"), ("cn-liaison", "")):
            answer = pair.world.bulletin(sender=sender, to=("pk-liaison",), created=now_ms(), relations=answers)
            async with logged_in(cn, f"{sender}/desk") as wire:
                if code:
                    assert (await refusal(wire, answer)).code == code
                    assert cn.mirrors.accepted(PK, asked.index) == entry
                    pair.mirror("CN")._refused.add(asked.index)
                    assert cn.mirrors.accepted(PK, asked.index) is None
                await post(wire, answer)


@pytest.mark.parametrize("closed", [False, True])
async def test_an_agency_that_moved_acts_once_its_old_ledger_shows_it(tmp_path: Path, closed: bool) -> None:
    """Or at once, where that ledger is closed: the directory lists it no more. SPEC 11.9.6."""
    world = world_of_two()
    async with live_pair(tmp_path, world) as pair:
        await pair.level()
        pk = pair.nodes["PK"]
        follow(tmp_path, "PK", "")
        follow(tmp_path, "CN", "")
        await until(lambda: not any(node.peers.state() for node in pair.nodes.values()))
        moved = world.with_agency("cn-embassy", home=PK)
        if closed:
            agencies = tuple(replace(agency, home=PK) for agency in world.directory.agencies)
            nodes = tuple(node for node in world.directory.nodes if node.origin == PK)
            moved = world.with_directory(agencies=agencies, nodes=nodes)
        await said_at(pk, "pk-custodian-1", moved.publication())
        bulletin = moved.bulletin(sender="cn-embassy", to=("pk-liaison",), created=now_ms())
        async with logged_in(pk, "cn-embassy/desk") as wire:
            if closed:
                await post(wire, bulletin)
                return
            assert (await refusal(wire, bulletin)).code == "not-home"
            follow(tmp_path, "PK", pair.nodes["CN"].config.url)
            follow(tmp_path, "CN", pk.config.url)
            await until(lambda: pair.mirror("PK").exchange.in_force.version == 2)
            await post(wire, bulletin)


async def test_the_log_of_a_mirrors_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """Its pages are moved into the file now and then, as the own ledger's are."""
    async with live_pair(tmp_path) as pair:
        await pair.level()
        path = pair.nodes["CN"].mirrors.path_of(PK)
        before = path.stat().st_size
        for _ in range(5):
            await said_at(pair.nodes["PK"], "pk-liaison/desk", pair.world.bulletin(created=now_ms()))
        await pair.level()
        await pair.nodes["CN"]._checkpoint_wal()
        await until(lambda: path.stat().st_size > before)


async def test_no_peer_is_given_the_last_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it signs for: the own ledger goes on, and so does the mirror once there is room."""
    async with live_pair(tmp_path) as pair:
        await pair.level()
        pk, cn, size = pair.nodes["PK"], pair.nodes["CN"], pair.mirror("CN").size
        monkeypatch.setattr("broker.storage.mirrored.RESERVED_BYTES", 2**62)
        await said_at(pk, "pk-liaison/desk", pair.world.bulletin(created=now_ms()))
        await until(lambda: "are for no peer" in str(cn.peers.state()[0]["error"]))
        await said_at(
            cn, "cn-liaison/desk", pair.world.bulletin("cn-liaison", ("cn-embassy", "pk-liaison"), created=now_ms())
        )
        assert pair.mirror("CN").size == size
        monkeypatch.undo()
        await pair.level()


async def test_a_mirror_that_is_broken_stops_no_node(tmp_path: Path) -> None:
    """It goes on without; once the file is out of the way the mirror is fetched anew."""
    world, home = world_of_two(), tmp_path / "cn-home"
    path = mirror_path(home, PK)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database " * 999)
    async with live_pair(tmp_path, world) as pair:
        cn = pair.nodes["CN"]
        await said_at(
            cn, "cn-liaison/desk", world.bulletin("cn-liaison", ("cn-embassy", "pk-liaison"), created=now_ms())
        )
        assert cn.mirrors.get(PK) is None
        path.unlink()
        await pair.level()


async def test_a_node_of_before_is_served_and_followed_no_more(tmp_path: Path) -> None:
    """Its mirror stays: what stands in it still stands."""
    async with live_pair(tmp_path) as pair:
        receipt = await said_at(pair.nodes["PK"], "pk-liaison/desk", pair.world.bulletin(created=now_ms()))
        await pair.level()
        follow(tmp_path, "CN", "")
        await until(lambda: not pair.nodes["CN"].peers.state())
        async with logged_in(pair.nodes["CN"], "cn-liaison/desk") as reader:
            assert [item.index for item in bulletins_in((await parts_of(reader))[PK])] == [receipt.index]


async def test_a_bulletin_is_witnessed_by_the_other_nation(tmp_path: Path) -> None:
    """Its node cosigns what it holds whole, and both nodes say so of it, and show the lines. SPEC 9.7.5, 11.5.1."""
    async with live_pair(tmp_path) as pair:
        submission = pair.world.bulletin(created=now_ms())
        await said_at(pair.nodes["PK"], "pk-liaison/desk", submission)
        path = f"/v1/bulletins/{format_id('pk-liaison', Bulletin.decode(submission.statement).header.id)}"
        async with logged_in(pair.nodes["PK"], "pk-liaison/desk") as sender:
            async with asyncio.timeout(120):
                while (await sender.json("GET", path))["witnessed_by"] != [CN]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        async with logged_in(pair.nodes["CN"], "cn-liaison/desk") as reader:
            assert (await reader.json("GET", path))["witnessed_by"] == [CN]
            mirror = pair.mirror("CN")
            await until(lambda: bool(mirror.published and mirror.published.note.count("cosigner") == 2))
            assert (await parts_of(reader))[PK].checkpoint.count("cosigner") == 2
