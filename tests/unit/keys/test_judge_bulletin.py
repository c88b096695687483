"""What keeps a bulletin out, by the numbers of keys/judge.py; beside each refusal stands what is just allowed."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from keys.judge import Refused, why_not_recipient
from keys.sealing import SealTo
from protocol.entry import Submission
from protocol.header import Recipient, Relation
from protocol.label import Label
from protocol.names import new_bulletin_id
from protocol.policy import Policy
from protocol.signing import decode_signatures, encode_signatures
from protocol.statements import Bulletin, Kind
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.paper import PaperLedger
from tests.support.world import BUNDLE_MS, NOW, ORIGINS, World, digest_of, kem_key, label, signed, signing_key

ID = new_bulletin_id(NOW, bytes(10))
SKEW_MS = 60_000
ALTERED = bytes(32)


def _resigned(submission: Submission, *signers: str, suite: int = 1) -> Submission:
    """The same bulletin under other signatures."""
    made = [signing_key(name).sign_statement(submission.kind, submission.statement, suite) for name in signers]
    return replace(submission, signatures=encode_signatures(tuple(made)))


def test_a_bulletin_stands(world: World, paper: PaperLedger) -> None:
    """The one that all others here differ from."""
    assert paper.refusal(world.bulletin()) is None


def test_the_first_step_that_fails_refuses(world: World, paper: PaperLedger) -> None:
    """Of a bulletin that is wrong at every step the lowest is told; put right there, the next one. SPEC 12.2.1."""
    paper.admit(world.bulletin(id=ID))
    wrong: dict[int, dict[str, Any]] = {
        2: {"id": ID},
        3: {"origin": ORIGINS["CN"]},
        4: {"key_id": signing_key("nobody").public.key_id, "signer": "nobody"},
        5: {"label": label("Top Secret")},
        6: {"seats": world.seats(world.header())[1:]},
        7: {"relations": (Relation("replies", ORIGINS["PK"], 10**6, ALTERED),)},
    }
    for first in range(1, 9):
        changes = {name: value for step, fields in wrong.items() if step >= first for name, value in fields.items()}
        submission = world.bulletin(suite=2, **changes)
        submission = replace(submission, signatures=submission.signatures[:-1] + bytes([submission.signatures[-1] ^ 1]))
        refusal = paper.refusal(replace(submission, statement=submission.statement + b"\0" * (first == 1)))
        assert refusal is not None
        assert refusal[0] == first


# Step (1): form


@pytest.mark.parametrize("part", ["statement", "signatures"])
def test_1_only_canonical_bytes_are_judged(world: World, paper: PaperLedger, part: str) -> None:
    """A byte more, or none at all, is another form. SPEC 12.2.1."""
    submission = world.bulletin()
    data: bytes = getattr(submission, part)
    forms = [(data + b"\0", "malformed"), (b"", "malformed"), (b"\x90", "malformed"), (bytes(65_536), "too-large")]
    for form, code in forms:
        spoilt: dict[str, Any] = {part: form}
        assert paper.refusal(replace(submission, **spoilt)) == (1, code)


# Step (2): seen before


def test_2_a_bulletin_stands_once(world: World, paper: PaperLedger) -> None:
    """The same bytes are told where they stand, whoever signed them anew and whenever. SPEC 12.2.2."""
    submission = world.bulletin(suite=2)
    index = paper.admit(submission)
    for again in (submission, _resigned(submission, "pk-liaison/desk", suite=2)):
        verdict = paper.judge(again, NOW + 40 * DAY_MS)
        assert isinstance(verdict, Refused)
        assert (verdict.step, verdict.code, verdict.index) == (2, "seen-before", index)
        assert str(verdict).startswith("(2) seen-before: ")


def test_2_an_id_names_one_bulletin_of_its_sender(world: World, paper: PaperLedger) -> None:
    """Other bytes under it are refused, naming the first; another sender may have the same id. SPEC 12.2.2."""
    index = paper.admit(world.bulletin(id=ID))
    verdict = paper.judge(world.bulletin(id=ID, precedence="flash"))
    assert isinstance(verdict, Refused)
    assert (verdict.step, verdict.code, verdict.index) == (2, "id-reused", index)
    assert paper.refusal(world.bulletin("pk-site-security", id=ID)) is None


# Step (3): where and when


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"exchange": ALTERED}, "wrong-exchange"),
        ({"suite": 0}, "suite-unknown"),
        ({"suite": 3}, "suite-unknown"),
        ({"origin": ORIGINS["CN"]}, "wrong-origin"),
        ({"sender": "cn-liaison", "to": ["pk-liaison"], "origin": ORIGINS["PK"]}, "not-home"),
        ({"directory_hash": ALTERED}, "stale-directory"),
        ({"directory_version": 2}, "stale-directory"),
        ({"suite": 1, "label": label("Secret")}, "suite-too-weak"),
        ({"suite": 1, "label": label("Cosmic")}, "suite-too-weak"),
        ({"expires": NOW}, "expired"),
        ({"expires": 0}, "expired"),
        ({"expires": NOW + 30 * DAY_MS + 1}, "expires-too-late"),
        ({"created": 0, "expires": NOW + 1}, "expires-too-late"),
        ({"created": NOW + SKEW_MS + 1}, "created-in-future"),
    ],
)
def test_3_where_and_when(world: World, paper: PaperLedger, changes: dict[str, Any], code: str) -> None:
    """Of this exchange and ledger, in a suite that is strong enough, within its times. SPEC 12.2.3."""
    assert paper.refusal(world.bulletin(**changes)) == (3, code)


@pytest.mark.parametrize(
    "changes",
    [
        {"expires": NOW + 1},
        {"expires": NOW + 30 * DAY_MS},
        {"created": NOW + SKEW_MS},
        {"created": NOW - 30 * DAY_MS + 1, "expires": NOW + 1},
        {"suite": 2, "label": label("Secret")},
        {"suite": 2, "label": label("Unclassified")},
    ],
)
def test_3_to_the_last_millisecond(world: World, paper: PaperLedger, changes: dict[str, Any]) -> None:
    """Each bound holds up to itself; a stronger suite than needed does no harm. SPEC 12.2.3."""
    assert paper.refusal(world.bulletin(**changes)) is None


def test_3_any_directory_that_stood_may_have_been_seen(world: World, paper: PaperLedger) -> None:
    """An old version, and the loser of a fork, but by its own number. SPEC 12.2.3."""
    second, fork = world.with_agency("cn-embassy", name="Embassy"), world.with_agency("cn-embassy", name="大使馆")
    paper.admit(second.publication())
    paper.admit(fork.publication())
    for seen in (world, second, fork):
        assert paper.refusal(seen.bulletin()) is None
    assert paper.refusal(second.bulletin(directory_version=1)) == (3, "stale-directory")


def test_3_the_suite_is_the_policys(world: World) -> None:
    """From the rank that the directory says. SPEC 12.2.3."""
    strict = World.found(policy=replace(Policy(), suite_2_from_rank=1))
    paper = PaperLedger(strict)
    assert paper.refusal(strict.bulletin()) == (3, "suite-too-weak")
    assert paper.refusal(strict.bulletin(label=label("Unclassified"))) is None
    assert paper.refusal(strict.bulletin(suite=2)) is None


def test_3_an_agency_acts_where_its_home_is(world: World, paper: PaperLedger) -> None:
    """From the version that moves it on, the old ledger takes nothing of it. SPEC 12.2.3."""
    moved = world.with_agency("pk-liaison", home=ORIGINS["CN"])
    paper.admit(moved.publication())
    assert paper.refusal(world.bulletin()) == (3, "not-home")
    assert paper.refusal(moved.bulletin()) == (3, "wrong-origin")


def test_3_no_bulletin_past_the_directorys_grace() -> None:
    """To the end of the grace and not beyond; the next version opens the ledger again. SPEC 12.2.3."""
    world = World.found(expires=NOW + DAY_MS, policy=replace(Policy(), grace_days=2))
    paper, end = PaperLedger(world), NOW + 3 * DAY_MS
    late = world.bulletin(created=end)
    assert paper.refusal(late, end) is None
    assert paper.refusal(late, end + 1) == (3, "directory-expired")
    paper.admit(world.with_directory(expires=NOW + 100 * DAY_MS).publication(), end + 1)
    assert paper.refusal(late, end + 1) is None


# Step (4): who


def test_4_the_sender_is_an_agency_of_the_directory_in_force(world: World, paper: PaperLedger) -> None:
    """Not of one before. SPEC 12.2.4."""
    paper.admit(world.without_agency("pk-liaison").publication())
    assert paper.refusal(world.bulletin()) == (4, "agency-unknown")


def test_4_a_suspended_agency_sends_nothing(world: World, paper: PaperLedger) -> None:
    """Until the suspension is lifted. SPEC 12.2.4."""
    suspension = world.suspension("pk-liaison")
    paper.admit(suspension)
    assert paper.refusal(world.bulletin()) == (4, "agency-suspended")
    paper.admit(world.suspension("pk-liaison", lifts=digest_of(suspension)))
    assert paper.refusal(world.bulletin()) is None


def test_4_a_revoked_seat_sends_nothing(world: World, paper: PaperLedger) -> None:
    """From the revocation on, though its bundle still runs; the agency's other seat goes on. SPEC 12.2.4."""
    paper.admit(world.revocation("pk-liaison/desk"))
    seats = [seat for seat in world.seats(world.header()) if seat.key != kem_key("pk-liaison/desk/1")]
    duty: dict[str, Any] = {
        "key_id": signing_key("pk-liaison/duty").public.key_id,
        "signer": "pk-liaison/duty",
        "seats": seats,
    }
    assert paper.refusal(world.bulletin()) == (4, "key-revoked")
    assert paper.refusal(world.bulletin(**duty)) is None


@pytest.mark.parametrize("key", ["pk-liaison/attic", "pk-liaison/identity", "pk-site-security/desk", "PK"])
def test_4_the_key_is_a_seats_of_the_sender(world: World, paper: PaperLedger, key: str) -> None:
    """No stranger's, no other agency's, not even the identity key. SPEC 12.2.4."""
    submission = world.bulletin(key_id=signing_key(key).public.key_id, signer=key)
    assert paper.refusal(submission) == (4, "key-not-in-force")


def test_4_a_seat_is_in_force_while_a_bundle_lists_it(world: World, paper: PaperLedger) -> None:
    """From its start to before its end; left out of a newer bundle it stays until the older one ends.

    SPEC 12.2.4, 12.3.2.
    """
    following = world.with_bundle("pk-liaison", ["duty"], starts=NOW + 7 * DAY_MS)
    paper.admit(following.key_bundle("pk-liaison"))
    attic = following.with_bundle("pk-liaison", ["attic"], starts=NOW + 8 * DAY_MS)
    paper.admit(attic.key_bundle("pk-liaison"))
    key: dict[str, Any] = {"key_id": signing_key("pk-liaison/attic").public.key_id, "signer": "pk-liaison/attic"}
    late: dict[str, Any] = {"created": NOW + 8 * DAY_MS - 1}
    assert paper.refusal(attic.bulletin(**key, **late), NOW + 8 * DAY_MS - 1) == (4, "key-not-in-force")
    assert paper.refusal(attic.bulletin(**key, **late), NOW + 8 * DAY_MS) is None
    desk: dict[str, Any] = {"key_id": signing_key("pk-liaison/desk").public.key_id, "signer": "pk-liaison/desk"}
    last = NOW + BUNDLE_MS
    paper.admit(world.with_bundle("cn-liaison").key_bundle("cn-liaison"), NOW + 8 * DAY_MS)
    reader = world.with_bundle("cn-liaison").bundles["cn-liaison"]
    mixed = replace(attic, bundles={**attic.bundles, "cn-liaison": reader})
    assert paper.refusal(mixed.bulletin(**desk, created=last - 1), last - 1) is None
    assert paper.refusal(mixed.bulletin(**desk, created=last - 1), last) == (4, "key-not-in-force")


def test_4_bundles_end_with_their_identity_key(world: World, paper: PaperLedger) -> None:
    """Revoked by the nation, or another in the directory: no seat of its bundles is in force. SPEC 12.2.4, 12.3.1."""
    rotated = world.with_agency("pk-liaison", identity=signing_key("pk-liaison/identity-2").public)
    moved = paper.copy()
    moved.admit(rotated.publication())
    assert moved.refusal(world.bulletin()) == (4, "key-not-in-force")
    paper.admit(world.revocation("pk-liaison/identity", by=("pk-custodian-1", "pk-custodian-2")))
    assert paper.refusal(world.bulletin()) == (4, "key-not-in-force")


def test_4_a_sender_has_the_role_publish(world: World, paper: PaperLedger) -> None:
    """By the directory in force. SPEC 12.2.4."""
    paper.admit(world.with_agency("pk-liaison", roles=("subscribe",)).publication())
    assert paper.refusal(world.bulletin()) == (4, "role-missing")
    assert paper.refusal(world.bulletin("pk-auditor", to=["cn-liaison"])) == (4, "role-missing")


@pytest.mark.parametrize("signers", [["pk-liaison/duty"], ["pk-liaison/desk", "pk-liaison/duty"]])
def test_4_the_one_signature_is_of_the_key_named(world: World, paper: PaperLedger, signers: list[str]) -> None:
    """Neither another seat's, nor one more. SPEC 12.2.4."""
    assert paper.refusal(_resigned(world.bulletin(), *signers)) == (4, "wrong-signer")


# Step (5): label


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"label": label("内部", "CN")}, "label-policy"),
        ({"label": label("Top Secret"), "suite": 2}, "sender-not-cleared"),
        ({"label": label("Restricted", "PK", "PERSONNEL")}, "sender-not-cleared"),
        ({"label": label("Cosmic"), "suite": 2}, "sender-not-cleared"),
        ({"sender": "pk-site-security", "label": label("Confidential")}, "sender-not-cleared"),
        ({"feed": "rumours"}, "feed-not-joined"),
        ({"feed": "sites", "label": label("Confidential")}, "feed-ceiling"),
        ({"feed": "sites", "label": label("Restricted", "PK", "CONVOY")}, "feed-ceiling"),
        ({"to": ["pk-site-security"]}, "domestic-only"),
    ],
)
def test_5_the_label(world: World, paper: PaperLedger, changes: dict[str, Any], code: str) -> None:
    """Of the sender's own policy, dominated by its clearance and by the feed's ceiling; abroad where the feed is.

    SPEC 12.2.5.
    """
    assert paper.refusal(world.bulletin(**changes)) == (5, code)


@pytest.mark.parametrize(
    "changes",
    [
        {"label": label("Secret", "PK", "CONVOY"), "suite": 2},
        {"feed": "sites", "to": ["pk-site-security"]},
        {"to": ["cn-liaison", "pk-site-security"]},
        {"label": Label("PK", "Restricted", (), ("CN",))},
    ],
)
def test_5_up_to_the_clearance(world: World, paper: PaperLedger, changes: dict[str, Any]) -> None:
    """A clearance holds its own level and compartments; a domestic feed stays at home. SPEC 12.2.5."""
    assert paper.refusal(world.bulletin(**changes)) is None


def test_5_a_sender_is_a_member_of_the_feed(world: World, paper: PaperLedger) -> None:
    """By the directory in force. SPEC 12.2.5."""
    paper.admit(world.with_feed("convoys", members=("cn-liaison", "pk-site-security")).publication())
    assert paper.refusal(world.bulletin()) == (5, "feed-not-joined")


def _without_roles(world: World) -> Submission:
    return world.with_agency("cn-embassy", roles=("publish",)).publication()


def _out_of_the_feed(world: World) -> Submission:
    return world.with_feed("convoys", members=("pk-liaison", "cn-liaison")).publication()


@pytest.mark.parametrize(
    "change, under, reason",
    [
        (lambda world: world.without_agency("cn-embassy").publication(), label("Restricted"), "agency-unknown"),
        (lambda world: world.suspension("cn-embassy"), label("Restricted"), "agency-suspended"),
        (_out_of_the_feed, label("Restricted"), "feed-not-joined"),
        (_without_roles, label("Restricted"), "role-missing"),
        (None, label("Secret"), "clearance-too-low"),
        (None, label("Restricted", "PK", "CONVOY"), "compartment-missing"),
        (None, Label("PK", "Restricted", (), ("PK",)), "not-releasable"),
    ],
)
def test_5_every_recipient_may_read_it(
    world: World, paper: PaperLedger, change: Callable[[World], Submission] | None, under: Label, reason: str
) -> None:
    """One that may not keeps it out, by name and with the reason. SPEC 12.2.5."""
    if change is not None:
        paper.admit(change(world))
    submission = world.bulletin(to=["cn-embassy", "cn-liaison"], label=under, suite=2)
    verdict = paper.judge(submission)
    assert isinstance(verdict, Refused)
    assert (verdict.step, verdict.code) == (5, "recipient-denied")
    assert "cn-embassy" in verdict.names
    header = Bulletin.decode(submission.statement).header
    assert why_not_recipient(paper.exchange, header, "cn-embassy") == reason


# Step (6): wraps


@pytest.mark.parametrize("spoil", ["missing", "more", "swapped", "own missing", "another key"])
def test_6_one_wrap_for_each_seat_in_order(world: World, paper: PaperLedger, spoil: str) -> None:
    """cn-liaison's two seats, then the sender's own two; not one fewer, not one more, in no other order.

    SPEC 12.2.6.
    """
    seats = world.seats(world.header())
    assert len(seats) == 4
    spoilt = {
        "missing": seats[1:],
        "more": [*seats, SealTo("cn-embassy", kem_key("cn-embassy/desk/1"), 0)],
        "swapped": [seats[1], seats[0], *seats[2:]],
        "own missing": seats[:2],
        "another key": [SealTo("cn-liaison", kem_key("cn-liaison/desk/2"), 0), *seats[1:]],
    }[spoil]
    assert paper.refusal(world.bulletin(seats=spoilt)) == (6, "stale-keys")
    assert paper.refusal(world.bulletin(seats=seats)) is None


def test_6_a_revoked_seat_gets_no_wrap(world: World, paper: PaperLedger) -> None:
    """The same bulletin without it stands. SPEC 12.2.6."""
    paper.admit(world.revocation("cn-liaison/desk"))
    assert paper.refusal(world.bulletin()) == (6, "stale-keys")
    assert paper.refusal(world.bulletin(seats=world.seats(world.header())[1:])) is None


def test_6_someone_must_be_able_to_read_it(world: World, paper: PaperLedger) -> None:
    """An agency all of whose seats are revoked has nothing to seal to; the newest bundle is then one that has.

    SPEC 12.2.6.
    """
    paper.admit(world.revocation("cn-embassy/desk"))
    submission = world.bulletin(to=["cn-embassy", "cn-liaison"])
    stripped = [
        seat for seat in world.seats(world.header(to=["cn-embassy", "cn-liaison"])) if seat.agency[:4] != "cn-e"
    ]
    for sealed in (submission, world.bulletin(to=["cn-embassy", "cn-liaison"], seats=stripped)):
        verdict = paper.judge(sealed)
        assert isinstance(verdict, Refused)
        assert (verdict.step, verdict.code, verdict.names) == (6, "stale-keys", ("cn-embassy",))
    assert paper.exchange.newest_bundle("cn-embassy", NOW) is None


def test_6_the_bundles_named_run(world: World, paper: PaperLedger) -> None:
    """Any that has started and not ended, not only the newest; an unknown one never. SPEC 12.2.6, 12.3.1."""
    renewed = world.with_bundle("cn-liaison", ["desk", "duty"])
    paper.admit(renewed.key_bundle("cn-liaison"))
    start, end = NOW + 7 * DAY_MS, NOW + BUNDLE_MS
    unknown = (Recipient("cn-liaison", ALTERED),)
    assert paper.refusal(world.bulletin(recipients=unknown)) == (6, "stale-keys")
    assert paper.refusal(world.bulletin(own_bundle=ALTERED)) == (6, "stale-keys")
    assert paper.refusal(renewed.bulletin(expires=start + 1), start - 1) == (6, "stale-keys")
    assert paper.refusal(renewed.bulletin(expires=start + 1), start) is None
    sender = world.with_bundle("pk-liaison", ["desk"])
    paper.admit(sender.key_bundle("pk-liaison"))
    both = replace(sender, bundles={**sender.bundles, "cn-liaison": renewed.bundles["cn-liaison"]})
    assert paper.refusal(sender.bulletin(created=end - 1), end - 1) is None
    assert paper.refusal(sender.bulletin(created=end - 1), end) == (6, "stale-keys")
    assert paper.refusal(both.bulletin(created=end - 1), end) is None


def test_6_a_bundle_is_its_own_agencys(world: World, paper: PaperLedger) -> None:
    """Another agency's cannot be named in its place. SPEC 12.2.6."""
    other = (Recipient("cn-liaison", digest_of(world.bundles["cn-embassy"])),)
    assert paper.refusal(world.bulletin(recipients=other)) == (6, "stale-keys")


# Step (8): signatures; (7) is in test_judge_relations.py


@pytest.mark.parametrize("suite", [1, 2])
def test_8_the_signature_is_over_these_bytes(world: World, paper: PaperLedger, suite: int) -> None:
    """Not over another bulletin of the same seat. SPEC 12.2.8."""
    submission, other = world.bulletin(suite=suite), world.bulletin(suite=suite)
    assert paper.refusal(replace(submission, signatures=other.signatures)) == (8, "bad-signature")


def test_8_both_halves_of_suite_2_and_only_one_of_suite_1(world: World, paper: PaperLedger) -> None:
    """None stripped, none added, none of them someone else's. SPEC 12.2.8."""
    strong, weak = world.bulletin(suite=2), world.bulletin(suite=1)
    (signature,) = decode_signatures(strong.signatures)
    (foreign,) = decode_signatures(_resigned(strong, "pk-liaison/duty", suite=2).signatures)
    assert paper.refusal(_resigned(strong, "pk-liaison/desk", suite=1)) == (8, "bad-signature")
    assert paper.refusal(_resigned(weak, "pk-liaison/desk", suite=2)) == (8, "bad-signature")
    for spoilt in (replace(signature, mldsa65=foreign.mldsa65), replace(signature, ed25519=foreign.ed25519)):
        forged = replace(strong, signatures=encode_signatures((spoilt,)))
        assert paper.refusal(forged) == (8, "bad-signature")


def test_8_a_signature_of_one_kind_is_none_of_another(world: World, paper: PaperLedger) -> None:
    """Each kind is signed under a domain of its own. SPEC 12.2.8."""
    submission = world.bulletin()
    made = signing_key("pk-liaison/desk").sign_statement(Kind.ACKNOWLEDGEMENT, submission.statement, 1)
    assert paper.refusal(replace(submission, signatures=encode_signatures((made,)))) == (8, "bad-signature")


def test_8_wraps_and_body_are_signed(world: World, paper: PaperLedger) -> None:
    """Moving either under this header breaks the signature. SPEC 12.2.8."""
    submission = world.bulletin()
    bulletin = Bulletin.decode(submission.statement)
    moved = replace(bulletin, body=hashlib.sha256(b"another").digest())
    assert paper.refusal(replace(submission, statement=moved.encode())) == (8, "bad-signature")
    wrap = replace(bulletin.wraps[0], hash=ALTERED)
    moved = replace(bulletin, wraps=(wrap, *bulletin.wraps[1:]))
    assert paper.refusal(replace(submission, statement=moved.encode())) == (8, "bad-signature")
    assert paper.refusal(signed(moved, "pk-liaison/desk", suite=1)) is None  # its hashes are for whoever holds them
