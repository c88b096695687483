"""A role's home: ``profile.toml``, ``keyring`` (sealed), ``directory/``, ``state.db``."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from clients import agent
from clients.errors import UsageError
from keys.errors import WrongPassphrase
from keys.keyring import Keyring, open_keyring, seal_keyring, write_private
from keys.secret import Secret

if TYPE_CHECKING:
    from clients.state import State

VARIABLE = "KHUNJERAB_HOME"


def default_folder() -> Path:
    """``KHUNJERAB_HOME``, else ``khunjerab`` under XDG_DATA_HOME."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "khunjerab"


@dataclass(frozen=True, slots=True)
class Profile:
    """``profile.toml``: every setting of a role. Unknown keys are refused."""

    agency: str = ""  # whose seat this is; empty for a custodian
    seat: str = ""  # this machine's name in its agency's bundles
    nation: str = ""  # of a custodian
    custodian: str = ""  # the name of its authority key, as the directory has it
    node: str = ""  # URL of the node to use, where it is not the one in the directory
    pin: str = ""  # SHA-256 of the first directory, in hexadecimal
    origin: str = ""  # the home ledger's origin
    officer: str = ""  # the name that stands under bulletins
    language: str = "en"  # of titles and texts typed on the command line

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Raises UsageError for a file that is broken or has a key that means nothing."""
        try:
            values = tomllib.loads(path.read_text())
        except FileNotFoundError:
            if path.with_name("node.toml").exists():
                raise UsageError(f"{path.parent} is a node's home", "khunjerab node --help has its commands") from None
            raise UsageError(
                f"there is no home at {path.parent}", "make keys with `khunjerab keys new`, or name another with --home"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: {error}") from None
        known = {field.name for field in fields(cls)}
        strange = [name for name in values if name not in known or not isinstance(values[name], str)]
        if strange:
            raise UsageError(f"{path}: {strange[0]!r} means nothing here; known are {', '.join(sorted(known))}")
        return cls(**values)


class Home:
    """An opened folder. The keyring is opened when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.profile = Profile.load(folder / "profile.toml")
        self._ask: Callable[[], Secret] | None = None
        self._passphrase: Secret | None = None
        self._keyring: Keyring | None = None
        self._opening: _Opening | None = None
        self._state: State | None = None

    @classmethod
    def create(cls, folder: Path, profile: Profile, keyring: Keyring, passphrase: Secret) -> Home:
        """A new home. Raises UsageError where one is there: keys are never overwritten."""
        if (folder / "profile.toml").exists() or (folder / "keyring").exists():
            raise UsageError(f"{folder} holds a home already", "name another with --home")
        write_private(folder / "keyring", seal_keyring(keyring, passphrase))
        home = cls._with_profile(folder, profile)
        home._passphrase, home._keyring = passphrase, keyring  # noqa: SLF001 - its own class
        return home

    @classmethod
    def _with_profile(cls, folder: Path, profile: Profile) -> Home:
        import tomli_w

        values = {field.name: getattr(profile, field.name) for field in fields(profile)}
        write_private(folder / "profile.toml", tomli_w.dumps(values).encode(), replace=True)
        return cls(folder)

    def save_profile(self, profile: Profile) -> None:
        """Replace ``profile.toml`` whole."""
        self._with_profile(self.folder, profile)
        self.profile = profile

    def unlock_with(self, ask: Callable[[], Secret]) -> None:
        """Where the passphrase comes from, when the keyring is first needed."""
        self._ask = ask

    def open_ahead(self) -> None:
        """Begin to open the keyring on another core, as Argon2id takes its time; ``keyring`` waits for it."""
        self._opening = _Opening(self._find)
        self._opening.start()

    @property
    def keyring(self) -> Keyring:
        """The opened keyring: from the agent of ``unlock``, else by passphrase. Raises UsageError for a wrong one."""
        if self._keyring is None:
            opening, self._opening = self._opening, None
            self._keyring = opening.keyring() if opening else self._find()
        return self._keyring

    def _find(self) -> Keyring:
        return agent.ask(self.folder) or self._open()

    def _open(self) -> Keyring:
        """The keyring by its passphrase, which is kept for saving it again."""
        passphrase = self._passphrase
        if passphrase is None:
            if self._ask is None:
                raise UsageError("this needs the keyring, and it is locked")
            passphrase = self._ask()
        try:
            keyring = open_keyring((self.folder / "keyring").read_bytes(), passphrase)
        except FileNotFoundError:
            raise UsageError(f"{self.folder} has no keyring") from None
        except WrongPassphrase as error:
            raise UsageError(error.detail, "try again; there is no way in without it") from None
        self._passphrase = passphrase
        return keyring

    def save_keyring(self, keyring: Keyring, passphrase: Secret | None = None) -> None:
        """Replace the keyring whole, under the same passphrase or a new one."""
        if self._passphrase is None:
            self._open()  # never under a passphrase that was not tried
        passphrase = passphrase or self._passphrase
        if passphrase is None:
            raise UsageError("this needs the passphrase")
        write_private(self.folder / "keyring", seal_keyring(keyring, passphrase), replace=True)
        self._keyring, self._passphrase = keyring, passphrase

    def read_keyring_anew(self) -> Keyring:
        """The keyring as it is on the disk now: another command may have changed it since."""
        if self._passphrase is not None:
            self._keyring = None
        return self.keyring

    @property
    def state(self) -> State:
        """``state.db``. Its contents are sealed: the keyring is needed when one is read or written, and not before."""
        if self._state is None:
            from clients.state import State  # while the keyring opens

            self._state = State(self.folder / "state.db", self._store_key)
        return self._state

    def _store_key(self) -> Secret:
        store = self.keyring.get("store")
        if store is None:
            raise UsageError("this home's keyring has no store key: it is a custodian's")
        return store

    def close(self) -> None:
        """Close ``state.db``."""
        if self._state is not None:
            self._state.close()
            self._state = None


class _Opening(Thread):
    """A keyring that is being opened. A command that ends without it does not wait."""

    def __init__(self, find: Callable[[], Keyring]) -> None:
        super().__init__(daemon=True)
        self._find, self._found = find, Keyring()
        self._error: Exception | None = None

    def run(self) -> None:
        """On a core of its own: libsodium lets the others run."""
        try:
            self._found = self._find()
        except Exception as error:  # noqa: BLE001 - whoever asks for it gets it
            self._error = error

    def keyring(self) -> Keyring:
        """Raises what ``find`` raised."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._found
