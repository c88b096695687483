"""A load generator that costs little: HTTP/1.1 requests built beforehand, written and counted by a bare protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MEDIA_TYPE = "application/vnd.khunjerab.v1+msgpack"


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to: requests a second, and how long each took."""

    requests: int
    seconds: float
    latencies: list[float]
    failures: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds within which ``share`` of the requests were answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request_of(path: str, body: bytes, token: str = "") -> bytes:
    """One POST, ready to be written."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    return head.encode() + b"\r\n" + body


class _Connection(asyncio.Protocol):
    """One connection with one request in flight: the next goes out when the answer is whole."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._requests, self._done = requests, done
        self._buffer = b""
        self._sent = 0.0
        self.latencies: list[float] = []
        self.failures = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + 15
        length = int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else None])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self.latencies.append(time.perf_counter() - self._sent)
        if b" 200 " not in head[:16]:
            self.failures += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))


async def drive(host: str, port: int, requests: Sequence[bytes], connections: int) -> Run:
    """Send every request once over this many connections."""
    loop = asyncio.get_running_loop()
    shared = iter(requests)
    dones = [loop.create_future() for _ in range(connections)]
    protocols = [_Connection(shared, done) for done in dones]
    began = time.perf_counter()
    await asyncio.gather(
        *(loop.create_connection(lambda p=p: p, host, port) for p in protocols)  # type: ignore[misc]
    )
    await asyncio.gather(*dones)
    seconds = time.perf_counter() - began
    latencies = [latency for protocol in protocols for latency in protocol.latencies]
    return Run(len(latencies), seconds, latencies, sum(protocol.failures for protocol in protocols))
