"""What a node asks of a peer's node, and where its operator said to find it. ``khunjerab`` has the wire itself."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import tomli_w

from broker.errors import NodeHomeError
from keys.keyring import write_private
from protocol import limits, names
from protocol.errors import ProtocolError
from protocol.page import Cursor, Part
from protocol.parties import Node
from protocol.tiles import TilePath

FILE = "peers.toml"
PORTION_SHRINKS_BY, PORTION_GROWS_BY = 4, 2


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """A ``[[peer]]`` of ``peers.toml``: a ledger to follow. Unknown keys are refused."""

    origin: str  # of its ledger, as the directory lists it
    url: str = ""  # where its node is reached from here, where that is not the directory's address


def load_peers(home: Path) -> tuple[PeerConfig, ...]:
    """None where there is no file. Raises NodeHomeError for one that is broken."""
    path = home / FILE
    if not path.exists():
        return ()
    known = {field.name for field in fields(PeerConfig)}
    try:
        peers = tomllib.loads(path.read_text()).get("peer", [])
        configs = tuple(PeerConfig(**peer) for peer in peers)
        for config in configs:
            names.origin(config.origin)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, ProtocolError) as error:
        raise NodeHomeError(f"{path}: {error}; a [[peer]] has {', '.join(sorted(known))}") from None
    return configs


def save_peers(home: Path, peers: tuple[PeerConfig, ...]) -> None:
    """Replace the file whole."""
    tables = [{field.name: getattr(peer, field.name) for field in fields(PeerConfig)} for peer in peers]
    write_private(home / FILE, tomli_w.dumps({"peer": tables}).encode(), replace=True)


class Portion:
    """How many entries a peer is asked for at once: fewer after a link broke before any came, more as they come."""

    def __init__(self) -> None:
        self.entries = limits.PAGE_ENTRIES_MAX

    def broke(self) -> None:
        """Nothing came: the link may be one that never lasts for so much."""
        self.entries = max(1, self.entries // PORTION_SHRINKS_BY)

    def came(self) -> None:
        """A page, whole."""
        self.entries = min(limits.PAGE_ENTRIES_MAX, self.entries * PORTION_GROWS_BY)


class PeerAway(Exception):
    """The peer does not answer, or not as a peer does; why."""


class SessionOver(PeerAway):
    """The session at the peer has had its time: the next one begins at once."""


class PeerWire(Protocol):
    """A connection to a peer, logged in as this node. Every method raises PeerAway."""

    def follow(self, after: Cursor) -> AsyncGenerator[tuple[Part, ...], None]:
        """Its ledger from a cursor on, as it grows; it ends only by raising."""

    async def page(self, after: Cursor, limit: int) -> tuple[Part, ...]:
        """One page, at once."""

    async def body(self, sha256: bytes) -> tuple[bytes, bytes] | None:
        """A body and all its wraps, joined; None where the peer has it no more."""

    async def mirrored_checkpoint(self, origin: str) -> str:
        """The newest checkpoint of another ledger that it holds; empty where it has none."""

    async def tile(self, path: TilePath) -> bytes | None:
        """A hash tile of its own ledger; None where it has none."""


class Reach(Protocol):
    """How a peer is reached."""

    def __call__(self, node: Node, url: str) -> AbstractAsyncContextManager[PeerWire]:
        """The node as the directory lists it, at this address: its certificate is pinned all the same."""
