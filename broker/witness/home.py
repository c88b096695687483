"""The home of a witness by itself: settings, keys, certificate, the logs that it cosigns, and what it has cosigned."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broker import settings
from broker.certificate import make_certificate
from broker.errors import NodeHomeError
from broker.witness import store
from broker.witness.logs import PolicyLogs
from keys.keyring import Keyring, open_keyring, seal_keyring, write_private
from keys.lognote import SEED_BYTES, CosignerKeys
from keys.secret import Secret
from protocol.errors import ProtocolError
from protocol.note import check_name
from protocol.tlogpolicy import Policy

SEED_BYTES_OF_WITNESS = 2 * SEED_BYTES


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """``witness.toml``: every setting of a witness. Unknown keys are refused."""

    name: str  # of its keys, for ever: a URL without scheme
    url: str  # where logs reach it; https, or http on loopback
    listen: str  # HOST:PORT that it binds
    admin: str = ""  # HOST:PORT of metrics and health, loopback only; empty for none


class WitnessHome:
    """The folder of a witness, opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = settings.load(WitnessConfig, folder / "witness.toml", "witness")

    @classmethod
    def create(cls, folder: Path, config: WitnessConfig, passphrase: Secret, random: Secret) -> WitnessHome:
        """Make keys, certificate and an empty store, of 64 secret bytes. NodeHomeError where one is there."""
        try:
            check_name(config.name)
        except ProtocolError as error:
            raise NodeHomeError(f"the name of a witness: {error.detail}") from None
        if (folder / "witness.toml").exists():
            raise NodeHomeError(f"{folder} holds a witness already")
        seeds = random.reveal()
        keyring = Keyring(
            {"cosigner/ed25519": Secret(seeds[:SEED_BYTES]), "cosigner/mldsa44": Secret(seeds[SEED_BYTES:])}
        )
        (folder / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(folder / "keyring", seal_keyring(keyring, passphrase))
        write_private(folder / "tls.pem", make_certificate(config.url))
        store.create(folder / "witness.db")
        write_private(folder / "witness.toml", settings.dump(config))
        return cls(folder)

    def keys(self, passphrase: Secret) -> CosignerKeys:
        """Raises WrongPassphrase, NodeHomeError."""
        try:
            seeds = open_keyring((self.folder / "keyring").read_bytes(), passphrase).secrets
            return CosignerKeys(self.config.name, seeds["cosigner/ed25519"], seeds["cosigner/mldsa44"])
        except (FileNotFoundError, KeyError):
            raise NodeHomeError(f"{self.folder} has no keyring of a witness") from None

    def store(self) -> store.WitnessStore:
        """What it has cosigned. Raises NodeHomeError where that is lost: with these keys it cosigns nothing more."""
        return store.WitnessStore(self.folder / "witness.db")

    def logs(self) -> PolicyLogs:
        """The logs of every ``logs/*.policy``. Raises NodeHomeError for a file that is none."""
        return PolicyLogs([self._read(path) for path in sorted((self.folder / "logs").glob("*.policy"))])

    def add(self, path: Path) -> str:
        """Take the log of a policy file, in the place of an earlier file for the same origin, which it returns."""
        policy = self._read(path)
        (origin,) = {log.key.name for log in policy.logs}
        target = self.folder / "logs" / f"{store.digest_of(origin).hex()}.policy"
        write_private(target, policy.encode().encode(), replace=True)
        return origin

    def _read(self, path: Path) -> Policy:
        try:
            policy = Policy.parse(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise NodeHomeError(f"{path}: {error}") from None
        except ProtocolError as error:
            raise NodeHomeError(f"{path}: {error.detail}") from None
        if len({log.key.name for log in policy.logs}) != 1:
            raise NodeHomeError(f"{path} does not list the keys of one log, and of one only")
        return policy

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Held by the process that cosigns. Raises NodeHomeError."""
        with settings.locked(self.folder, "witness"):
            yield
