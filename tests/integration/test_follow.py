"""`follow`: to a screen, as JSON lines, to a command; through what the link and the consumer do."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from khunjerab.demo.ports import free_port
from tests.integration.test_outbox import Withholding
from tests.support.live import live_node, world_of_today
from tests.support.officers import Officer, officer

POST = ("post", "--to", "cn-liaison", "--feed", "convoys", "--label", "Restricted//REL CHN, PAK")
ACTUAL, EXERCISE = (*POST, "--status", "actual"), (*POST, "--status", "exercise")
SECONDS_MAX = 180


@asynccontextmanager
async def exchange(folder: Path) -> AsyncIterator[tuple[Officer, Officer]]:
    """A node, an officer in Pakistan and one in China."""
    world = world_of_today()
    async with live_node(folder, world) as node:
        url = node.config.url
        yield officer(folder, world, "pk-liaison", url=url), officer(folder, world, "cn-liaison", url=url)


@asynccontextmanager
async def following(who: Officer, *words: str) -> AsyncIterator[Process]:
    """``follow``, running."""
    child = await who.start("follow", *words)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def line(child: Process) -> dict[str, Any]:
    """Its next JSON line."""
    assert child.stdout is not None
    async with asyncio.timeout(SECONDS_MAX):
        found = await child.stdout.readline()
    return dict(json.loads(found))


async def heard(child: Process, word: str) -> str:
    """What it says on stderr, up to the line with ``word``."""
    assert child.stderr is not None
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            said = (await child.stderr.readline()).decode()
            assert said, f"it ended without {word!r}"
            if word in said:
                return said


async def until(condition: Any) -> None:
    """Wait for what becomes true by itself."""
    async with asyncio.timeout(SECONDS_MAX):
        while not await condition():  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.05)


def script(folder: Path, text: str) -> str:
    """A consumer, as --exec names it."""
    path = folder / "consumer.py"
    path.write_text("import json, os, sys\nvalue = json.load(sys.stdin)\n" + text)
    return f"'{sys.executable}' -I '{path}' 'an argument; not a shell > nowhere'"


async def test_bulletins_arrive_as_json_lines_and_are_acknowledged(tmp_path: Path) -> None:
    """Each once; `received` follows by itself; the next run goes on where this one stopped."""
    async with exchange(tmp_path) as (pk, cn):
        async with following(cn, "--json") as child:
            first = (await pk(*EXERCISE, "--title", "one", "--precedence", "flash", "--json")).line["id"]
            came = await line(child)
            assert (came["event"], came["id"], came["status"]) == ("bulletin", first, "exercise")
            assert next(iter(came)) == "status"

            async def is_received() -> bool:
                state = (await pk("status", first, "--json")).line
                return bool(state["recipients"][0]["state"] == "received")

            await until(is_received)
            child.send_signal(signal.SIGINT)
            async with asyncio.timeout(SECONDS_MAX):
                assert await child.wait() == 130
        second = (await pk(*EXERCISE, "--title", "two", "--json")).line["id"]
        assert (await cn("follow", "--json", "--count", "1")).line["id"] == second
        assert "two" in (await cn("search", "two")).out


async def test_two_of_a_kind_do_not_share_a_home(tmp_path: Path) -> None:
    """The second is told, and the first goes on."""
    async with exchange(tmp_path) as (pk, cn):
        await pk(*EXERCISE, "--title", "one")
        async with following(cn, "--json") as child:
            await line(child)
            assert "another follow" in (await cn("follow", expect=2)).err
            await pk(*EXERCISE, "--title", "two")
            assert (await line(child))["content"]["versions"][0]["title"] == "two"


async def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    """As with ``follow | head``."""
    async with exchange(tmp_path) as (pk, cn):
        await pk(*EXERCISE, "--title", "one")
        async with following(cn, "--json") as child:
            await line(child)
            assert child.stdout is not None
            child.stdout._transport.close()  # type: ignore[attr-defined]
            await pk(*EXERCISE, "--title", "two")
            async with asyncio.timeout(SECONDS_MAX):
                _, err = await child.communicate()
            assert (child.returncode, err) == (0, b"")


async def test_it_goes_on_when_the_node_comes_back(tmp_path: Path) -> None:
    """It says so, once each way, and misses nothing."""
    world, port = world_of_today(), free_port()
    async with live_node(tmp_path, world, port) as node:
        url = node.config.url
        pk, cn = officer(tmp_path, world, "pk-liaison", url=url), officer(tmp_path, world, "cn-liaison", url=url)
        await pk(*EXERCISE, "--title", "before")
        child = await cn.start("follow", "--json")
        assert (await line(child))["content"]["versions"][0]["title"] == "before"
    try:
        await heard(child, "trying again")
        async with live_node(tmp_path, world, port):
            await pk(*EXERCISE, "--title", "after")
            assert (await line(child))["content"]["versions"][0]["title"] == "after"
            await heard(child, "answers again")
    finally:
        child.kill()
        await child.communicate()


async def test_a_command_gets_the_json_and_the_id(tmp_path: Path) -> None:
    """On stdin and in KHUNJERAB_ID, through no shell; exercises only if asked."""
    async with exchange(tmp_path) as (pk, cn):
        consumer = script(
            tmp_path, "print(json.dumps([os.environ['KHUNJERAB_ID'], value['id'], value['status'], sys.argv[1]]))"
        )
        await pk(*EXERCISE, "--title", "not this one")
        real = (await pk(*ACTUAL, "--title", "this one", "--json")).line["id"]
        said = await cn("follow", "--exec", consumer, "--count", "1")
        assert json.loads(said.out) == [real, real, "actual", "an argument; not a shell > nowhere"]
        drill = (await pk(*EXERCISE, "--title", "this too", "--json")).line["id"]
        titles = (await cn("follow", "--exec", consumer, "--exercises", "--count", "2")).out
        assert [json.loads(one)[2] for one in titles.splitlines()] == ["exercise", "exercise"]
        assert drill in titles


async def test_what_fails_five_times_is_set_aside(tmp_path: Path) -> None:
    """The next goes on; --failed lists it, --retry hands it over again."""
    async with exchange(tmp_path) as (pk, cn):
        mended = tmp_path / "mended"
        is_bad = "value['content']['versions'][0]['title'] == 'bad'"
        bad = script(tmp_path, f"sys.exit(3 if {is_bad} and not os.path.exists({str(mended)!r}) else 0)")
        first = (await pk(*ACTUAL, "--title", "bad", "--json")).line["id"]
        await pk(*ACTUAL, "--title", "good")
        said = await cn("follow", "--exec", bad, "--count", "2")
        assert said.err.count("failed: it ended with status 3") == 5
        assert "set aside" in said.err
        assert (await cn("follow", "--failed", "--json")).line["id"] == first
        mended.touch()
        await cn("follow", "--failed", "--retry", first[-6:])
        await cn("follow", "--exec", bad, "--count", "1")
        emptied = await cn("follow", "--failed", "--json")
        assert (emptied.out, emptied.err) == ("", "nothing is set aside\n")
        assert "names no command" in (await cn("follow", "--exec", "", "--count", "1", expect=2)).err
        assert "no command to-tickts" in (await cn("follow", "--exec", "to-tickts -q", "--count", "1", expect=2)).err


async def test_a_command_that_is_killed_is_tried_again(tmp_path: Path) -> None:
    """At least once: what was being handed over when follow died is handed over again, under the same id."""
    async with exchange(tmp_path) as (pk, cn):
        log = tmp_path / "log"
        consumer = script(
            tmp_path,
            f"open({str(log)!r}, 'a').write(value['id'] + '\\n')\nimport time\n"
            f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.05)",
        )
        name = (await pk(*ACTUAL, "--title", "one", "--json")).line["id"]
        async with following(cn, "--exec", consumer) as child:

            async def has_begun() -> bool:
                return log.exists()

            await until(has_begun)
            child.kill()
            (tmp_path / "go").touch()  # what follow started goes on without it
        await cn("follow", "--exec", consumer, "--count", "1")
        assert log.read_text().split() == [name, name]


async def test_what_is_late_is_told_to_its_sender(tmp_path: Path) -> None:
    """An event once the deadline of its precedence has passed; in status and lists too."""
    world = world_of_today()
    policy = world.directory.policy
    late = world_of_today(policy=type(policy)(deadlines_seconds=(1, 1, 1, 1)))
    async with live_node(tmp_path, late) as node:
        url = node.config.url
        pk, cn = officer(tmp_path, late, "pk-liaison", url=url), officer(tmp_path, late, "cn-liaison", url=url)
        name = (await pk(*EXERCISE, "--title", "anyone?", "--json")).line["id"]
        async with following(pk, "--json") as child:
            event = await line(child)
            assert (event["event"], event["id"], event["agency"]) == ("late", name, "cn-liaison")
        assert (await pk("status", name, "--json")).line["recipients"][0]["late"] is True
        assert "LATE" in (await pk("status", name)).out
        assert (await cn("inbox", "--json")).line["late"] == ["cn-liaison"]


async def test_what_was_withheld_is_an_alarm_at_once(tmp_path: Path) -> None:
    """As a line of its own; and the run ends with status 5."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node:
        url = node.config.url
        node.pages.own = deliveries = Withholding(node.ledger, node.ledger, node.standing, node.evidence.against)
        pk, cn = officer(tmp_path, world, "pk-liaison", url=url), officer(tmp_path, world, "cn-liaison", url=url)
        hidden = (await pk(*EXERCISE, "--title", "hidden", "--json")).line["index"]
        deliveries.hidden = frozenset({("cn-liaison", hidden)})
        await pk(*EXERCISE, "--title", "shown")
        said = await cn("follow", "--json", "--count", "1", expect=5)
        assert [one["event"] for one in said.lines] == ["bulletin", "alarm"]
        assert said.lines[1]["check"] == "denied"
        assert "ALARM" in (await cn("search", "shown")).err
