"""Ports of nodes that are started as processes: free when found, and still free when bound."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from khunjerab.demo.ports import PORTS, below_outgoing, free_port


def test_no_port_is_given_twice_and_one_that_is_taken_is_passed_over() -> None:
    """A port that was given may not be bound yet."""
    first = free_port()
    with contextlib.closing(socket.socket()) as taken:
        with contextlib.suppress(OSError):  # somebody else has it: as good
            taken.bind(("127.0.0.1", first + 1))
        assert free_port() not in (first, first + 1)


def test_no_outgoing_connection_takes_a_port_between_finding_and_binding() -> None:
    """The kernel gives those ports to nobody who does not ask for one by number, as far as it leaves any."""
    for first in (15_000, 16_000, 32_768, 49_152):
        assert below_outgoing(first).stop <= first
        assert len(below_outgoing(first)) >= 2_000
    assert len(below_outgoing(1024)) >= 2_000, "any is better than none"
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert below_outgoing(first) == PORTS
    assert first < PORTS.stop or not set(PORTS) & set(range(first, last + 1))
