"""Cards made and verified (SPEC §13.3)."""

from __future__ import annotations

from keys.errors import BadSignature, CardRefused
from keys.kem import check_kem_key
from keys.signing import SignatureCheck, SigningKey, check_public_key
from protocol.card import Card, decode_card
from protocol.errors import ProtocolError
from protocol.signing import KemKey

PROOF_SUITE = 2


def make_card(kind: str, name: str, key: SigningKey, kem: tuple[KemKey, ...] = ()) -> bytes:
    """The file for a key that is held here."""
    card = Card(kind, name, key.public, kem)
    return card.encode(key.sign(card.message(), PROOF_SUITE))


def open_card(data: bytes, kind: str) -> Card:
    """The card in a file, verified; else CardRefused.

    To accept a card (1) its form must hold; (2) it must be of the kind that is wanted; (3) its keys must be sound;
    (4) both halves of its proof must verify.
    """
    try:
        card, proof = decode_card(data)  # (1)
    except ProtocolError as error:
        raise CardRefused(f"this is no card: {error.detail}") from error
    if card.kind != kind:  # (2)
        raise CardRefused(f"this is the card of {_article(card.kind)}, not of {_article(kind)}")
    try:
        check_public_key(card.key)  # (3)
        for key in card.kem:
            check_kem_key(key)
        SignatureCheck(card.key, card.message(), proof, PROOF_SUITE).verify()  # (4)
    except BadSignature as error:
        raise CardRefused(f"the card of {card.name} proves nothing: {error.detail}") from error
    return card


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
