"""A node's home: settings, keys, certificate, ledger, what it cosigned. Made by ``init``, never by accident."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broker import settings
from broker.certificate import certificate_hash, make_certificate
from broker.errors import NodeHomeError
from broker.storage import sqlite
from broker.witness import store as witness_store
from keys.keyring import Keyring, open_keyring, seal_keyring, write_private
from keys.lognote import SEED_BYTES as LOG_SEED_BYTES
from keys.lognote import CosignerKeys, LogSigner
from keys.secret import Secret
from keys.signing import SEED_BYTES, SigningKey
from protocol.errors import ProtocolError
from protocol.parties import Node
from protocol.tlogpolicy import Policy

HISTORY = "before.db"
COSIGNED = "witness.db"
EVIDENCE = "evidence"
POLICIES = "policies"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """``node.toml``: every setting of a node. Unknown keys are refused."""

    origin: str  # the ledger's name, for ever: a URL without scheme
    nation: str  # who runs it, alpha-2
    url: str  # where clients reach it; https, or http on loopback
    listen: str  # HOST:PORT that it binds
    admin: str = ""  # HOST:PORT of metrics and health, loopback only; empty for none
    pin: str = ""  # SHA-256 of the first directory, set when it is entered
    outbox_wait: str = "600"  # seconds that senders' receipts are waited for after a restore, before it signs again

    @classmethod
    def load(cls, path: Path) -> NodeConfig:
        """Raises NodeHomeError for a file that is missing, broken, or has a key that means nothing."""
        config = settings.load(cls, path, "node")
        if not (config.outbox_wait.isascii() and config.outbox_wait.isdigit()):
            raise NodeHomeError(f'{path}: outbox_wait is a number of seconds, as "600"')
        return config

    @property
    def outbox_seconds(self) -> int:
        """``outbox_wait`` as a number."""
        return int(self.outbox_wait)

    def dump(self) -> bytes:
        """The file."""
        return settings.dump(self)


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """What a node signs with: receipts and heads, its own checkpoints, its peers'."""

    receipt: SigningKey
    log: LogSigner
    cosigner: CosignerKeys

    @classmethod
    def from_keyring(cls, keyring: Keyring, origin: str) -> NodeKeys:
        """Raises NodeHomeError where a key is missing."""
        try:
            seeds = keyring.secrets
            return cls(
                SigningKey(seeds["receipt"]),
                LogSigner(origin, seeds["log/ed25519"], seeds["log/mldsa44"]),
                CosignerKeys(f"{origin}/cosigner", seeds["cosigner/ed25519"], seeds["cosigner/mldsa44"]),
            )
        except KeyError as error:
            raise NodeHomeError(f"the keyring of this node has no {error}") from None


_SEEDS = {
    "receipt": SEED_BYTES,
    "log/ed25519": LOG_SEED_BYTES,
    "log/mldsa44": LOG_SEED_BYTES,
    "cosigner/ed25519": LOG_SEED_BYTES,
    "cosigner/mldsa44": LOG_SEED_BYTES,
}


class NodeHome:
    """The folder of a node, opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = NodeConfig.load(folder / "node.toml")

    @classmethod
    def create(cls, folder: Path, config: NodeConfig, passphrase: Secret, random: Secret) -> NodeHome:
        """Make keys, certificate and an empty ledger. ``random`` is 192 secret bytes; NodeHomeError if one is there."""
        if (folder / "node.toml").exists():
            raise NodeHomeError(f"{folder} holds a node already")
        seeds, at = {}, 0
        for name, length in _SEEDS.items():
            seeds[name] = Secret(random.reveal()[at : at + length])
            at += length
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(folder / "keyring", seal_keyring(Keyring(seeds), passphrase))
        write_private(folder / "tls.pem", make_certificate(config.url))
        sqlite.create(folder / "ledger.db")
        witness_store.create(folder / COSIGNED)
        write_private(folder / "node.toml", config.dump())
        return cls(folder)

    def keys(self, passphrase: Secret) -> NodeKeys:
        """Raises WrongPassphrase, NodeHomeError."""
        try:
            data = (self.folder / "keyring").read_bytes()
        except FileNotFoundError:
            raise NodeHomeError(f"{self.folder} has no keyring") from None
        return NodeKeys.from_keyring(open_keyring(data, passphrase), self.config.origin)

    def storage(self) -> sqlite.SqliteStorage:
        """The ledger and what lies beside it. Raises NodeHomeError."""
        path = self.folder / "ledger.db"
        try:
            return sqlite.SqliteStorage(path)
        except sqlite3.Error as error:
            raise NodeHomeError(f"{path} cannot be read: {error}: `khunjerab node restore`") from error

    def cosigned(self) -> witness_store.WitnessStore | None:
        """What this node has cosigned; None in a home that was restored: it cannot know, and cosigns nothing."""
        path = self.folder / COSIGNED
        return witness_store.WitnessStore(path) if path.exists() else None

    def renew_cosigner(self, passphrase: Secret, random: Secret) -> None:
        """New cosigner keys, of 64 secret bytes, and an empty store where what was cosigned is lost.

        Keys first: a crash between leaves new keys without a store, which cosign nothing until this is done again. The
        old keys and an empty store are never together. Raises WrongPassphrase, NodeHomeError.
        """
        self.keys(passphrase)
        seeds = dict(open_keyring((self.folder / "keyring").read_bytes(), passphrase).secrets)
        seeds["cosigner/ed25519"] = Secret(random.reveal()[:LOG_SEED_BYTES])
        seeds["cosigner/mldsa44"] = Secret(random.reveal()[LOG_SEED_BYTES:SEED_BYTES_OF_COSIGNER])
        write_private(self.folder / "keyring", seal_keyring(Keyring(seeds), passphrase), replace=True)
        if not (self.folder / COSIGNED).exists():
            witness_store.create(self.folder / COSIGNED)

    def policy(self) -> Policy | None:
        """Who else is to cosign this ledger: the tlog-policy file of its own origin, if there is one."""
        path = self.folder / POLICIES / f"{witness_store.digest_of(self.config.origin).hex()}.policy"
        try:
            return Policy.parse(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, ProtocolError) as error:
            raise NodeHomeError(f"{path}: {error}") from None

    def keep_history(self, ledger: Path) -> None:
        """A ledger that this one takes the place of: what it begins with (``broker/restore.py``)."""
        sqlite.copy_ledger(ledger, self.folder / HISTORY)

    def history(self) -> sqlite.SqliteStorage:
        """The ledger that this one takes the place of. Raises NodeHomeError where there is none."""
        if not (self.folder / HISTORY).exists():
            raise NodeHomeError("a ledger begins with version 1 of the directory, unless `node restore --new-origin`")
        return sqlite.SqliteStorage(self.folder / HISTORY)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Held by whoever writes the ledger: two nodes over one would promise two histories. Raises NodeHomeError."""
        with settings.locked(self.folder, "node"):
            yield

    def is_served(self) -> bool:
        """Whether a process holds this home, or might. Ask once its address answers: until then one may be starting."""
        if not (self.folder / "lock").exists():
            return False
        try:
            with self.locked():
                return False
        except (NodeHomeError, PermissionError):
            return True

    def with_pin(self, pin: bytes) -> NodeHome:
        """Remember the exchange, once its first directory is entered."""
        config = NodeConfig(**{name: getattr(self.config, name) for name in NodeConfig.__slots__} | {"pin": pin.hex()})
        write_private(self.folder / "node.toml", config.dump(), replace=True)
        return NodeHome(self.folder)

    def certificate_hash(self) -> bytes:
        """SHA-256 of the TLS certificate, as the directory pins it."""
        return certificate_hash(self.folder / "tls.pem")

    def card(self, keys: NodeKeys) -> Node:
        """What the directory will say of this node."""
        config = self.config
        return Node(
            origin=config.origin,
            nation=config.nation,
            url=config.url,
            log=tuple(keys.log.vkeys()),
            cosigner=tuple(keys.cosigner.vkeys()),
            receipt=keys.receipt.public,
            tls=(self.certificate_hash(),) if config.url.startswith("https:") else (),
        )


SEED_BYTES_OF_NODE = sum(_SEEDS.values())
SEED_BYTES_OF_COSIGNER = 2 * LOG_SEED_BYTES
