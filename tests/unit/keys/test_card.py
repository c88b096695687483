"""protocol/card.py, protocol/sigfile.py, keys/card.py: what custodians hand to each other as files."""

import hashlib
import json
from typing import Any

import pytest
from nacl import bindings as curve

from keys.card import make_card, open_card
from keys.errors import CardRefused
from keys.signing import SignatureCheck
from protocol.card import Card, decode_card
from protocol.errors import Malformed
from protocol.pae import pae
from protocol.parties import Node
from protocol.sigfile import read_signature, write_signature
from protocol.signing import KemKey, PublicKey, Signature
from protocol.strictjson import dumps, loads
from tests.support.altering import replace
from tests.support.edits import edited
from tests.support.world import kem_key, node, signing_key

KEY, KEM = signing_key("pk-liaison/desk"), (kem_key("pk-liaison/desk/1"), kem_key("pk-liaison/desk/2"))
SEAT = make_card("seat", "desk", KEY, KEM)
H = bytes(range(32))


def _forged(card: Card) -> bytes:
    """With a proof that holds: the form alone is wrong, or the keys."""
    return card.encode(KEY.sign(card.message(), 2))


def test_a_card_says_whose_key_it_is_and_proves_that_it_is_held() -> None:
    """SPEC 13.3.1, 13.3.2."""
    assert open_card(SEAT, "seat") == Card("seat", "desk", KEY.public, KEM)
    value = json.loads(SEAT)
    assert list(value) == ["type", "kind", "name", "key", "kem", "proof"]
    assert value["type"] == "khunjerab.card.v1"
    card, proof = decode_card(SEAT)
    del value["proof"]
    assert card.message() == pae(b"khunjerab/1/sign/card", dumps(value))
    assert card.encode(proof) == SEAT
    for kind in ("agency", "authority"):
        assert open_card(make_card(kind, "pk-liaison", KEY), kind).kem == ()


@pytest.mark.parametrize(
    "place, value",
    [
        ("type", "khunjerab.card.v2"),
        ("kind", "node"),
        ("name", "Desk"),
        ("extra", 1),
        ("key/ed25519", "AA=="),
        ("kem", []),
        ("kem", [{}]),
        ("kem/0/x25519", "AA=="),
        ("kem/0/extra", 1),
        ("proof", ...),
        ("proof/mldsa65", ""),
    ],
)
def test_a_card_of_another_form_is_refused(place: str, value: Any) -> None:
    """SPEC 13.3.1."""
    with pytest.raises(CardRefused, match="no card"):
        open_card(dumps(edited(json.loads(SEAT), place, value)), "seat")


@pytest.mark.parametrize(
    "card",
    [
        Card("seat", "desk", KEY.public, ()),
        Card("seat", "desk", KEY.public, KEM[:1] * 2),
        Card("agency", "pk-liaison", KEY.public, KEM),
        Card("seat", "desk", KEY.public, tuple(kem_key(f"desk/{number}") for number in range(14))),
    ],
    ids=["none", "twice", "agency", "fourteen"],
)
def test_a_seat_has_up_to_thirteen_kem_keys_and_nobody_else_any(card: Card) -> None:
    """Though the proof holds. SPEC 13.3.1."""
    with pytest.raises(CardRefused, match="no card"):
        open_card(_forged(card), card.kind)


def test_a_card_is_taken_for_what_it_is_wanted_for() -> None:
    """A seat's key does not become an identity key. SPEC 13.3.2."""
    with pytest.raises(CardRefused, match="of a seat, not of an agency"):
        open_card(SEAT, "agency")


@pytest.mark.parametrize(
    "kem",
    [(KemKey(KEM[0].mlkem768, bytes(32)),), (KEM[0], KemKey(bytes(1184), KEM[1].x25519))],
    ids=["zero X25519", "zero ML-KEM"],
)
def test_kem_keys_on_a_card_are_sound(kem: tuple[KemKey, ...]) -> None:
    """All of them. SPEC 13.3.2, 5.1.3."""
    with pytest.raises(CardRefused):
        open_card(_forged(Card("seat", "desk", KEY.public, kem)), "seat")


def test_a_signing_key_on_a_card_is_sound_though_the_proof_verifies() -> None:
    """An honest key and a point of order 2 in sum: half of what it signs holds. SPEC 13.3.2, 5.1.3."""
    wide = hashlib.sha512(KEY.seed.reveal()[:32]).digest()[:32]
    clamped = bytes([wide[0] & 248]) + wide[1:31] + bytes([wide[31] & 127 | 64])
    secret = curve.crypto_core_ed25519_scalar_reduce(clamped + bytes(32))
    mixed = curve.crypto_core_ed25519_add(KEY.public.ed25519, bytes.fromhex("ec" + "ff" * 30 + "7f"))
    card = Card("seat", "desk", PublicKey(mixed, KEY.public.mldsa65), KEM)
    good = KEY.sign(card.message(), 2)
    nonces = [bytes([number]) + bytes(31) for number in range(1, 100)]
    points = [curve.crypto_scalarmult_ed25519_base_noclamp(nonce) for nonce in nonces]
    hashes = [hashlib.sha512(point + mixed + card.message()).digest() for point in points]
    challenges = [curve.crypto_core_ed25519_scalar_reduce(digest) for digest in hashes]
    at = next(at for at, challenge in enumerate(challenges) if challenge[0] % 2 == 0)
    half = curve.crypto_core_ed25519_scalar_mul(challenges[at], secret)
    scalar = curve.crypto_core_ed25519_scalar_add(nonces[at], half)
    proof = replace(good, key_id=card.key.key_id, ed25519=points[at] + scalar)
    SignatureCheck(card.key, card.message(), proof, 2).verify()
    with pytest.raises(CardRefused, match="prime-order"):
        open_card(card.encode(proof), "seat")


def test_a_proof_is_of_this_card_by_its_own_key_in_both_halves() -> None:
    """Nobody enters a key that he does not hold, or under another name. SPEC 13.3.2."""
    card, proof = decode_card(SEAT)
    other = signing_key("pk-liaison/duty").sign(card.message(), 2)
    for forged in (
        replace(card, name="duty").encode(proof),
        replace(card, kem=card.kem[:1]).encode(proof),
        card.encode(other),
        card.encode(replace(proof, mldsa65=other.mldsa65)),
        card.encode(replace(proof, ed25519=other.ed25519)),
    ):
        with pytest.raises(CardRefused, match="proves nothing"):
            open_card(forged, "seat")


def test_a_node_s_card_is_its_entry_in_the_directory() -> None:
    """SPEC 13.3.3."""
    data = dumps(node("PK").to_json())
    assert Node.from_json(loads(data, 100_000)) == node("PK")


def test_a_signature_file_is_about_one_file() -> None:
    """Named by its hash, so that two versions at one table are not mixed up. SPEC 13.3.4."""
    signature = Signature(H, b"e" * 64, b"m" * 3309)
    data = write_signature(signature, H, "pk-custodian-1")
    assert list(json.loads(data)) == ["type", "signer", "sha256", "key_id", "ed25519", "mldsa65"]
    assert read_signature(data, H) == signature
    with pytest.raises(Malformed, match="another file"):
        read_signature(data, bytes(32))


@pytest.mark.parametrize(
    "place, value",
    [("type", "other"), ("signer", "a\nb"), ("key_id", "00"), ("mldsa65", ""), ("extra", 1), ("ed25519", ...)],
)
def test_a_signature_file_of_another_form_is_refused(place: str, value: Any) -> None:
    """Suite 1 among them: governance is signed with both halves. SPEC 13.3.4."""
    data = write_signature(Signature(H, b"e" * 64, b"m" * 3309), H, "pk-custodian-1")
    with pytest.raises(Malformed):
        read_signature(dumps(edited(json.loads(data), place, value)), H)
