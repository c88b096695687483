"""Cards (SPEC §13.3): a public key with proof of possession, as a file that one custodian hands to another.

A seat's card also has the KEM keys that its next bundles will use, one after the other. A node's card is its entry in
the directory (``Node.to_json``).
"""

from __future__ import annotations

import base64

from protocol import limits, names
from protocol.errors import Malformed
from protocol.pae import Domain, pae
from protocol.parties import key_from_json, key_to_json
from protocol.record import Record
from protocol.signing import (
    ED25519_SIGNATURE_BYTES,
    MLDSA65_SIGNATURE_BYTES,
    MLKEM768_KEY_BYTES,
    X25519_KEY_BYTES,
    KemKey,
    PublicKey,
    Signature,
)
from protocol.strictjson import Json, Members, dumps, loads

TYPE = "khunjerab.card.v1"
KINDS = ("seat", "agency", "authority")
_BYTES_MAX = 64 * 1024


class Card(Record):
    """Whose key it is; ``kem`` is empty but for a seat. Only keys/card.py says that the proof holds."""

    kind: str
    name: str  # of the seat, the agency, or the authority
    key: PublicKey
    kem: tuple[KemKey, ...] = ()

    def message(self) -> bytes:
        """What the proof signs: all of the card but the proof."""
        return pae(Domain.CARD, dumps(self._members()))

    def encode(self, proof: Signature) -> bytes:
        """The file."""
        return dumps(
            {
                **self._members(),
                "proof": {
                    "ed25519": base64.b64encode(proof.ed25519).decode(),
                    "mldsa65": base64.b64encode(proof.mldsa65 or b"").decode(),
                },
            }
        )

    def _members(self) -> Json:
        return {
            "type": TYPE,
            "kind": self.kind,
            "name": self.name,
            "key": key_to_json(self.key),
            "kem": [
                {"mlkem768": base64.b64encode(key.mlkem768).decode(), "x25519": base64.b64encode(key.x25519).decode()}
                for key in self.kem
            ],
        }


def decode_card(data: bytes) -> tuple[Card, Signature]:
    """A card and its proof, not yet verified. Raises Malformed or TooLarge."""
    m = Members(loads(data, _BYTES_MAX), "card")
    m.choice("type", (TYPE,))
    card = Card(
        m.choice("kind", KINDS),
        m.matching("name", names.agency),
        key_from_json(m.get("key", dict)),
        m.array("kem", limits.KEM_KEYS_PER_CARD, _kem_key),
    )
    p = Members(m.get("proof", dict), "proof")
    ed25519 = p.base64("ed25519", ED25519_SIGNATURE_BYTES)
    proof = Signature(card.key.key_id, ed25519, p.base64("mldsa65", MLDSA65_SIGNATURE_BYTES))
    p.end()
    m.end()
    if (card.kind == "seat") != bool(card.kem) or len(set(card.kem)) != len(card.kem):
        raise Malformed("card: a seat's has KEM keys, each once, and no other has any")
    return card, proof


def _kem_key(value: object) -> KemKey:
    m = Members(value, "KEM key")
    key = KemKey(m.base64("mlkem768", MLKEM768_KEY_BYTES), m.base64("x25519", X25519_KEY_BYTES))
    m.end()
    return key
