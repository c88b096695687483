"""What somebody with a socket, a recording, or a seat of their own tries against a node: each refused with its code.

The attacker is an agency of the exchange wherever that helps: what strangers may not, tests/integration has by route.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker import sessions
from broker.node import Node
from protocol import limits
from protocol.entry import Submission
from protocol.names import format_id
from protocol.problem import Problem
from protocol.signing import PublicKey, Signature, decode_signatures, encode_signatures
from protocol.statements import Bulletin, statement_hash
from tests.support.altering import replace
from tests.support.caller import Answer, Caller, callers
from tests.support.door import until
from tests.support.live import live_node, now_ms, world_of_today
from tests.support.world import CUSTODIANS, ORIGINS, World, label, line_about, signing_key

DESK, VICTIM = "pk-site-security/desk", "pk-liaison/desk"
Who = Callable[[str], Awaitable[Caller]]


class Clock:
    """The node's."""

    def __init__(self) -> None:
        self.ahead_ms = self.stopped_ms = 0

    def __call__(self) -> int:
        return (self.stopped_ms or now_ms()) + self.ahead_ms

    def stop(self) -> int:
        """It goes no further by itself, however long a test takes; where it stands."""
        self.stopped_ms = now_ms()
        return self.stopped_ms


@dataclass
class Site:
    """A node, its world, and anyone who is logged in by name."""

    node: Node
    world: World
    clock: Clock
    who: Who

    def bulletin(self, sender: str = "pk-liaison", to: str = "cn-liaison", **changes: Any) -> Submission:
        """Of now."""
        return self.world.bulletin(sender, to=(to,), created=now_ms(), **changes)


@pytest.fixture
def world() -> World:
    return world_of_today()


@pytest.fixture
async def site(tmp_path: Path, world: World) -> AsyncIterator[Site]:
    clock = Clock()
    async with live_node(tmp_path, world, clock=clock) as node, AsyncExitStack() as stack:

        async def who(name: str) -> Caller:
            return (await stack.enter_async_context(callers(node.config.url, world, [name])))[0]

        yield Site(node, world, clock, who)


async def _refused(answer: Awaitable[Answer], code: str) -> Problem:
    problem = (await answer).problem()
    assert problem.code == code, problem
    return problem


async def _kept_out(caller: Caller, submission: Submission, code: str, step: int) -> Problem:
    """Refused at that step, and nothing stands of it."""
    problem = await caller.refusal(submission)
    assert (problem.code, problem.extra.get("step")) == (code, step), problem
    return problem


def _without_mldsa(submission: Submission) -> Submission:
    """Its post-quantum half taken away."""
    signatures = tuple(replace(one, mldsa65=None) for one in decode_signatures(submission.signatures))
    return replace(submission, signatures=encode_signatures(signatures))


def _with_signature(submission: Submission, change: Callable[[Signature], Signature]) -> Submission:
    signatures = tuple(change(one) for one in decode_signatures(submission.signatures))
    return replace(submission, signatures=encode_signatures(signatures))


# Logins


async def test_a_login_recorded_is_worth_nothing(site: Site) -> None:
    """Neither at once nor at the last moment at which its time would do. SPEC 11.1.2."""
    site.node.sessions._started -= 3600  # it has run for an hour
    async with Caller(site.node.config.url, site.world) as thief:
        login = thief.login(time=site.clock.stop() + 59_000)
        signature = signing_key(VICTIM).sign(login.message(), 2)
        assert (await thief.send_signed(login, signature)).status == 200
        for ahead_s in (0, 30, 60, 100, 118.5):
            site.clock.ahead_ms = int(ahead_s * 1000)
            problem = (await thief.send_signed(login, signature)).problem()
            assert (problem.code, problem.detail) == ("login-refused", "this login was used before")
        site.clock.ahead_ms = 125_000
        assert (await thief.send_signed(login, signature)).problem().code == "clock-skew"


@pytest.mark.parametrize(
    "change, code",
    [
        ({"origin": ORIGINS["CN"]}, "login-refused"),
        ({"exchange": bytes(32)}, "login-refused"),
        ({"time": 0}, "clock-skew"),
        ({"time": limits.TIME_MS_MAX}, "clock-skew"),
    ],
    ids=["another node's", "another exchange's", "of long ago", "of the far future"],
)
async def test_a_login_made_for_somewhere_else(site: Site, change: dict[str, Any], code: str) -> None:
    """A node that a client once logged in at cannot use that at another. SPEC 11.1.2."""
    async with Caller(site.node.config.url, site.world) as thief:
        await _refused(thief.send_login(thief.login(**change), signing_key(VICTIM)), code)


def _halves_of(one: Signature, other: Signature) -> Signature:
    return replace(one, mldsa65=other.mldsa65)


async def test_a_login_with_half_a_signature(site: Site) -> None:
    """Both halves, by one key, over this login. SPEC 11.1.2."""
    async with Caller(site.node.config.url, site.world) as thief:
        login, other = thief.login(), thief.login()
        good = signing_key(VICTIM).sign(login.message(), 2)
        own = signing_key(DESK).sign(login.message(), 2)
        forged = [
            signing_key(VICTIM).sign(login.message(), 1),
            _halves_of(good, own),
            _halves_of(own, good),
            _halves_of(good, signing_key(VICTIM).sign(other.message(), 2)),
            replace(own, key_id=good.key_id),
            replace(good, ed25519=own.ed25519),
            signing_key(VICTIM).sign(b"something else", 2),
        ]
        for signature in forged:
            await _refused(thief.send_signed(login, signature), "login-refused")
        assert (await thief.send_signed(login, good)).status == 200, "a refused attempt does not burn the nonce"


@pytest.mark.parametrize("name", ["nobody", "pk-liaison/attic", "PK", "pk-liaison/desk/1"])
async def test_a_key_that_speaks_for_nobody(site: Site, name: str) -> None:
    """A stranger's, a seat's that no bundle lists, the node's own. SPEC 11.1.2."""
    async with Caller(site.node.config.url, site.world) as thief:
        await _refused(thief.send_login(thief.login(), signing_key(name)), "login-refused")


# Sessions that must end


async def _revoke(site: Site) -> None:
    identity = await site.who("pk-liaison/identity")
    await identity.receipt(site.world.revocation(VICTIM, created=now_ms()))


async def _suspend(site: Site) -> None:
    custodian = await site.who("pk-custodian-1")
    await custodian.receipt(site.world.suspension("pk-liaison", created=now_ms()))


async def _revoke_by_nation(site: Site) -> None:
    custodian = await site.who("pk-custodian-2")
    by = ("pk-custodian-1", "pk-custodian-2")
    await custodian.receipt(site.world.revocation(VICTIM, by=by, created=now_ms()))


async def _remove(site: Site) -> None:
    custodian = await site.who("cn-custodian-1")
    await custodian.receipt(site.world.without_agency("pk-liaison").publication(*CUSTODIANS))


@pytest.mark.parametrize("end", [_revoke, _revoke_by_nation, _suspend, _remove])
async def test_a_session_ends_at_once_and_so_does_what_it_waits_for(
    site: Site, end: Callable[[Site], Awaitable[None]]
) -> None:
    """Its token, its long poll, its stream, and every new login. SPEC 11.1.2, 11.6.3."""
    victim, other = await site.who(VICTIM), await site.who("pk-liaison/duty")
    size = site.node.ledger.head.size
    polling = asyncio.create_task(victim.ask("GET", f"/v1/deliveries?after={ORIGINS['PK']}={size}&wait=30"))
    stream = await victim.http.ws_connect(
        f"{victim.url}/v1/deliveries?after={ORIGINS['PK']}={size}", headers={"Authorization": f"Bearer {victim.token}"}
    )
    await until(lambda: sum(s.waiting for s in site.node.sessions._sessions.values()) == 2)
    await end(site)
    async with asyncio.timeout(25):
        await _refused(polling, "not-logged-in")
        message = await stream.receive()
        assert (message.data, message.extra) == (4401, "not-logged-in")
    for path in ("/v1/deliveries", f"/v1/bodies/{bytes(32).hex()}"):
        await _refused(victim.ask("GET", path), "not-logged-in")
    await _refused(victim.ask("POST", "/v1/entries", b"\x90"), "not-logged-in")
    await _refused(victim.send_login(victim.login()), "login-refused")
    others_answer = await other.ask("GET", "/v1/deliveries")
    assert others_answer.status == (200 if end in {_revoke, _revoke_by_nation} else 401)


async def test_a_token_lasts_a_quarter_of_an_hour(site: Site) -> None:
    """And not longer by being used. SPEC 11.1.2."""
    site.clock.stop()
    victim = await site.who(VICTIM)
    for minutes, status in ((14, 200), (14.99, 200), (15, 401)):
        site.clock.ahead_ms = int(minutes * 60_000)
        assert (await victim.ask("GET", "/v1/deliveries")).status == status


async def test_one_key_crowds_out_nobody_but_itself(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its oldest session goes first; and nobody's requests wait without bound."""
    monkeypatch.setattr(sessions, "SESSIONS_PER_KEY_MAX", 3)
    monkeypatch.setattr(sessions, "WAITING_PER_SESSION_MAX", 2)
    bystander = await site.who(VICTIM)
    crowd = [await site.who(DESK) for _ in range(5)]
    statuses = [(await caller.ask("GET", "/v1/deliveries")).status for caller in crowd]
    assert statuses == [401, 401, 200, 200, 200]
    assert (await bystander.ask("GET", "/v1/deliveries")).status == 200
    path = f"/v1/deliveries?after={ORIGINS['PK']}={site.node.ledger.head.size}&wait=30"
    waiting = [asyncio.create_task(crowd[-1].ask("GET", path)) for _ in range(2)]
    await until(lambda: sum(s.waiting for s in site.node.sessions._sessions.values()) == 2)
    await _refused(crowd[-1].ask("GET", path), "too-many-attempts")
    site.node.news.wake_all()
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [200, 200]


# Posting


async def test_nobody_posts_as_another(site: Site) -> None:
    """Not even what the other signed itself, which is for the other to send. SPEC 12.2.10."""
    thief, world = await site.who(DESK), site.world
    own = signing_key(DESK).public.key_id
    entry = site.node.storage.entry(0)
    assert entry is not None
    line = [line_about(ORIGINS["PK"], 0, entry)]
    for submission in (
        site.bulletin(),
        site.bulletin(signer=DESK),
        site.bulletin(signer=DESK, key_id=own),
        site.bulletin("pk-site-security", key_id=signing_key(VICTIM).public.key_id),
        world.acknowledgement("cn-liaison", "pk-liaison", line),
    ):
        await _kept_out(thief, submission, "not-speaking-for", 0)
    for name in ("pk-liaison/identity", "pk-custodian-1"):
        await _kept_out(await site.who(name), site.bulletin(), "not-speaking-for", 0)


async def test_no_stranger_posts_governance(site: Site) -> None:
    """However well signed it is; nor is it enough to sign it. SPEC 12.2.10."""
    thief, world = await site.who(DESK), site.world
    for submission in (
        world.revocation(VICTIM, created=now_ms()),
        world.suspension("pk-liaison", created=now_ms()),
        world.with_bundle("pk-liaison").key_bundle("pk-liaison"),
        world.with_feed("sites", title="Others").publication(*CUSTODIANS),
    ):
        await _kept_out(thief, submission, "not-speaking-for", 0)
    identity = await site.who("pk-site-security/identity")
    by = ("pk-site-security/identity",)
    await _kept_out(identity, world.revocation(VICTIM, by=by, created=now_ms()), "wrong-signer", 4)
    custodian = await site.who("cn-custodian-1")
    chinese = ("cn-custodian-1", "cn-custodian-2")
    await _kept_out(custodian, world.suspension("pk-liaison", by=chinese, created=now_ms()), "wrong-signer", 4)
    await _kept_out(custodian, world.with_feed("sites", title="X").publication(*chinese), "threshold-missing", 4)


async def test_no_signature_loses_its_post_quantum_half(site: Site) -> None:
    """Where the suite asks for two, one is none; and the suite is not for the sender to choose. SPEC 5, 12.2.8."""
    victim, world = await site.who(VICTIM), site.world
    secret = site.bulletin(suite=2, label=label("Secret"))
    await _kept_out(victim, _without_mldsa(secret), "bad-signature", 8)
    await _kept_out(victim, site.bulletin(label=label("Secret")), "suite-too-weak", 3)
    for name, submission in (
        ("pk-liaison/identity", world.revocation("pk-liaison/duty", created=now_ms())),
        ("pk-liaison/identity", world.with_bundle("pk-liaison").key_bundle("pk-liaison")),
        ("pk-custodian-1", world.suspension("pk-liaison", created=now_ms())),
        ("pk-custodian-1", world.with_feed("sites", title="Others").publication(*CUSTODIANS)),
    ):
        await _kept_out(await site.who(name), _without_mldsa(submission), "bad-signature", 8)
    assert (await victim.receipt(secret)).index


async def test_nothing_is_changed_on_the_way(site: Site) -> None:
    """Neither what is signed nor what lies beside it. SPEC 12.2.8."""
    victim = await site.who(VICTIM)
    good, other = site.bulletin(suite=2), site.bulletin(suite=2)
    theirs = signing_key(DESK).sign(b"another message", 2)
    changed: dict[str, tuple[str, Submission]] = {
        "body": ("wrong-hash", replace(good, body=other.body)),
        "no body": ("wrong-hash", replace(good, body=b"")),
        "a wrap": ("wrong-hash", replace(good, wraps=(*good.wraps[:-1], other.wraps[-1]))),
        "wraps moved": ("wrong-hash", replace(good, wraps=good.wraps[::-1])),
        "no wraps": ("wrong-hash", replace(good, wraps=())),
        "a wrap more": ("wrong-hash", replace(good, wraps=(*good.wraps, good.wraps[0]))),
        "signature": ("bad-signature", replace(good, signatures=other.signatures)),
        "Ed25519": ("bad-signature", _with_signature(good, lambda one: replace(one, ed25519=theirs.ed25519))),
        "ML-DSA": ("bad-signature", _with_signature(good, lambda one: replace(one, mldsa65=theirs.mldsa65))),
    }
    for what, (code, submission) in changed.items():
        problem = await victim.refusal(submission)
        assert (problem.code, problem.extra["step"]) == (code, 8), what
    assert site.node.ledger.head.size == (await victim.receipt(good)).index


async def test_nothing_is_replayed_elsewhere(site: Site, tmp_path: Path) -> None:
    """Into another ledger, another exchange, or later under other keys. SPEC 12.2.3."""
    victim = await site.who(VICTIM)
    await _kept_out(victim, site.bulletin(origin=ORIGINS["CN"]), "wrong-origin", 3)
    other = World.found(now_ms() - 3_600_000)
    elsewhere = other.bulletin(created=now_ms(), origin=ORIGINS["PK"])
    assert other.pin != site.world.pin
    await _kept_out(victim, elsewhere, "wrong-exchange", 3)
    receipt = await victim.receipt(site.bulletin())
    again = await victim.receipt(site.bulletin())
    assert receipt.index + 1 == again.index
    identity = await site.who("pk-liaison/identity")
    foreign = other.revocation(VICTIM, created=now_ms())
    await _kept_out(identity, foreign, "wrong-exchange", 3)


async def test_a_suspension_lifted_is_not_replayed(site: Site) -> None:
    """The same statement stands once: its second life has no effect. SPEC 12.2.2."""
    custodian, world = await site.who("pk-custodian-1"), site.world
    suspension = world.suspension("pk-liaison", created=now_ms())
    first = await custodian.receipt(suspension)
    hash_ = statement_hash(suspension.kind, suspension.statement)
    await custodian.receipt(world.suspension("pk-liaison", lifts=hash_, created=now_ms()))
    assert (await custodian.receipt(suspension)).index == first.index
    assert not site.node.ledger.exchange.is_suspended("pk-liaison")
    assert (await (await site.who(VICTIM)).receipt(site.bulletin())).index == first.index + 2


# Reading


async def test_nobody_reads_what_was_not_sent_to_them(site: Site) -> None:
    """No page, no body, no state, no entry bundle; and no answer tells whether there is any. SPEC 11.4.1, 11.5.1."""
    victim, body = await site.who(VICTIM), site.bulletin()
    index = (await victim.receipt(body)).index
    await site.node.publish()
    header = Bulletin.decode(body.statement)
    name_of_it = format_id(header.header.sender, header.header.id)
    paths = [f"/v1/bodies/{header.body.hex()}", f"/v1/bulletins/{name_of_it}"]
    nothing = [f"/v1/bodies/{bytes(32).hex()}", f"/v1/bulletins/{format_id('cn-embassy', header.header.id)}"]
    for name in (DESK, "cn-embassy/desk", "cn-liaison/identity", "pk-liaison/identity", "cn-custodian-1"):
        thief = await site.who(name)
        for path, none in zip(paths, nothing, strict=True):
            told = (await thief.ask("GET", path)).problem()
            assert (told.code, told.detail) == ("not-found", (await thief.ask("GET", none)).problem().detail)
        assert index not in [item.index for item in (await thief.page(0)).items]
        await _refused(thief.ask("GET", "/tile/entries/000.p/5"), "role-missing")
    auditor = await site.who("cn-auditor/desk")
    (item,) = (await auditor.page(index)).items
    assert (item.wrap, item.body) == (None, body.body), "ciphertext alone"
    assert (await auditor.ask("GET", "/tile/entries/000.p/5")).status == 200


async def test_a_recipient_gets_its_own_wrap_alone(site: Site) -> None:
    """A seat cannot take another's, nor another agency's. SPEC 11.2.2."""
    body = site.bulletin()
    index = (await (await site.who(VICTIM)).receipt(body)).index
    held = set[bytes | None]()
    for name in ("cn-liaison/desk", "cn-liaison/duty", "pk-liaison/desk", "pk-liaison/duty"):
        caller = await site.who(name)
        (item,) = [item for item in (await caller.page(index)).items if item.index == index]
        held.add(item.wrap)
    assert held == set(body.wraps)
    assert len(held) == 4


async def test_what_was_once_allowed_is_withheld_when_it_is_no_more(site: Site) -> None:
    """By the newest state, on a page too. SPEC 11.4.1."""
    body = site.bulletin()
    index = (await (await site.who(VICTIM)).receipt(body)).index
    reader = await site.who("cn-liaison/desk")
    (item,) = (await reader.page(index)).items
    assert (item.body, item.withheld) == (body.body, "")
    custodian = await site.who("pk-custodian-1")
    world = site.world.with_agency("cn-liaison", roles=("publish",))
    await custodian.receipt(world.publication(*CUSTODIANS))
    item = (await reader.page(index)).items[0]
    assert (item.index, item.body, item.wrap, item.withheld) == (index, None, None, "role-missing")
    path = f"/v1/bodies/{Bulletin.decode(body.statement).body.hex()}"
    assert (await _refused(reader.ask("GET", path), "withheld")).extra["reason"] == "role-missing"


async def test_a_role_taken_away_is_gone_from_an_open_session(site: Site) -> None:
    """An auditor that is none any more reads no entries. SPEC 11.1.2."""
    auditor = await site.who("pk-auditor/desk")
    assert (await auditor.ask("GET", "/tile/entries/000.p/5")).status == 200
    custodian = await site.who("pk-custodian-1")
    await custodian.receipt(site.world.with_agency("pk-auditor", roles=()).publication(*CUSTODIANS))
    await _refused(auditor.ask("GET", "/tile/entries/000.p/5"), "role-missing")


def test_a_key_without_its_post_quantum_half_is_another_key() -> None:
    """Both halves are in the name of a key. SPEC 5.1."""
    victim, thief = signing_key(VICTIM).public, signing_key(DESK).public
    mixed = {PublicKey(one.ed25519, two.mldsa65).key_id for one in (victim, thief) for two in (victim, thief)}
    assert len(mixed) == 4
