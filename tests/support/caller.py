"""Someone who speaks HTTP to a node and looks at the bare answers: status, headers, bytes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from keys.signing import SigningKey
from protocol import canonical, limits, problem
from protocol.entry import Submission, encode_batch
from protocol.login import NONCE_BYTES, Login, encode_signed
from protocol.page import PAGE_BYTES_READ_MAX, Part, decode_page
from protocol.problem import CODES, Problem
from protocol.signing import Signature
from protocol.treehead import Receipt
from tests.support.live import now_ms
from tests.support.world import ORIGINS, World, signing_key

MEDIA_TYPE = "application/vnd.khunjerab.v1+msgpack"
_ORIGIN = ORIGINS["PK"]


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    data: bytes

    def json(self) -> Any:
        """Of a body that is JSON."""
        return json.loads(self.data)

    def problem(self) -> Problem:
        """The whole form of a problem (SPEC §13.1), checked; AssertionError for any other answer."""
        assert self.headers.get("Content-Type", "").split(";")[0] == problem.MEDIA_TYPE, (self.status, self.data[:200])
        value = json.loads(self.data)
        code = value["code"]
        assert {"type", "title", "status", "code", "detail", "hint"} <= set(value)
        assert set(value) - {"type", "title", "status", "code", "detail", "hint"} <= {
            *("step", "index", "agencies", "skew_ms", "reason")
        }
        assert (value["type"], value["status"]) == (f"urn:khunjerab:problem:{code}", self.status)
        assert (self.status, value["hint"]) == CODES[code]
        assert not any(word in self.data for word in (b"Traceback", b'File "', b".py", b"0x"))
        return Problem.from_json(self.data)


class Caller:
    """Holds a token for one key. ``async with``; a name is a key of tests/support/world.py."""

    def __init__(self, url: str, world: World, name: str = "pk-liaison/desk") -> None:
        self.url, self.world, self.name = url, world, name
        self.token = ""
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._http is not None
        await self._http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        """What speaks."""
        assert self._http is not None, "use the caller in `async with`"
        return self._http

    async def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str
    ) -> Answer:
        """One exchange; ``token`` other than the own one, headers as ``Content_Type="…"``."""
        bearer = self.token if token is None else token
        sent = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        if body is not None:
            sent["Content-Type"] = MEDIA_TYPE
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        skipped = () if "Content-Type" in sent else ("Content-Type",)
        async with self.http.request(
            method, self.url + path, data=body, headers=sent, skip_auto_headers=skipped, allow_redirects=False
        ) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())

    # Sessions

    def login(self, **changes: Any) -> Login:
        """A login of now, changed as told."""
        fields: dict[str, Any] = {"exchange": self.world.pin, "origin": _ORIGIN, "time": now_ms()}
        return Login(**fields | {"nonce": os.urandom(NONCE_BYTES)} | changes)

    async def send_login(self, login: Login, key: SigningKey | None = None, suite: int = 2) -> Answer:
        """Sign it and send it."""
        key = key or signing_key(self.name)
        return await self.send_signed(login, key.sign(login.message(), suite))

    async def send_signed(self, login: Login, signature: Signature) -> Answer:
        """Send what is signed already."""
        return await self.ask("POST", "/v1/session", encode_signed(login, signature), token="")

    async def log_in(self) -> Self:
        """Take a token, which must work."""
        answer = await self.send_login(self.login())
        assert answer.status == 200, answer.data
        self.token = answer.json()["token"]
        return self

    # The exchange

    async def post(self, *submissions: Submission) -> list[Receipt | Problem]:
        """A receipt or a problem for each."""
        answer = await self.ask("POST", "/v1/entries", encode_batch(list(submissions)))
        if answer.status != 200:
            return [answer.problem()] * len(submissions)
        answers = canonical.decode(answer.data, bytes_max=16 << 20, array_max=limits.BATCH_SUBMISSIONS_MAX)
        assert len(answers) == len(submissions)
        return [Receipt.decode(one) if type(one) is bytes else Problem.from_json(one.encode()) for one in answers]

    async def receipt(self, submission: Submission) -> Receipt:
        """Of one that must be admitted."""
        (receipt,) = await self.post(submission)
        assert isinstance(receipt, Receipt), receipt
        return receipt

    async def refusal(self, submission: Submission) -> Problem:
        """Of one that must not."""
        (refused,) = await self.post(submission)
        assert isinstance(refused, Problem), refused
        return refused

    async def page(self, after: int = 0, known: int = 0, **query: int | str) -> Part:
        """The part of this ledger in a page of deliveries, unverified."""
        asked = "".join(f"&{name}={value}" for name, value in query.items())
        answer = await self.ask("GET", f"/v1/deliveries?after={_ORIGIN}={after}&known={_ORIGIN}={known}{asked}")
        assert answer.status == 200, answer.data
        assert len(answer.data) <= PAGE_BYTES_READ_MAX
        (part,) = decode_page(answer.data)
        return part

    async def entries(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """Every entry from ``start``, as the role audit is given them."""
        found: list[bytes] = []
        while True:
            part = await self.page(start + len(found))
            found += [item.entry for item in part.items]
            if part.next >= (part.head.size if stop is None else stop):
                return found


@asynccontextmanager
async def callers(url: str, world: World, names: Sequence[str]) -> AsyncIterator[list[Caller]]:
    """Several, logged in."""
    held = [Caller(url, world, name) for name in names]
    for caller in held:
        await caller.__aenter__()
    try:
        await asyncio.gather(*(caller.log_in() for caller in held))
        yield held
    finally:
        for caller in held:
            await caller.__aexit__()
