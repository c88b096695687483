"""A home's keys as one file under a recovery passphrase: the keyring's own form, with the profile inside."""

from __future__ import annotations

from dataclasses import asdict

from clients.errors import UsageError
from clients.home import Profile
from keys.errors import WrongPassphrase
from keys.keyring import Keyring, open_keyring, seal_keyring
from keys.secret import Secret
from protocol.strictjson import dumps, loads

_PROFILE = "profile"
_PROFILE_BYTES_MAX = 1024


def seal(keyring: Keyring, profile: Profile, passphrase: Secret) -> bytes:
    """The file's bytes."""
    return seal_keyring(keyring.with_secret(_PROFILE, Secret(dumps(asdict(profile)))), passphrase)


def open_sealed(data: bytes, passphrase: Secret) -> tuple[Keyring, Profile]:
    """What was exported. Raises UsageError, for a wrong passphrase too."""
    try:
        keyring = open_keyring(data, passphrase)
    except WrongPassphrase as error:
        raise UsageError(error.detail, "this asks for the recovery passphrase, not the home's") from None
    profile = keyring.get(_PROFILE)
    if profile is None:
        raise UsageError("this is a keyring, and not what `keys export` wrote")
    return keyring.without(_PROFILE), Profile(**loads(profile.reveal(), _PROFILE_BYTES_MAX))
