"""protocol/signing.py: the form of keys and signatures."""

import hashlib
from typing import Any

import pytest

from protocol import canonical, limits
from protocol.errors import Malformed, ProtocolError
from protocol.pae import pae
from protocol.signing import KemKey, PublicKey, Signature, decode_signatures, encode_signatures

KEY, KEM = PublicKey(b"e" * 32, b"m" * 1952), KemKey(b"k" * 1184, b"x" * 32)


def _signature(number: int, mldsa65: bytes | None = None) -> Signature:
    return Signature(bytes([number]) * 32, b"e" * 64, mldsa65)


def test_a_key_id_covers_both_halves() -> None:
    """Under a domain for each use. SPEC 5.1.1, 5.1.2."""
    assert KEY.key_id == hashlib.sha256(pae(b"khunjerab/1/key-id/sign", KEY.ed25519, KEY.mldsa65)).digest()
    assert KEM.key_id == hashlib.sha256(pae(b"khunjerab/1/key-id/kem", KEM.mlkem768, KEM.x25519)).digest()
    others = [PublicKey(b"f" * 32, KEY.mldsa65), PublicKey(KEY.ed25519, b"n" * 1952)]
    assert len({KEY.key_id, *(other.key_id for other in others)}) == 3


def test_halves_have_one_length() -> None:
    """SPEC 5.1.1, 5.1.2."""
    assert PublicKey.from_wire(KEY.to_wire()) == KEY
    assert KemKey.from_wire(KEM.to_wire()) == KEM
    wires: list[list[Any]] = [[b"e" * 31, KEY.mldsa65], [KEY.ed25519, b"m"], [KEY.ed25519], [KEY.ed25519, None]]
    for wire in wires:
        with pytest.raises(Malformed):
            PublicKey.from_wire(wire)
        with pytest.raises(Malformed):
            KemKey.from_wire(wire)


def test_a_signature_s_suite_is_what_it_holds() -> None:
    """SPEC 5.2.1, 5.3.1."""
    assert (_signature(1).suite, _signature(1, b"m" * 3309).suite) == (1, 2)
    for wire in (
        [bytes(31), b"e" * 64, None],
        [bytes(32), b"e" * 63, None],
        [bytes(32), b"e" * 64, b""],
        [bytes(32), None, None],
    ):
        with pytest.raises(Malformed):
            Signature.from_wire(wire)


def test_signatures_are_sorted_by_key_and_each_key_signs_once() -> None:
    """One set of signatures has one encoding. SPEC 5.3.1."""
    data = encode_signatures((_signature(2), _signature(1)))
    assert decode_signatures(data) == (_signature(1), _signature(2))
    for several in ([], [_signature(2), _signature(1)], [_signature(1), _signature(1, b"m" * 3309)]):
        with pytest.raises(Malformed):
            decode_signatures(canonical.encode([signature.to_wire() for signature in several]))


def test_a_statement_has_at_most_eighteen() -> None:
    """SPEC 5.3.1, 2.1.1."""
    most = encode_signatures(tuple(_signature(n, b"m" * 3309) for n in range(limits.SIGNATURES_MAX)))
    assert len(decode_signatures(most)) == 18
    with pytest.raises(ProtocolError):
        decode_signatures(encode_signatures(tuple(_signature(n) for n in range(limits.SIGNATURES_MAX + 1))))
