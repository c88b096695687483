"""Bundles signed ahead, at the seat that will post them: ``bundles/NNNN.bundle`` in its home."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clients.errors import UsageError
from clients.home import Home
from keys.exchange import HeldBundle
from keys.keyring import write_private
from protocol.entry import Submission
from protocol.errors import ProtocolError
from protocol.parties import Agency
from protocol.statements import KeyBundle, Kind, statement_hash

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


def overtaken(chain: Sequence[HeldBundle], agency: Agency, waiting: Sequence[tuple[Path, KeyBundle]]) -> set[Path]:
    """Those that can never be posted: signed with an identity key that is gone, or on a bundle that another replaced.

    They list the seats of their day. One that stands in the ledger is not overtaken, nor one whose predecessor is yet
    to come.
    """
    hashes = {held.bundle.sequence: held.hash for held in chain}
    found = set[Path]()
    for path, bundle in waiting:
        own = statement_hash(Kind.KEY_BUNDLE, bundle.encode())
        follows = hashes.get(bundle.sequence - 1, bundle.previous) == bundle.previous
        if follows and bundle.identity == agency.identity.key_id and hashes.get(bundle.sequence, own) == own:
            hashes[bundle.sequence] = own
        else:
            hashes.setdefault(bundle.sequence, b"")  # nothing follows it
            found.add(path)
    return found
