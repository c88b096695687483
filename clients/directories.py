"""The directory versions that a home has verified, as files for people: ``directory/N.json``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clients.errors import UsageError
from clients.home import Home
from keys.keyring import write_private
from protocol.directory import Directory
from protocol.errors import ProtocolError


def read(path: Path) -> Directory:
    """A version that holds together. Raises UsageError."""
    try:
        return Directory.decode(path.read_bytes())
    except ProtocolError as error:
        raise UsageError(f"{path}: {error.detail}") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def newest(home: Home, beyond: int = 0) -> Directory | None:
    """The newest that the home keeps, if it is newer than version ``beyond``. Raises UsageError where it is damaged."""
    version = max(_versions(home), default=0)
    if version <= beyond:
        return None
    try:
        return read(file_of(home, version))
    except UsageError as error:
        raise UsageError(error.detail, "take that file away, and join again with the exchange's files") from None


def keep(home: Home, directory: Directory) -> None:
    """Add a version that was verified."""
    if not file_of(home, directory.version).exists():
        write_private(file_of(home, directory.version), directory.encode(), replace=True)


def _versions(home: Home) -> Iterator[int]:
    return (int(path.stem) for path in (home.folder / "directory").glob("*.json") if path.stem.isdecimal())


def file_of(home: Home, version: int) -> Path:
    """Where a version is kept."""
    return home.folder / "directory" / f"{version}.json"
