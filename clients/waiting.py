"""Bundles signed ahead, at the seat that will post them: ``bundles/NNNN.bundle`` in its home."""

from __future__ import annotations

from pathlib import Path

from clients.errors import UsageError
from clients.home import Home
from keys.keyring import write_private
from protocol.entry import Submission
from protocol.errors import ProtocolError
from protocol.statements import KeyBundle, Kind

FOLDER = "bundles"


def read_bundle(path: Path) -> KeyBundle:
    """What `keys bundle --ahead` wrote. Raises UsageError."""
    try:
        submission = Submission.decode(path.read_bytes())
        if submission.kind is Kind.KEY_BUNDLE:
            return KeyBundle.decode(submission.statement)
    except ProtocolError:
        pass
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    raise UsageError(f"{path} is no key bundle", "khunjerab keys bundle --ahead writes them")


def keep(home: Home, file: Path) -> None:
    """Take a bundle of this seat's agency. Raises UsageError for another's."""
    bundle = read_bundle(file)
    if bundle.agency != home.profile.agency:
        raise UsageError(f"{file} is a bundle of {bundle.agency}, this is a seat of {home.profile.agency}")
    write_private(home.folder / FOLDER / f"{bundle.sequence:04}.bundle", file.read_bytes(), replace=True)


def waiting(home: Home) -> list[tuple[Path, KeyBundle]]:
    """What is kept here, first to last."""
    return [(path, read_bundle(path)) for path in sorted((home.folder / FOLDER).glob("*.bundle"))]
