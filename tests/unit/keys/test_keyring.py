"""keys/keyring.py: secrets at rest."""

import os
import stat
import struct
from pathlib import Path

import nacl.pwhash
import nacl.secret
import pytest

from keys.errors import WrongPassphrase
from keys.keyring import MAGIC, Keyring, open_keyring, seal_keyring, write_private
from keys.secret import Secret
from protocol import canonical
from protocol.errors import TooLarge

PASSPHRASE = Secret(b"a long walk to Sost")
CHEAP = 8 * 1024 * 1024
KEYRING = Keyring({"signing": Secret(b"s" * 64), "kem/aa": Secret(b"k" * 32), "kem/bb": Secret(b"l" * 32)})
SEALED = seal_keyring(KEYRING, PASSPHRASE, CHEAP)


def test_a_keyring_opens_with_its_passphrase() -> None:
    """SPEC 13.2.1."""
    assert open_keyring(SEALED, PASSPHRASE) == KEYRING
    assert all(secret.reveal() not in SEALED for secret in KEYRING.secrets.values())
    assert seal_keyring(KEYRING, PASSPHRASE, CHEAP) != SEALED


def test_the_file_is_as_the_specification_has_it() -> None:
    """Opened here by hand. SPEC 13.2.1."""
    assert MAGIC == b"khunjerab/1/keyring\n"
    salt, operations, memory = struct.unpack(">16sII", SEALED[20:44])
    key = nacl.pwhash.argon2id.kdf(32, PASSPHRASE.reveal(), salt, opslimit=operations, memlimit=memory)
    plain = nacl.secret.SecretBox(key).decrypt(SEALED[44:])
    pairs = [["kem/aa", b"k" * 32], ["kem/bb", b"l" * 32], ["signing", b"s" * 64]]
    assert plain == canonical.encode(pairs)


def test_by_default_a_guess_costs_64_mib() -> None:
    """And three passes. SPEC 13.2.1."""
    sealed = seal_keyring(Keyring(), PASSPHRASE)
    assert struct.unpack(">II", sealed[36:44]) == (3, 64 * 1024 * 1024)
    assert open_keyring(sealed, PASSPHRASE) == Keyring()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAGIC,
        SEALED[:44],
        SEALED[:-1],
        SEALED + b"\0",
        b"x" + SEALED[1:],
        SEALED[:30] + bytes([SEALED[30] ^ 1]) + SEALED[31:],
        SEALED[:-1] + bytes([SEALED[-1] ^ 1]),
        bytes(2 * 1024 * 1024),
    ],
    ids=["empty", "magic", "no box", "cut", "longer", "magic touched", "salt touched", "box touched", "huge"],
)
def test_a_wrong_passphrase_and_a_damaged_file_are_one_error(data: bytes) -> None:
    """SPEC 13.2.2."""
    with pytest.raises(WrongPassphrase) as damaged:
        open_keyring(data, PASSPHRASE)
    with pytest.raises(WrongPassphrase) as wrong:
        open_keyring(SEALED, Secret(b"another"))
    assert damaged.value.detail == wrong.value.detail


@pytest.mark.parametrize(
    "operations, memory", [(17, CHEAP), (2**32 - 1, CHEAP), (3, 2**30 + 1), (3, 2**32 - 1), (0, CHEAP), (3, 0)]
)
def test_costs_out_of_bounds_are_refused_before_they_are_paid(
    operations: int, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file cannot make its reader spend an hour, or all memory. SPEC 13.2.2."""
    if operations and memory:
        monkeypatch.setattr(nacl.pwhash.argon2id, "kdf", None)
    with pytest.raises(WrongPassphrase):
        open_keyring(SEALED[:36] + struct.pack(">II", operations, memory) + SEALED[44:], PASSPHRASE)


def test_a_keyring_of_every_agency_of_an_exchange_opens_again() -> None:
    """A custodian's holds an identity key for each; and what would not open is not sealed. SPEC 13.2.1."""
    many = Keyring({f"identity/agency-{number}": Secret(bytes(64)) for number in range(2_000)})
    assert open_keyring(seal_keyring(many, PASSPHRASE, CHEAP), PASSPHRASE) == many
    with pytest.raises(TooLarge):
        seal_keyring(Keyring({str(number): Secret(b"") for number in range(5_000)}), PASSPHRASE, CHEAP)
    with pytest.raises(TooLarge):
        seal_keyring(Keyring({str(number): Secret(bytes(1024)) for number in range(1_000)}), PASSPHRASE, CHEAP)


def test_a_keyring_is_a_value() -> None:
    """Adding and forgetting give another."""
    more = KEYRING.with_secret("kem/cc", Secret(b"m"))
    assert more.names("kem") == ["aa", "bb", "cc"]
    assert more.without("kem/aa").get("kem/aa") is None
    assert KEYRING.names("kem") == ["aa", "bb"]
    assert "s" * 8 not in repr(KEYRING)


def test_a_private_file_is_private_from_its_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the umask, and so is its folder. SPEC 13.2.3."""
    modes = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    old = os.umask(0)
    try:
        write_private(tmp_path / "home" / "keyring", b"secret")
    finally:
        os.umask(old)
    assert modes == [0o600, 0o700]  # the file, and then the folder that names it
    assert stat.S_IMODE((tmp_path / "home" / "keyring").stat().st_mode) == 0o600


def test_a_private_file_is_replaced_only_when_that_is_said(tmp_path: Path) -> None:
    """SPEC 13.2.3."""
    path = tmp_path / "keyring"
    write_private(path, b"first")
    with pytest.raises(FileExistsError):
        write_private(path, b"second")
    assert path.read_bytes() == b"first"
    write_private(path, b"second", replace=True)
    assert path.read_bytes() == b"second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["keyring"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_crash_before_the_rename_leaves_what_was_there(
    replace: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole or not at all. SPEC 13.2.3."""
    path = tmp_path / "keyring"
    if replace:
        write_private(path, b"first")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"second", replace=replace)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([b"first"] if replace else [])
