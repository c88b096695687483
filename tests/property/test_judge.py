"""Whatever canonical bytes come, the judge answers with a verdict and a code that nodes can tell, never an error."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from keys.judge import Accepted, Refused
from protocol.entry import Submission
from protocol.problem import CODES
from protocol.times import DAY_MS
from tests.support.paper import PaperLedger
from tests.support.world import NOW, ORIGINS, World, label

ROUNDS = 400
ANYTHING: tuple[Any, ...] = (
    *(0, 1, 2, 3, 255, 2**53 - 1, -1, NOW, NOW + DAY_MS),
    *("", "x", "pk-liaison", "cn-liaison", "nobody", "convoys", "PK", "CN", ORIGINS["PK"], ORIGINS["CN"], "Secret"),
    *(b"", bytes(16), bytes(32), b"\xff" * 32, None, True, [], [[]], [b""], [1, "x", b"x"]),
)


def _spoil(value: Any, dice: random.Random) -> Any:
    """One place of it, changed: replaced, left out, doubled, or moved."""
    if not isinstance(value, list) or not value or dice.random() < 0.1:
        return dice.choice(ANYTHING)
    at = dice.randrange(len(value))
    way = dice.random()
    if way < 0.7:
        return [*value[:at], _spoil(value[at], dice), *value[at + 1 :]]
    if way < 0.8:
        return [*value[:at], *value[at + 1 :]]
    if way < 0.9:
        return [*value, value[at]]
    return dice.sample(value, len(value))


def _submissions(world: World, paper: PaperLedger) -> list[Submission]:
    """One of each kind and shape, all of which could stand."""
    first = paper.admit(world.bulletin(feed="sites", to=["pk-site-security"]))
    related = tuple(paper.relation(kind, first) for kind in ("supersedes", "replies"))
    good = [
        world.bulletin(to=["cn-liaison", "pk-site-security"], relations=related, label=label("Restricted")),
        world.acknowledgement("pk-site-security", "pk-liaison", [paper.line(first), paper.line(first, "read")]),
        world.with_agency("cn-embassy", roles=("publish",)).publication(),
        world.with_bundle("pk-liaison", ["desk", "duty"]).key_bundle("pk-liaison"),
        world.revocation("pk-liaison/desk", "pk-liaison/duty"),
        world.suspension("cn-liaison"),
        world.suspension("cn-liaison", lifts=bytes(32)),
    ]
    assert [paper.refusal(submission) for submission in good] == [None] * len(good)
    return good


@pytest.mark.parametrize("seed", range(4))
def test_the_judge_always_answers(seed: int) -> None:
    """Statements and signatures spoilt in their structure, not only in their bytes."""
    world, dice = World.found(), random.Random(seed)
    paper = PaperLedger(world)
    good, codes = _submissions(world, paper), set[str]()
    for _ in range(ROUNDS):
        submission = dice.choice(good)
        statement, signatures = (msgpack.unpackb(data) for data in (submission.statement, submission.signatures))
        inner = submission.kind == 1 and dice.random() < 0.8
        if inner:
            statement[0] = msgpack.packb(_spoil(msgpack.unpackb(statement[0]), dice))
        elif dice.random() < 0.8:
            statement = _spoil(statement, dice)
        else:
            signatures = _spoil(signatures, dice)
        spoilt = Submission(
            submission.kind, msgpack.packb(statement), msgpack.packb(signatures), submission.wraps, submission.body
        )
        verdict = paper.judge(spoilt, NOW + dice.choice([0, DAY_MS, 500 * DAY_MS]))
        assert isinstance(verdict, Accepted | Refused)
        if isinstance(verdict, Refused):
            assert verdict.code in CODES
            assert 1 <= verdict.step <= 8
            codes.add(verdict.code)
    assert len(codes) >= 10
