"""Loopback ports that are free now, and still free when they are bound."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import closing

# Below 32768: from there on Linux gives ports to outgoing connections, and a port that was found free may be one's
# before it is bound.
PORTS = range(12_000, 32_000)
# Processes that were started one after the other begin this far apart.
STRIDE = 997

_tried = itertools.count(os.getpid() * STRIDE)


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
