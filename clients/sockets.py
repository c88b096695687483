"""WebSockets to a node, by aiohttp: what streams need, and no single request does."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import aiohttp

from clients.http import ANSWER_SECONDS, CONNECT_SECONDS, is_pinned


class Pinned(aiohttp.Fingerprint):
    """Accepts a certificate that the directory lists."""

    def __init__(self, digests: Sequence[bytes]) -> None:
        super().__init__(digests[0])
        self._digests = digests

    def check(self, transport: asyncio.BaseTransport) -> None:
        """Called by aiohttp after each handshake. Raises ServerFingerprintMismatch."""
        tls = transport.get_extra_info("ssl_object")
        if not is_pinned(tls, self._digests):
            got = hashlib.sha256(tls.getpeercert(binary_form=True)).digest() if tls else b""
            host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
            raise aiohttp.ServerFingerprintMismatch(self._digests[0], got, host, port)


def open_session(pins: Sequence[bytes]) -> aiohttp.ClientSession:
    """A session, to be closed."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=Pinned(pins) if pins else True),
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS),
        trace_configs=[_stays()],
    )


def _stays() -> aiohttp.TraceConfig:
    """A WebSocket would follow a redirect to wherever a hostile node sends it: we go to the node and nowhere else."""

    async def refuse(*_: object) -> None:
        raise aiohttp.ClientError("it sends us somewhere else")

    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(refuse)
    return config
