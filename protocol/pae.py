"""Pre-authentication encoding (SPEC §3.5): everything signed or hashed is an unambiguous list under a domain string.

PAE(p1..pn) = LE64(n) || LE64(|p1|) || p1 || … , as in PASETO.
"""

import hashlib
import struct
from enum import Enum

_LE64 = struct.Struct("<Q").pack


class Domain(bytes, Enum):
    """One string for each use; a signature or hash under one never counts under another."""

    BULLETIN = b"khunjerab/1/sign/bulletin"
    ACKNOWLEDGEMENT = b"khunjerab/1/sign/acknowledgement"
    DIRECTORY = b"khunjerab/1/sign/directory"
    KEY_BUNDLE = b"khunjerab/1/sign/key-bundle"
    REVOCATION = b"khunjerab/1/sign/revocation"
    SUSPENSION = b"khunjerab/1/sign/suspension"
    LOGIN = b"khunjerab/1/sign/login"
    TREE_HEAD = b"khunjerab/1/sign/tree-head"
    CARD = b"khunjerab/1/sign/card"
    WRAP = b"khunjerab/1/wrap"
    BODY = b"khunjerab/1/body"
    SIGNING_KEY_ID = b"khunjerab/1/key-id/sign"
    KEM_KEY_ID = b"khunjerab/1/key-id/kem"
    STATEMENT = b"khunjerab/1/statement"


def pae(*parts: bytes) -> bytes:
    """The encoding of ``parts``: no two lists share one."""
    return _LE64(len(parts)) + b"".join([_LE64(len(part)) + part for part in parts])


def digest(domain: Domain, *parts: bytes) -> bytes:
    """SHA-256 of ``parts`` under ``domain``."""
    return hashlib.sha256(pae(domain, *parts)).digest()
