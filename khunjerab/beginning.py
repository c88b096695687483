"""How a ledger begins: with the directory, in each of its versions up to the one that lists its node."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from broker.errors import NodeHomeError
from broker.home import NodeHome
from broker.ledger import Ledger, now_ms
from broker.restore import admit, enter_history
from broker.storage import sqlite
from broker.storage.contract import Storage
from clients.errors import Declined, UsageError
from clients.screen import say
from keys.errors import BadSignature
from keys.judge import Refused
from keys.secret import Secret
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.errors import ProtocolError
from protocol.sigfile import open_signature
from protocol.signing import Signature, encode_signatures
from protocol.statements import DirectoryVersion, Kind


def enter_directories(folder: Path, passphrase: Secret, paths: Sequence[Path], signatures: Sequence[Path]) -> None:
    """From version 1 on; or another ledger's history, and the version that lists the new one.

    All of it is entered in a scratch file first: what the judge refuses leaves nothing behind in the ledger, which can
    begin only once. Raises UsageError, NodeHomeError, and Declined for what is refused.
    """
    home = NodeHome(folder)
    if home.config.pin:
        raise NodeHomeError("this ledger has its first directory already")
    versions = sorted((Directory.decode(path.read_bytes()) for path in paths), key=lambda version: version.version)
    submissions = _submissions(versions, signatures)
    keys, newest = home.keys(passphrase), versions[-1]
    if newest.by_origin.get(home.config.origin) != home.card(keys):
        raise UsageError("the directory does not list this node, or not with the card that it has now")

    def begin(storage: Storage) -> int:
        ledger = Ledger(storage, home.config.origin, newest.exchange_hash, keys.receipt)
        if versions[0].version == 1:
            for submission in submissions:
                admit(ledger, submission, now_ms())
            return ledger.tree.size
        with contextlib.closing(home.history()) as before:
            return enter_history(ledger, before, submissions[-1], now_ms())

    with home.locked(), contextlib.closing(home.storage()) as storage:
        if storage.size():
            raise NodeHomeError("a directory was entered here and not finished: begin again in an empty home")
        _rehearse(folder, begin)
        entries = begin(storage)
    home.with_pin(newest.exchange_hash)
    say(f"the ledger {home.config.origin} begins with directory version {newest.version}, {entries} entries")
    say(f"pin {newest.exchange_hash.hex()}")


def _rehearse(folder: Path, begin: Callable[[Storage], int]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "ledger.db"
        sqlite.create(path)
        with contextlib.closing(sqlite.SqliteStorage(path)) as storage:
            try:
                begin(storage)
            except (Refused, BadSignature) as refused:
                hint = "nothing was entered; khunjerab directory check says whose signatures are missing"
                raise Declined(f"{refused.code}: {refused.detail}", hint, refused.code) from refused


def _submissions(versions: Sequence[Directory], files: Sequence[Path]) -> list[Submission]:
    """Each version with the signatures that are about it."""
    signed: dict[bytes, list[Signature]] = {version.hash: [] for version in versions}
    for file in files:
        try:
            subject, signature = open_signature(file.read_bytes())
        except ProtocolError as error:
            raise UsageError(f"{file}: {error.detail}") from None
        if subject not in signed:
            raise UsageError(f"{file} is a signature of another file")
        signed[subject].append(signature)
    unsigned = [version.version for version in versions if not signed[version.hash]]
    if unsigned:
        raise UsageError(f"the signature files of directory version {unsigned[0]} are needed too")
    return [_submission(version, signed[version.hash]) for version in versions]


def _submission(version: Directory, signed: Sequence[Signature]) -> Submission:
    data = version.encode()
    statement = DirectoryVersion(version.version, len(data), version.hash, version.previous)
    return Submission(Kind.DIRECTORY, statement.encode(), encode_signatures(tuple(signed)), (), data)
