"""A node killed at any instant: nothing that had a receipt is missing, and the next checkpoint extends the last.

The node is a real process, killed with SIGKILL while posts are unanswered. What it promised is kept here, by those who
posted: their list of receipts is the oracle.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import aiohttp
import pytest

from keys.lognote import open_checkpoint
from keys.signing import SignatureCheck
from protocol import merkle
from protocol.checkpoint import Checkpoint
from protocol.entry import Entry, Submission
from protocol.limits import BATCH_SUBMISSIONS_MAX
from protocol.merkle import Frontier
from protocol.policy import Policy
from protocol.treehead import Receipt
from tests.support.caller import Caller
from tests.support.checks import check_ledger
from tests.support.live import now_ms, world_of_today
from tests.support.process import NodeProcess, make_home
from tests.support.world import World, node_keys

WORKERS = 6
LAST_STRAW = BATCH_SUBMISSIONS_MAX  # what is sent at once just before the kill
ENDLESS = Policy(attempts_per_minute=10**9, bulletins_per_hour=10**9)


class Oracle:
    """What those who post hold of a node's promises."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.held: dict[int, tuple[Submission, Receipt]] = {}  # by index
        self.unanswered: list[Submission] = []
        self.sealed: list[Submission] = []  # and never sent
        self.checkpoint: Checkpoint | None = None  # the newest seen
        self.leaves: list[bytes] = []  # of every entry fetched so far
        self._frontier = Frontier()
        self._roots = [self._frontier.root()]

    def seal(self, count: int) -> list[Submission]:
        """So many bulletins that nobody has seen yet."""
        self.sealed += [self.world.bulletin(created=now_ms()) for _ in range(count - len(self.sealed))]
        taken, self.sealed = self.sealed[:count], self.sealed[count:]
        return taken

    def take(self, submission: Submission, receipt: Receipt) -> None:
        """Keep a receipt that holds: its path leads to a head that the node has signed."""
        entry = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
        receipt.leaf_of(entry)
        assert receipt.head.exchange == self.world.pin
        assert receipt.head.signature is not None
        SignatureCheck(node_keys("PK").receipt.public, receipt.head.message(), receipt.head.signature, 1).verify()
        before = self.held.setdefault(receipt.index, (submission, receipt))
        assert before[0].statement == submission.statement, "two statements have a receipt for one index"

    def see(self, note: str) -> Checkpoint:
        """A checkpoint, signed by both keys of the log, which is no smaller than the last."""
        checkpoint = open_checkpoint(note, node_keys("PK").log.vkeys()).checkpoint
        if self.checkpoint is not None:
            assert checkpoint.size >= self.checkpoint.size
        self.checkpoint = checkpoint
        return checkpoint

    def extend(self, entries: list[bytes]) -> None:
        """What the node has now beyond what it had; the tree is derived here."""
        for data in entries:
            leaf = merkle.leaf_hash(data)
            self.leaves.append(leaf)
            self._frontier.append(leaf)
            self._roots.append(self._frontier.root())

    def check(self, since: int) -> None:
        """Each receipt from index ``since`` on: its entry stands there, and its head is a state of this very tree."""
        for index in sorted(index for index in self.held if index >= since):
            submission, receipt = self.held[index]
            assert index < len(self.leaves), f"entry {index} had a receipt and is missing"
            entry = Entry(submission.kind, submission.statement, submission.signatures, receipt.time, receipt.link)
            assert self.leaves[index] == receipt.leaf_of(entry), f"entry {index} is another one than its receipt says"
            assert receipt.head.size <= len(self.leaves)
            assert self._roots[receipt.head.size] == receipt.head.root

    def check_checkpoint(self, checkpoint: Checkpoint) -> None:
        """It is over a state of this tree."""
        assert checkpoint.root == self._roots[checkpoint.size]


async def _one(caller: Caller, oracle: Oracle, batch: list[Submission]) -> int:
    """How many of a batch were answered: all or, when the node is killed, none."""
    try:
        answers = await caller.post(*batch)
    except (aiohttp.ClientError, OSError):
        oracle.unanswered += batch
        return 0
    for submission, answer in zip(batch, answers, strict=True):
        assert isinstance(answer, Receipt), answer
        oracle.take(submission, answer)
    return len(batch)


async def _load_and_kill(node: NodeProcess, caller: Caller, oracle: Oracle, dice: random.Random) -> None:
    """Post from all sides, kill somewhere in the middle; ``oracle`` knows what has no answer then."""
    killed, enough = asyncio.Event(), asyncio.Event()
    answered = 0
    wanted = dice.randrange(4, 20)
    last, supply = oracle.seal(LAST_STRAW), oracle.seal(2 * wanted)

    async def work() -> None:
        nonlocal answered
        while supply and not killed.is_set():
            batch = [supply.pop() for _ in range(min(len(supply), dice.randrange(1, 4)))]
            taken = await _one(caller, oracle, batch)
            answered += taken
            if answered >= wanted:
                enough.set()

    async def kill() -> None:
        await enough.wait()
        straw = asyncio.create_task(_one(caller, oracle, last))
        await asyncio.sleep(dice.choice([0.0, 0.001, 0.002, 0.003]))  # when it falls is what is drawn here
        node.kill()
        killed.set()
        await straw

    async with asyncio.timeout(120):
        await asyncio.gather(kill(), *(work() for _ in range(WORKERS)))
    oracle.sealed += supply
    assert answered >= wanted


async def check_what_is_there(node: NodeProcess, oracle: Oracle) -> None:
    """Right after a start: receipts, checkpoint and consistency, all fetched again."""
    known, seen = len(oracle.leaves), oracle.checkpoint
    async with Caller(node.url, oracle.world, "pk-auditor/desk") as auditor:
        checkpoint = oracle.see((await auditor.ask("GET", "/checkpoint")).data.decode())
        await auditor.log_in()
        oracle.extend(await auditor.entries(known))
        oracle.check(known)
        oracle.check_checkpoint(checkpoint)
        assert len(oracle.leaves) == checkpoint.size, "the first thing that a node does is to sign what it has"
        if seen is not None and seen.size < checkpoint.size:
            part = await auditor.page(checkpoint.size, seen.size)
            joint = next(joint for joint in part.consistencies if joint.old == seen.size)
            assert joint.new == checkpoint.size
            merkle.verify_consistency(joint.old, joint.new, list(joint.path), seen.root, checkpoint.root)


async def _kill_often(folder: Path, times: int) -> None:
    world = world_of_today(policy=ENDLESS)
    oracle, dice = Oracle(world), random.Random(times)
    async with NodeProcess(make_home(folder / "node", world)) as node:
        kills = 0
        while kills < times:
            async with Caller(node.url, world) as caller:
                await caller.log_in()
                await _load_and_kill(node, caller, oracle, dice)
                await node.start()
                await check_what_is_there(node, oracle)
                await caller.log_in()
                again, oracle.unanswered = oracle.unanswered, []
                kills += bool(again)  # one that fell behind every answer counts for nothing
                for at in range(0, len(again), LAST_STRAW):  # they go again, and stand once
                    batch = again[at : at + LAST_STRAW]
                    assert await _one(caller, oracle, batch) == len(batch)
        assert await node.stop() == 0
        await node.start()
        await check_what_is_there(node, oracle)
        oracle.check(0)
        assert await node.stop() == 0
    report = check_ledger(node.home / "ledger.db", world, now=now_ms())
    assert report.entries == len(oracle.leaves)
    sent = {submission.statement for submission, _ in oracle.held.values()}
    assert len(oracle.held) == len(sent) == report.entries - len(world.founding())


async def test_nothing_receipted_is_lost_in_twenty_kills(tmp_path: Path) -> None:
    await _kill_often(tmp_path, 20)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_nothing_receipted_is_lost_in_five_hundred_kills(tmp_path: Path) -> None:
    assert os.environ.get("KHUNJERAB_SOAK") == "1", "make soak"
    await _kill_often(tmp_path, 500)
