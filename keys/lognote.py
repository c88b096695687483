"""Signing checkpoints and opening signed ones (SPEC §9; C2SP signed-note, tlog-checkpoint and tlog-cosignature).

A log signs each checkpoint with two keys, Ed25519 (type 01) and ML-DSA-44 (type 06): the first is what every reader of
such logs knows, the second outlasts a quantum computer. A cosigner has the same pair as types 04 and 06.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import nacl.bindings
import nacl.exceptions
import nacl.signing
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from keys.secret import Secret
from protocol.checkpoint import (
    Checkpoint,
    ed25519_cosigned_message,
    join_timestamped,
    mldsa44_cosigned_message,
    split_timestamped,
)
from protocol.errors import Malformed, ProofFailed
from protocol.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519, Note, SignatureLine, VerifierKey
from protocol.record import Record

SEED_BYTES = 32
_ED25519_SIGNATURE_BYTES = 64


class _Signer:
    """An Ed25519 and an ML-DSA-44 key under one name."""

    _ed25519_type: ClassVar[int]

    def __init__(self, name: str, ed25519_seed: Secret, mldsa44_seed: Secret) -> None:
        self.name = name
        self._ed25519 = nacl.signing.SigningKey(ed25519_seed.reveal())
        self._mldsa44 = MLDSA44PrivateKey.from_seed_bytes(mldsa44_seed.reveal())
        self._vkeys = (
            VerifierKey(name, self._ed25519_type, bytes(self._ed25519.verify_key)),
            VerifierKey(name, COSIGNATURE_MLDSA44, self._mldsa44.public_key().public_bytes_raw()),
        )

    def vkeys(self) -> list[VerifierKey]:
        """The public keys, Ed25519 first: what a directory or a policy lists."""
        return list(self._vkeys)

    def lines(self, checkpoint: Checkpoint, time_s: int) -> list[SignatureLine]:
        """Both lines over ``checkpoint``. ML-DSA signatures are randomised: keep them, they are never made twice."""
        return [self._line(key, checkpoint, time_s) for key in self._vkeys]

    def _line(self, key: VerifierKey, checkpoint: Checkpoint, time_s: int) -> SignatureLine:
        message = _message(key, checkpoint, time_s)
        if key.type == COSIGNATURE_MLDSA44:
            body = join_timestamped(time_s, self._mldsa44.sign(message))
        elif key.type == COSIGNATURE_ED25519:
            body = join_timestamped(time_s, self._ed25519.sign(message).signature)
        else:
            body = self._ed25519.sign(message).signature
        return SignatureLine(key.name, key.key_id, body)


class LogSigner(_Signer):
    """A log's own keys, named by its origin. It must never sign two checkpoints that are not one history."""

    _ed25519_type = ED25519


class CosignerKeys(_Signer):
    """The keys of a witness: its line says that at this time no larger consistent tree had been seen."""

    _ed25519_type = COSIGNATURE_ED25519


class Cosigned(NamedTuple):
    """That a cosigner's line verified, and the time in it."""

    name: str
    type: int
    time_s: int


class OpenedCheckpoint(Record):
    """A checkpoint that every log key asked for has signed, and who else has."""

    checkpoint: Checkpoint
    log_lines: tuple[SignatureLine, ...]
    cosigned: tuple[Cosigned, ...]
    cosigners: frozenset[VerifierKey]  # whose lines ``cosigned`` stands for: what a policy is asked about


def open_checkpoint(
    note_text: str, log_keys: Sequence[VerifierKey], cosigner_keys: Sequence[VerifierKey] = ()
) -> OpenedCheckpoint:
    """The checkpoint of a signed note.

    To accept one we must:
    (1) read the note, and the checkpoint that is its text, both strictly;
    (2) know at least one log key, and find the checkpoint's origin in the name of each;
    (3) find no two of the given keys under one name and key id, so that every line has one meaning;
    (4) verify every line of a known key, and refuse the note if one fails; lines of unknown keys are ignored;
    (5) have seen a line of every log key: the log signs with all of them, or not at all.

    A cosignature that names no time (0) claims nothing, and is left out. How fresh the others have to be, and whose
    they have to be, is for the caller. Raises ProofFailed, or for (1) Malformed and TooLarge.
    """
    note = Note.parse(note_text)  # (1)
    checkpoint = Checkpoint.parse(note.text)
    if not log_keys or any(key.name != checkpoint.origin for key in log_keys):  # (2)
        raise ProofFailed(f"no log key given, or not one of the origin {checkpoint.origin!r}")
    known = _by_line([*log_keys, *cosigner_keys])  # (3)
    log_lines: dict[VerifierKey, SignatureLine] = {}
    cosigned: dict[VerifierKey, Cosigned] = {}
    for line in note.lines:  # (4)
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        time_s = _verify(key, line, checkpoint)
        if key in log_keys:
            log_lines.setdefault(key, line)
        if key in cosigner_keys and time_s:
            cosigned.setdefault(key, Cosigned(key.name, key.type, time_s))
    for key in log_keys:  # (5)
        if key not in log_lines:
            raise ProofFailed(f"no line of the log's key {key.key_id.hex()} (type {key.type})")
    return OpenedCheckpoint(checkpoint, tuple(log_lines.values()), tuple(cosigned.values()), frozenset(cosigned))


def cosignatures_of(
    checkpoint: Checkpoint, lines: Iterable[SignatureLine], keys: Sequence[VerifierKey]
) -> list[SignatureLine]:
    """The lines that verify under ``keys`` and name a time, one a key; whatever else there is counts for nothing."""
    known, found = _by_line(keys), dict[VerifierKey, SignatureLine]()
    for line in lines:
        key = known.get((line.name, line.key_id))
        if key is None or key in found:
            continue
        with contextlib.suppress(ProofFailed):
            if _verify(key, line, checkpoint):
                found[key] = line
    return list(found.values())


def _by_line(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise ProofFailed(f"two keys of {key.name!r} have the id {key.key_id.hex()}")
    return known


def _message(key: VerifierKey, checkpoint: Checkpoint, time_s: int) -> bytes:
    """What a key of this type signs."""
    if key.type == ED25519:
        return checkpoint.text().encode()
    if key.type == COSIGNATURE_ED25519:
        return ed25519_cosigned_message(checkpoint.text(), time_s)
    return mldsa44_cosigned_message(key.name, time_s, checkpoint)


def _verify(key: VerifierKey, line: SignatureLine, checkpoint: Checkpoint) -> int:
    """The time in a line that verifies, 0 if its type has none; or ProofFailed."""
    try:
        time_s, signature = (0, line.signature) if key.type == ED25519 else split_timestamped(line.signature)
        message = _message(key, checkpoint, time_s)
        if key.type == COSIGNATURE_MLDSA44:
            _mldsa44_public(key.public).verify(signature, message)
        elif len(signature) == _ED25519_SIGNATURE_BYTES:
            nacl.bindings.crypto_sign_open(signature + message, _ed25519_public(key.public))
        else:
            raise ProofFailed(f"an Ed25519 signature of {len(signature)} bytes")
    except (Malformed, InvalidSignature, nacl.exceptions.CryptoError) as error:
        raise ProofFailed(f"the line of {key.name!r}, key {key.key_id.hex()}, does not verify") from error
    return time_s


def _ed25519_public(public: bytes) -> bytes:
    """Refuse a key under which anyone could sign: points of small order verify almost anything."""
    if not nacl.bindings.crypto_core_ed25519_is_valid_point(public):
        raise ProofFailed("an Ed25519 key that is no point of the prime-order group")
    return public


@functools.lru_cache(maxsize=256)
def _mldsa44_public(public: bytes) -> MLDSA44PublicKey:
    try:
        return MLDSA44PublicKey.from_public_bytes(public)
    except ValueError as error:
        raise ProofFailed("an ML-DSA-44 key that is none") from error
