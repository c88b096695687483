"""Sealed bulletins for the bench: made once, on both cores, with real keys."""

from __future__ import annotations

import multiprocessing
from typing import Any

from protocol.entry import Submission
from protocol.names import new_bulletin_id
from protocol.policy import Policy
from protocol.times import DAY_MS
from tests.support.live import now_ms, world_of_today
from tests.support.world import World, label, seed

PLENTY = 10**9


def bench_world() -> World:
    """An exchange whose quotas do not stand in the way."""
    return world_of_today(policy=Policy(attempts_per_minute=PLENTY, bulletins_per_hour=PLENTY))


def sealed(world: World, count: int, suite: int = 1) -> list[Submission]:
    """``count`` bulletins of ``pk-liaison`` to ``cn-liaison``; suite 2 under Secret."""
    context: Any = multiprocessing.get_context("fork")
    processes = 2
    with context.Pool(processes) as pool:
        parts = pool.starmap(_seal, [(world, (count + part) // processes, suite, part) for part in range(processes)])
    # ids in the order of the entries, as they come in life: a node's index of them stays flat
    return sorted((one for part in parts for one in part), key=lambda submission: submission.statement[:200])


def _seal(world: World, count: int, suite: int, part: int) -> list[Submission]:
    began = now_ms()
    marked = label("Secret" if suite == 2 else "Restricted")  # noqa: PLR2004 - the suites of SPEC §5.2
    return [
        world.bulletin(
            suite=suite,
            label=marked,
            created=began,
            expires=began + DAY_MS,
            id=new_bulletin_id(began + number, seed(f"bench/{began}/{part}/{number}", 10).reveal()),
        )
        for number in range(count)
    ]
