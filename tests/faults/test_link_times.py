"""Two nations that do not know the same: clocks that are apart, and a key that one has ended while the link is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import peering
from broker.node import Node
from broker.witness import asking
from clients.commands.show import Desk as Screen
from clients.errors import Declined
from protocol.entry import Entry
from protocol.label import Clearance
from protocol.page import Item, Part
from protocol.statements import Bulletin, Kind
from tests.faults.test_clock import Clock
from tests.support.border import Border, near_border
from tests.support.door import logged_in, post, refusal, until
from tests.support.live import now_ms
from tests.support.pair import PEER
from tests.support.world import ORIGINS, signing_key

PK, CN = ORIGINS["PK"], ORIGINS["CN"]
APART_MS = 65_000  # a minute, and more than any pause of this machine; what is dated ahead is waited for by so much


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was refused asks again soon."""
    for module in (asking, peering):
        monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 0.5)


def _told(node: Node) -> str:
    """Why a node does not follow its peer."""
    (state,) = node.peers.state()
    return str(state["error"] or "")


async def _both_post(both: Border) -> None:
    for desk in both.desks.values():
        desk.seal(3)
        await desk.drain()


@pytest.mark.parametrize("wrong_by_ms", [-APART_MS, APART_MS])
async def test_clocks_that_are_apart(tmp_path: Path, wrong_by_ms: int) -> None:
    """Neither node follows the other, and both say why; at home all goes on; once they agree everything arrives."""
    clock = Clock()
    async with near_border(tmp_path, 10, {"CN": clock}) as (both, pair):
        await _both_post(both)
        await both.settle()
        await both.cut()
        clock.wrong_by_ms = wrong_by_ms
        both.open()
        await until(lambda: all("clock-skew" in _told(node) for node in pair.nodes.values()))
        sizes = [pair.mirror(nation).size for nation in PEER]
        await _both_post(both)
        assert sizes == [pair.mirror(nation).size for nation in PEER]
        clock.wrong_by_ms = 0
        await both.finish()
        assert [_told(node) for node in pair.nodes.values()] == ["", ""]


@pytest.mark.parametrize("wrong_by_ms", [-APART_MS, APART_MS])
async def test_a_clock_that_goes_wrong_while_a_peer_is_followed(tmp_path: Path, wrong_by_ms: int) -> None:
    """What is dated ahead of a node's clock is left until that shows its time, and is not lost."""
    clock = Clock()
    async with near_border(tmp_path, 11, {"CN": clock}) as (both, pair):
        await both.settle()
        clock.wrong_by_ms = wrong_by_ms
        ahead, behind = ("PK", "CN") if wrong_by_ms < 0 else ("CN", "PK")
        size = pair.mirror(behind).size
        both.desks[ahead].seal(2)
        await both.desks[ahead].drain()
        await until(lambda: "clock-skew" in _told(pair.nodes[behind]))
        assert (pair.mirror(behind).size, pair.mirror(behind).storage.flags()) == (size, [])
        clock.wrong_by_ms = 0
        await both.finish()


def _bulletins(parts: tuple[Part, ...], origin: str) -> list[Item]:
    (part,) = (part for part in parts if part.head.origin == origin)
    return [item for item in part.items if Entry.decode(item.entry).kind is Kind.BULLETIN]


async def test_a_seat_that_one_nation_revoked_while_the_link_was_cut(tmp_path: Path) -> None:
    """At home it ends at once, in the other nation once it hears of it; verdicts stand. SPEC 11.9.4, 11.9.5.

    What the seat sent before is shown as what it is; what was sealed to it meanwhile is read by the other seat.
    """
    async with near_border(tmp_path, 12) as (both, pair):
        pk, cn, world, record = pair.nodes["PK"], pair.nodes["CN"], pair.world, both.record
        await both.settle()
        await both.cut()
        duty = signing_key("cn-liaison/duty").public.key_id
        sent = world.bulletin("cn-liaison", ("pk-liaison",), signer="cn-liaison/duty", key_id=duty, created=now_ms())
        async with logged_in(cn, "cn-liaison/duty") as seat, logged_in(cn, "cn-liaison/identity") as custodian:
            record.take(CN, sent, await post(seat, sent))
            await post(custodian, world.revocation("cn-liaison/duty", created=now_ms()))
            with pytest.raises(Declined, match="login-refused"):
                await _anew(cn, "cn-liaison/duty")
        both.desks["PK"].seal(1)
        await both.desks["PK"].drain()  # sealed to both seats, and admitted: this node knows nothing yet
        async with logged_in(pk, "cn-liaison/duty") as thief:
            (item,) = _bulletins(await thief.deliveries({}, {}), PK)
            assert item.wrap is not None, "what nobody there knows yet stops nobody there"
            both.open()
            await both.settle()
            with pytest.raises(Declined, match="login-refused"):
                await thief.deliveries({}, {})
        late = world.bulletin(created=now_ms())
        async with logged_in(pk, "pk-liaison/desk") as sender:
            assert (await refusal(sender, late)).code == "stale-keys", "nothing more is sealed to it"
        client = record.readers["PK"]
        await until(lambda: client.exchange.is_revoked("cn-liaison", duty))
        (held,) = client.state.bulletins("sender = ?", "cn-liaison")
        assert Screen.of(client).suspicion(held) == "valid when logged, key since revoked"
        await both.finish()


async def test_a_clearance_that_was_lowered_while_the_link_was_cut(tmp_path: Path) -> None:
    """What came before is read until the reader's own node hears of it, and is withheld from then on. SPEC 11.9.5."""
    async with near_border(tmp_path, 13) as (both, pair):
        pk, cn, world = pair.nodes["PK"], pair.nodes["CN"], pair.world
        async with logged_in(pk, "pk-liaison/desk") as sender:
            await post(sender, world.bulletin(to=("cn-embassy",), created=now_ms()))
        await both.settle()
        await both.cut()
        lowered = world.with_agency("cn-embassy", clearance=Clearance("CN", "公开"))
        async with logged_in(pk, "pk-custodian-1") as custodian:
            await post(custodian, lowered.publication())
        async with logged_in(cn, "cn-embassy/desk") as reader:
            (item,) = _bulletins(await reader.deliveries({}, {}), PK)
            assert (item.withheld, item.body is not None) == ("", True)
            both.open()
            await until(lambda: cn.ledger.exchange.in_force.version == 2)
            (item,) = _bulletins(await reader.deliveries({}, {}), PK)
            assert (item.withheld, item.body) == ("clearance-too-low", None)
            with pytest.raises(Declined, match="withheld"):
                await reader.body(Bulletin.decode(Entry.decode(item.entry).statement).body)
        assert pair.mirror("CN").storage.flags() == []
        await both.finish()


async def _anew(node: Node, who: str) -> None:
    """Log in."""
    async with logged_in(node, who) as wire:
        await wire.session()
