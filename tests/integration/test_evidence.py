"""What a node makes of two trees that do not fit: evidence where it can be had, kept once, for all; else nothing."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from broker.evidence import FILES_PER_LOG_MAX, LOOKED_INTO_PER_MINUTE, Evidence
from broker.http import server
from clients.transport import Wire
from keys.fork import Fork, check
from khunjerab.demo.ports import free_port
from protocol.addcheckpoint import AddCheckpoint
from protocol.note import Note
from protocol.tiles import TilePath
from tests.support.forks import SIZE, History, honest, rewritten
from tests.support.live import live_node, world_of_today
from tests.support.trees import tiles_of
from tests.support.world import ORIGINS, World, open_ledger

WORLD = World.found()
ORIGIN = ORIGINS["CN"]
BEFORE = honest("CN", WORLD.pin)
AFTER = rewritten(BEFORE)


def reader(history: History, asked: list[TilePath] | None = None) -> Callable[[str, TilePath], Awaitable[bytes | None]]:
    """The tiles of a node that shows this history."""
    held = tiles_of(history.leaves)

    async def read(origin: str, path: TilePath) -> bytes | None:
        assert origin == ORIGIN
        if asked is not None:
            asked.append(path)
        tile = held.get((path.level or 0, path.index))
        return tile.data(path.width) if tile is not None and tile.width >= path.width else None

    return read


class Clock:
    """Moves on when it is told."""

    now = 1_795_507_200_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def evidence(tmp_path: Path, clock: Clock) -> Evidence:
    """Of a node that mirrors CN's ledger."""
    return Evidence(tmp_path / "evidence", open_ledger(tmp_path, WORLD), clock)


async def test_a_log_that_rewrote_its_past_is_shown_by_its_own_tiles(evidence: Evidence, tmp_path: Path) -> None:
    """Kept as a file that whoever has the pin can check, and told in the log. SPEC 14.4.2."""
    evidence.readers.append(reader(AFTER))
    with capture_logs() as told:
        assert await evidence.contradicted(ORIGIN, BEFORE.checkpoint(300), AFTER.checkpoint(SIZE))
    (held,) = evidence.all()
    (file,) = (tmp_path / "evidence").iterdir()
    data = file.read_bytes()
    assert (file.stem, held.sha256, file.stat().st_mode & 0o777) == (
        held.sha256.hex(),
        hashlib.sha256(data).digest(),
        0o600,
    )
    assert check(Fork.decode(data), WORLD.pin).trees == (
        ORIGIN,
        300,
        BEFORE.root(300),
        SIZE,
        AFTER.root(SIZE),
    )
    assert [(line["event"], line["log_level"], line["origin"]) for line in told] == [("log-forked", "critical", ORIGIN)]
    assert evidence.against(ORIGIN) == held.sha256
    assert evidence.against(ORIGINS["PK"]) is None


async def test_the_same_pair_is_kept_once_and_is_there_after_a_restart(
    evidence: Evidence, tmp_path: Path, clock: Clock
) -> None:
    """Whoever found it, in whichever order, asking nobody again. SPEC 11.8.1, 14.4.3."""
    asked: list[TilePath] = []
    evidence.readers.append(reader(AFTER, asked))
    trees = BEFORE.checkpoint(300), AFTER.checkpoint(SIZE)
    await evidence.contradicted(ORIGIN, *trees)
    count, found_at = len(asked), clock.now
    clock.now += 60_000
    assert await evidence.contradicted(ORIGIN, trees[1], trees[0])
    again = Evidence(tmp_path / "evidence", open_ledger(tmp_path, WORLD), clock)
    assert await again.contradicted(ORIGIN, *trees)
    assert (len(again.all()), len(asked)) == (1, count)
    assert [one.sha256 for one in again.all()] == [one.sha256 for one in evidence.all()]
    assert abs(again.all()[0].at - time.time() * 1000) < 60_000
    assert evidence.all()[0].at == found_at


async def test_two_trees_of_one_size_need_no_tiles(evidence: Evidence) -> None:
    assert await evidence.contradicted(ORIGIN, BEFORE.checkpoint(SIZE), AFTER.checkpoint(SIZE))


async def test_two_trees_of_one_size_are_one_pair_whichever_was_met_first(evidence: Evidence) -> None:
    """A head of the one beside a checkpoint of the other, or the other way round. SPEC 14.4.3."""
    assert await evidence.contradicted(ORIGIN, BEFORE.head(SIZE), AFTER.checkpoint(SIZE))
    assert await evidence.contradicted(ORIGIN, AFTER.head(SIZE), BEFORE.checkpoint(SIZE))
    assert await evidence.contradicted(ORIGIN, AFTER.checkpoint(SIZE), BEFORE.checkpoint(SIZE))
    assert len(evidence.all()) == 1


async def test_a_head_that_a_checkpoint_breaks_is_shown(evidence: Evidence) -> None:
    """The tree that a page or a receipt led to, and the log now signs another."""
    evidence.readers.append(reader(AFTER))
    assert await evidence.contradicted(ORIGIN, BEFORE.head(300), AFTER.checkpoint(SIZE))


async def test_where_one_reader_has_not_the_tiles_the_next_is_asked(evidence: Evidence) -> None:
    """The log itself shows something else, or nothing; the mirror has them."""
    evidence.readers += [reader(rewritten(honest())), reader(BEFORE), reader(AFTER)]
    evidence.readers.insert(0, reader(History(AFTER.leaves[:10])))
    assert await evidence.contradicted(ORIGIN, AFTER.checkpoint(SIZE), BEFORE.checkpoint(300))


async def test_a_stranger_s_garbage_raises_nothing_and_costs_little(evidence: Evidence, clock: Clock) -> None:
    """An honest log's trees, notes that nobody signed, another log's: no evidence, no alarm, few questions."""
    asked: list[TilePath] = []
    evidence.readers.append(reader(BEFORE, asked))
    forged = BEFORE.checkpoint(SIZE).replace(f"\n{SIZE}\n", f"\n{SIZE - 1}\n")
    stranger = rewritten(honest("PK", WORLD.pin)).checkpoint(SIZE)
    with capture_logs() as told:
        for ours, theirs in (
            (BEFORE.checkpoint(300), BEFORE.checkpoint(SIZE)),
            (BEFORE.head(300), BEFORE.checkpoint(SIZE)),
            (BEFORE.checkpoint(300), forged),
            (BEFORE.checkpoint(300), stranger),
            (BEFORE.checkpoint(300), "garbage"),
            ("", BEFORE.checkpoint(300)),
        ):
            for _ in range(LOOKED_INTO_PER_MINUTE):
                assert not await evidence.contradicted(ORIGIN, ours, theirs)
    assert (evidence.all(), told) == ([], [])
    assert 0 < len(asked) <= 4 * LOOKED_INTO_PER_MINUTE
    clock.now += 60_000
    evidence.readers.append(reader(AFTER))
    assert await evidence.contradicted(ORIGIN, BEFORE.checkpoint(300), AFTER.checkpoint(SIZE))


async def test_where_the_tiles_cannot_be_had_there_is_nothing_until_they_can(evidence: Evidence) -> None:
    trees = BEFORE.checkpoint(300), AFTER.checkpoint(SIZE)
    assert not await evidence.contradicted(ORIGIN, *trees)
    evidence.readers.append(reader(AFTER))
    assert await evidence.contradicted(ORIGIN, *trees)


async def test_a_log_s_evidence_is_bounded(evidence: Evidence, tmp_path: Path, clock: Clock) -> None:
    """More of the same shows nothing new; the first stays. SPEC 11.8.1."""
    evidence.readers.append(reader(AFTER))
    for at in range(300, 300 + FILES_PER_LOG_MAX + 2):
        assert await evidence.contradicted(ORIGIN, BEFORE.checkpoint(at), AFTER.checkpoint(SIZE))
        clock.now += 10_000
    assert len(list((tmp_path / "evidence").iterdir())) == len(evidence.all()) == FILES_PER_LOG_MAX
    assert evidence.all()[0].trees[1] == 300


async def test_all_evidence_is_bounded(evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many logs there are. SPEC 11.8.1."""
    monkeypatch.setattr("broker.evidence.FILES_MAX", 2)
    evidence.readers.append(reader(AFTER))
    for at in (300, 301, 302):
        await evidence.contradicted(ORIGIN, BEFORE.checkpoint(at), AFTER.checkpoint(SIZE))
    assert len(list((tmp_path / "evidence").iterdir())) == 2


async def test_a_file_that_does_not_hold_is_not_shown_to_anybody(
    evidence: Evidence, tmp_path: Path, clock: Clock
) -> None:
    """Whatever lies in the folder is checked before it is told."""
    evidence.readers.append(reader(AFTER))
    await evidence.contradicted(ORIGIN, BEFORE.checkpoint(300), AFTER.checkpoint(SIZE))
    (file,) = (tmp_path / "evidence").iterdir()
    file.write_bytes(file.read_bytes().replace(AFTER.root(300).hex().encode(), bytes(32).hex().encode()))
    with capture_logs() as told:
        again = Evidence(tmp_path / "evidence", open_ledger(tmp_path, WORLD), clock)
    assert (again.all(), [line["event"] for line in told]) == ([], ["evidence-unreadable"])


# On a node


async def _looked_into() -> None:
    """Until nothing is being looked into any more."""
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "evidence"))


async def test_a_witness_that_is_shown_another_history_has_evidence_and_hands_it_to_all(tmp_path: Path) -> None:
    """A log submits a tree that does not extend what was cosigned: refused, then shown. SPEC 11.8.1."""
    world = world_of_today()
    before = honest("CN", world.pin)
    after = rewritten(before)
    async with live_node(tmp_path, world) as node:
        assert node.witness is not None
        node.evidence.readers.append(reader(after))

        async def holds(checkpoint: object) -> bytes:
            return before.root(checkpoint.size)  # type: ignore[attr-defined]

        node.witness.holds = holds
        async with Wire(node.config.url) as wire, aiohttp.ClientSession() as http:

            async def submit(old: int, history: History, size: int) -> int:
                request = AddCheckpoint(old, history.proof(old, size), Note.parse(history.checkpoint(size)))
                async with http.post(f"{wire.url}/add-checkpoint", data=request.encode()) as answer:
                    return answer.status

            assert json.loads(await wire.request("GET", "/v1/evidence", login=False)) == []
            assert await submit(0, before, 300) == 200
            assert await submit(300, after, SIZE) == 422
            await _looked_into()
            (told,) = json.loads(await wire.request("GET", "/v1/evidence", login=False))
            sha256 = hashlib.sha256
            assert (told["origin"], told.keys()) == (ORIGIN, {"sha256", "origin", "at"})
            data = await wire.request("GET", f"/v1/evidence/{told['sha256']}", login=False)
            assert sha256(data).hexdigest() == told["sha256"]
            assert check(Fork.decode(data), world.pin).origin == ORIGIN
            async with http.get(f"{wire.url}/v1/evidence/{told['sha256']}") as answer:
                assert answer.content_type == "application/json"
            for name in ("0" * 64, "00", told["sha256"].upper(), "..%2f..%2fpk-ledger.db"):
                async with http.get(f"{wire.url}/v1/evidence/{name}") as answer:
                    assert (answer.status, (await answer.json())["code"]) == (404, "not-found")
            admin = f"127.0.0.1:{free_port()}"
            runner = await server.serve_admin(node, admin)
            async with http.get(f"http://{admin}/readyz") as answer:
                assert (answer.status, (await answer.json())["evidence"]) == (200, [told])
            async with http.get(f"http://{admin}/metrics") as answer:
                assert "khunjerab_evidence 1.0" in await answer.text()
            await runner.cleanup()
