"""``python -m bench [--full]``: every figure beside a floor or a peer of the same run.

The table goes to the screen; ``bench/results/`` gets it as JSON, with what it ran on, and three plots.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.admission import admission
from bench.audit import audit
from bench.beside import beside
from bench.connections import accepted
from bench.environment import environment
from bench.fanout import fanout
from bench.pair import pair
from bench.plots import distribution, plot
from bench.prompt import prompt
from bench.publishing import publishing
from bench.size import size
from bench.table import Figure, print_table
from bench.tree import tree

RESULTS = Path(__file__).parent / "results"


class Plan(NamedTuple):
    """How much of everything: five rounds at least, the rest by how long one may wait."""

    rounds: int
    posts: int  # a round of single posts, of batches, and of what is published alone
    carried: int  # end to end
    fanned: int  # to a thousand connections
    audited: int
    mirrored: int  # caught up with by another node
    large: int  # the large ledger
    largest: int  # the largest


QUICK = Plan(
    rounds=5, posts=1200, carried=600, fanned=64, audited=10_000, mirrored=3_000, large=100_000, largest=100_000
)
FULL = Plan(
    rounds=7, posts=4000, carried=4000, fanned=256, audited=20_000, mirrored=100_000, large=10**6, largest=10**7
)


@dataclass
class Bench:
    """Runs scenario after scenario; what one came to is there even if the next fails."""

    plan: Plan
    figures: list[Figure] = field(default_factory=list)

    def run(self) -> None:
        """All of it: some five minutes of processor time for QUICK."""
        plan, rounds = self.plan, self.plan.rounds
        for suite in (1, 2):
            self._in_suite(suite, "single posts and batches", lambda s: admission(s, rounds, plan.posts))
            self._in_suite(suite, "end to end", self._beside)
            self._in_suite(suite, "publishing", lambda s: publishing(s, rounds, plan.posts // s))
            self._in_suite(suite, "fan-out", lambda s: fanout(s, rounds, plan.fanned))
            self._in_suite(suite, "audit", lambda s: audit(s, rounds, plan.audited // s))
        self._told("two nodes", lambda: pair(rounds, plan.carried // 2, plan.mirrored))
        self._told("tree", lambda: tree(rounds, plan.audited))
        self._told("size of the ledger", self._size)
        self._told("commands at a prompt", lambda: prompt(rounds))
        self._told("connections", self._connections)

    def _told(self, name: str, scenario: Callable[[], list[Figure]]) -> None:
        began = time.monotonic()
        self.figures += scenario()
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)

    def _in_suite(self, suite: int, name: str, scenario: Callable[[int], list[Figure]]) -> None:
        """Suite 2 reports the same rows, of half as much where sealing takes long, and owes nothing."""
        self._told(
            f"{name}, suite {suite}",
            lambda: [one if suite == 1 else one.only_told() for one in scenario(suite)],
        )

    def _beside(self, suite: int) -> list[Figure]:
        figures, runs = beside(suite, self.plan.rounds, self.plan.carried // suite)
        if suite == 1:
            plot(
                RESULTS / "latency.svg", "From sealed to opened, 64 in flight", "milliseconds", "share",
                {name: distribution([one for run in of for one in run.latencies]) for name, of in runs.items()},
            )  # fmt: skip
        return figures

    def _size(self) -> list[Figure]:
        figures, costs = size(self.plan.rounds, self.plan.large, self.plan.largest, groups=8, posts=self.plan.posts)
        line = [(float(size), statistics.median(cost) * 1e6) for size, cost in costs.items()]
        plot(
            RESULTS / "size.svg",
            "Cost an entry, without its signature check",
            "entries before it",
            "µs",
            {"khunjerab": line},
        )
        return figures

    def _connections(self) -> list[Figure]:
        runs = accepted(self.plan.rounds, self.plan.posts // 4)
        line = [(float(number), statistics.median(run.rate for run in of)) for number, of in runs.items()]
        plot(
            RESULTS / "connections.svg",
            "Single posts, suite 1, four wraps",
            "connections",
            "posts/s",
            {"khunjerab": line},
        )
        return [
            Figure(f"single POST, suite 1, connections: {number}", [run.rate for run in of], unit="/s")
            for number, of in runs.items()
        ]


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="Longer runs, and ledgers of a million entries and of ten: 70 GB."
    )
    plan = FULL if parser.parse_args().full else QUICK
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a thousand connections at both ends
    RESULTS.mkdir(exist_ok=True)
    bench, before = Bench(plan), environment()
    try:
        bench.run()
    finally:
        print_table(bench.figures)
        ran_on = {"before": before, "load after": environment()["load"]}
        result = {"environment": ran_on, "plan": plan._asdict(), "figures": [one.to_json() for one in bench.figures]}
        (RESULTS / "bench.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")


main()
