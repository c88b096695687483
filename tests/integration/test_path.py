"""The thin true path: a bulletin goes from an officer to another nation's seat and back comes its acknowledgement."""

from pathlib import Path

from clients.client import Client
from clients.commands.show import Desk, state_to_json
from clients.compose import Order, content_of, draft_of
from clients.drafts import Draft
from tests.support.live import live_node, now_ms, seat, world_of_today


def draft(client: Client, title: str = "Convoy at risk", **fields: object) -> Draft:
    """A draft as ``post`` makes it."""
    order = Order(to=["cn-liaison"], feed="convoys", label="Restricted//REL CHN, PAK", status="exercise", title=[title])
    for name, value in fields.items():
        setattr(order, name, value)
    content = content_of(order, "A. Karim", "en", now_ms())
    return draft_of(order, client.exchange.in_force, client.home.profile.agency, content, (), now_ms())


async def post(client: Client, title: str = "Convoy at risk", **fields: object) -> int:
    """Its index."""
    one = draft(client, title, **fields)
    with client.state.transaction():
        client.state.add_draft(one)
    return (await client.sender.send(one.id)).index


async def test_a_bulletin_arrives_is_opened_and_acknowledged(tmp_path: Path) -> None:
    world = world_of_today()
    async with live_node(tmp_path, world) as node:
        url = node.config.url
        with (
            seat(tmp_path, world, "pk-liaison", url=url) as sender,
            seat(tmp_path, world, "cn-liaison", url=url) as reader,
        ):
            async with sender, reader:
                await sender.sync()
                index = await post(sender)
                await reader.sync()
                held = reader.state.bulletin_at(node.ledger.origin, index)
                assert held is not None
                assert held.content is not None
                assert held.content.versions[0].title == "Convoy at risk"
                await reader.acknowledge(index, "received")
                await reader.acknowledge(index, "read")
                assert await reader.send_owed() == 2
                await sender.sync()
                held = sender.state.bulletin_at(node.ledger.origin, index)
                assert held is not None
                desk = Desk.of(sender)
                state = state_to_json(desk.book.of(held), desk)
                assert [one["state"] for one in state["recipients"]] == ["read"]
                assert reader.state.alarms() == sender.state.alarms() == []
