"""The signed login that opens a session (SPEC §11.1): always suite 2, bound to one node by its origin."""

from __future__ import annotations

from protocol import canonical, limits, names
from protocol.canonical import Fields
from protocol.pae import Domain, pae
from protocol.record import Record
from protocol.signing import Signature

NONCE_BYTES = 16
_LOGIN_BYTES_MAX = limits.NOTE_BYTES_MAX + 8 * 1024


class Login(Record):
    """Who logs in where and when, and the newest signed checkpoint that the client has seen there."""

    exchange: bytes
    origin: str
    time: int
    nonce: bytes
    checkpoint: str = ""

    def encode(self) -> bytes:
        """The bytes of the statement."""
        return canonical.encode([self.exchange, self.origin, self.time, self.nonce, self.checkpoint])

    def message(self) -> bytes:
        """What is signed."""
        return pae(Domain.LOGIN, self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Login:
        """Raises Malformed or TooLarge."""
        f = Fields(canonical.decode(data, bytes_max=_LOGIN_BYTES_MAX), "login", 5)
        return cls(
            f.hash("exchange"),
            f.matching("origin", names.origin),
            f.time("time"),
            f.exactly("nonce", NONCE_BYTES),
            f.text("checkpoint", limits.NOTE_BYTES_MAX, lines=True),
        )


def encode_signed(login: Login, signature: Signature) -> bytes:
    """The body of ``POST /v1/session``."""
    return canonical.encode([login.encode(), signature.to_wire()])


def decode_signed(data: bytes) -> tuple[Login, Signature]:
    """Raises Malformed or TooLarge."""
    f = Fields(canonical.decode(data, bytes_max=2 * _LOGIN_BYTES_MAX), "signed login", 2)
    return Login.decode(f.bytes("login", _LOGIN_BYTES_MAX)), f.value(Signature.from_wire)
