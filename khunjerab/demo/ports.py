"""Loopback ports that are free now, and still free when they are bound."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import closing
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST, _STOP, _ENOUGH = 10_000, 32_000, 2_000
_GOLDEN = 0.618033988749895  # so parts of a circle are far from each other, however many there are


def below_outgoing(first: int) -> range:
    """Ports below ``first``, from where on Linux gives them to outgoing connections: no such can take one first.

    Where that leaves too few, as somebody has set it, there is none to be had that is better than others.
    """
    stop = min(first, _STOP)
    return range(_FIRST, stop if stop - _FIRST >= _ENOUGH else _STOP)


def _first_outgoing() -> int:
    try:
        return int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _STOP


PORTS = below_outgoing(_first_outgoing())
# Processes that were started one after the other begin far apart.
_tried = itertools.count(int(os.getpid() * _GOLDEN % 1 * len(PORTS)))


def free_port() -> int:
    """A port that nobody listens on, other than those that this process was given before.

    Raises OSError where none is free.
    """
    for number in itertools.islice(_tried, len(PORTS)):
        port = PORTS[number % len(PORTS)]
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no loopback port from {PORTS.start} to {PORTS.stop - 1} is free")
