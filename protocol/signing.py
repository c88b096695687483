"""Public keys and the signatures on a statement (SPEC §5). Verifying is keys/signing.py's: this is their form."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from protocol import canonical, limits
from protocol.canonical import Fields, Wire
from protocol.errors import Malformed
from protocol.pae import Domain, digest
from protocol.record import record

ED25519_KEY_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
MLDSA65_KEY_BYTES = 1952
MLDSA65_SIGNATURE_BYTES = 3309
MLKEM768_KEY_BYTES = 1184
X25519_KEY_BYTES = 32


@dataclass(frozen=True)
class PublicKey:
    """Both halves of a signing key; every key holder has both."""

    ed25519: bytes
    mldsa65: bytes

    @functools.cached_property
    def key_id(self) -> bytes:
        """SHA-256 over both halves (SPEC §5.1)."""
        return digest(Domain.SIGNING_KEY_ID, self.ed25519, self.mldsa65)

    def to_wire(self) -> Wire:
        """[ed25519, mldsa65]."""
        return [self.ed25519, self.mldsa65]

    @classmethod
    def from_wire(cls, value: object) -> PublicKey:
        """[ed25519, mldsa65]."""
        f = Fields(value, "public key", 2)
        return cls(f.exactly("ed25519", ED25519_KEY_BYTES), f.exactly("mldsa65", MLDSA65_KEY_BYTES))


@dataclass(frozen=True)
class KemKey:
    """The two public halves that a wrap is sealed to: ML-KEM-768 and X25519 (X-Wing)."""

    mlkem768: bytes
    x25519: bytes

    @functools.cached_property
    def key_id(self) -> bytes:
        """SHA-256 over both halves (SPEC §5.1)."""
        return digest(Domain.KEM_KEY_ID, self.mlkem768, self.x25519)

    def to_wire(self) -> Wire:
        """[mlkem768, x25519]."""
        return [self.mlkem768, self.x25519]

    @classmethod
    def from_wire(cls, value: object) -> KemKey:
        """[mlkem768, x25519]."""
        f = Fields(value, "KEM key", 2)
        return cls(f.exactly("mlkem768", MLKEM768_KEY_BYTES), f.exactly("x25519", X25519_KEY_BYTES))


@record
class Signature:
    """One signer's signature: Ed25519, and in suite 2 ML-DSA-65 beside it, both over the same message."""

    key_id: bytes
    ed25519: bytes
    mldsa65: bytes | None = None

    @property
    def suite(self) -> int:
        """The suite that this signature fulfils."""
        return 1 if self.mldsa65 is None else 2

    def to_wire(self) -> Wire:
        """[key id, ed25519, mldsa65 or nil]."""
        return [self.key_id, self.ed25519, self.mldsa65]

    @classmethod
    def from_wire(cls, value: object) -> Signature:
        """[key id, ed25519, mldsa65 or nil]."""
        f = Fields(value, "signature", 3)
        return cls(f.hash("key id"), f.exactly("ed25519", ED25519_SIGNATURE_BYTES), f.optional(_mldsa65))


def _mldsa65(value: object) -> bytes:
    if type(value) is not bytes or len(value) != MLDSA65_SIGNATURE_BYTES:
        raise Malformed(f"signature: mldsa65 is not {MLDSA65_SIGNATURE_BYTES} bytes")
    return value


def encode_signatures(signatures: tuple[Signature, ...]) -> bytes:
    """The signatures of a statement, sorted by key id (SPEC §5.3)."""
    return canonical.encode([s.to_wire() for s in sorted(signatures, key=lambda s: s.key_id)])


def decode_signatures(data: bytes) -> tuple[Signature, ...]:
    """Raises Malformed unless there is at least one, each key signs once, and they are sorted."""
    values = canonical.decode(data, bytes_max=limits.ENTRY_BYTES_MAX, array_max=limits.SIGNATURES_MAX)
    signatures = tuple(Signature.from_wire(value) for value in values)
    signers = [signature.key_id for signature in signatures]
    if not signers or signers != sorted(set(signers)):
        raise Malformed("signatures: none, not sorted by key id, or a key signs twice")
    return signatures
