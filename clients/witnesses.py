"""Witnessed, as this home sees it (SPEC §9.6): by a policy of its own where it keeps one, else the directory's default.

A policy of one's own is `policies/<sha256 of the origin>.policy` in the home, a C2SP tlog-policy. It may leave out the
log lines: the directory has them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from clients.errors import UsageError
from clients.state import Held, Verified
from keys.witnessing import Witnessed, policy_of, witnessed
from protocol.directory import Directory
from protocol.errors import ProofFailed, ProtocolError
from protocol.tlogpolicy import Policy

if TYPE_CHECKING:
    from clients.ledgers import Ledgers

FOLDER = "policies"
_NOTES_MAX = 64


class Witnesses:
    """Asks the policies of one home about the checkpoints that it has verified."""

    def __init__(self, folder: Path, ledgers: Ledgers) -> None:
        """Raises UsageError for a policy file that is none, so that nobody takes the default for it."""
        self._ledgers = ledgers
        self._own = {path.stem: _read(path) for path in sorted((folder / FOLDER).glob("*.policy"))}
        self._notes: dict[tuple[str, str, bytes], Witnessed | None] = {}  # each is opened once, whatever asks for it

    def own_policy(self, origin: str) -> Policy | None:
        """The home's own policy for a ledger, as it stands in the file."""
        return self._own.get(hashlib.sha256(origin.encode()).hexdigest())

    def policy(self, origin: str) -> Policy:
        """What holds for a ledger. Raises ProofFailed where nothing says what would."""
        return _policy(self._directory(origin), origin, self.own_policy(origin))

    def _directory(self, origin: str) -> Directory:
        """The newer of the home ledger's and its own."""
        exchanges = [self._ledgers.home.exchange, self._ledgers.of(origin).exchange]
        known = [exchange.directory for exchange in exchanges if exchange.directory is not None]
        if not known:
            raise ProofFailed("no directory is known here")
        return max(known, key=lambda directory: directory.version)

    def with_newest(self, verified: Verified) -> Verified:
        """A ledger whose checkpoint has just been verified: if that is witnessed, no older one is needed."""
        if verified.checkpoint in {"", verified.witnessed}:
            return verified
        found = self._opened(verified.origin, verified.checkpoint)
        return verified.replace(witnessed=verified.checkpoint) if found and found.enough else verified

    def size(self, verified: Verified) -> int:
        """How many entries of a ledger are witnessed as the policy asks; where it asks nobody, published."""
        notes = [self._opened(verified.origin, note) for note in (verified.witnessed, verified.checkpoint) if note]
        return max((found.checkpoint.size for found in notes if found and found.enough), default=0)

    def of(self, held: Held) -> tuple[str, ...]:
        """Who has cosigned a checkpoint that covers a bulletin."""
        verified = self._ledgers.of(held.origin).verified
        notes = [self._opened(held.origin, note) for note in (verified.witnessed, verified.checkpoint) if note]
        covering = [found for found in notes if found and found.checkpoint.size > held.index]
        return tuple(dict.fromkeys(name for found in covering for name in found.by))

    def has_witnessed(self, held: Held) -> bool:
        """Whether a bulletin is witnessed as the policy asks."""
        return held.index < self.size(self._ledgers.of(held.origin).verified)

    def _opened(self, origin: str, note: str) -> Witnessed | None:
        """What a note has behind it; None where it does not hold under the keys known now: it counts for nothing."""
        try:
            directory = self._directory(origin)
            name = origin, note, directory.hash
            if name not in self._notes:
                if len(self._notes) >= _NOTES_MAX:
                    self._notes.clear()
                policy = _policy(directory, origin, self.own_policy(origin))
                self._notes[name] = None  # unless it holds
                self._notes[name] = witnessed(note, origin, directory, policy)
        except ProtocolError:
            return None
        return self._notes[name]


def _policy(directory: Directory, origin: str, own: Policy | None) -> Policy:
    if own is None:
        return policy_of(directory, origin)
    return own if own.log_keys(origin) else own.replace(logs=policy_of(directory, origin).logs)


def _read(path: Path) -> Policy:
    try:
        return Policy.parse(path.read_text("utf-8"))
    except ProtocolError as error:
        raise UsageError(f"{path}, {error.detail}", "correct it, or remove it for the default") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8", "correct it, or remove it for the default") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
