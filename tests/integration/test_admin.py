"""The operator's listener: metrics, health, readiness; on loopback and nowhere else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.errors import NodeHomeError
from broker.http import server
from broker.node import Node
from broker.witness.asking import Away
from broker.witness.roster import AskedWitness
from broker.witness.witness import Answer
from khunjerab.demo.ports import free_port
from protocol.times import DAY_MS
from tests.support.door import logged_in, post, refusal, until
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.pair import live_pair
from tests.support.world import ORIGINS


@contextlib.asynccontextmanager
async def admin(node: Node) -> AsyncIterator[str]:
    listen = f"127.0.0.1:{free_port()}"
    runner = await server.serve_admin(node, listen)
    try:
        yield f"http://{listen}"
    finally:
        await runner.cleanup()


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, await answer.text()


async def metrics(url: str) -> dict[str, float]:
    _, text = await get(f"{url}/metrics")
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {"".join((sample.name, *sorted(sample.labels.values()))): sample.value for sample in samples}


async def test_the_metrics_say_what_happened(tmp_path: Path) -> None:
    """Receipts, refusals by code, appends, and what the node is at the moment."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, admin(node) as url, logged_in(node, "pk-liaison/desk") as sender:
        before = await metrics(url)
        await post(sender, world.bulletin(created=node.clock()))
        refused = await refusal(sender, world.bulletin(created=node.clock(), feed="unknown"))
        assert refused.code == "feed-not-joined"
        await node.publish()
        after = await metrics(url)
        assert after["khunjerab_receipts_total"] == before["khunjerab_receipts_total"] + 1
        assert after["khunjerab_entries"] == before["khunjerab_entries"] + 1 == node.ledger.tree.size
        assert after["khunjerab_head_size"] == after["khunjerab_checkpoint_size"] == node.ledger.tree.size
        assert after["khunjerab_refusals_totalfeed-not-joined"] == 1
        assert after["khunjerab_append_seconds_count"] == 1
        assert after["khunjerab_sessions"] == 1
        assert after["khunjerab_not_signing"] == after["khunjerab_storage_failing"] == 0
        assert 363 < after["khunjerab_directory_days_left"] <= 364
        assert after["khunjerab_ledger_bytes"] > 0
        assert 0 <= after["khunjerab_checkpoint_age_seconds"] < 60


async def test_the_metrics_say_how_far_a_peer_is_mirrored(tmp_path: Path) -> None:
    """By its origin; what is behind, and what was flagged."""
    async with live_pair(tmp_path) as pair, admin(pair.nodes["PK"]) as url:
        await pair.level()
        await until(lambda: all(peer["connected"] for peer in pair.nodes["PK"].peers.state()))
        told = await metrics(url)
        origin = ORIGINS["CN"]
        assert told[f"khunjerab_peer_connected{origin}"] == 1
        assert told[f"khunjerab_peer_entries{origin}"] == pair.nodes["CN"].ledger.head.size
        for name in ("lag_entries", "lag_seconds", "flagged"):
            assert told[f"khunjerab_peer_{name}{origin}"] == 0
        ((lane, _),) = pair.nodes["PK"].peers._lanes.values()
        lane.head_size += 7  # as if the peer had shown as many more
        told = await metrics(url)
        assert told[f"khunjerab_peer_lag_entries{origin}"] == 7
        assert told[f"khunjerab_peer_lag_seconds{origin}"] > 0


async def test_the_metrics_say_who_cosigns(tmp_path: Path) -> None:
    """Each witness, what it cosigned last, and how often it was asked in vain."""
    async with live_node(tmp_path, world_of_today()) as node, admin(node) as url:
        node.ask_witnesses(_Deaf, None)
        assert node.asking is not None
        node.asking.begin()
        await until(lambda: node.asking is not None and node.asking.lanes[0].failures > 0)
        told = await metrics(url)
        cn = ORIGINS["CN"]
        assert told[f"khunjerab_witness_failures_total{cn}"] > 0
        assert told[f"khunjerab_witness_cosigned_size{cn}"] == 0
        assert told[f"khunjerab_witness_cosigned_age_seconds{cn}"] == -1
        status, text = await get(f"{url}/readyz")
        (witness,) = json.loads(text)["witnesses"]
        assert (status, witness["name"], witness["error"]) == (200, cn, "it is deaf")


class _Deaf:
    """A witness that hears nothing."""

    def __init__(self, witness: AskedWitness) -> None:
        del witness

    async def submit(self, body: bytes) -> Answer:
        raise Away("it is deaf")

    async def cosigned(self, origin: str) -> str:
        raise Away("it is deaf")

    async def close(self) -> None:
        pass


async def test_readiness_says_why_not(tmp_path: Path) -> None:
    """503 with the reason where the node signs nothing; health stays well, as restarting it would not help."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, admin(node) as url:
        status, text = await get(f"{url}/readyz")
        assert (status, '"ready": true' in text) == (200, True)
        node.standing.stop_signing("it was restored")
        status, text = await get(f"{url}/readyz")
        assert (status, '"not_signing": "it was restored"' in text) == (503, True)
        assert (await get(f"{url}/healthz"))[0] == 200
        assert (await metrics(url))["khunjerab_not_signing"] == 1


@pytest.mark.parametrize("listen", ["0.0.0.0:9", "192.0.2.1:9", "[::]:9", "example.test:9", ":9", "127.0.0.1:0", "x"])
async def test_it_listens_on_loopback_and_nowhere_else(tmp_path: Path, listen: str) -> None:
    """Who exchanges how much with whom is nobody else's business."""
    async with live_node(tmp_path, world_of_today()) as node:
        with pytest.raises(NodeHomeError):
            await server.serve_admin(node, listen)


@pytest.mark.parametrize(
    "days,event",
    [(61, None), (59, "directory-ends-soon"), (-1, "directory-in-grace"), (-31, "directory-ended")],
)
async def test_the_log_warns_before_the_directory_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], days: int, event: str | None
) -> None:
    """From 60 days before the end, and through the grace."""
    world = world_of_today()
    ahead = world.directory.expires - now_ms() - days * DAY_MS
    async with live_node(tmp_path, world, clock=lambda: now_ms() + ahead) as node:
        capsys.readouterr()
        await node.once_a_day()
        logged = capsys.readouterr().out
        assert (event in logged) if event else ("directory-" not in logged)
