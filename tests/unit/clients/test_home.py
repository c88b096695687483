"""A home's keyring, opened ahead by a thread of its own: the same keys, the same errors."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from clients.errors import UsageError
from clients.home import Home, Profile
from keys.keyring import Keyring
from keys.secret import Secret

RIGHT = Secret(b"right")


def made(folder: Path) -> Home:
    Home.create(folder, Profile(), Keyring({"signing": Secret(b"s" * 64)}), RIGHT)
    return Home(folder)


def test_a_keyring_that_was_opened_ahead_is_the_one_that_is_there(tmp_path: Path) -> None:
    home = made(tmp_path / "home")
    home.unlock_with(lambda: RIGHT)
    home.open_ahead()
    assert home.keyring.get("signing") == Secret(b"s" * 64)
    home.save_keyring(home.keyring.without("signing"))
    assert Home(home.folder).profile == home.profile
    assert home.read_keyring_anew().get("signing") is None


@pytest.mark.parametrize("passphrase", [b"wrong", None])
def test_what_is_wrong_is_told_when_the_keyring_is_needed(tmp_path: Path, passphrase: bytes | None) -> None:
    home = made(tmp_path / "home")
    if passphrase is None:
        (home.folder / "keyring").unlink()
    home.unlock_with(lambda: Secret(passphrase or b"right"))
    home.open_ahead()
    with pytest.raises(UsageError, match="does not open" if passphrase else "no keyring"):
        _ = home.keyring
    home.unlock_with(lambda: RIGHT)
    if passphrase is not None:
        assert home.keyring.get("signing") is not None


def test_what_is_public_in_a_home_is_read_before_its_keyring_is_opened(tmp_path: Path) -> None:
    """Ledgers are replayed while Argon2id runs; what is sealed waits for the keys, and fails without them."""
    home = made(tmp_path / "home")
    home.unlock_with(lambda: Secret(b"wrong"))
    assert home.state.ledgers() == []
    with pytest.raises(UsageError, match="does not open"):
        home.state.seal(b"x")
    home.unlock_with(lambda: RIGHT)
    with pytest.raises(UsageError, match="no store key"):
        home.state.seal(b"x")
    home.close()


def test_what_ended_a_transaction_is_what_is_told(tmp_path: Path) -> None:
    """A full disk rolls it back by itself: to roll it back again would be another error, and hide the first."""
    home = made(tmp_path / "home")

    def fill_the_disk() -> None:
        with home.state.transaction():
            home.state._db.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(sqlite3.OperationalError, match="is full"):
        fill_the_disk()
    home.close()
