"""A day of two liaison officers, as they would type it: the real command against a real node."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from khunjerab.demo.ports import free_port
from protocol.policy import Policy
from protocol.statements import Suspect
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.officers import Officer, officer
from tests.support.world import ORIGINS, World, first_directory, open_ledger

POST = ("post", "--to", "cn-liaison", "--feed", "convoys", "--label", "Restricted//REL CHN, PAK")
EXERCISE = (*POST, "--status", "exercise")


@asynccontextmanager
async def exchange(folder: Path) -> AsyncIterator[tuple[Officer, Officer]]:
    """A node, an officer in Pakistan and one in China."""
    world = world_of_today()
    async with live_node(folder, world) as node:
        url = node.config.url
        yield officer(folder, world, "pk-liaison", url=url), officer(folder, world, "cn-liaison", url=url)


async def test_a_warning_goes_out_is_read_and_its_sender_sees_it(tmp_path: Path) -> None:
    """Post, inbox, show, ack, status."""
    async with exchange(tmp_path) as (pk, cn):
        posted = await pk(
            *POST, "--status", "actual", "--title", "Slide at Sost", "--text", "The road is closed.",
            "--lang", "en", "--title", "索斯特塌方", "--text", "公路关闭。", "--lang", "zh-Hans",
            "--category", "road-closure", "--severity", "severe", "--place", "Sost@36.6900,74.8200",
            "--measure", "Wait at Karimabad.", "--grade", "b2", "--json",
        )  # fmt: skip
        name = posted.line["id"]
        assert list(posted.line) == ["status", "id", "origin", "index", "receipt"]
        assert name.startswith("pk-liaison/")

        (listed,) = (await cn("inbox", "--json")).lines
        assert (listed["id"], listed["status"], listed["state"]) == (name, "actual", "received")
        assert listed["equivalent"] == "CN:内部"
        assert listed["content"]["grade"] == "B2"
        shown = await cn("show", name[-6:])
        assert shown.out.startswith("ACTUAL")
        assert "索斯特塌方" in shown.out
        assert "Sost 36.690000,74.820000" in shown.out

        await cn("ack", name[-8:])
        await cn("ack", name, "--acted")
        assert (await cn("ack", name)).err.endswith(": acted\n")
        logged = (await pk("outbox", "--json")).lines
        assert [(one["origin"], one["index"]) for one in logged] == [(posted.line["origin"], posted.line["index"])]
        state = (await pk("status", name, "--json")).line
        assert [(one["agency"], one["state"], one["late"]) for one in state["recipients"]] == [
            ("cn-liaison", "acted", False)
        ]
        assert {"id", "origin", "index", "logged", "witnessed_by", "recipients", "status"} <= set(state)
        assert (await pk("search", "塌方", "--json")).line["id"] == name
        assert (await cn("inbox", "--unread", "--json")).lines == []


async def test_what_was_wrongly_typed_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Usage is 2; label, status and recipient are never guessed; choices are listed."""
    async with exchange(tmp_path) as (pk, _):
        missing = await pk("post", "--title", "x", expect=2)
        assert "--label, --status, --to or --feed must be said" in missing.err
        assert "did you mean Severe?" in (await pk(*EXERCISE, "--title", "x", "--severity", "Sever", expect=2)).err
        assert "CN:机密 exists" in (await pk(*EXERCISE, "--title", "x", "--label", "机密//REL PAK", expect=2)).err
        assert "A to F" in (await pk(*EXERCISE, "--title", "x", "--grade", "Z9", expect=2)).err
        assert "no bulletin" in (await pk("show", "pk-liaison/01936c3f-0000-7000-8000-000000000000", expect=2)).err
        assert "too short" in (await pk("show", "abc", expect=2)).err
        assert "Usage" in (await pk("post", "--help")).out
        assert "no terminal" in (await pk("post", expect=2)).err
        await pk(*EXERCISE, "--title", "x", "--from", "+1h", "--until", "+3h", "--dry-run")
        backwards = await pk(*EXERCISE, "--title", "x", "--from", "+3h", "--until", "+1h", expect=2)
        assert "end before it begins" in backwards.err
        assert (
            "'zoom' is no time: 2026-11-24T08:00Z, or as long" in (await pk("inbox", "--since", "zoom", expect=2)).err
        )
        apart = await pk("post", "--to", "cn-auditor", *EXERCISE[5:], "--title", "x", expect=2)
        assert "cn-auditor in none with pk-liaison" in apart.err
        nothing = await pk("outbox", "--json")
        assert (nothing.out, nothing.err) == ("", "nothing in the outbox\n")
        assert "no bulletin a1b2c3 in the outbox" in (await pk("outbox", "drop", "a1b2c3", expect=2)).err


@pytest.mark.parametrize(
    "redirected, expected, told",
    [("<&- >&- 2>&-", 0, ""), (">/dev/full", 2, "No space left on device"), ("2>/dev/full", 0, ""), (">&-", 0, "")],
)
def test_where_nothing_can_be_written_there_is_no_trace(redirected: str, expected: int, told: str) -> None:
    """Files that are closed, as of a job at night, and a full disk behind a redirection."""
    command = f"{shlex.quote(sys.executable)} -I -m khunjerab --help {redirected}"
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == expected
    assert told in ended.stderr
    assert "Error" not in ended.stderr


async def test_nobody_is_left_out_unseen(tmp_path: Path) -> None:
    """One who could not read it: 3 and nothing is sent; --partial leaves out by name; above Restricted asks."""
    async with exchange(tmp_path) as (pk, cn):
        both = ("--to", "cn-liaison", "--to", "cn-embassy", "--feed", "convoys")
        secret = ("post", *both, "--status", "test", "--title", "x", "--label", "Secret//REL CHN, PAK")
        refused = await pk(*secret, "--yes", expect=3)
        assert "cn-embassy could not read it: clearance-too-low" in refused.err
        assert "above Restricted" in (await pk(*secret, "--partial", expect=2)).err
        dry = (await pk(*secret, "--partial", "--dry-run", "--json")).line
        assert (dry["recipients"], dry["denied"]) == (["cn-liaison"], {"cn-embassy": "clearance-too-low"})
        assert (await pk("outbox", "--json")).lines == []
        sent = (await pk(*secret, "--partial", "--yes", "--json")).line
        assert (await cn("inbox", "--json")).line["id"] == sent["id"]


async def test_members_of_a_feed_whom_the_label_keeps_out_are_named(tmp_path: Path) -> None:
    """A feed alone goes to those who could read it; who could not is told by name, before it goes, and why."""
    async with exchange(tmp_path) as (pk, cn):
        secret = ("post", "--feed", "convoys", "--status", "test", "--title", "x", "--label", "Secret//REL CHN, PAK")
        dry = await pk(*secret, "--dry-run", "--json")
        kept_out = {"cn-embassy": "clearance-too-low", "pk-site-security": "clearance-too-low"}
        assert (dry.line["recipients"], dry.line["denied"]) == (["cn-liaison"], kept_out)
        sent = await pk(*secret, "--yes", "--json")
        for name in kept_out:
            assert f"{name} is in convoys and could not read it: clearance-too-low" in sent.err
        assert (await cn("inbox", "--json")).line["id"] == sent.line["id"]
        named = await pk(*secret, "--to", "cn-liaison", "--yes")
        assert "could not read it" not in named.err


async def test_a_label_that_keeps_everybody_out_is_a_refusal_that_says_why(tmp_path: Path) -> None:
    async with exchange(tmp_path) as (pk, _):
        feed = ("post", "--status", "test", "--title", "x", "--feed", "convoys", "--label")
        unknown = await pk(*feed, "Secret//FOO//REL CHN, PAK", expect=3)
        assert "FOO is no compartment of this exchange" in unknown.err
        kept_out = await pk(*feed, "Restricted//REL PAK", "--to", "cn-liaison", expect=3)
        assert "cn-liaison could not read it: not-releasable" in kept_out.err
        nobody = await pk(*feed, "Top Secret//REL CHN, PAK", expect=3)
        assert "nobody in convoys may read it" in nobody.err
        assert "cn-liaison (clearance-too-low)" in nobody.err


async def test_a_bulletin_comes_from_a_file(tmp_path: Path) -> None:
    """The template, JSON and Markdown have the command line's names; - is stdin; the command line goes before."""
    async with exchange(tmp_path) as (pk, cn):
        template = (await pk("post", "--template")).out
        assert 'status = "exercise"' in template
        file = tmp_path / "bulletin.toml"
        file.write_text(template.replace('"corridor"', '"convoys"'))
        await pk("post", str(file), "--to", "cn-liaison")
        fields = {"status": "test", "feed": "convoys", "to": "cn-liaison", "label": "Restricted//REL CHN, PAK"}
        place = {"name": "Gilgit", "coordinates": [74.31, 35.92]}
        await pk("post", "-", stdin=json.dumps({**fields, "title": "From JSON", "place": [place]}))
        markdown = "+++\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())
        await pk("post", "-", stdin=markdown + 'title = "From Markdown"\n+++\n# What\n\nwas seen\n')
        listed = (await cn("inbox", "--json")).lines
        titles = [one["content"]["versions"][0]["title"] for one in listed]
        assert titles == ["Convoy at risk between Dasu and Chilas", "From JSON", "From Markdown"]
        assert listed[1]["content"]["places"][0]["lat"] == 35.92
        assert listed[2]["content"]["versions"][0]["text"] == "# What\n\nwas seen"
        for member in ("nonsense", "merged", "__class__"):
            assert "means nothing here" in (await pk("post", "-", stdin=f"{member} = 'x'", expect=2)).err


async def test_a_cancel_is_acknowledged_by_all_who_had_the_first(tmp_path: Path) -> None:
    """It goes where the first went; both sides see it on the first, until a person has acknowledged."""
    async with exchange(tmp_path) as (pk, cn):
        first = (await pk(*EXERCISE, "--title", "Bomb at the depot", "--json")).line["id"]
        await cn("inbox")
        cancel = ("post", "--cancels", first, "--label", "Restricted//REL CHN, PAK", "--title", "False alarm")
        assert "say --status exercise" in (await pk(*cancel, "--status", "actual", expect=2)).err
        second = (await pk(*cancel, "--status", "exercise", "--json")).line["id"]
        state = (await pk("status", first, "--json")).line
        assert (state["cancelled_by"], state["unconfirmed"]) == (second, ["cn-liaison"])
        assert "not acknowledged by cn-liaison" in (await pk("status", first)).out
        listed = {one["id"]: one for one in (await cn("inbox", "--json")).lines}
        assert listed[first]["cancelled_by"] == second
        inbox = (await cn("inbox")).out
        assert f"[CANCELLED by {second}" in inbox
        assert f"[CANCELS {first}: acknowledge it with khunjerab ack]" in inbox
        assert "CANCELLED" in (await cn("show", first)).out
        await cn("ack", second)
        assert (await pk("status", first, "--json")).line["unconfirmed"] == []
        assert [one["id"] for one in (await cn("inbox", "--json")).lines] == [second]
        assert "is not yours" in (await cn("post", "--cancels", first, "--label", "内部//REL PAK, CHN", expect=3)).err


async def test_a_cancel_leaves_nobody_out_unseen(tmp_path: Path) -> None:
    """Who could be told must be, before anything is kept; who cannot is named then, and in its state for ever."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node:
        pk = officer(tmp_path, world, "pk-liaison", url=node.config.url)
        both = ("--to", "cn-liaison", "--to", "cn-embassy", *EXERCISE[3:])
        first = (await pk("post", *both, "--title", "Bomb", "--json")).line["id"]
        cancel = ("post", "--cancels", first, "--status", "exercise", "--title", "No bomb", "--json")
        restricted = ("--label", "Restricted//REL CHN, PAK")
        kept_out = ("--label", "Secret//REL CHN, PAK", "--partial", "--yes")
        for narrowed in (("--to", "cn-liaison", "--feed", "convoys", *restricted), kept_out):
            refused = await pk(*cancel, *narrowed, expect=3)
            assert "cn-embassy had the first and must have this: nothing was sent" in refused.err
        assert [one["id"] for one in (await pk("outbox", "--json")).lines] == [first]

        await node.writer.submit(world.without_agency("cn-embassy").publication())
        sent = await pk(*cancel, *restricted)
        assert "cn-embassy had the first and is not sent this: agency-unknown" in sent.err
        state = (await pk("status", first, "--json")).line
        assert (state["cancelled_by"], state["left_out"]) == (sent.line["id"], ["cn-embassy"])
        assert state["unconfirmed"] == ["cn-liaison"]
        assert "NOT SENT TO cn-embassy, who had it" in (await pk("status", first)).out

        await node.writer.submit(world.without_agency("cn-embassy").without_agency("cn-liaison").publication())
        assert "nobody who had it" in (await pk(*cancel, *restricted, expect=3)).err


async def test_a_request_for_information_is_tracked(tmp_path: Path) -> None:
    """Open until it is answered, for both sides; the answer goes to the asker, or it is refused."""
    async with exchange(tmp_path) as (pk, cn):
        asked = (await pk(*EXERCISE, "--title", "Who closed it?", "--due", "+1d", "--json")).line["id"]
        assert (await cn("inbox", "--json")).line["request"]["state"] == "open"
        assert (await pk("status", asked, "--json")).line["request"]["waiting"] == ["cn-liaison"]
        answer = (
            "post",
            "--answers",
            asked,
            "--status",
            "exercise",
            "--label",
            "内部//REL PAK, CHN",
            "--title",
            "We did",
        )
        refused = await cn(*answer, "--to", "cn-embassy", "--to", "pk-site-security", "--feed", "convoys", expect=2)
        assert "pk-liaison asked" in refused.err
        given = (await cn(*answer, "--json")).line["id"]
        request = (await pk("status", asked, "--json")).line["request"]
        assert (request["state"], request["answered_by"], request["waiting"]) == ("answered", [given], [])
        assert (await cn("show", asked, "--json")).line["request"]["state"] == "answered"


async def test_an_update_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """The first is out of the inbox, and says by what."""
    async with exchange(tmp_path) as (pk, cn):
        first = (await pk(*EXERCISE, "--title", "Closed", "--json")).line["id"]
        update = ("post", "--supersedes", first, "--label", "Restricted//REL CHN, PAK", "--status", "exercise")
        second = (await pk(*update, "--title", "Open again", "--json")).line["id"]
        assert [one["id"] for one in (await cn("inbox", "--json")).lines] == [second]
        everything = {one["id"]: one for one in (await cn("inbox", "--all", "--json")).lines}
        assert everything[first]["superseded_by"] == second


async def test_the_inbox_is_narrowed(tmp_path: Path) -> None:
    """By severity, category, age and distance; what names no place may be anywhere."""
    area = tmp_path / "area.geojson"
    ring = [[74.0, 35.5], [75.0, 35.5], [75.0, 36.5], [74.0, 36.5], [74.0, 35.5]]
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    async with exchange(tmp_path) as (pk, cn):
        await pk(*EXERCISE, "--title", "area", "--area", str(area), "--severity", "Minor")
        await pk(*EXERCISE, "--title", "point", "--place", "Dasu@35.2920,73.2900", "--severity", "Extreme")
        await pk(*EXERCISE, "--title", "nowhere", "--category", "protest")

        async def titles(*words: str) -> list[str]:
            return [one["content"]["versions"][0]["title"] for one in (await cn("inbox", "--json", *words)).lines]

        assert await titles("--near", "35.92,74.31,1") == ["area", "nowhere"]
        assert await titles("--near", "35.29,73.29,5") == ["point", "nowhere"]
        assert await titles("--severity", "severe") == ["point"]
        assert await titles("--category", "protest", "--category", "ied") == ["nowhere"]
        assert await titles("--since", "1h") == ["area", "point", "nowhere"]
        assert await titles("--since", "2100-01-01") == []
        assert "out of range" in (await cn("inbox", "--near", "135,74,1", expect=2)).err


async def test_attachments_are_saved(tmp_path: Path) -> None:
    """Into a folder, never out of it, never over a file."""
    async with exchange(tmp_path) as (pk, cn):
        photo = tmp_path / "photo.jpg"
        photo.write_bytes(b"\xff\xd8 what was seen")
        name = (await pk(*EXERCISE, "--title", "Seen", "--attach", str(photo), "--json")).line["id"]
        await cn("inbox")
        await cn("show", name, "--save", str(tmp_path / "saved"))
        assert (tmp_path / "saved" / "photo.jpg").read_bytes() == photo.read_bytes()
        assert "is there already" in (await cn("show", name, "--save", str(tmp_path / "saved"), expect=2)).err


async def test_a_bulletin_waits_while_the_node_is_silent(tmp_path: Path) -> None:
    """4 and queued; it goes once, before anything newer, when the node is back."""
    world, port = world_of_today(), free_port()
    async with live_node(tmp_path, world, port) as node:
        url = node.config.url
        pk, cn = officer(tmp_path, world, "pk-liaison", url=url), officer(tmp_path, world, "cn-liaison", url=url)
        await pk("inbox")
    waiting = await pk(*EXERCISE, "--title", "first", "--json", expect=4)
    assert (waiting.line["queued"], waiting.line["index"]) == (True, None)
    assert "waits in the outbox" in waiting.err
    row = (await pk("outbox", "--json")).line
    assert (row["queued"], row["state"], row["origin"], row["index"]) == (True, "draft", None, None)
    assert (await pk("outbox", "send", expect=4)).out == ""
    for command, name in (("show", waiting.line["id"]), ("status", waiting.line["id"][-6:])):
        assert "waits in the outbox" in (await pk(command, name, expect=2)).err
    mistaken = (await pk(*EXERCISE, "--title", "mistaken", "--json", expect=4)).line["id"]
    assert "nobody got it" in (await pk("outbox", "drop", mistaken)).err
    async with live_node(tmp_path, world, port):
        await pk(*EXERCISE, "--title", "second")
        assert "0 sent" in (await pk("outbox", "send")).err
        listed = (await cn("inbox", "--json")).lines
        assert [one["content"]["versions"][0]["title"] for one in listed] == ["first", "second"]
        assert sorted(listed, key=lambda one: one["index"]) == listed


async def test_an_editor_is_opened_at_a_terminal(tmp_path: Path) -> None:
    """With the template; what is wrong can be edited again; above Restricted it asks; no plain copy stays behind."""
    async with exchange(tmp_path) as (pk, cn):
        editor = tmp_path / "editor.py"
        editor.write_text(
            "import pathlib, sys\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n"
            f"pathlib.Path({str(tmp_path / 'where')!r}).write_text(str(path))\n"
            "broken = 'nonsense = 1\\n' not in text and 'convoys' not in text\n"
            "text = 'nonsense = 1\\n' + text if broken else text.replace('nonsense = 1\\n', '')\n"
            "path.write_text(text.replace('corridor', 'convoys').replace('Restricted//', 'Secret//'))\n"
        )
        session = tmp_path / "session"
        session.mkdir()
        terminal = replace(
            pk, environment={"EDITOR": f"'{sys.executable}' '{editor}'", "XDG_RUNTIME_DIR": str(session)}
        )
        said = await terminal.at_terminal("post", "--json", answers={"Edit it again?": "y", "Send it?": "y"})
        assert "means nothing here" in said
        assert len((await cn("inbox", "--json")).lines) == 1
        assert Path((tmp_path / "where").read_text()).is_relative_to(session), "in memory, where a session has a folder"
        assert not list(session.iterdir())
        refused = await terminal.at_terminal("post", answers={"Edit it again?": "yn", "Send it?": "n"}, expect=3)
        assert "not sent" in refused


async def test_what_was_written_at_a_terminal_is_not_lost_by_a_mistake_in_it(tmp_path: Path) -> None:
    """A label that does not exist, a reader who could not read it, a no at the last question: each is edited again."""
    async with exchange(tmp_path) as (pk, cn):
        editor = tmp_path / "editor.py"
        editor.write_text(
            "import pathlib, sys\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n"
            "steps = [('Restricted//', 'Sekret//'), ('Sekret//', 'Top Secret//'), ('Top Secret//', 'Secret//'),"
            " ('What was seen', 'Seen from the ridge')]\n"
            "old, new = next(step for step in steps if step[0] in text)\n"
            "path.write_text(text.replace('corridor', 'convoys').replace(old, new))\n"
        )
        terminal = replace(pk, environment={"EDITOR": f"'{sys.executable}' '{editor}'"})
        said = await terminal.at_terminal("post", answers={"Edit it again?": "yyy", "Send it?": "ny"})
        assert "no level 'Sekret'" in said
        assert "clearance-too-low" in said
        content = (await cn("inbox", "--json")).line["content"]
        assert content["versions"][0]["text"].startswith("Seen from the ridge")
        assert len((await pk("outbox")).out.splitlines()) == 1


async def test_ctrl_c_ends_a_question_at_once_and_costs_no_text(tmp_path: Path) -> None:
    """At a prompt 130, and nothing is kept; in an editor it is the editor's, where it may end an insertion."""
    async with exchange(tmp_path) as (pk, cn):
        asked = replace(pk, environment={"KHUNJERAB_PASSPHRASE_FILE": ""})
        said = await asked.at_terminal("inbox", answers={"Passphrase:": "\x03"}, expect=130)
        assert said == "Passphrase: \r\n"
        secret = "Secret//REL CHN, PAK"
        words = ("post", "--status", "exercise", "--label", secret, "--feed", "convoys", "--title", "no")
        await pk.at_terminal(*words, answers={"Send it?": "\x03"}, expect=130)
        assert (await pk("outbox", "--json")).out == ""
        editor = tmp_path / "editor.py"
        editor.write_text(
            "import os, pathlib, signal, sys\nassert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
            "os.kill(os.getppid(), signal.SIGINT)\npath = pathlib.Path(sys.argv[1])\n"
            "path.write_text(path.read_text().replace('corridor', 'convoys').replace('Restricted//', 'Secret//'))\n"
        )
        terminal = replace(pk, environment={"EDITOR": f"'{sys.executable}' '{editor}'"})
        await terminal.at_terminal("post", answers={"Send it?": "y"})
        assert len((await cn("inbox", "--json")).lines) == 1


async def test_what_comes_while_somebody_writes_is_no_hindrance(tmp_path: Path) -> None:
    """Another terminal of the same home receives and sends meanwhile; both stand. End of input says no."""
    async with exchange(tmp_path) as (pk, cn):
        said = {"cn-liaison": "pk-liaison", "Restricted//REL CHN, PAK": "内部//REL CHN, PAK"}
        await cn(*(said.get(word, word) for word in EXERCISE), "--title", "while you wrote")
        elsewhere = [sys.executable, "-m", "khunjerab", "--home", str(pk.home)]
        elsewhere += ["--passphrase-file", str(pk.home / "passphrase")]
        editor = tmp_path / "editor.py"
        editor.write_text(
            "import pathlib, subprocess, sys\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n"
            f"subprocess.run({[*elsewhere, *EXERCISE, '--title', 'elsewhere']!r}, check=True)\n"
            "path.write_text(text.replace('corridor', 'convoys').replace('Restricted//', 'Secret//'))\n"
        )
        no_place = {"XDG_RUNTIME_DIR": "/proc"}  # a session's folder that is not this user's is no hindrance either
        terminal = replace(pk, environment={"EDITOR": f"'{sys.executable}' '{editor}'", **no_place})
        await terminal.at_terminal("post", answers={"Send it?": "y"})
        assert len((await cn("inbox", "--json")).lines) == 2
        assert len((await pk("inbox", "--json")).lines) == 1
        shown = await terminal.at_terminal("post", answers={"Send it?": "\x04", "Edit it again?": "\x04"}, expect=3)
        assert "Traceback" not in shown
        assert "not sent" in shown


async def test_a_home_that_is_damaged_or_another_is_told_in_a_line(tmp_path: Path) -> None:
    """What is wrong and what to do: a torn file, a file that is none, a custodian's home."""
    async with exchange(tmp_path) as (pk, _):
        await pk("inbox")
        torn, notes = pk.home / "directory" / "9.json", pk.home / "directory" / "notes.json"
        torn.write_bytes(b"")
        notes.write_bytes(b"of nobody's business")
        for command in (("inbox",), ("directory", "show")):
            said = (await pk(*command, expect=2)).err
            assert f"{torn}: " in said
            assert "join again" in said
        torn.unlink()
        await pk("inbox")
        state = pk.home / "state.db"
        state.write_bytes(b"no database, and long enough to be one" * 1000)
        assert "state.db of this home: file is not a database" in (await pk("inbox", expect=2)).err
        profile = pk.home / "profile.toml"
        profile.write_text(profile.read_text().replace('agency = "pk-liaison"', 'agency = ""'))
        for words in (("inbox",), ("outbox",), ("follow",), ("show", "a1b2c3"), EXERCISE):
            assert "is a custodian's home" in (await pk(*words, expect=2)).err


async def test_a_wrong_passphrase_is_told_before_anything_is_written(tmp_path: Path) -> None:
    async with exchange(tmp_path) as (pk, _):
        (pk.home / "passphrase").write_bytes(b"something else")
        editor = f"'{sys.executable}' -c 'raise SystemExit(1)'"
        plain = tmp_path / "plain"
        plain.mkdir()
        said = await replace(pk, environment={"EDITOR": editor, "TMPDIR": str(plain)}).at_terminal(
            "post", answers={}, expect=2
        )
        assert "wrong passphrase" in said
        assert "the editor" not in said
        assert not list(plain.iterdir())


async def test_a_bulletin_of_a_stolen_key_is_marked(tmp_path: Path) -> None:
    """Valid when logged, key since revoked; suspect from the entry that the revocation names."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node:
        url = node.config.url
        pk, cn = officer(tmp_path, world, "pk-liaison", url=url), officer(tmp_path, world, "cn-liaison", url=url)
        index = (await pk(*EXERCISE, "--title", "whose?", "--json")).line["index"]
        await node.writer.submit(world.revocation("pk-liaison/desk", suspect=Suspect(node.ledger.origin, index)))
        shown = (await cn("inbox", "--json")).line
        assert "key since revoked" in shown["warning"]
        assert "SUSPECT" in (await cn("show", shown["id"])).out
        assert "login-refused" in (await pk(*EXERCISE, "--title", "again", expect=3)).err


async def test_what_a_node_refuses_stays_in_the_outbox_until_it_is_dropped(tmp_path: Path) -> None:
    """With the reason; it is tried again by name, and never by itself."""
    async with exchange(tmp_path) as (pk, _):
        above = (
            "post",
            "--to",
            "cn-liaison",
            "--feed",
            "sites",
            "--status",
            "test",
            "--title",
            "above the feed",
            "--yes",
        )
        refused = await pk(*above, "--label", "Confidential//REL CHN, PAK", "--json", expect=3)
        assert "feed-ceiling" in refused.err
        assert refused.out == ""
        row = (await pk("outbox", "--json")).line
        assert (row["state"], row["queued"]) == ("refused", False)
        assert "feed-ceiling" in row["problem"]
        assert "0 sent" in (await pk("outbox", "send")).err
        await pk("outbox", "send", row["id"][-6:], expect=3)
        await pk("outbox", "drop", row["id"].replace("pk-liaison", "cn-liaison"), expect=2)
        await pk("outbox", "drop", row["id"])
        assert (await pk("outbox")).out == ""


async def test_a_text_is_not_lost_when_the_door_is_shut(tmp_path: Path) -> None:
    """A wrong clock is refused at the login: the bulletin waits, and says why."""
    world, port = world_of_today(), free_port()
    async with live_node(tmp_path, world, port) as node:
        pk = officer(tmp_path, world, "pk-liaison", url=node.config.url)
        await pk("inbox")
    async with live_node(tmp_path, world, port, clock=lambda: now_ms() + 300_000):
        refused = await pk(*EXERCISE, "--title", "typed with care", "--json", expect=3)
        assert "clock-skew" in refused.err
        assert refused.line["queued"] is True
    async with live_node(tmp_path, world, port):
        assert "1 sent" in (await pk("outbox", "send")).err


@pytest.mark.parametrize(
    "found, ended, status, told",
    [
        (32, -300, 3, "login-refused: no running key bundle of pk-liaison lists this seat\n  ask your custodian"),
        (20, 1, 0, "no bulletin is admitted after"),
        (20, 3, 3, "directory-expired: the directory and its grace have ended: publish the next version"),
    ],
    ids=["bundle ended", "directory in grace", "directory ended"],
)
async def test_what_has_run_out_is_told_with_what_to_do(
    tmp_path: Path, found: int, ended: int, status: int, told: str
) -> None:
    """To whoever posts, by his own node: ``found`` and ``ended`` are days ago, and the grace is of two."""
    now, policy = now_ms() // 1000 * 1000, replace(Policy(), grace_days=2)
    agencies = tuple(replace(agency, home=ORIGINS["PK"]) for agency in first_directory().agencies)
    world = World.found(now - found * DAY_MS, agencies=agencies, expires=now - ended * DAY_MS, policy=policy)
    open_ledger(tmp_path, world, now=world.now).storage.close()
    async with live_node(tmp_path, world) as node:
        pk = officer(tmp_path, world, "pk-liaison", url=node.config.url)
        assert told in (await pk(*EXERCISE, "--title", "x", expect=status)).err


async def test_what_the_quota_of_this_hour_keeps_back_waits_and_says_so(tmp_path: Path) -> None:
    """It was refused, not lost on the way: status 3, the reason in the outbox, and it may be dropped."""
    world = world_of_today(policy=replace(Policy(), bulletins_per_hour=1))
    async with live_node(tmp_path, world) as node:
        pk = officer(tmp_path, world, "pk-liaison", url=node.config.url)
        await pk(*EXERCISE, "--title", "the one of this hour")
        refused = await pk(*EXERCISE, "--title", "one more", "--json", expect=3)
        assert "waits in the outbox" in refused.err
        assert refused.line["queued"] is True
        assert "draft: waits: quota-exceeded: pk-liaison has used its 1" in (await pk("outbox")).out
        assert "1 still wait: quota-exceeded" in (await pk("outbox", "send", expect=3)).err
        assert "is in no ledger: it waits" in (await pk("status", refused.line["id"], expect=2)).err
        assert "nobody got it" in (await pk("outbox", "drop", refused.line["id"])).err


async def test_a_reader_who_was_away_sees_the_first_and_its_cancel_at_once(tmp_path: Path) -> None:
    async with exchange(tmp_path) as (pk, cn):
        first = (await pk(*EXERCISE, "--title", "Bomb", "--json")).line["id"]
        cancel = ("post", "--cancels", first, "--label", "Restricted//REL CHN, PAK", "--status", "exercise")
        second = (await pk(*cancel, "--title", "No bomb", "--json")).line["id"]
        listed = {one["id"]: one["cancelled_by"] for one in (await cn("inbox", "--json")).lines}
        assert listed == {first: second, second: None}


async def test_two_terminals_post_at_once(tmp_path: Path) -> None:
    """Each bulletin is logged once, whoever sends it."""
    async with exchange(tmp_path) as (pk, cn):
        both = await asyncio.gather(*(pk(*EXERCISE, "--title", str(number), "--json") for number in range(4)))
        assert len({said.line["id"] for said in both}) == len({said.line["index"] for said in both}) == 4
        assert len((await cn("inbox", "--json")).lines) == 4
