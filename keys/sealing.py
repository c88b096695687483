"""Sealing and opening a bulletin (SPEC §8.2).

One random content key; for each seat of each addressee a wrap: HPKE (base mode, ML-KEM-768 + X25519, HKDF-SHA256,
AES-256-GCM) with the header in ``info``; the padded content under Cobblestone-256, which commits to its key, with the
header as context. Nothing can be moved under another header, and no two readers can be given two contents.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from keys import kem
from keys.errors import CannotOpen
from keys.secret import Secret
from keys.signing import SigningKey
from protocol import limits, padding
from protocol.content import Content
from protocol.entry import WRAP_BYTES, Submission
from protocol.errors import ProtocolError, TooLarge
from protocol.header import Header
from protocol.pae import Domain, pae
from protocol.record import Record
from protocol.signing import KemKey, encode_signatures
from protocol.statements import Bulletin, Kind, WrapHash

_HPKE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
CONTENT_KEY_BYTES = 32


class SealTo(Record):
    """One wrap to make: whose it is, and how many receipts the sender held for that recipient, origin and feed."""

    agency: str
    key: KemKey
    count: int


def _wrap_info(header: bytes, agency: str, kem_key_id: bytes) -> bytes:
    return pae(Domain.WRAP, header, agency.encode(), kem_key_id)


def _body_context(header: bytes) -> bytes:
    return pae(Domain.BODY, header)


def seal(header: Header, content: Content, seats: Sequence[SealTo], signing: SigningKey) -> Submission:
    """The envelope of a bulletin; ``seats`` in the order of ``header.addressees`` and of each bundle.

    Raises TooLarge where content or wraps exceed SPEC §2.
    """
    plain = content.encode()
    if len(plain) > limits.CONTENT_BYTES_MAX:
        raise TooLarge(f"the content is {len(plain)} bytes, over {limits.CONTENT_BYTES_MAX}")
    if len(seats) > limits.WRAPS_MAX:
        raise TooLarge(f"{len(seats)} seats would be sealed to, over {limits.WRAPS_MAX}: name fewer recipients")
    header_bytes = header.encode()
    content_key = os.urandom(CONTENT_KEY_BYTES)
    encryptor = Cobblestone256Encryptor(content_key, _body_context(header_bytes))
    body = encryptor.update(padding.pad(plain)) + encryptor.finalize()
    wraps = tuple(_wrap(header_bytes, content_key, seat) for seat in seats)
    statement = Bulletin(
        header,
        header_bytes,
        tuple(
            WrapHash(seat.key.key_id, hashlib.sha256(wrap).digest()) for seat, wrap in zip(seats, wraps, strict=True)
        ),
        hashlib.sha256(body).digest(),
    ).encode()
    signature = signing.sign_statement(Kind.BULLETIN, statement, header.suite)
    return Submission(Kind.BULLETIN, statement, encode_signatures((signature,)), wraps, body)


def _wrap(header: bytes, content_key: bytes, seat: SealTo) -> bytes:
    plain = content_key + seat.count.to_bytes(8, "big")
    info = _wrap_info(header, seat.agency, seat.key.key_id)
    return _HPKE.encrypt(plain, kem.public_key(seat.key), info=info)


class OpenedWrap(Record):
    """What a wrap holds."""

    content_key: Secret
    count: int


def open_wrap(wrap: bytes, header: bytes, agency: str, key: kem.PrivateKey, kem_key_id: bytes) -> OpenedWrap:
    """Raises CannotOpen, whatever the reason. The length is checked first, so that nobody probes with others."""
    if len(wrap) != WRAP_BYTES:
        raise CannotOpen("the wrap does not open with this seat's key under this header")
    try:
        plain = _HPKE.decrypt(wrap, key.pair, info=_wrap_info(header, agency, kem_key_id))
    except InvalidTag as error:
        raise CannotOpen("the wrap does not open with this seat's key under this header") from error
    return OpenedWrap(Secret(plain[:CONTENT_KEY_BYTES]), int.from_bytes(plain[CONTENT_KEY_BYTES:], "big"))


def open_body(body: bytes, header: bytes, content_key: Secret) -> Content:
    """Raises CannotOpen unless the body is the one sealed under this header with this key, and holds content."""
    try:
        decryptor = Cobblestone256Decryptor(content_key.reveal(), _body_context(header))
        padded = decryptor.update(body) + decryptor.finalize()
        return Content.decode(padding.unpad(padded))
    except (InvalidTag, ValueError, ProtocolError) as error:
        raise CannotOpen("the body does not open under this header") from error
