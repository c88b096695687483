"""keys/kem.py: X-Wing, as its draft has it."""

import pytest

from keys import kem
from keys.errors import CardRefused
from keys.secret import Secret
from protocol.signing import KemKey

SEED = Secret(bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"))
KEY = kem.public_key_of(SEED)
SMALL_ORDER = (
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ec" + "ff" * 30 + "7f"),
    bytes.fromhex("ed" + "ff" * 30 + "7f"),
    bytes.fromhex("ee" + "ff" * 30 + "7f"),
)


def test_a_seed_gives_the_key_of_the_draft() -> None:
    """draft-connolly-cfrg-xwing-kem, first test vector: a backend that changed would show here. SPEC 5.1.2."""
    public = KEY.mlkem768 + KEY.x25519
    assert len(public) == 1216
    assert public.hex().startswith("e2236b35a8c24b39b10aa1323a96a919")


def test_a_sound_key_passes() -> None:
    """SPEC 5.1.3."""
    kem.check_kem_key(KEY)


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8])
def test_a_point_of_small_order_is_refused(point: bytes) -> None:
    """With it every agreement is zero, and every sender who seals to it fails. SPEC 5.1.3."""
    with pytest.raises(CardRefused):
        kem.check_kem_key(KemKey(KEY.mlkem768, point))


@pytest.mark.parametrize("mlkem768", [bytes(1184), b"\xff" * 1184], ids=["zero", "coefficients over q"])
def test_an_encapsulation_key_that_fips_203_refuses_is_refused(mlkem768: bytes) -> None:
    """And the all-zero one, which it does not. SPEC 5.1.3."""
    with pytest.raises(CardRefused):
        kem.check_kem_key(KemKey(mlkem768, KEY.x25519))
