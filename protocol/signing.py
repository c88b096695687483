"""Public keys and the signatures on a statement (SPEC §5). Verifying is keys/signing.py's: this is their form."""

from __future__ import annotations

import functools
from typing import Annotated

import msgspec

from protocol import canonical, limits
from protocol.canonical import Form, Hash
from protocol.errors import Malformed
from protocol.pae import Domain, digest
from protocol.record import WireRecord

ED25519_KEY_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
MLDSA65_KEY_BYTES = 1952
MLDSA65_SIGNATURE_BYTES = 3309
MLKEM768_KEY_BYTES = 1184
X25519_KEY_BYTES = 32


def _exactly(length: int) -> msgspec.Meta:
    return msgspec.Meta(min_length=length, max_length=length)


class PublicKey(WireRecord, dict=True, gc=True):
    """[ed25519, mldsa65]: both halves of a signing key; every key holder has both."""

    ed25519: Annotated[bytes, _exactly(ED25519_KEY_BYTES)]
    mldsa65: Annotated[bytes, _exactly(MLDSA65_KEY_BYTES)]

    @functools.cached_property
    def key_id(self) -> bytes:
        """SHA-256 over both halves (SPEC §5.1)."""
        return digest(Domain.SIGNING_KEY_ID, self.ed25519, self.mldsa65)


class KemKey(WireRecord, dict=True, gc=True):
    """[mlkem768, x25519]: the two public halves that a wrap is sealed to, ML-KEM-768 and X25519 (X-Wing)."""

    mlkem768: Annotated[bytes, _exactly(MLKEM768_KEY_BYTES)]
    x25519: Annotated[bytes, _exactly(X25519_KEY_BYTES)]

    @functools.cached_property
    def key_id(self) -> bytes:
        """SHA-256 over both halves (SPEC §5.1)."""
        return digest(Domain.KEM_KEY_ID, self.mlkem768, self.x25519)


class Signature(WireRecord):
    """[key id, ed25519, mldsa65 or nil]: one signer's, and in suite 2 both halves over the same message."""

    key_id: Hash
    ed25519: Annotated[bytes, _exactly(ED25519_SIGNATURE_BYTES)]
    mldsa65: Annotated[bytes, _exactly(MLDSA65_SIGNATURE_BYTES)] | None = None

    @property
    def suite(self) -> int:
        """The suite that this signature fulfils."""
        return 1 if self.mldsa65 is None else 2


_SIGNATURES = Form(list[Signature], "not an array of signatures")


def encode_signatures(signatures: tuple[Signature, ...]) -> bytes:
    """The signatures of a statement, sorted by key id (SPEC §5.3)."""
    return canonical.encode(sorted(signatures, key=lambda s: s.key_id))


def decode_signatures(data: bytes) -> tuple[Signature, ...]:
    """Raises Malformed unless there is at least one, each key signs once, and they are sorted."""
    signatures = _SIGNATURES.decode(data, limits.ENTRY_BYTES_MAX)
    signers = [signature.key_id for signature in signatures]
    if not 1 <= len(signers) <= limits.SIGNATURES_MAX or signers != sorted(set(signers)):
        raise Malformed("signatures: none or too many, not sorted by key id, or a key signs twice")
    return tuple(signatures)
