"""A witness by itself, as its operator watches it: metrics and state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from broker.metrics import cosigning
from broker.witness.logs import PolicyLogs
from broker.witness.witness import Witness


class WitnessAlone(Collector):
    """Ready as long as it can write what it cosigns."""

    def __init__(self, witness: Witness, logs: PolicyLogs) -> None:
        self.witness, self._logs = witness, logs
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The metrics of a witness, as a node has them."""
        return cosigning(self.witness)

    def state(self) -> dict[str, Any]:
        """What ``/readyz`` shows."""
        return {
            "ready": self.witness.failure is None,
            "storage": self.witness.failure,
            "logs": list(self._logs),
            "cosigned": [
                {"origin": kept.origin, "size": kept.size, "time": kept.time_s} for kept in self.witness.store.all()
            ],
        }
