"""Sessions: short logins at this node (SPEC §11.1), checked against the state at every use."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from broker.ledger import Ledger
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.signing import SignatureCheck
from protocol import limits
from protocol.login import Login
from protocol.parties import Agency
from protocol.problem import Problem
from protocol.signing import PublicKey, Signature

LIFE_SECONDS = 15 * 60
NONCE_LIFE_SECONDS = 120
SESSIONS_MAX = 16_384
SESSIONS_PER_KEY_MAX = 64
WAITING_PER_SESSION_MAX = 16  # long polls and streams
NOBODY = "-"  # no agency is called so
_TOKEN_BYTES = 32
_JUDGED_AGAIN_MS = 1000
_SKEW_MS = limits.CLOCK_SKEW_SECONDS_MAX * 1000


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whom a key speaks for. ``agency`` is None for an authority key or a node's; only a seat posts bulletins."""

    kind: str  # seat | identity | authority | node
    agency: str | None
    nation: str
    key: PublicKey
    roles: tuple[str, ...]
    origin: str = ""  # of a node

    @property
    def audits(self) -> bool:
        """Whether it reads every entry."""
        return self.kind == "seat" and "audit" in self.roles

    @property
    def mirrors(self) -> bool:
        """Whether it is a peer's node, which reads every entry to keep and cosign it, and posts nothing."""
        return self.kind == "node"


def speaker_of(exchange: Exchange, key_id: bytes, now: int) -> Speaker | None:
    """Who ``key_id`` is in the state now: a seat in force, an identity key, an authority key, a peer; else None."""
    for node in exchange.in_force.nodes:
        if node.receipt.key_id == key_id and node.origin != exchange.origin:
            return Speaker("node", None, node.nation, node.receipt, ("mirror",), node.origin)
    for nation in exchange.in_force.nations:
        for authority in nation.authorities:
            if authority.key.key_id == key_id:
                return Speaker("authority", None, nation.id, authority.key, ())
    agencies = exchange.in_force.agencies
    owner = [agency for agency in agencies if agency.identity.key_id == key_id]  # an identity is nobody else's seat
    speakers = (_speaker_in(exchange, agency, key_id, now) for agency in owner or agencies)
    return next((speaker for speaker in speakers if speaker is not None), None)


def _speaker_in(exchange: Exchange, agency: Agency, key_id: bytes, now: int) -> Speaker | None:
    """The same, where it can be of this agency only."""
    if exchange.is_suspended(agency.id):
        return None
    if agency.identity.key_id == key_id:
        if exchange.is_revoked(agency.id, key_id):
            return None
        return Speaker("identity", agency.id, agency.nation, agency.identity, ())
    seat = exchange.seat_key(agency.id, key_id, now)
    return Speaker("seat", agency.id, agency.nation, seat, agency.roles) if seat else None


def _still(exchange: Exchange, speaker: Speaker, key_id: bytes, now: int) -> Speaker | None:
    """Who a session's key is now: looked for where it was, as streams are checked every second."""
    if speaker.agency is None:
        return speaker_of(exchange, key_id, now)
    agency = exchange.agency(speaker.agency)
    return _speaker_in(exchange, agency, key_id, now) if agency else None


def _why_nobody(exchange: Exchange, key_id: bytes) -> str:
    """Why a key speaks for nobody. What it says stands in the ledger."""
    for agency in exchange.in_force.agencies:
        bundles = [held.bundle for held in exchange.bundles.get((agency.id, agency.identity.key_id), ())]
        keys = {seat.signing.key_id for bundle in bundles for seat in bundle.seats} | {agency.identity.key_id}
        if key_id in keys and exchange.is_revoked(agency.id, key_id):
            return f"this key of {agency.id} is revoked"
        if key_id in keys and exchange.is_suspended(agency.id):
            return f"{agency.id} is suspended by its nation"
        if key_id in keys:
            return f"no running key bundle of {agency.id} lists this seat"
    return "no seat in force, identity, authority or peer's key has this key id"


def reader_of(session: Session) -> str | None:
    """The name that deliveries are found by: auditors and peers read everything, authorities what is for everyone."""
    speaker = session.speaker
    if speaker.audits or speaker.mirrors:
        return None
    return speaker.agency if speaker.kind == "seat" and speaker.agency else NOBODY


@dataclass(slots=True)
class Session:
    """One login; ``speaker`` is found anew whenever the exchange has changed."""

    key_id: bytes
    expires: int
    speaker: Speaker
    judged_by: Exchange
    judge_again: int = 0  # a bundle may have ended since
    waiting: int = 0  # its long polls and streams

    @contextlib.contextmanager
    def wait(self) -> Iterator[None]:
        """Held by each long poll and stream. Raises Problem where there are too many."""
        if self.waiting >= WAITING_PER_SESSION_MAX:
            raise Problem("too-many-attempts", f"this session has {self.waiting} requests waiting already")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1


class Sessions:
    """All logins of this node, in memory: a restart ends them, and refuses logins signed before it."""

    def __init__(self, ledger: Ledger, clock: Callable[[], int]) -> None:
        self._ledger, self._clock = ledger, clock
        self._started = time.monotonic()  # a clock that is put right does not move it
        self._sessions: dict[bytes, Session] = {}
        self._by_key: dict[bytes, deque[bytes]] = {}
        self._nonces: dict[bytes, int] = {}
        self._forgotten = 0

    def __len__(self) -> int:
        """How many are open, or ended a moment ago."""
        return len(self._sessions)

    def open(self, login: Login, signature: Signature) -> tuple[str, Session]:
        """A bearer token and its session. Raises Problem.

        To open a session (1) the login is for this exchange and node; (2) its time is within the skew of this clock and
        not before this start; (3) its nonce is new; (4) its key speaks for somebody now; (5) it is signed with suite 2.
        """
        now = self._clock()
        if login.exchange != self._ledger.pin or login.origin != self._ledger.origin:  # (1)
            raise Problem("login-refused", f"this node is {self._ledger.origin} of another exchange or origin")
        skew = login.time - now
        if abs(skew) > _SKEW_MS:  # (2)
            ahead = "ahead of" if skew > 0 else "behind"
            raise Problem(
                "clock-skew",
                f"your clock is {abs(skew) / 1000:.0f} s {ahead} this node's",
                {"skew_ms": skew},
            )
        if login.time < now - int(1000 * (time.monotonic() - self._started)):
            raise Problem("login-refused", "the login was signed before this node started: sign a new one")
        self._forget(now)
        if login.nonce in self._nonces:  # (3)
            raise Problem("login-refused", "this login was used before")
        speaker = speaker_of(self._ledger.exchange, signature.key_id, now)
        if speaker is None:  # (4)
            raise Problem("login-refused", _why_nobody(self._ledger.exchange, signature.key_id))
        try:
            SignatureCheck(speaker.key, login.message(), signature, 2).verify()  # (5)
        except BadSignature as error:
            raise Problem("login-refused", "the login's signatures do not verify") from error
        if len(self._sessions) >= SESSIONS_MAX:
            raise Problem("too-many-attempts", "this node holds too many sessions")
        self._nonces[login.nonce] = now
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        session = Session(signature.key_id, now + LIFE_SECONDS * 1000, speaker, self._ledger.exchange)
        self._sessions[_digest(token)] = session
        own = self._by_key.setdefault(signature.key_id, deque())
        own.append(_digest(token))
        if len(own) > SESSIONS_PER_KEY_MAX:  # one key never crowds out the others
            self._sessions.pop(own.popleft(), None)
        return token, session

    def check(self, token: str) -> Session:
        """The session of a token, if it lasts and its key still speaks. Raises Problem.

        Tokens are found by their SHA-256, so that no comparison leaks how much of one was right.
        """
        session = self._sessions.get(_digest(token))
        if session is None:
            raise Problem("not-logged-in", "the session has ended or never was")
        return self.recheck(session)

    def recheck(self, session: Session) -> Session:
        """The same session against time and newest state: revocation and suspension end it at once. Raises Problem."""
        now, exchange = self._clock(), self._ledger.exchange
        if session.expires <= now:
            raise Problem("not-logged-in", "the session has ended")
        if session.judged_by is not exchange or now >= session.judge_again:
            speaker = _still(exchange, session.speaker, session.key_id, now)
            if speaker is None:
                raise Problem("not-logged-in", "the key of this session is no longer in force")
            session.speaker, session.judged_by = speaker, exchange
            session.judge_again = now + _JUDGED_AGAIN_MS
        return session

    def _forget(self, now: int) -> None:
        """Once a second at most, as it looks at every one."""
        if abs(now - self._forgotten) < 1000:  # noqa: PLR2004 - a second
            return
        self._forgotten, old = now, now - NONCE_LIFE_SECONDS * 1000
        self._nonces = {nonce: seen for nonce, seen in self._nonces.items() if seen >= old}
        self._sessions = {digest: s for digest, s in self._sessions.items() if s.expires > now}
        live = {session.key_id for session in self._sessions.values()}
        self._by_key = {key_id: own for key_id, own in self._by_key.items() if key_id in live}


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
