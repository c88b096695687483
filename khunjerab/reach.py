"""How a node reaches its peers: the clients' wire, logged in with the node's receipt key."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

from broker.mirrors import digest_of
from broker.peer import PeerAway, PeerWire, Reach, SessionOver
from clients.clock import now_ms
from clients.errors import ClientError, Declined
from clients.transport import Wire
from keys.signing import SigningKey
from protocol.limits import NOTE_BYTES_MAX
from protocol.page import Cursor, Part
from protocol.parties import Node
from protocol.tiles import WIDTH, TilePath, tile_path

_TILE_BYTES_MAX = WIDTH * 32


class _Peer:
    """A ``PeerWire``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def follow(self, after: Cursor) -> AsyncGenerator[tuple[Part, ...], None]:
        with _away():
            async with contextlib.aclosing(self._wire.stream(after, after)) as pages:
                async for parts in pages:
                    yield parts

    async def page(self, after: Cursor, limit: int) -> tuple[Part, ...]:
        with _away():
            return await self._wire.deliveries(after, after, limit=limit)

    async def body(self, sha256: bytes) -> tuple[bytes, bytes] | None:
        with _away():
            try:
                body, wraps = await self._wire.body(sha256)
            except Declined as declined:
                if declined.code in {"expunged", "not-found"}:
                    return None
                raise
            return body, wraps or b""

    async def mirrored_checkpoint(self, origin: str) -> str:
        with _away():
            try:
                path = f"/mirror/{digest_of(origin)}/checkpoint"
                note = await self._wire.request("GET", path, login=False, bytes_max=NOTE_BYTES_MAX)
            except Declined:
                return ""
            return note.decode("utf-8", "replace")

    async def tile(self, path: TilePath) -> bytes | None:
        with _away():
            try:
                name = tile_path(path.level, path.index, path.width)
                return await self._wire.request("GET", f"/{name}", login=False, bytes_max=_TILE_BYTES_MAX)
            except Declined:
                return None


@contextlib.contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        over = isinstance(error, Declined) and error.code == "not-logged-in"
        raise (SessionOver if over else PeerAway)(error.detail) from error


def reach_with(key: SigningKey, exchange: bytes, clock: Callable[[], int] = now_ms) -> Reach:
    """Peers are reached as the node whose receipt key this is, and which tells the time by ``clock``."""

    @contextlib.asynccontextmanager
    async def reach(node: Node, url: str) -> AsyncIterator[PeerWire]:
        async with Wire(url, node.tls, clock) as wire:
            wire.log_in_as(key, exchange, node.origin)
            yield _Peer(wire)

    return reach
