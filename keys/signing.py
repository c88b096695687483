"""Signing keys: Ed25519 and ML-DSA-65 over one message (SPEC §5.2).

Suite 1 is Ed25519 alone, suite 2 both, both required. Ed25519 is PyNaCl's: twice as fast as OpenSSL here, strict about
points, and it releases the GIL.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import nacl.bindings
import nacl.exceptions
import nacl.signing
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from keys.errors import BadSignature
from keys.secret import Secret
from protocol.pae import pae
from protocol.record import Record
from protocol.signing import PublicKey, Signature
from protocol.statements import SIGNED_UNDER, Kind

SEED_BYTES = 64  # 32 for Ed25519, 32 for ML-DSA-65


class SigningKey:
    """A key pair from one 64-byte seed."""

    def __init__(self, seed: Secret) -> None:
        raw = seed.reveal()
        if len(raw) != SEED_BYTES:
            msg = f"a signing seed is {SEED_BYTES} bytes"
            raise ValueError(msg)
        self.seed = seed
        self._ed25519 = nacl.signing.SigningKey(raw[:32])
        self.public = PublicKey(bytes(self._ed25519.verify_key), self._mldsa65.public_key().public_bytes_raw())

    @functools.cached_property
    def _mldsa65(self) -> MLDSA65PrivateKey:
        return MLDSA65PrivateKey.from_seed_bytes(self.seed.reveal()[32:])

    def sign(self, message: bytes, suite: int) -> Signature:
        """A signature of ``suite`` over ``message``, which a Domain and PAE have made unambiguous."""
        mldsa65 = self._mldsa65.sign(message) if suite == 2 else None  # noqa: PLR2004 - the suites of SPEC §5.2
        return Signature(self.public.key_id, self._ed25519.sign(message).signature, mldsa65)

    def sign_statement(self, kind: Kind, statement: bytes, suite: int) -> Signature:
        """A signature over a statement, under its kind's domain."""
        return self.sign(signed_message(kind, statement), suite)


def signed_message(kind: Kind, statement: bytes) -> bytes:
    """What the signers of a statement sign."""
    return pae(SIGNED_UNDER[kind], statement)


def check_public_key(key: PublicKey) -> None:
    """Refuse a key under which anyone could sign: Ed25519 points of small order verify almost anything."""
    if not nacl.bindings.crypto_core_ed25519_is_valid_point(key.ed25519):
        raise BadSignature("the Ed25519 half is no point of the prime-order group")
    _mldsa65_public(key.mldsa65)


@functools.lru_cache(maxsize=4096)
def _mldsa65_public(data: bytes) -> MLDSA65PublicKey:
    try:
        return MLDSA65PublicKey.from_public_bytes(data)
    except ValueError as error:
        raise BadSignature("the ML-DSA-65 half is no public key") from error


class SignatureCheck(Record):
    """A verification still owed: the judge says which, callers run them one by one or in batches."""

    key: PublicKey
    message: bytes
    signature: Signature
    suite: int

    def verify(self) -> None:
        """Raise BadSignature unless every half that the suite asks for is there and holds."""
        if self.signature.suite != self.suite:
            raise BadSignature(f"suite {self.suite} asks for another set of signatures")
        try:
            nacl.bindings.crypto_sign_open(self.signature.ed25519 + self.message, self.key.ed25519)
            if self.signature.mldsa65 is not None:
                _mldsa65_public(self.key.mldsa65).verify(self.signature.mldsa65, self.message)
        except (nacl.exceptions.CryptoError, InvalidSignature) as error:
            raise BadSignature("a signature does not verify") from error


def verify_all(checks: Iterable[SignatureCheck]) -> None:
    """Raise BadSignature at the first check that does not hold."""
    for check in checks:
        check.verify()
