"""What a node counts, as Prometheus metrics; docs/operating.md says what each is for.

Counters are kept as things happen; everything that the node knows anyway is read when somebody asks.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from protocol.times import DAY_MS

if TYPE_CHECKING:
    from broker.node import Node
    from broker.witness.asking import Asking
    from broker.witness.witness import Witness

_APPEND_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """One node's counters, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.receipts = Counter("khunjerab_receipts", "Receipts given.", registry=self.registry)
        self.refusals = Counter("khunjerab_refusals", "Refusals, by code.", ["code"], registry=self.registry)
        self.entries_sent = Counter("khunjerab_entries_sent", "Entries sent on streams.", registry=self.registry)
        self.append_seconds = Histogram(
            "khunjerab_append_seconds", "Durable appends.", registry=self.registry, buckets=_APPEND_BUCKETS
        )
        self.append_failures = Counter("khunjerab_append_failures", "Failed appends.", registry=self.registry)

    def watch(self, node: Node) -> None:
        """Read the rest from ``node`` whenever somebody asks."""
        self.registry.register(_State(node))


def hybrid_tls() -> bool:
    """Whether the key exchange of this host's TLS is post-quantum: OpenSSL has it from 3.5."""
    return ssl.OPENSSL_VERSION_INFO >= (3, 5)


def days_left(expires_ms: int, now_ms: int) -> float:
    """Until the directory ends; below 0 while its grace runs."""
    return (expires_ms - now_ms) / DAY_MS


class _State(Collector):
    """What a node is, at the moment."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """A gauge each."""
        node = self._node
        head, published, now = node.ledger.head, node.publisher.newest, node.clock()
        directory, grace_ends = node.ledger.exchange.in_force, node.ledger.exchange.grace_ends()
        gauges = {
            ("khunjerab_entries", "Entries in the ledger."): node.ledger.tree.size,
            ("khunjerab_head_size", "Size of the newest tree head."): head.size,
            ("khunjerab_ledger_bytes", "Bytes of the ledger's file."): node.storage.bytes_used(),
            ("khunjerab_checkpoint_size", "Size of the newest checkpoint."): published.size if published else 0,
            ("khunjerab_checkpoint_age_seconds", "Since the newest was signed."): node.publisher.age_s(now // 1000),
            ("khunjerab_not_signing", "1 where this node signs nothing."): node.standing.not_signing is not None,
            ("khunjerab_storage_failing", "1 where the last append failed."): node.writer.failure is not None,
            ("khunjerab_sessions", "Sessions open."): len(node.sessions),
            ("khunjerab_streams", "Streams open."): len(node.subscribers),
            ("khunjerab_submitters", "Streams of submissions open."): len(node.submitters),
            ("khunjerab_directory_version", "The directory in force."): directory.version,
            ("khunjerab_directory_days_left", "Until it ends."): days_left(directory.expires, now),
            ("khunjerab_grace_days_left", "Until no bulletin is admitted."): days_left(grace_ends, now),
            ("khunjerab_evidence", "Files of evidence against logs."): len(node.evidence.all()),
            ("khunjerab_tls_post_quantum", "1 where TLS is hybrid."): hybrid_tls(),
        }
        for (name, text), value in gauges.items():
            yield GaugeMetricFamily(name, text, value=float(value))
        yield from _peers(node)
        if node.witness is not None:
            yield from cosigning(node.witness)
        if node.asking is not None:
            yield from _cosigned(node.asking, now)


def _peers(node: Node) -> Iterator[Metric]:
    """What is mirrored here."""
    told = {
        "khunjerab_peer_connected": ("1 while its ledger is followed.", "connected"),
        "khunjerab_peer_entries": ("Entries mirrored.", "entries"),
        "khunjerab_peer_lag_entries": ("Entries that it has shown and that are not here yet.", "lag_entries"),
        "khunjerab_peer_lag_seconds": ("How old the newest entry here is, while any is missing.", "lag_s"),
        "khunjerab_peer_flagged": ("Its entries that break a rule.", "flagged"),
    }
    rows = node.peers.state()
    for name, (text, key) in told.items():
        family = GaugeMetricFamily(name, text, labels=["origin"])
        for row in rows:
            family.add_metric([row["origin"]], float(row[key]))
        yield family


def _cosigned(asking: Asking, now_ms: int) -> Iterator[Metric]:
    """What others do for this node."""
    sizes = GaugeMetricFamily("khunjerab_witness_cosigned_size", "Size that it cosigned last.", labels=["witness"])
    ages = GaugeMetricFamily("khunjerab_witness_cosigned_age_seconds", "Since then.", labels=["witness"])
    failures = CounterMetricFamily("khunjerab_witness_failures", "Times it was asked in vain.", labels=["witness"])
    for lane in asking.lanes:
        name = [lane.witness.name]
        sizes.add_metric(name, lane.size)
        ages.add_metric(name, (now_ms - lane.at_ms) / 1000 if lane.at_ms else -1)
        failures.add_metric(name, lane.failures)
    yield from (sizes, ages, failures)


def cosigning(witness: Witness) -> Iterator[Metric]:
    """What a node does for its peers, and a witness by itself for anybody."""
    answers = CounterMetricFamily("khunjerab_witness_answers", "To add-checkpoint, by status.", labels=["status"])
    for status, count in sorted(witness.answers.items()):
        answers.add_metric([str(status)], count)
    sizes = GaugeMetricFamily("khunjerab_witness_size", "Size of the newest checkpoint cosigned.", labels=["origin"])
    for kept in witness.store.all():
        sizes.add_metric([kept.origin], kept.size)
    yield from (answers, sizes)
