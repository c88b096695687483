"""Whatever is asked wrongly, the answer is a problem of SPEC §13.1 with its stable code: every route, every way."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from broker.http.server import application
from broker.node import Node
from protocol import limits
from protocol.entry import encode_batch
from protocol.names import format_id, new_bulletin_id
from tests.support.caller import MEDIA_TYPE, Answer, Caller
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.world import ORIGINS, World, signing_key

pytestmark = pytest.mark.asyncio(loop_scope="module")
ORIGIN = ORIGINS["PK"]
UUID = new_bulletin_id(1_800_000_000_000, bytes(10))
SHA256 = hashlib.sha256(b"no such body").hexdigest()
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@dataclass(frozen=True)
class Route:
    """A route of SPEC §11, and a path that it answers to."""

    method: str
    pattern: str
    path: str
    bearer: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


ROUTES = (
    Route("GET", "/v1/node", "/v1/node", bearer=False),
    Route("GET", "/v1/directory", "/v1/directory", bearer=False),
    Route("GET", "/v1/directory/{version}", "/v1/directory/1", bearer=False),
    Route("POST", "/v1/session", "/v1/session", bearer=False),
    Route("POST", "/v1/entries", "/v1/entries"),
    Route("GET", "/v1/entries", "/v1/entries"),
    Route("POST", "/v1/receipts", "/v1/receipts"),
    Route("GET", "/v1/deliveries", "/v1/deliveries"),
    Route("GET", "/v1/bulletins/{sender}/{uuid}", f"/v1/bulletins/{format_id('pk-liaison', UUID)}"),
    Route("GET", "/v1/bodies/{sha256}", f"/v1/bodies/{SHA256}"),
    Route("GET", "/checkpoint", "/checkpoint", bearer=False),
    Route("GET", "/tile/{rest}", "/tile/0/000.p/1", bearer=False),
    Route("GET", "/tile/{rest}", "/tile/entries/000.p/1"),
    Route("GET", "/v1/evidence", "/v1/evidence", bearer=False),
    Route("GET", "/v1/evidence/{sha256}", f"/v1/evidence/{SHA256}", bearer=False),
    Route("POST", "/add-checkpoint", "/add-checkpoint", bearer=False),
    Route("GET", "/mirror/{sha256}/checkpoint", f"/mirror/{SHA256}/checkpoint", bearer=False),
    Route("GET", "/mirror/{sha256}/tile/{rest}", f"/mirror/{SHA256}/tile/0/000.p/1", bearer=False),
)
BEARER = [route for route in ROUTES if route.bearer]
WITH_BODY = [route for route in ROUTES if route.method == "POST" and route.path.startswith("/v1/")]  # ours, in msgpack


class Clock:
    """The node's: set back before its start, so that a session can have ended by now."""

    def __init__(self) -> None:
        self.ahead_ms = -20 * 60_000

    def __call__(self) -> int:
        return now_ms() + self.ahead_ms


@dataclass
class Site:
    """The node, whoever calls, and tokens of every sort."""

    node: Node
    caller: Caller
    tokens: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, who: str = "", body: object = None, **headers: str) -> Answer:
        """As one of those who hold a token, or with ``who`` as the token itself."""
        return await self.caller.ask(method, path, body, token=self.tokens.get(who, who), **headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    world, clock = world_of_today(), Clock()
    folder = tmp_path_factory.mktemp("site")
    async with live_node(folder, world, clock=clock) as node, Caller(node.config.url, world) as caller:
        site = Site(node, caller)
        answer = await caller.send_login(caller.login(time=clock()), signing_key("cn-custodian-1"))
        site.tokens["ended"] = answer.json()["token"]
        clock.ahead_ms = 0
        for name in ("pk-liaison/desk", "pk-liaison/duty", "pk-liaison/identity", "pk-auditor/desk", "cn-custodian-1"):
            caller.name = name
            site.tokens[name] = (await caller.log_in()).token
        await _revoke(site, world)
        caller.token = ""
        await node.publish()
        size = node.ledger.head.size
        yield site
        assert node.ledger.head.size == size, "something of this was admitted"


async def _revoke(site: Site, world: World) -> None:
    body = encode_batch([world.revocation("pk-liaison/duty", created=now_ms())])
    assert (await site.ask("POST", "/v1/entries", "pk-liaison/identity", body)).status == 200
    site.tokens["revoked"] = site.tokens.pop("pk-liaison/duty")


async def test_the_table_has_every_route(site: Site) -> None:
    """A route that is added has to be added here. SPEC 11.0.1."""
    served = {
        (route.method, route.resource.canonical)
        for route in application(site.node).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert served == {(route.method, route.pattern) for route in ROUTES}


# Every route


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_no_other_method(site: Site, route: Route) -> None:
    """405, and which there are. SPEC 11.0.1."""
    allowed = {other.method for other in ROUTES if other.pattern == route.pattern}
    allowed |= {"HEAD"} if "GET" in allowed else set()
    for method in METHODS:
        if method in allowed:
            continue
        answer = await site.ask(method, route.path, "pk-auditor/desk")
        assert set(answer.headers["Allow"].split(",")) == allowed
        if method == "HEAD":
            assert (answer.status, answer.data) == (405, b"")
        else:
            assert answer.problem().code == "method-not-allowed", method


@pytest.mark.parametrize("route", BEARER, ids=str)
async def test_no_answer_without_a_session(site: Site, route: Route) -> None:
    """Of whatever sort, and whatever else is wrong. SPEC 11.1.2."""
    for who in ("", "made-up", "ended", "revoked"):
        answer = await site.ask(route.method, route.path, who)
        assert answer.problem().code == "not-logged-in", who
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    good = site.tokens["pk-auditor/desk"]
    for header in (
        f"Basic {good}",
        "Bearer",
        "Bearer ",
        good,
        f"Bearer {good} x",
        f"Bearer {good[:-1]}",
        f"Bearer {'x' * 4000}",
    ):
        answer = await site.ask(route.method, route.path, Authorization=header)
        assert answer.problem().code == "not-logged-in", header


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
@pytest.mark.parametrize(
    "code, headers",
    [
        ("unsupported-media-type", {"Content_Type": "application/json"}),
        ("unsupported-media-type", {"Content_Type": ""}),
        ("unsupported-media-type", {"Content_Type": f"{MEDIA_TYPE}; charset=utf-8"}),
        ("unsupported-media-type", {"Content_Encoding": "gzip"}),
        ("unsupported-media-type", {"Content_Encoding": "br"}),
        ("unsupported-media-type", {"Content_Encoding": "identity"}),
        ("malformed", {}),
    ],
)
async def test_a_body_is_of_the_one_media_type(site: Site, route: Route, code: str, headers: dict[str, str]) -> None:
    """Compressed it is not even looked at. SPEC 11."""
    answer = await site.ask(route.method, route.path, "pk-liaison/desk", gzip.compress(bytes(1 << 20)), **headers)
    assert answer.problem().code == code


async def _pieces() -> AsyncIterator[bytes]:
    yield b"\x90"


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
async def test_a_body_says_how_long_it_is(site: Site, route: Route) -> None:
    """A chunked one does not."""
    answer = await site.ask(route.method, route.path, "pk-liaison/desk", _pieces())
    assert answer.problem().code == "length-required"


def _junk() -> Iterator[bytes]:
    dice = random.Random(9)
    yield from (b"", b"\x00", b"\x90", b"\xc0", b"\xc1", b"\x91\x90", b"[]", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000)
    yield from (b"\xc6\xff\xff\xff\xff", b"\x81\xa1a\x01", b"\xdc\x00\x10" + b"\xc4\x00" * 256)
    yield from (dice.randbytes(dice.randrange(1, 300)) for _ in range(20))


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
async def test_junk_is_malformed(site: Site, route: Route) -> None:
    """Whatever it says of its own size. SPEC 3, 9.2.2."""
    for body in _junk():
        answer = await site.ask(route.method, route.path, "pk-liaison/desk", body)
        assert answer.problem().code == "malformed", body[:20]


# Single routes


@pytest.mark.parametrize(
    "path, code",
    [
        ("/", "not-found"),
        ("/v1", "not-found"),
        ("/v1/", "not-found"),
        ("/v1/node/", "not-found"),
        ("//v1/node", "not-found"),
        ("/v1/nodes", "not-found"),
        ("/V1/node", "not-found"),
        ("/v1/../v1/secrets", "not-found"),
        ("/v1/%2e%2e/ledger.db", "not-found"),
        ("/metrics", "not-found"),
        ("/readyz", "not-found"),
        ("/v1/directory/0", "not-found"),
        ("/v1/directory/2", "not-found"),
        ("/v1/directory/01", "not-found"),
        ("/v1/directory/-1", "not-found"),
        ("/v1/directory/latest", "not-found"),
        ("/v1/directory/1/2", "not-found"),
        (f"/v1/directory/{'9' * 3000}", "not-found"),
        # Deliveries
        ("/v1/deliveries?after=junk", "malformed"),
        (f"/v1/deliveries?after={ORIGIN}", "malformed"),
        (f"/v1/deliveries?after={ORIGIN}=", "malformed"),
        (f"/v1/deliveries?after={ORIGIN}=01", "malformed"),
        (f"/v1/deliveries?after={ORIGIN}=-1", "malformed"),
        (f"/v1/deliveries?after={ORIGIN}=1,{ORIGIN}=2", "malformed"),
        (f"/v1/deliveries?after={ORIGIN}=1,", "malformed"),
        (f"/v1/deliveries?after=UPPER.CASE={1}", "malformed"),
        (f"/v1/deliveries?after={ORIGIN}={2**53}", "malformed"),
        (f"/v1/deliveries?after={ORIGIN}=%D9%A3", "malformed"),
        (f"/v1/deliveries?after={ORIGIN}=1000", "bad-cursor"),
        (f"/v1/deliveries?known={ORIGIN}=1000", "bad-cursor"),
        (f"/v1/deliveries?known={ORIGIN}={2**53 - 1}", "bad-cursor"),
        ("/v1/deliveries?limit=257", "bad-parameter"),
        ("/v1/deliveries?limit=-1", "bad-parameter"),
        ("/v1/deliveries?limit=", "bad-parameter"),
        ("/v1/deliveries?limit=1e2", "bad-parameter"),
        ("/v1/deliveries?limit=%D9%A3", "bad-parameter"),
        (f"/v1/deliveries?limit={'1' * 2000}", "bad-parameter"),
        ("/v1/deliveries?wait=31", "bad-parameter"),
        ("/v1/deliveries?wait=1.5", "bad-parameter"),
        ("/v1/deliveries?feed=", "malformed"),
        ("/v1/deliveries?feed=No%20Feed", "malformed"),
        # Bulletins
        (f"/v1/bulletins/{format_id('pk-liaison', UUID)}", "not-found"),
        ("/v1/bulletins/pk-liaison/not-a-uuid", "malformed"),
        (f"/v1/bulletins/pk-liaison/{UUID.hex()}", "malformed"),
        (f"/v1/bulletins/{format_id('pk-liaison', UUID).upper()}", "malformed"),
        ("/v1/bulletins/pk-liaison/8c9f0a52-6d5b-4f5e-9d53-0d0b5d1f0a11", "malformed"),
        (f"/v1/bulletins/PK/{format_id('x', UUID)[2:]}", "malformed"),
        (f"/v1/bulletins/%00/{format_id('x', UUID)[2:]}", "malformed"),
        (f"/v1/bulletins/%ff/{format_id('x', UUID)[2:]}", "malformed"),
        ("/v1/bulletins/pk-liaison", "not-found"),
        # Bodies
        (f"/v1/bodies/{SHA256}", "not-found"),
        (f"/v1/bodies/{SHA256[:-2]}", "bad-parameter"),
        (f"/v1/bodies/{SHA256}00", "bad-parameter"),
        (f"/v1/bodies/{SHA256[:-1]}g", "bad-parameter"),
        (f"/v1/bodies/{SHA256.upper()}", "bad-parameter"),
        (f"/v1/bodies/{SHA256[:2]}%20{SHA256[2:]}", "bad-parameter"),
        ("/v1/bodies/%20", "bad-parameter"),
        # Tiles
        ("/tile/", "not-found"),
        ("/tile/junk", "malformed"),
        ("/tile/0/0", "malformed"),
        ("/tile/0/000.p/0", "malformed"),
        ("/tile/0/000.p/256", "malformed"),
        ("/tile/0/000.p/01", "malformed"),
        ("/tile/64/000", "malformed"),
        ("/tile/00/000", "malformed"),
        ("/tile/0/x000/001", "malformed"),
        ("/tile/0/000", "not-found"),
        ("/tile/0/000.p/255", "not-found"),
        ("/tile/1/000.p/1", "not-found"),
        ("/tile/63/x999/x999/x999/x999/x999/x999/999", "not-found"),
        ("/tile/entries/000", "not-found"),
        ("/tile/entries/000.p/200", "not-found"),
        # What was cosigned
        (f"/mirror/{SHA256}/checkpoint", "not-found"),
        (f"/mirror/{SHA256.upper()}/checkpoint", "not-found"),
        ("/mirror/%20/checkpoint", "not-found"),
    ],
)
async def test_what_is_asked_for_has_its_form(site: Site, path: str, code: str) -> None:
    """Paths and parameters in the one way that SPEC 11 writes them. SPEC 11.2.4."""
    answer = await site.ask("GET", path, "pk-auditor/desk")
    assert answer.problem().code == code


@pytest.mark.parametrize("who", ["pk-liaison/desk", "pk-liaison/identity", "cn-custodian-1"])
async def test_entry_bundles_need_the_role(site: Site, who: str) -> None:
    """Hash tiles are open, entries are for auditors. SPEC 9.3, 11."""
    answer = await site.ask("GET", "/tile/entries/000.p/1", who)
    assert answer.problem().code == "role-missing"
    assert (await site.ask("GET", "/tile/0/000.p/1")).status == 200


async def test_the_json_of_a_directory_is_no_body(site: Site) -> None:
    """It has a route of its own. SPEC 11.4.1."""
    digest = site.node.ledger.exchange.in_force.hash.hex()
    answer = await site.ask("GET", f"/v1/bodies/{digest}", "pk-auditor/desk")
    assert answer.problem().code == "not-found"


async def test_a_batch_is_bounded(site: Site) -> None:
    """In how many, before one of them is looked at. SPEC 9.2.2."""
    batch = b"\xdc" + (limits.BATCH_SUBMISSIONS_MAX + 1).to_bytes(2, "big") + b"\xc4\x01x" * 65
    answer = await site.ask("POST", "/v1/entries", "pk-liaison/desk", batch)
    assert answer.problem().code == "too-large"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_WebSocket_Key": "short", "Sec_WebSocket_Version": "13"},
        {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Version": "99"},
    ],
    ids=["no key", "bad key", "old version"],
)
async def test_an_upgrade_that_is_none(site: Site, headers: dict[str, str]) -> None:
    """Answered like any other bad request."""
    answer = await site.ask(
        "GET", "/v1/deliveries", "pk-liaison/desk", Upgrade="websocket", Connection="Upgrade", **headers
    )
    assert answer.problem().code == "malformed"


async def test_an_expectation_that_nobody_can_meet(site: Site) -> None:
    """Refused by HTTP itself (RFC 9110 §10.1.1), before any route."""
    answer = await site.ask("GET", "/v1/node", Expect="miracles")
    assert (answer.status, answer.data) == (417, b"Unknown Expect: miracles")


async def test_a_defect_leaves_no_trace_outside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is one code, and nothing of what it was."""

    def defect(*_: Any) -> None:
        secret = "hunter2"
        raise ZeroDivisionError(secret)

    monkeypatch.setattr(site.node.pages, "page", defect)
    answer = await site.ask("GET", "/v1/deliveries", "pk-liaison/desk")
    assert answer.problem().code == "internal-error"
    assert b"hunter2" not in answer.data
    assert b"ZeroDivision" not in answer.data


async def test_a_node_that_stops_says_so(tmp_path: Path) -> None:
    """To whoever still has a connection."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
        await caller.log_in()
        node.begin_stop()
        assert (await caller.refusal(world.bulletin(created=now_ms()))).code == "stopping"
        assert (await caller.send_login(caller.login())).problem().code == "stopping"
