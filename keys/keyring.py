"""The keyring at rest (SPEC §13.2): Argon2id from a passphrase, secretbox around msgpack; born private, replaced whole.

File: magic, salt, Argon2id operations and memory, nonce and box. A wrong passphrase and a damaged file are one error.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nacl.exceptions
import nacl.pwhash
import nacl.secret

from keys.errors import WrongPassphrase
from keys.secret import Secret
from protocol import canonical
from protocol.canonical import Fields
from protocol.errors import ProtocolError, TooLarge

MAGIC = b"khunjerab/1/keyring\n"
_HEAD = struct.Struct(">16sII")
_BYTES_MAX = 1024 * 1024
_SECRETS_MAX = 4096
OPERATIONS = 3
MEMORY_BYTES = 64 * 1024 * 1024
_OPERATIONS_MAX, _MEMORY_BYTES_MAX = 16, 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Keyring:
    """Secrets by name: ``signing``, ``kem/HEX``, ``next/HEX``, ``store``, ``identity/AGENCY``."""

    secrets: Mapping[str, Secret] = field(default_factory=dict)

    def get(self, name: str) -> Secret | None:
        """The secret under ``name``."""
        return self.secrets.get(name)

    def with_secret(self, name: str, secret: Secret) -> Keyring:
        """A keyring that has ``secret`` too."""
        return Keyring({**self.secrets, name: secret})

    def without(self, name: str) -> Keyring:
        """A keyring that has forgotten ``name``."""
        return Keyring({other: secret for other, secret in self.secrets.items() if other != name})

    def names(self, prefix: str) -> list[str]:
        """The names under ``prefix/``, without it."""
        return [name.removeprefix(prefix + "/") for name in self.secrets if name.startswith(prefix + "/")]


def seal_keyring(keyring: Keyring, passphrase: Secret, memory_bytes: int = MEMORY_BYTES) -> bytes:
    """The file's bytes. Raises TooLarge rather than seal what would not open again."""
    plain = canonical.encode([[name, secret.reveal()] for name, secret in sorted(keyring.secrets.items())])
    if len(keyring.secrets) > _SECRETS_MAX or len(plain) > _BYTES_MAX // 2:
        raise TooLarge(f"a keyring of {len(keyring.secrets)} secrets and {len(plain)} bytes")
    head = _HEAD.pack(os.urandom(16), OPERATIONS, memory_bytes)
    return MAGIC + head + bytes(_box(passphrase, head).encrypt(plain))


def open_keyring(data: bytes, passphrase: Secret) -> Keyring:
    """Raises WrongPassphrase for whatever does not open; the costs in the file are bounded before they are paid."""
    wrong = WrongPassphrase("the keyring does not open: wrong passphrase, or a damaged file")
    if not data.startswith(MAGIC) or not len(MAGIC) + _HEAD.size < len(data) <= _BYTES_MAX:
        raise wrong
    head, box = data[len(MAGIC) :][: _HEAD.size], data[len(MAGIC) + _HEAD.size :]
    try:
        plain = _box(passphrase, head).decrypt(box)
        pairs = canonical.decode(plain, bytes_max=_BYTES_MAX, array_max=_SECRETS_MAX)
        return Keyring(dict(_pair(pair) for pair in pairs))
    except (nacl.exceptions.CryptoError, ProtocolError, ValueError):
        raise wrong from None


def _box(passphrase: Secret, head: bytes) -> nacl.secret.SecretBox:
    salt, operations, memory = _HEAD.unpack(head)
    if operations > _OPERATIONS_MAX or memory > _MEMORY_BYTES_MAX:
        msg = "costs out of bounds"
        raise ValueError(msg)
    key = nacl.pwhash.argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE, passphrase.reveal(), salt, opslimit=operations, memlimit=memory
    )
    return nacl.secret.SecretBox(key)


def _pair(value: object) -> tuple[str, Secret]:
    f = Fields(value, "secret", 2)
    return f.text("name", 200), Secret(f.bytes("secret", 1024))


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file of mode 0600 that is there whole or not at all, and on the disk when this returns.

    Raises FileExistsError where it exists and ``replace`` is not said. The rename is the commit point; a crash before
    it leaves a ``.new-`` file that nobody reads.
    """
    if not replace and path.exists():
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".new-{os.urandom(4).hex()}-{path.name}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            new.replace(path)
        else:
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
