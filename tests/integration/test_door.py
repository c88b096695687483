"""A node as anyone with a socket finds it: logins, entries, bodies and states, byte by byte and without our client."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from broker.node import Node
from keys.kem import PrivateKey
from keys.lognote import LogSigner
from keys.sealing import open_wrap
from protocol import canonical
from protocol.entry import Submission
from protocol.login import Login, encode_signed
from protocol.policy import Policy
from protocol.problem import Problem
from protocol.statements import Bulletin
from protocol.treehead import Receipt
from tests.support.altering import replace
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.world import CUSTODIANS, World, kem_key, kem_seed, signing_key

MSGPACK = {"Content-Type": "application/vnd.khunjerab.v1+msgpack"}


class Visitor:
    """Whoever knows the wire formats."""

    def __init__(self, http: aiohttp.ClientSession, node: Node, world: World) -> None:
        self.http, self.node, self.world = http, node, world

    def login(self, **changes: Any) -> Login:
        """One that would be taken now."""
        login = Login(self.world.pin, self.node.config.origin, now_ms(), os.urandom(16))
        return replace(login, **changes)

    async def open(self, name: str, login: Login | None = None, suite: int = 2, signer: str = "") -> dict[str, Any]:
        """The session of whoever is called so. Raises Problem."""
        login = login or self.login()
        signature = replace(
            signing_key(signer or name).sign(login.message(), suite), key_id=signing_key(name).public.key_id
        )
        answer: dict[str, Any] = json.loads(await self._ask("POST", "/v1/session", encode_signed(login, signature)))
        return answer

    async def token(self, name: str) -> str:
        """Its bearer token."""
        return str((await self.open(name))["token"])

    async def post(self, token: str, *submissions: Submission) -> list[Any]:
        """What each is answered with."""
        data = await self._ask("POST", "/v1/entries", canonical.encode([s.encode() for s in submissions]), token)
        return canonical.decode(data, bytes_max=10**7)

    async def receipt(self, token: str, submission: Submission) -> Receipt:
        """Of the only one. Raises Problem."""
        (answer,) = await self.post(token, submission)
        return Receipt.decode(answer)

    async def get(self, path: str, token: str) -> bytes:
        """A body. Raises Problem."""
        return await self._ask("GET", path, None, token)

    async def _ask(self, method: str, path: str, data: bytes | None, token: str = "") -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= MSGPACK if data is not None else {}
        async with self.http.request(method, path, data=data, headers=headers) as answer:
            body = await answer.read()
            if answer.status != 200:
                assert answer.content_type == "application/problem+json"
                problem = Problem.from_json(body)
                assert problem.status == answer.status
                raise problem
            return body


@pytest.fixture
def world() -> World:
    return world_of_today(policy=replace(Policy(), bulletins_per_hour=3, attempts_per_minute=8))


@pytest.fixture
async def visitor(tmp_path: Path, world: World) -> AsyncIterator[Visitor]:
    async with live_node(tmp_path, world) as node, aiohttp.ClientSession(node.config.url) as http:
        yield Visitor(http, node, world)


def _bulletin(world: World, sender: str = "pk-liaison", to: str = "cn-liaison", **changes: Any) -> Submission:
    return world.bulletin(sender, to=(to,), created=now_ms(), **changes)


def _code(problem: Problem) -> tuple[str, Any]:
    return problem.code, problem.extra.get("step")


async def test_a_seat_an_identity_key_and_an_authority_log_in(visitor: Visitor) -> None:
    """Each for what it is, for 15 minutes. SPEC 11.1.2."""
    opened = {name: await visitor.open(name) for name in ("pk-liaison/desk", "pk-liaison/identity", "cn-custodian-1")}
    assert [(one["kind"], one["agency"]) for one in opened.values()] == [
        ("seat", "pk-liaison"),
        ("identity", "pk-liaison"),
        ("authority", None),
    ]
    assert all(0 < one["expires"] - now_ms() <= 15 * 60_000 for one in opened.values())


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"exchange": bytes(32)}, "login-refused"),
        ({"origin": "cn.khunjerab.test/ledger"}, "login-refused"),
        ({"time": -61_000}, "clock-skew"),
        ({"time": 68_000}, "clock-skew"),
        ({"time": -30_000}, "login-refused"),
    ],
    ids=["exchange", "origin", "behind", "ahead", "before the start"],
)
async def test_a_login_is_for_this_node_and_now(visitor: Visitor, changes: dict[str, Any], code: str) -> None:
    """One for another node, or from before this one started, is no login here. SPEC 11.1.2."""
    if "time" in changes:
        changes = {"time": now_ms() + changes["time"]}
    with pytest.raises(Problem) as caught:
        await visitor.open("pk-liaison/desk", visitor.login(**changes))
    assert caught.value.code == code
    if code == "clock-skew":
        assert abs(abs(caught.value.extra["skew_ms"]) - 61_500) < 10_000


async def test_a_login_counts_once_and_is_signed_with_both_halves_by_a_key_that_speaks(visitor: Visitor) -> None:
    """SPEC 11.1.2."""
    login = visitor.login()
    await visitor.open("pk-liaison/desk", login)
    for again in (
        visitor.open("pk-liaison/desk", login),
        visitor.open("pk-liaison/desk", suite=1),
        visitor.open("pk-liaison/desk", signer="cn-liaison/desk"),
        visitor.open("nobody"),
    ):
        with pytest.raises(Problem, match="login-refused"):
            await again


async def test_a_session_ends_with_its_key(visitor: Visitor) -> None:
    """At the revocation's own entry. SPEC 11.1.2."""
    seat, identity = await visitor.token("pk-liaison/desk"), await visitor.token("pk-liaison/identity")
    await visitor.get("/v1/deliveries", seat)
    await visitor.receipt(identity, visitor.world.revocation("pk-liaison/desk", created=now_ms()))
    for token in (seat, "", "made-up"):
        with pytest.raises(Problem, match="not-logged-in"):
            await visitor.get("/v1/deliveries", token)
    with pytest.raises(Problem, match="login-refused: this key of pk-liaison is revoked"):
        await visitor.open("pk-liaison/desk")


async def test_a_login_of_a_suspended_agency_says_so(visitor: Visitor) -> None:
    """What to do about it is its nation's to say. SPEC 11.1.2."""
    token = await visitor.token("cn-custodian-1")
    await visitor.receipt(token, visitor.world.suspension("cn-embassy", created=now_ms()))
    with pytest.raises(Problem, match="login-refused: cn-embassy is suspended by its nation"):
        await visitor.open("cn-embassy/desk")


async def test_one_envelope_is_answered_by_its_receipt_or_its_problem(visitor: Visitor) -> None:
    """The same bytes get the same place again. SPEC 11.7.1, 12.2.2."""
    token, submission = await visitor.token("pk-liaison/desk"), _bulletin(visitor.world)
    first, second = await visitor.receipt(token, submission), await visitor.receipt(token, submission)
    assert first.index == second.index
    assert (first.entry, second.entry is None) == (None, False)
    id_ = Bulletin.decode(submission.statement).header.id
    with pytest.raises(Problem) as caught:
        await visitor.post(token, _bulletin(visitor.world, id=id_))
    assert (*_code(caught.value), caught.value.extra["index"]) == ("id-reused", 2, first.index)


async def test_several_are_answered_each_for_itself(visitor: Visitor) -> None:
    """In their order; a bad one does not spoil the others. SPEC 11.7.1, 9.2.2."""
    token = await visitor.token("pk-liaison/desk")
    good, bad = _bulletin(visitor.world), replace(_bulletin(visitor.world), body=b"other")
    answers = await visitor.post(token, good, bad, _bulletin(visitor.world, to="cn-embassy"))
    assert [type(answer) for answer in answers] == [bytes, str, bytes]
    assert _code(Problem.from_json(answers[1].encode())) == ("wrong-hash", 8)
    assert Receipt.decode(answers[0]).index < Receipt.decode(answers[2]).index


async def test_0_a_session_speaks_for_its_own_key_alone(visitor: Visitor) -> None:
    """Governance is posted by who signed it, a bundle by a seat of its agency. SPEC 12.2.10."""
    desk, world = await visitor.token("pk-liaison/desk"), visitor.world
    for foreign in (
        _bulletin(world, "cn-liaison", to="pk-liaison"),
        _bulletin(world, signer="pk-liaison/duty", key_id=signing_key("pk-liaison/duty").public.key_id),
        world.revocation("pk-liaison/duty", created=now_ms()),
        world.with_bundle("cn-liaison").key_bundle("cn-liaison"),
    ):
        with pytest.raises(Problem) as caught:
            await visitor.post(desk, foreign)
        assert _code(caught.value) == ("not-speaking-for", 0)
    next_bundle = world.with_bundle("pk-liaison", ("desk", "duty")).key_bundle("pk-liaison")
    assert (await visitor.receipt(desk, next_bundle)).index


async def test_0_attempts_are_counted_refused_or_not(visitor: Visitor) -> None:
    """By agency, in a minute. SPEC 12.2.10."""
    token, submission = await visitor.token("pk-liaison/desk"), _bulletin(visitor.world)
    for _ in range(8):
        await visitor.post(token, submission)
    with pytest.raises(Problem) as caught:
        await visitor.post(token, submission)
    assert _code(caught.value) == ("too-many-attempts", 0)
    other = await visitor.token("cn-liaison/desk")
    await visitor.post(other, _bulletin(visitor.world, "cn-liaison", to="pk-liaison"))


async def test_9_bulletins_are_counted_once_they_are_in(visitor: Visitor) -> None:
    """What is refused, or was there before, costs nothing. SPEC 12.2.9."""
    token, world = await visitor.token("pk-liaison/desk"), visitor.world
    with pytest.raises(Problem, match="feed-not-joined"):
        await visitor.post(token, _bulletin(world, feed="unknown"))
    first = _bulletin(world)
    for submission in (first, first, _bulletin(world), _bulletin(world)):
        await visitor.receipt(token, submission)
    with pytest.raises(Problem) as caught:
        await visitor.post(token, _bulletin(world))
    assert _code(caught.value) == ("quota-exceeded", 9)


async def test_a_body_is_served_to_whom_it_was_sealed(visitor: Visitor) -> None:
    """With the reader's own wrap; to auditors as ciphertext alone; to nobody else. SPEC 11.4.1."""
    submission = _bulletin(visitor.world)
    await visitor.receipt(await visitor.token("pk-liaison/desk"), submission)
    path = f"/v1/bodies/{hashlib.sha256(submission.body).hexdigest()}"
    header = Bulletin.decode(submission.statement).header_bytes
    for agency, seat in (("cn-liaison", "duty"), ("pk-liaison", "desk")):
        data = await visitor.get(path, await visitor.token(f"{agency}/{seat}"))
        body, wrap = canonical.decode(data, bytes_max=10**6)
        assert body == submission.body
        name = f"{agency}/{seat}/1"
        open_wrap(wrap, header, agency, PrivateKey(kem_seed(name)), kem_key(name).key_id)
    data = await visitor.get(path, await visitor.token("cn-auditor/desk"))
    assert canonical.decode(data, bytes_max=10**6) == [submission.body, None]
    for name in ("cn-embassy/desk", "cn-liaison/identity", "cn-custodian-1"):
        with pytest.raises(Problem, match="not-found"):
            await visitor.get(path, await visitor.token(name))


async def test_a_body_is_withheld_from_who_may_no_longer_read_it(visitor: Visitor) -> None:
    """By the newest state, with the reason; the sender still has its own. SPEC 11.4.1."""
    world, submission = visitor.world, _bulletin(visitor.world)
    await visitor.receipt(await visitor.token("pk-liaison/desk"), submission)
    reader, custodian = await visitor.token("cn-liaison/desk"), await visitor.token("pk-custodian-1")
    members = tuple(name for name in world.directory.by_feed["convoys"].members if name != "cn-liaison")
    await visitor.receipt(custodian, world.with_feed("convoys", members=members).publication(*CUSTODIANS))
    path = f"/v1/bodies/{hashlib.sha256(submission.body).hexdigest()}"
    with pytest.raises(Problem) as caught:
        await visitor.get(path, reader)
    assert (caught.value.code, caught.value.extra["reason"]) == ("withheld", "feed-not-joined")
    assert await visitor.get(path, await visitor.token("pk-liaison/duty"))


async def test_a_state_is_told_to_those_it_concerns(visitor: Visitor) -> None:
    """To sender and auditor of every recipient, to a recipient of itself. SPEC 11.5.1."""
    world = visitor.world
    submission = world.bulletin("pk-liaison", to=("cn-embassy", "cn-liaison"), created=now_ms(), precedence="flash")
    receipt = await visitor.receipt(await visitor.token("pk-liaison/desk"), submission)
    path = f"/v1/bulletins/{Bulletin.decode(submission.statement).header.name}"
    seen = {}
    for name in ("pk-liaison/duty", "cn-auditor/desk", "cn-embassy/desk"):
        state = json.loads(await visitor.get(path, await visitor.token(name)))
        assert list(state) == ["id", "origin", "index", "status", "logged", "witnessed_by", "recipients"]
        assert (state["index"], state["logged"], state["status"]) == (receipt.index, receipt.time, "actual")
        seen[name] = [(one["agency"], one["state"], one["late"]) for one in state["recipients"]]
        assert {one["due"] for one in state["recipients"]} == {receipt.time + 600_000}
    both = [("cn-embassy", "pending", False), ("cn-liaison", "pending", False)]
    assert list(seen.values()) == [both, both, both[:1]]
    with pytest.raises(Problem, match="not-found"):
        await visitor.get(path, await visitor.token("pk-site-security/desk"))


async def test_governance_stands_alone_in_its_group(visitor: Visitor) -> None:
    """And of one thing posted twice at once the second gets the first one's place. SPEC 12.5.1."""
    token, world = await visitor.token("pk-liaison/desk"), visitor.world
    bundle = world.with_bundle("pk-liaison", ("desk", "duty")).key_bundle("pk-liaison")
    twice, before, after = (_bulletin(world) for _ in range(3))
    receipts = [Receipt.decode(one) for one in await visitor.post(token, before, twice, twice, bundle, after)]
    assert receipts[1].index == receipts[2].index
    alone = receipts[3]
    assert alone.head.size == alone.index + 1
    assert alone.head.size not in {one.head.size for one in (*receipts[:3], receipts[4])}


async def test_a_checkpoint_is_recorded_before_it_is_signed_and_signed_before_it_is_shown(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its leaves were read back from the disk. SPEC 9.5.1."""
    node, order = visitor.node, list[str]()

    def watch(owner: Any, name: str) -> None:
        true = getattr(owner, name)

        def watched(*args: Any) -> Any:
            order.append(name)
            return true(*args)

        monkeypatch.setattr(owner, name, watched)

    for name in ("reread", "record_root", "publish"):
        watch(type(node.storage), name)
    watch(LogSigner, "lines")
    await visitor.receipt(await visitor.token("pk-liaison/desk"), _bulletin(visitor.world))
    await node.publish()
    firsts = [order.index(name) for name in ("reread", "record_root", "lines", "publish")]
    assert firsts == sorted(firsts)
