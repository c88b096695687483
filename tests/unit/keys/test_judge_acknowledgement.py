"""What keeps an acknowledgement out, by the numbers of keys/judge.py."""

from typing import Any

import pytest

from keys.judge import Refused
from protocol.policy import Policy
from protocol.signing import decode_signatures, encode_signatures
from protocol.statements import ACKNOWLEDGED, AcknowledgementLine
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.paper import PaperLedger
from tests.support.world import NOW, ORIGINS, World, signing_key

SKEW_MS = 60_000
ME, SENDER = "pk-site-security", "pk-liaison"
ELSEWHERE = AcknowledgementLine(ORIGINS["CN"], 1_000_000, bytes(32), "received", NOW)


@pytest.fixture
def had(world: World, paper: PaperLedger) -> int:
    """The bulletin that pk-liaison sent to pk-site-security, as it stands."""
    return paper.admit(world.bulletin(feed="sites", to=[ME]))


@pytest.mark.parametrize("state", ACKNOWLEDGED)
@pytest.mark.parametrize("suite", [1, 2])
def test_an_acknowledgement_stands(world: World, paper: PaperLedger, had: int, state: str, suite: int) -> None:
    """In either suite, in every state."""
    word = world.acknowledgement(ME, SENDER, [paper.line(had, state)], suite=suite)
    assert paper.refusal(word) is None


def test_1_only_canonical_bytes_are_judged(world: World, paper: PaperLedger) -> None:
    """A byte more is another form. SPEC 12.2.1."""
    word = world.acknowledgement(ME, SENDER, [ELSEWHERE])
    assert paper.refusal(replace(word, statement=word.statement + b"\0")) == (1, "malformed")


def test_2_it_stands_once(world: World, paper: PaperLedger) -> None:
    """The same bytes are told where they stand; the same lines said later are another statement. SPEC 12.2.2."""
    word = world.acknowledgement(ME, SENDER, [ELSEWHERE])
    index = paper.admit(word)
    verdict = paper.judge(word, NOW + DAY_MS)
    assert isinstance(verdict, Refused)
    assert (verdict.step, verdict.code, verdict.index) == (2, "seen-before", index)
    assert paper.refusal(world.acknowledgement(ME, SENDER, [ELSEWHERE], created=NOW + 1)) is None


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"exchange": bytes(32)}, "wrong-exchange"),
        ({"suite": 0}, "suite-unknown"),
        ({"suite": 3}, "suite-unknown"),
        ({"origin": ORIGINS["CN"]}, "wrong-origin"),
        ({"sender": "cn-liaison", "origin": ORIGINS["PK"]}, "not-home"),
        ({"created": NOW + SKEW_MS + 1}, "created-in-future"),
    ],
)
def test_3_where_and_when(world: World, paper: PaperLedger, changes: dict[str, Any], code: str) -> None:
    """Of this exchange and of the ledger that is the recipient's home. SPEC 12.2.3."""
    sender = changes.pop("sender", ME)
    assert paper.refusal(world.acknowledgement(sender, SENDER, [ELSEWHERE], **changes)) == (3, code)


def test_3_at_any_age(world: World, paper: PaperLedger) -> None:
    """It does not expire, and lives on when the directory and its grace have ended. SPEC 12.2.3."""
    assert paper.refusal(world.acknowledgement(ME, SENDER, [ELSEWHERE], created=0)) is None
    assert paper.refusal(world.acknowledgement(ME, SENDER, [ELSEWHERE], created=NOW + SKEW_MS)) is None
    ended = World.found(expires=NOW + 1000, policy=replace(Policy(), grace_days=0))
    assert PaperLedger(ended).refusal(ended.acknowledgement(ME, SENDER, [ELSEWHERE]), NOW + DAY_MS) is None


def test_4_a_seat_in_force_says_it(world: World, paper: PaperLedger) -> None:
    """Not another agency's, not a revoked one, not one of a suspended agency or of none. SPEC 12.2.4."""
    stranger = signing_key("cn-embassy/desk").public.key_id
    word = world.acknowledgement(ME, SENDER, [ELSEWHERE])
    assert paper.refusal(world.acknowledgement(ME, SENDER, [ELSEWHERE], "cn-embassy/desk", key_id=stranger)) == (
        4,
        "key-not-in-force",
    )
    for change, code in (
        (world.revocation(f"{ME}/desk"), "key-revoked"),
        (world.suspension(ME), "agency-suspended"),
        (world.without_agency(ME).publication(), "agency-unknown"),
        (world.with_agency(ME, roles=("publish",)).publication(), "role-missing"),
    ):
        later = paper.copy()
        later.admit(change)
        assert later.refusal(word) == (4, code)


def test_4_the_one_signature_is_of_the_key_named(world: World, paper: PaperLedger) -> None:
    """Not of another. SPEC 12.2.4."""
    word = world.acknowledgement(ME, SENDER, [ELSEWHERE], "pk-liaison/desk")
    assert paper.refusal(word) == (4, "wrong-signer")


def test_4_it_is_for_an_agency(world: World, paper: PaperLedger) -> None:
    """Of the directory in force, else it would wait for nobody. SPEC 12.2.4."""
    assert paper.refusal(world.acknowledgement(ME, "nobody", [ELSEWHERE])) == (4, "agency-unknown")
    paper.admit(world.suspension(SENDER))
    assert paper.refusal(world.acknowledgement(ME, SENDER, [ELSEWHERE])) is None


def test_7_each_line_is_about_what_was_sent(world: World, paper: PaperLedger, had: int) -> None:
    """By the one it is for, to the one who says it; also the last line. SPEC 12.2.7."""
    not_mine = paper.admit(world.bulletin(to=["cn-liaison"]))
    anothers = paper.admit(world.bulletin("pk-site-security", feed="sites", to=[SENDER]))
    good = paper.line(had)
    for line in (paper.line(not_mine), paper.line(anothers)):
        assert paper.refusal(world.acknowledgement(ME, SENDER, [good, line])) == (7, "not-yours")
    assert paper.refusal(world.acknowledgement(ME, "cn-liaison", [good])) == (7, "not-yours")
    assert paper.refusal(world.acknowledgement(SENDER, ME, [paper.line(anothers)])) is None


def test_7_nobody_acknowledges_to_itself(world: World, paper: PaperLedger) -> None:
    """An entry is for two agencies. SPEC 12.2.7."""
    assert paper.refusal(world.acknowledgement(ME, ME, [ELSEWHERE])) == (7, "not-yours")


def test_7_the_bulletin_stands_here(world: World, paper: PaperLedger, had: int) -> None:
    """At that index, with that hash; of another ledger's, and of one not sent to a client, the form alone is judged.

    SPEC 12.2.7.
    """
    line = paper.line(had)
    for wrong in (replace(line, leaf=bytes(32)), replace(line, index=had + 1), paper.line(0)):
        assert paper.refusal(world.acknowledgement(ME, SENDER, [wrong])) == (7, "target-unknown")
    assert paper.refusal(world.acknowledgement(ME, SENDER, [line, ELSEWHERE])) is None
    paper.hidden.add(had)
    assert paper.refusal(world.acknowledgement(ME, SENDER, [replace(line, leaf=bytes(32))])) is None


def test_8_the_signature_holds(world: World, paper: PaperLedger) -> None:
    """Over these bytes, in this suite. SPEC 12.2.8."""
    word = world.acknowledgement(ME, SENDER, [ELSEWHERE])
    other = world.acknowledgement(ME, SENDER, [ELSEWHERE], created=NOW + 1)
    assert paper.refusal(replace(word, signatures=other.signatures)) == (8, "bad-signature")
    strong = world.acknowledgement(ME, SENDER, [ELSEWHERE], suite=2)
    (signature,) = decode_signatures(strong.signatures)
    stripped = encode_signatures((replace(signature, mldsa65=None),))
    assert paper.refusal(replace(strong, signatures=stripped)) == (8, "bad-signature")


def test_it_changes_nothing(world: World, paper: PaperLedger, had: int) -> None:
    """The state after it is the state before it. SPEC 12.1.1."""
    before = paper.exchange
    paper.admit(world.acknowledgement(ME, SENDER, [paper.line(had)]))
    assert paper.exchange is before
