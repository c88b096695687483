"""keys/sealing.py: each attack that the binding of wraps and body stops, made and refused."""

import hashlib

import pytest
from cryptography.cobblestone import Cobblestone256Encryptor
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from keys import kem
from keys.errors import CannotOpen
from keys.kem import PrivateKey
from keys.sealing import SealTo, open_body, open_wrap
from keys.secret import Secret
from keys.signing import SignatureCheck, signed_message
from protocol import limits, padding
from protocol.content import Attachment
from protocol.entry import WRAP_BYTES, Submission
from protocol.errors import TooLarge
from protocol.header import Header
from protocol.pae import Domain, pae
from protocol.signing import decode_signatures
from protocol.statements import Bulletin, Kind
from tests.support.altering import replace
from tests.support.world import CONTENT, World, kem_key, kem_seed, signing_key

WORLD = World.found()
# cn-embassy has one seat, pk-site-security another: two wraps
SEALED = WORLD.bulletin("pk-site-security", to=("cn-embassy",))
HEADER = Bulletin.decode(SEALED.statement).header_bytes
READER, OWN = "cn-embassy/desk/1", "pk-site-security/desk/1"


def _open(wrap: bytes, header: bytes = HEADER, agency: str = "cn-embassy", name: str = READER) -> tuple[Secret, int]:
    opened = open_wrap(wrap, header, agency, PrivateKey(kem_seed(name)), kem_key(name).key_id)
    return opened.content_key, opened.count


def _other_header(**changes: object) -> bytes:
    return replace(Header.decode(HEADER), **changes).encode()


def _seal_body(header: bytes, key: bytes, padded: bytes) -> bytes:
    encryptor = Cobblestone256Encryptor(key, pae(Domain.BODY, header))
    return encryptor.update(padded) + encryptor.finalize()


def test_every_addressee_opens_its_own_wrap_and_the_body() -> None:
    """The sender's own agency too. SPEC 8.2.2, 8.2.4, 8.2.5."""
    for wrap, agency, name in zip(SEALED.wraps, ("cn-embassy", "pk-site-security"), (READER, OWN), strict=True):
        assert len(wrap) == WRAP_BYTES == 1176
        content_key, count = _open(wrap, agency=agency, name=name)
        assert count == 0
        assert open_body(SEALED.body, HEADER, content_key) == CONTENT


def test_the_statement_names_every_wrap_and_the_body() -> None:
    """So no wrap and no body but those signed is anybody's. SPEC 7.2.1, 8.2.5."""
    bulletin = Bulletin.decode(SEALED.statement)
    assert [wrap.kem_key_id for wrap in bulletin.wraps] == [kem_key(READER).key_id, kem_key(OWN).key_id]
    assert (tuple(wrap.hash for wrap in bulletin.wraps), bulletin.body) == SEALED.hashes()
    (signature,) = decode_signatures(SEALED.signatures)
    message = signed_message(Kind.BULLETIN, SEALED.statement)
    SignatureCheck(signing_key("pk-site-security/desk").public, message, signature, 1).verify()


def test_a_content_key_is_used_once() -> None:
    """The same bulletin sealed again shares nothing. SPEC 8.2.1."""
    header = Header.decode(HEADER)
    again = WORLD.bulletin("pk-site-security", to=("cn-embassy",), id=header.id)
    assert Bulletin.decode(again.statement).header_bytes == HEADER
    assert _open(again.wraps[0])[0] != _open(SEALED.wraps[0])[0]
    assert again.body != SEALED.body
    assert not set(again.wraps) & set(SEALED.wraps)


def test_the_count_travels_in_the_wrap_alone() -> None:
    """Each recipient learns its own, and nobody else's. SPEC 8.2.6."""
    counts = {"cn-embassy": 2**63, "pk-site-security": 7}
    seats = [SealTo(agency, kem_key(f"{agency}/desk/1"), count) for agency, count in counts.items()]
    sealed = WORLD.bulletin("pk-site-security", to=("cn-embassy",), seats=seats)
    header = Bulletin.decode(sealed.statement).header_bytes
    assert _open(sealed.wraps[0], header)[1] == 2**63
    assert _open(sealed.wraps[1], header, "pk-site-security", OWN)[1] == 7


def test_wraps_that_are_swapped_do_not_open() -> None:
    """Another reader's wrap is noise, also under its own name. SPEC 8.2.2."""
    with pytest.raises(CannotOpen):
        _open(SEALED.wraps[1])
    with pytest.raises(CannotOpen):
        _open(SEALED.wraps[0], agency="pk-site-security", name=OWN)


def test_a_wrap_is_bound_to_its_agency_and_key_id() -> None:
    """A KEM key entered under another agency, or another id, opens nothing. SPEC 8.2.2."""
    with pytest.raises(CannotOpen):
        _open(SEALED.wraps[0], agency="cn-liaison")
    with pytest.raises(CannotOpen):
        open_wrap(SEALED.wraps[0], HEADER, "cn-embassy", PrivateKey(kem_seed(READER)), kem_key(OWN).key_id)


def test_nothing_moves_under_another_header() -> None:
    """Neither wrap nor body: sender, recipients, label, feed, status, times, all of it is bound. SPEC 8.2.2, 8.2.4."""
    header = Header.decode(HEADER)
    content_key, _ = _open(SEALED.wraps[0])
    others = [
        _other_header(sender="pk-liaison"),
        _other_header(key_id=bytes(32)),
        _other_header(recipients=(*header.recipients, replace(header.recipients[0], agency="cn-liaison"))),
        _other_header(label=replace(header.label, classification="Unclassified")),
        _other_header(feed="sites"),
        _other_header(status="test"),
        _other_header(suite=2),
        _other_header(origin="cn.khunjerab.test/ledger"),
        _other_header(exchange=bytes(32)),
        _other_header(directory_hash=bytes(32)),
        _other_header(expires=header.expires + 1),
    ]
    for other in others:
        with pytest.raises(CannotOpen):
            _open(SEALED.wraps[0], other)
        with pytest.raises(CannotOpen):
            open_body(SEALED.body, other, content_key)


def test_a_body_of_another_bulletin_does_not_open() -> None:
    """Though both are the same sender's to the same reader. SPEC 8.2.4."""
    other = WORLD.bulletin("pk-site-security", to=("cn-embassy",))
    content_key, _ = _open(SEALED.wraps[0])
    with pytest.raises(CannotOpen):
        open_body(other.body, HEADER, content_key)


def test_one_body_has_one_content_key() -> None:
    """Cobblestone commits: a sender cannot give two readers two keys, and so two contents, for it. SPEC 8.2.4."""
    content_key, _ = _open(SEALED.wraps[0])
    for other in (bytes(32), bytes([content_key.reveal()[0] ^ 1]) + content_key.reveal()[1:]):
        with pytest.raises(CannotOpen):
            open_body(SEALED.body, HEADER, Secret(other))
    first, second = _seal_body(HEADER, b"1" * 32, b"x" * 64), _seal_body(HEADER, b"2" * 32, b"x" * 64)
    spliced = first[:24] + second[24:56] + first[56:]  # the salt of one, the commitment of the other
    for key in (b"1" * 32, b"2" * 32):
        with pytest.raises(CannotOpen):
            open_body(spliced, HEADER, Secret(key))


@pytest.mark.parametrize("length", [0, 1, WRAP_BYTES - 1, WRAP_BYTES + 1, 2 * WRAP_BYTES, 1120 + 16, 1120 + 32 + 16])
def test_a_wrap_of_another_length_is_refused_before_it_is_decrypted(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody probes with others: no private key is touched. SPEC 8.2.3."""
    monkeypatch.setattr(PrivateKey, "pair", None)
    with pytest.raises(CannotOpen):
        _open((SEALED.wraps[0] * 2)[:length])


def test_every_failure_to_open_a_wrap_says_the_same() -> None:
    """Length, key, header, tag, a point of small order in it. SPEC 8.2.3."""
    wrap = SEALED.wraps[0]
    said = set()
    for broken, header in [
        (b"", HEADER),
        (bytes(WRAP_BYTES), HEADER),
        (b"\xff" * WRAP_BYTES, HEADER),
        (wrap[:-1] + bytes([wrap[-1] ^ 1]), HEADER),
        (bytes([wrap[0] ^ 1]) + wrap[1:], HEADER),
        (wrap[:1088] + bytes(32) + wrap[1120:], HEADER),
        (wrap, HEADER + b"\0"),
    ]:
        with pytest.raises(CannotOpen) as caught:
            _open(broken, header)
        said.add((caught.value.code, caught.value.detail))
    assert len(said) == 1


def test_a_wrap_made_with_another_hpke_suite_does_not_open() -> None:
    """No downgrade to what a quantum computer reads, or to another KDF or cipher. SPEC 8.2.2."""
    key, plain = kem_key(READER), bytes(40)
    info = pae(Domain.WRAP, HEADER, b"cn-embassy", key.key_id)
    public = kem.public_key(key)
    same = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM).encrypt(plain, public, info=info)
    assert _open(same) == (Secret(bytes(32)), 0)
    for suite in (
        Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA512, AEAD.AES_256_GCM),
        Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305),
    ):
        with pytest.raises(CannotOpen):
            _open(suite.encrypt(plain, public, info=info))
    with pytest.raises(CannotOpen):
        _open(Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM).encrypt(plain, public, info=HEADER))


@pytest.mark.parametrize("at", [0, 24, 56, 60, -1])
def test_a_body_that_was_touched_does_not_open(at: int) -> None:
    """Salt, commitment, text or tag; cut short or made longer. SPEC 8.2.4."""
    content_key, _ = _open(SEALED.wraps[0])
    touched = bytearray(SEALED.body)
    touched[at] ^= 1
    for body in (bytes(touched), SEALED.body[:at], SEALED.body + b"\0", b""):
        with pytest.raises(CannotOpen):
            open_body(body, HEADER, content_key)


@pytest.mark.parametrize(
    "padded", [b"", CONTENT.encode(), CONTENT.encode() + bytes(1024), padding.pad(b"\x90"), padding.pad(b"")]
)
def test_what_is_sealed_but_is_no_padded_content_does_not_open(padded: bytes) -> None:
    """A sender who holds the key can still not send another padding, or something else. SPEC 8.3.2, 8.1.1."""
    body = _seal_body(HEADER, bytes(32), padded)
    with pytest.raises(CannotOpen):
        open_body(body, HEADER, Secret(bytes(32)))


def test_short_bulletins_have_bodies_of_one_length() -> None:
    """What is in it does not show. SPEC 8.3.1."""
    long = replace(CONTENT, officer="x" * 200)
    assert len(WORLD.bulletin(content=long).body) == len(WORLD.bulletin(content=CONTENT).body)


def test_what_is_over_the_bounds_is_not_sealed() -> None:
    """Content over 512 KiB, more than 256 seats. SPEC 2.1.1."""
    attachment = Attachment("a", "b", bytes(limits.ATTACHMENT_INLINE_BYTES_MAX))
    with pytest.raises(TooLarge):
        WORLD.bulletin(content=replace(CONTENT, attachments=(attachment, attachment)))
    seat = SealTo("cn-embassy", kem_key(READER), 0)
    with pytest.raises(TooLarge, match="fewer recipients"):
        WORLD.bulletin(seats=[seat] * (limits.WRAPS_MAX + 1))


def test_the_largest_content_makes_a_body_within_its_bound() -> None:
    """SPEC 2.1.1."""
    head = len(replace(CONTENT, attachments=(Attachment("a", "b", b""),) * 2).encode())
    room = limits.CONTENT_BYTES_MAX - head - 4 - limits.ATTACHMENT_INLINE_BYTES_MAX
    parts = (bytes(limits.ATTACHMENT_INLINE_BYTES_MAX), bytes(room - 10))
    content = replace(CONTENT, attachments=tuple(Attachment("a", "b", part) for part in parts))
    sealed = WORLD.bulletin("pk-site-security", to=("cn-embassy",), content=content)
    assert limits.CONTENT_BYTES_MAX < len(sealed.body) <= limits.BODY_BYTES_MAX
    assert Submission.decode(sealed.encode()) == sealed
    assert hashlib.sha256(sealed.body).digest() == Bulletin.decode(sealed.statement).body
