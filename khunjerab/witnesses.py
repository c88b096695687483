"""How a node reaches a witness: HTTP, and to a peer TLS with the certificates that the directory pins.

A third party is known by the signatures that it gives and by nothing else, so whose certificate it shows is not asked:
what is sent to it is public, and what comes back is verified.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

import aiohttp

from broker.witness.asking import Away
from broker.witness.roster import AskedWitness
from broker.witness.store import digest_of
from broker.witness.witness import Answer
from clients.sockets import Pinned
from protocol.limits import NOTE_BYTES_MAX

CONNECT_SECONDS, ANSWER_SECONDS = 5, 10


class HttpWitness:
    """One witness, asked over one connection that is kept."""

    def __init__(self, witness: AskedWitness, url: Callable[[], str]) -> None:
        """``url`` is where it is reached from here at the moment; empty for where it is listed."""
        self._listed, self._elsewhere = witness.url, url
        self._prefix = "/mirror" if witness.is_peer else ""
        tls = Pinned(witness.tls) if witness.tls else False
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=1),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=CONNECT_SECONDS),
            auto_decompress=False,
        )

    async def submit(self, body: bytes) -> Answer:
        """Whatever status it has."""
        return await self._exchange("POST", "/add-checkpoint", body)

    async def cosigned(self, origin: str) -> str:
        """Of a peer beside its mirror, of others at their root."""
        answer = await self._exchange("GET", f"{self._prefix}/{digest_of(origin).hex()}/checkpoint", None)
        return answer.body.decode("utf-8", "replace") if answer.status == 200 else ""  # noqa: PLR2004

    async def close(self) -> None:
        """The connection."""
        await self._http.close()

    async def _exchange(self, method: str, path: str, body: bytes | None) -> Answer:
        url = (self._elsewhere() or self._listed).rstrip("/")
        try:
            async with self._http.request(method, url + path, data=body, allow_redirects=False) as answer:
                data = bytearray()
                async for part in answer.content.iter_any():
                    data += part
                    if len(data) > NOTE_BYTES_MAX:
                        raise Away(f"an answer of more than {NOTE_BYTES_MAX} bytes")
                return Answer(answer.status, bytes(data), answer.headers.get("Content-Type", ""))
        except aiohttp.ServerFingerprintMismatch:
            raise Away("it shows a certificate that the directory does not list") from None
        except (TimeoutError, aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
            raise Away(f"no answer: {str(error) or type(error).__name__}") from None
