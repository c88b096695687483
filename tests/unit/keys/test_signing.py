"""keys/signing.py: both halves, or the one that the suite has; and no key under which anyone could sign."""

import pytest

from keys.errors import BadSignature
from keys.secret import Secret
from keys.signing import SEED_BYTES, SignatureCheck, SigningKey, check_public_key, signed_message, verify_all
from protocol.pae import pae
from protocol.signing import PublicKey, Signature
from protocol.statements import Kind
from tests.support.altering import replace

KEY = SigningKey(Secret(bytes(range(64))))
OTHER = SigningKey(Secret(bytes(range(1, 65))))
MESSAGE = signed_message(Kind.REVOCATION, b"statement")
# The points of order 1, 2, 4 and 8, and spellings of them that are not canonical
SMALL_ORDER = (
    b"\x01" + bytes(31),
    bytes.fromhex("ec" + "ff" * 30 + "7f"),
    bytes(32),
    bytes(31) + b"\x80",
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("ee" + "ff" * 30 + "7f"),
    b"\x01" + bytes(30) + b"\x80",
)


def _check(signature: Signature, suite: int, message: bytes = MESSAGE, key: PublicKey = KEY.public) -> None:
    SignatureCheck(key, message, signature, suite).verify()


def test_what_is_signed_is_the_statement_under_the_domain_of_its_kind() -> None:
    """SPEC 5.2.2, 3.5.2."""
    assert pae(b"khunjerab/1/sign/revocation", b"statement") == MESSAGE
    for suite in (1, 2):
        signature = KEY.sign_statement(Kind.REVOCATION, b"statement", suite)
        assert (signature.suite, signature.key_id) == (suite, KEY.public.key_id)
        _check(signature, suite)


@pytest.mark.parametrize("suite", [1, 2])
def test_a_signature_holds_for_its_message_kind_and_key_only(suite: int) -> None:
    """None is ever another's. SPEC 5.2.2, 5.2.3."""
    signature = KEY.sign(MESSAGE, suite)
    for other in (b"", MESSAGE + b"\0", signed_message(Kind.SUSPENSION, b"statement")):
        with pytest.raises(BadSignature):
            _check(signature, suite, other)
    with pytest.raises(BadSignature):
        _check(signature, suite, key=OTHER.public)


def test_a_suite_is_neither_more_nor_less_than_its_halves() -> None:
    """Stripping ML-DSA does not make suite 2 into 1, and no suite is made of what is there. SPEC 5.2.3."""
    weak, strong = KEY.sign(MESSAGE, 1), KEY.sign(MESSAGE, 2)
    for signature, suite in ((weak, 2), (strong, 1), (replace(strong, mldsa65=None), 2), (weak, 0), (strong, 3)):
        with pytest.raises(BadSignature, match="suite"):
            _check(signature, suite)


def test_in_suite_2_each_half_must_hold() -> None:
    """Whichever of the two a future breaks. SPEC 5.2.1, 5.2.3."""
    mine, theirs = KEY.sign(MESSAGE, 2), OTHER.sign(MESSAGE, 2)
    for signature in (replace(mine, mldsa65=theirs.mldsa65), replace(mine, ed25519=theirs.ed25519)):
        with pytest.raises(BadSignature):
            _check(signature, 2)


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:6] + point.hex()[-2:])
def test_an_ed25519_key_of_small_order_is_refused(point: bytes) -> None:
    """Under it one signature verifies for almost every message. SPEC 5.1.3."""
    key = PublicKey(point, KEY.public.mldsa65)
    with pytest.raises(BadSignature, match="prime-order"):
        check_public_key(key)
    forged = Signature(key.key_id, b"\x01" + bytes(31) + bytes(32))
    for number in range(16):
        with pytest.raises(BadSignature):
            _check(forged, 1, bytes([number]), key)


@pytest.mark.parametrize("point", [b"\xff" * 32, b"\x02" + bytes(31), b"\x7f" * 32])
def test_what_is_no_point_is_refused(point: bytes) -> None:
    """Not on the curve, or outside the prime-order group. SPEC 5.1.3."""
    with pytest.raises(BadSignature):
        check_public_key(PublicKey(point, KEY.public.mldsa65))


def test_a_sound_key_passes() -> None:
    """And an ML-DSA half of another length does not. SPEC 5.1.3."""
    check_public_key(KEY.public)
    with pytest.raises(BadSignature, match="ML-DSA"):
        check_public_key(PublicKey(KEY.public.ed25519, bytes(5)))


def test_a_seed_is_both_seeds_one_after_the_other() -> None:
    """Known answers: RFC 8032 §7.1, test 1. SPEC 5.1.1."""
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = SigningKey(Secret(secret + bytes(32)))
    assert key.public.ed25519.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.public.mldsa65 == SigningKey(Secret(bytes(64))).public.mldsa65
    assert key.sign(b"", 1).ed25519.hex().startswith("e5564300c360ac729086e2cc806e828a")
    for length in (0, 32, SEED_BYTES - 1, SEED_BYTES + 1):
        with pytest.raises(ValueError, match="seed"):
            SigningKey(Secret(bytes(length)))


def test_one_that_does_not_hold_fails_them_all() -> None:
    """In a batch too. SPEC 5.2.3."""
    good = SignatureCheck(KEY.public, MESSAGE, KEY.sign(MESSAGE, 1), 1)
    verify_all([good, good])
    with pytest.raises(BadSignature):
        verify_all([good, replace(good, message=b"other")])
