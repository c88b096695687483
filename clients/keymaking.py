"""New keys, from the system's randomness, into a keyring: for a seat, an agency, an authority."""

from __future__ import annotations

import os

from clients.errors import UsageError
from keys import kem, signing
from keys.keyring import Keyring
from keys.secret import Secret
from protocol import limits

STORE_BYTES = 32  # a secretbox key


def seat_keyring() -> Keyring:
    """What a seat begins with: a signing key, the KEM keys of its first card, the key of its store."""
    return with_kem_keys(_with_store(Keyring({"signing": _signing_seed()})), limits.KEM_KEYS_PER_CARD)


def with_kem_keys(keyring: Keyring, count: int) -> Keyring:
    """More KEM keys, each under its key id."""
    for _ in range(count):
        seed = Secret(os.urandom(kem.SEED_BYTES))
        keyring = keyring.with_secret(f"kem/{kem.public_key_of(seed).key_id.hex()}", seed)
    return keyring


def with_identity(keyring: Keyring, agency: str) -> Keyring:
    """The identity key of an agency, in its custodian's keyring. Raises UsageError where there is one."""
    return _with_signing(keyring, f"identity/{agency}")


def with_authority(keyring: Keyring) -> Keyring:
    """The authority key of a custodian. Raises UsageError where there is one."""
    return _with_signing(keyring, "authority")


def with_next(keyring: Keyring, name: str) -> Keyring:
    """The key that will take the place of ``name``. Raises UsageError where there is none to replace, or one waits."""
    if keyring.get(name) is None:
        raise UsageError(f"this home holds no {name} key")
    return _with_signing(keyring, f"next/{name}")


def promoted(keyring: Keyring, name: str) -> Keyring:
    """The keyring after ``next/NAME`` took the place of ``NAME``."""
    following = keyring.get(f"next/{name}")
    if following is None:
        raise UsageError(f"no {name} key waits to be used", "khunjerab keys rotate -o CARD makes one")
    return keyring.with_secret(name, following).without(f"next/{name}")


def _with_signing(keyring: Keyring, name: str) -> Keyring:
    if keyring.get(name) is not None:
        raise UsageError(
            f"the {name} key of this home exists already", "keys are never overwritten: keys rotate makes new ones"
        )
    return _with_store(keyring).with_secret(name, _signing_seed())


def _with_store(keyring: Keyring) -> Keyring:
    if keyring.get("store") is not None:
        return keyring
    return keyring.with_secret("store", Secret(os.urandom(STORE_BYTES)))


def _signing_seed() -> Secret:
    return Secret(os.urandom(signing.SEED_BYTES))
