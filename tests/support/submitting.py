"""A log that asks to be witnessed: it signs whatever a test wants, forks included, and proves what can be proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keys.lognote import CosignerKeys, LogSigner
from protocol import merkle
from protocol.addcheckpoint import AddCheckpoint
from protocol.checkpoint import Checkpoint
from protocol.merkle import leaf_hash
from protocol.note import Note, SignatureLine, VerifierKey
from tests.support import trees
from tests.support.altering import replace
from tests.support.world import seed

TIME_S = 1_800_000_000


def log_signer(origin: str) -> LogSigner:
    """The same keys for the same origin."""
    return LogSigner(origin, seed(f"{origin}/log/ed25519", 32), seed(f"{origin}/log/mldsa44", 32))


def cosigner_keys(name: str) -> CosignerKeys:
    """The same keys for the same name."""
    return CosignerKeys(name, seed(f"{name}/co/ed25519", 32), seed(f"{name}/co/mldsa44", 32))


@dataclass(frozen=True)
class SubmittingLog:
    """Leaves under the keys of ``signer``."""

    signer: LogSigner
    leaves: tuple[bytes, ...]

    @classmethod
    def of(cls, signer: LogSigner, count: int = 40) -> SubmittingLog:
        """The entries "0", "1" and so on."""
        return cls(signer, tuple(trees.numbered_leaves(count)))

    @property
    def origin(self) -> str:
        """Its name."""
        return self.signer.name

    def forked(self, at: int, word: bytes = b"fork") -> SubmittingLog:
        """Another history from the leaf at ``at`` on, under the same keys."""
        others = tuple(leaf_hash(word + str(number).encode()) for number in range(at, len(self.leaves)))
        return replace(self, leaves=self.leaves[:at] + others)

    def checkpoint(self, size: int) -> Checkpoint:
        """Its tree over the first leaves."""
        root = merkle.root(size, trees.memory(self.leaves)) if size else merkle.EMPTY_ROOT
        return Checkpoint(self.origin, size, root)

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        """That it extends itself; empty where that is not asked."""
        return tuple(merkle.consistency_path(old, size, trees.memory(self.leaves)))

    def note(self, size: int, *more: SignatureLine) -> Note:
        """Signed with both keys, with other lines behind."""
        checkpoint = self.checkpoint(size)
        return Note(checkpoint.text(), (*self.signer.lines(checkpoint, TIME_S), *more))

    def request(self, old: int, size: int) -> bytes:
        """The body of add-checkpoint."""
        return AddCheckpoint(old, self.proof(old, size), self.note(size)).encode()


class KnownLogs:
    """What a witness under test knows."""

    def __init__(self, *logs: LogSigner, every_key: bool = True) -> None:
        self.every_key = every_key
        self.keys = {log.name: tuple(log.vkeys()) for log in logs}

    def keys_of(self, origin: str) -> Sequence[VerifierKey]:
        """None where it is unknown."""
        return self.keys.get(origin, ())
