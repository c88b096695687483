"""``khunjerab node peer`` as an operator types it, on two nodes that run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_node_commands import is_one_line, typed
from tests.support.door import until
from tests.support.pair import world_of_two
from tests.support.process import NodeProcess, make_home
from tests.support.world import ORIGINS

PK, CN = ORIGINS["PK"], ORIGINS["CN"]


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Path]:
    world = world_of_two()
    return {nation: make_home(tmp_path / nation, world, admin=True, nation=nation) for nation in ORIGINS}


async def state_of(home: Path) -> dict[str, Any]:
    status, said, talk = await typed(home, "peer", "status", "--json")
    assert status == 0, talk
    told: dict[str, Any] = json.loads(said) if said else {}
    return told


async def test_a_peer_is_added_followed_and_removed_while_the_node_runs(homes: dict[str, Path]) -> None:
    """Each within a second or so, and said in words and in JSON."""
    async with NodeProcess(homes["PK"]) as pk, NodeProcess(homes["CN"]) as cn:
        assert (await typed(homes["PK"], "peer", "list"))[:2] == (0, "")
        assert await state_of(homes["PK"]) == {}
        status, said, talk = await typed(homes["PK"], "peer", "add", CN, "--url", cn.url)
        assert (status, said) == (0, "")
        assert CN in talk
        assert (await typed(homes["PK"], "peer", "list"))[1] == f"{CN} at {cn.url}\n"
        listed = json.loads((await typed(homes["PK"], "peer", "list", "--json"))[1])
        assert listed == {"origin": CN, "url": cn.url, "nation": "CN"}
        async with asyncio.timeout(180):
            while not (told := await state_of(homes["PK"])).get("connected"):
                pass
        assert (told["origin"], told["lag_entries"], told["flagged"], told["error"]) == (CN, 0, 0, None)
        said = (await typed(homes["PK"], "peer", "status"))[1]
        assert said.splitlines()[0] == f"{CN} followed"
        assert f"peer {CN} followed, {told['entries']} entries, 0 behind" in (await typed(homes["PK"], "status"))[1]
        cn.kill()
        async with asyncio.timeout(180):
            while (told := await state_of(homes["PK"])).get("connected"):
                pass
        assert cn.url in told["error"]
        assert "away" in (await typed(homes["PK"], "peer", "status"))[1]
        assert (await typed(homes["PK"], "peer", "remove", CN))[0] == 0
        async with asyncio.timeout(180):
            while await state_of(homes["PK"]):
                pass
        assert await pk.stop() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", PK),
        ("add", "nowhere.example/ledger"),
        ("add", "No Origin"),
        ("remove", CN),
        ("status",),
    ],
    ids=" ".join,
)
async def test_predictable_mistakes_are_one_line(homes: dict[str, Path], arguments: tuple[str, ...]) -> None:
    """What was wrong and what to do: one's own ledger, one that is not listed, none at all, a node that is down."""
    status, said, talk = await typed(homes["PK"], "peer", *arguments)
    assert (status, said) == (4 if arguments == ("status",) else 2, "")
    assert is_one_line(talk)


async def test_a_broken_file_of_peers_is_one_line(homes: dict[str, Path]) -> None:
    """And the node goes on with the peers of before."""
    (homes["PK"] / "peers.toml").write_text("[[peer]]\norigin = 'x'\nport = 7\n")
    status, _, talk = await typed(homes["PK"], "peer", "list")
    assert status == 2
    assert is_one_line(talk)
    async with NodeProcess(homes["PK"]) as node:
        assert await state_of(homes["PK"]) == {}
        await until(lambda: "peers-unread" in node.words())
