"""A signature as a file of its own (SPEC §13.3): what a custodian hands back from the signing table."""

from __future__ import annotations

import base64

from protocol.errors import Malformed
from protocol.signing import (
    ED25519_SIGNATURE_BYTES,
    MLDSA65_SIGNATURE_BYTES,
    Signature,
)
from protocol.strictjson import Members, dumps, loads

TYPE = "khunjerab.signature.v1"
_BYTES_MAX = 16 * 1024
_HASH_BYTES = 32


def write_signature(signature: Signature, sha256: bytes, signer: str) -> bytes:
    """The file: who signed, what by its SHA-256, and both halves."""
    return dumps(
        {
            "type": TYPE,
            "signer": signer,
            "sha256": sha256.hex(),
            "key_id": signature.key_id.hex(),
            "ed25519": base64.b64encode(signature.ed25519).decode(),
            "mldsa65": base64.b64encode(signature.mldsa65 or b"").decode(),
        }
    )


def read_signature(data: bytes, sha256: bytes) -> Signature:
    """The signature in a file, which must be about ``sha256``. Raises Malformed; it verifies nothing."""
    subject, signature = open_signature(data)
    if subject != sha256:
        raise Malformed("the signature is of another file")
    return signature


def open_signature(data: bytes) -> tuple[bytes, Signature]:
    """The SHA-256 of what a signature is about, and the signature. Raises Malformed; it verifies nothing."""
    m = Members(loads(data, _BYTES_MAX), "signature file")
    if m.text("type", 64) != TYPE:
        raise Malformed("not a signature file")
    m.text("signer", 64)
    subject = m.hex("sha256", _HASH_BYTES)
    key_id = m.hex("key_id", _HASH_BYTES)
    signature = Signature(
        key_id, m.base64("ed25519", ED25519_SIGNATURE_BYTES), m.base64("mldsa65", MLDSA65_SIGNATURE_BYTES)
    )
    m.end()
    return subject, signature
