"""Whatever a node's ledger admits a reader accepts at every index; whatever it refuses changes nothing.

A story is drawn from one number: agencies, custodians, thieves and clocks act on PK's ledger, most of them as they
should. The number of a story that fails tells it again.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from broker.ledger import Ledger, Replayed
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.judge import Refused
from keys.replay import Replay
from keys.sealing import SealTo, seal
from keys.signing import verify_all
from protocol.entry import Entry, Submission
from protocol.header import RELATIONS, Relation
from protocol.statements import AcknowledgementLine, Bulletin, Kind
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.world import CONTENT, NOW, ORIGINS, World, admit, digest_of, label, open_ledger, signed, signing_key

AGENCIES = ("pk-liaison", "pk-site-security", "cn-liaison", "cn-embassy")
SEATS = ("desk", "duty", "attic")
SEEDS, STEPS = 8, 80


class Story:
    """PK's ledger, at which everyone is at home, and a reader that follows it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.dice, self.now = folder, random.Random(seed), NOW
        at_home = tuple(replace(agency, home=ORIGINS["PK"]) for agency in World.found().directory.agencies)
        self.worlds = [World.found(agencies=at_home)]  # with all directories that stand, the newest last
        self.ledger: Ledger = open_ledger(folder, self.worlds[0])
        self.posted = self.worlds[0].founding()
        self.suspended: list[tuple[str, bytes]] = []
        self.verdicts: Counter[str] = Counter()
        self.begin_reading()

    @property
    def world(self) -> World:
        """The newest of everything."""
        return self.worlds[-1]

    def begin_reading(self) -> None:
        """Someone who has seen nothing yet."""
        self.replay, self.lookup = Replay(Exchange(self.ledger.origin, self.ledger.pin)), Replayed(self.ledger.storage)
        self.read = 0

    def check_reader(self) -> None:
        """Every entry is accepted, and leads to the ledger's own state."""
        for index, data in self.ledger.entries(self.read, self.ledger.tree.size):
            self.lookup.index = index
            step = self.replay.step(index, data, self.lookup)
            assert not step.faults
            verify_all(step.owed)
        self.read = self.ledger.tree.size
        assert self.replay.exchange == self.ledger.exchange
        assert (self.replay.link, self.replay.time) == (self.ledger.link, self.ledger.time)

    def post(self, submission: Submission) -> bool:
        """Whether it stands now. The verdict is the same twice, and a refusal leaves no trace."""
        before, verdict = self.state(), self.verdict(submission)
        assert self.verdict(submission) == verdict
        self.posted.append(submission)
        try:
            admit(self.ledger, submission, self.now)
        except (Refused, BadSignature) as refusal:
            assert self.state() == before
            self.verdicts[refusal.code] += 1
            return False
        assert self.ledger.storage.size() == self.ledger.tree.size == before[0] + 1
        self.verdicts[submission.kind.word] += 1
        return True

    def state(self) -> tuple[Any, ...]:
        ledger = self.ledger
        return ledger.tree.size, ledger.storage.size(), ledger.exchange, ledger.link, ledger.time, ledger.head

    def verdict(self, submission: Submission) -> object:
        try:
            return self.ledger.stage(submission, self.now).accepted
        except Refused as refused:
            return refused.step, refused.code, refused.detail, refused.index, refused.names

    # What happens

    def act(self) -> None:
        often = [self.bulletin] * 6 + [self.acknowledgement, self.key_bundle, self.time_passes] * 2
        self.dice.choice(
            [
                *often,
                self.revocation,
                self.suspension,
                self.lifting,
                self.directory,
                self.again,
                self.damaged,
                self.reopen,
            ]
        )()

    def time_passes(self) -> None:
        self.now += self.dice.choice([0, 1, 60_000, DAY_MS, DAY_MS, 5 * DAY_MS, 33 * DAY_MS, -DAY_MS])

    def bulletin(self) -> None:
        """As a client would seal it: to the newest bundles, without the seats that are revoked."""
        exchange, dice = self.ledger.exchange, self.dice
        sender, *to = dice.sample(AGENCIES, dice.choice([2, 2, 3, 4]))
        held = {name: exchange.newest_bundle(name, max(self.now, self.ledger.time)) for name in [sender, *to]}
        bundles = {name: one.bundle for name, one in held.items() if one is not None}
        if sender not in bundles or len(bundles) == 1:
            return
        seats = {name: exchange.seats_of(one) for name, one in bundles.items()}
        nation, now = exchange.in_force.by_agency[sender].nation, max(self.now, self.ledger.time)
        levels = exchange.in_force.policy.equivalence.levels[nation]
        careless = dice.random() < 0.3
        header = replace(self.world, directory=exchange.in_force, bundles=bundles).header(
            sender,
            bundles.keys() - {sender},
            key_id=seats[sender][0].signing.key_id,
            label=label(dice.choice(levels if careless else levels[:2]), nation),
            feed=dice.choice(["convoys", "sites"]),
            suite=dice.choice([1, 2]) if careless else 2,
            created=now - (dice.choice([0, DAY_MS - 1, DAY_MS, -61_000]) if careless else 0),
            relations=tuple(self.relation() for _ in range(dice.choice([0, 0, 0, 1, 2]))),
        )
        wraps = [SealTo(one.agency, seat.kem, 0) for one in header.addressees for seat in seats[one.agency]]
        self.post(seal(header, CONTENT, wraps, signing_key(f"{sender}/{seats[sender][0].name}")))

    def relation(self) -> Relation:
        """To a bulletin if there is one, sometimes to any entry, here or elsewhere."""
        bulletins = [
            index
            for index, data in self.ledger.entries(0, self.ledger.tree.size)
            if Entry.decode(data).kind is Kind.BULLETIN
        ]
        index = self.dice.choice(bulletins if bulletins and self.dice.random() < 0.9 else range(self.ledger.tree.size))
        origin = self.dice.choice([self.ledger.origin] * 3 + [ORIGINS["CN"]])
        return Relation(self.dice.choice(RELATIONS), origin, index, self.entry(index).leaf())

    def entry(self, index: int) -> Entry:
        entry = self.ledger.storage.entry(index)
        assert entry is not None
        return entry

    def acknowledgement(self) -> None:
        """Mostly by a recipient to the sender."""
        at, (sender, to) = self.relation(), self.dice.sample(AGENCIES, 2)
        if self.entry(at.index).kind is Kind.BULLETIN and self.dice.random() < 0.8:
            header = Bulletin.decode(self.entry(at.index).statement).header
            sender, to = self.dice.choice(header.recipients).agency, header.sender
        held = self.ledger.exchange.newest_bundle(sender, max(self.now, self.ledger.time))
        if held is None:
            return
        seat = self.ledger.exchange.seats_of(held.bundle)[0]
        line = AcknowledgementLine(at.origin, at.index, at.leaf, "read", self.now)
        world = replace(self.world, directory=self.ledger.exchange.in_force)
        fields: dict[str, Any] = {"created": self.now, "key_id": seat.signing.key_id}
        self.post(world.acknowledgement(sender, to, [line], f"{sender}/{seat.name}", **fields))

    def key_bundle(self) -> None:
        """The next of a chain, under either identity key, now or in a week."""
        name, dice = dice_name(self.dice), self.dice
        starts = max(self.now, self.world.bundles[name].starts) + dice.choice([0, 0, 7 * DAY_MS])
        following = self.world.with_bundle(name, dice.sample(SEATS, dice.choice([1, 2, 3])), starts=starts)
        identity = dice.choice(["identity", "identity", "identity", "identity-2"])
        held = replace(following.bundles[name], identity=signing_key(f"{name}/{identity}").public.key_id)
        if self.post(signed(held, f"{name}/{identity}")):
            self.worlds[-1] = replace(following, bundles={**following.bundles, name: held})

    def revocation(self) -> None:
        """Of a seat by its agency or its nation, seldom of the identity key."""
        name, key = dice_name(self.dice), self.dice.choice([*SEATS * 5, "identity"])
        custodians = (f"{name[:2]}-custodian-1", f"{name[:2]}-custodian-2")
        self.post(self.world.revocation(f"{name}/{key}", by=self.dice.choice([(), custodians]), created=self.now))

    def suspension(self) -> None:
        """Of any agency; mostly it is lifted at once, sometimes before."""
        name = dice_name(self.dice)
        submission = self.world.suspension(name, created=self.now)
        self.suspended.append((name, digest_of(submission)))
        if self.dice.random() < 0.2:
            self.lifting()
        self.post(submission)
        if self.dice.random() < 0.7:
            self.lifting()

    def lifting(self) -> None:
        """Also of what is not suspended, or by naming another agency's suspension."""
        for name, digest in self.suspended[-4:]:
            agency = self.dice.choice([name] * 9 + [dice_name(self.dice)])
            self.post(self.world.suspension(agency, lifts=digest, created=self.now))

    def directory(self) -> None:
        """The next version, or a sibling of an older one: an agency goes, comes back, moves, changes key or role."""
        basis = replace(self.dice.choice([*self.worlds[-3:], self.world, self.world]), bundles=self.world.bundles)
        name, first = dice_name(self.dice), self.worlds[0].directory
        change = self.dice.choice(["gone", "home", "identity", "roles", *["as at first"] * 4])
        if change == "as at first" or name not in basis.directory.by_agency:
            following = basis.with_directory(agencies=first.agencies, feeds=first.feeds, expires=first.expires + DAY_MS)
        elif change == "gone":
            following = basis.without_agency(name)
        else:
            new = {"home": ORIGINS["CN"], "identity": signing_key(f"{name}/identity-2").public, "roles": ("publish",)}
            following = basis.with_agency(name, **{change: new[change]})
        if self.post(following.publication()):
            self.worlds.append(following)

    def again(self) -> None:
        """What was posted before, admitted or not."""
        self.post(self.dice.choice(self.posted))

    def damaged(self) -> None:
        """What was posted before, one bit of it changed."""
        submission, part = self.dice.choice(self.posted), self.dice.choice(["statement", "signatures"])
        data = bytearray(getattr(submission, part))
        data[self.dice.randrange(len(data))] ^= 1 << self.dice.randrange(8)
        spoilt: dict[str, Any] = {part: bytes(data)}
        assert not self.post(replace(submission, **spoilt))

    def reopen(self) -> None:
        """A restart folds the same state from the file, and someone new reads it all."""
        before = self.state()
        self.ledger.storage.close()
        self.ledger = open_ledger(self.folder, self.worlds[0])
        assert self.state() == before
        self.begin_reading()


def dice_name(dice: random.Random) -> str:
    """Any agency."""
    return dice.choice(AGENCIES)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_admitted_is_accepted_by_every_reader(tmp_path: Path, seed: int) -> None:
    """A ledger that a node built, replayed, is accepted at every index."""
    story = Story(tmp_path, seed)
    for _ in range(STEPS):
        story.act()
        story.check_reader()
    story.reopen()
    story.check_reader()
    story.ledger.storage.close()
    assert {"bulletin", "key-bundle", "directory"} <= story.verdicts.keys(), "the story has no middle"
