"""Sessions: short logins at this node (SPEC §11.1), checked against the state at every use."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from broker.ledger import Ledger
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.signing import SignatureCheck
from protocol import limits
from protocol.login import Login
from protocol.problem import Problem
from protocol.signing import PublicKey, Signature

LIFE_SECONDS = 15 * 60
NONCE_LIFE_SECONDS = 120
SESSIONS_MAX = 16_384
_TOKEN_BYTES = 32
_JUDGED_AGAIN_MS = 1000
_SKEW_MS = limits.CLOCK_SKEW_SECONDS_MAX * 1000


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whom a key speaks for. ``agency`` is None for an authority key; only a seat reads and posts bulletins."""

    kind: str  # seat | identity | authority
    agency: str | None
    nation: str
    key: PublicKey
    roles: tuple[str, ...]

    @property
    def audits(self) -> bool:
        """Whether it reads every entry."""
        return self.kind == "seat" and "audit" in self.roles


def speaker_of(exchange: Exchange, key_id: bytes, now: int) -> Speaker | None:
    """Who ``key_id`` is in the state now: a seat in force, an identity key, an authority key; else None."""
    directory = exchange.in_force
    for nation in directory.nations:
        for authority in nation.authorities:
            if authority.key.key_id == key_id:
                return Speaker("authority", None, nation.id, authority.key, ())
    for agency in directory.agencies:
        if agency.identity.key_id == key_id:
            if exchange.is_revoked(agency.id, key_id) or exchange.is_suspended(agency.id):
                return None
            return Speaker("identity", agency.id, agency.nation, agency.identity, ())
        seat = exchange.seat_key(agency.id, key_id, now)
        if seat is not None:
            return (
                None
                if exchange.is_suspended(agency.id)
                else Speaker("seat", agency.id, agency.nation, seat, agency.roles)
            )
    return None


@dataclass(slots=True)
class Session:
    """One login; ``speaker`` is found anew whenever the exchange has changed."""

    key_id: bytes
    expires: int
    speaker: Speaker
    judged_by: Exchange
    judge_again: int = 0  # a bundle may have ended since


class Sessions:
    """All logins of this node, in memory: a restart ends them, and refuses logins signed before it."""

    def __init__(self, ledger: Ledger, clock: Callable[[], int]) -> None:
        self._ledger, self._clock = ledger, clock
        self._started = clock()
        self._sessions: dict[bytes, Session] = {}
        self._nonces: dict[bytes, int] = {}

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
        if login.time < self._started - 1000:
            raise Problem("login-refused", "the login was signed before this node started: sign a new one")
        self._forget(now)
        if login.nonce in self._nonces:  # (3)
            raise Problem("login-refused", "this login was used before")
        speaker = speaker_of(self._ledger.exchange, signature.key_id, now)
        if speaker is None:  # (4)
            raise Problem("login-refused", "no seat in force, identity key or authority key has this key id")
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
        return token, session

    def check(self, token: str) -> Session:
        """The session of a token, if it lasts and its key still speaks. Raises Problem.

        Tokens are found by their SHA-256, so that no comparison leaks how much of one was right.
        """
        session = self._sessions.get(_digest(token))
        now = self._clock()
        if session is None or session.expires <= now:
            raise Problem("not-logged-in", "the session has ended or never was")
        return self.recheck(session)

    def recheck(self, session: Session) -> Session:
        """The same session against the newest state: revocation and suspension end it at once. Raises Problem."""
        now = self._clock()
        if session.judged_by is not self._ledger.exchange or now >= session.judge_again:
            speaker = speaker_of(self._ledger.exchange, session.key_id, now)
            if speaker is None:
                raise Problem("not-logged-in", "the key of this session is no longer in force")
            session.speaker, session.judged_by = speaker, self._ledger.exchange
            session.judge_again = now + _JUDGED_AGAIN_MS
        return session

    def _forget(self, now: int) -> None:
        old = now - NONCE_LIFE_SECONDS * 1000
        self._nonces = {nonce: seen for nonce, seen in self._nonces.items() if seen > old}
        self._sessions = {digest: s for digest, s in self._sessions.items() if s.expires > now}


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
