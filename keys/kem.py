"""KEM keys: X-Wing, ML-KEM-768 and X25519 from one 32-byte seed (draft-connolly-cfrg-xwing-kem, KEM id 0x647A)."""

from __future__ import annotations

import functools
import hashlib

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
)

from keys.errors import CardRefused
from keys.secret import Secret
from protocol.signing import KemKey

SEED_BYTES = 32
PUBLIC_KEYS_KEPT_MAX = 512  # the seats that a sender seals to
_PROBE = X25519PrivateKey.from_private_bytes(bytes(32))


class PrivateKey:
    """A seat's private pair. It is expanded once, when first needed: that takes longer than to open a wrap."""

    def __init__(self, seed: Secret) -> None:
        self._seed = seed

    @functools.cached_property
    def pair(self) -> MLKEM768X25519PrivateKey:
        """What SHAKE-256 expands the seed into."""
        expanded = hashlib.shake_256(self._seed.reveal()).digest(96)
        return MLKEM768X25519PrivateKey(
            MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])
        )


def public_key_of(seed: Secret) -> KemKey:
    """The public halves of ``seed``, as bytes: the hybrid class does not serialise."""
    expanded = hashlib.shake_256(seed.reveal()).digest(96)
    return KemKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().public_bytes_raw(),
        X25519PrivateKey.from_private_bytes(expanded[64:]).public_key().public_bytes_raw(),
    )


@functools.lru_cache(maxsize=PUBLIC_KEYS_KEPT_MAX)
def public_key(key: KemKey) -> MLKEM768X25519PublicKey:
    """What HPKE seals to. Raises CardRefused for halves that are no keys."""
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(key.mlkem768), X25519PublicKey.from_public_bytes(key.x25519)
        )
    except ValueError as error:
        raise CardRefused("a KEM key is not well formed") from error


def check_kem_key(key: KemKey) -> None:
    """Refuse halves that are no keys, the all-zero ones that the library lets pass, and points of small order.

    With such a point every agreement is zero: no sender could seal to it, nor so to anyone else in the bulletin.
    """
    if not any(key.mlkem768):
        raise CardRefused("a KEM key is all zero")
    public_key(key)
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(key.x25519))
    except ValueError as error:
        raise CardRefused("the X25519 half of a KEM key is a point of small order") from error
