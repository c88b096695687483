"""keys/lognote.py: a log's and a cosigner's lines, and the numbered list of ``open_checkpoint``."""

import pytest

from keys.lognote import Cosigned, CosignerKeys, LogSigner, OpenedCheckpoint, open_checkpoint
from keys.secret import Secret
from protocol.checkpoint import Checkpoint
from protocol.errors import Malformed, ProofFailed
from protocol.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519, Note, SignatureLine, VerifierKey

ORIGIN = "pk.example/ledger"
TIME = 1_700_000_000


def _seed(number: int) -> Secret:
    return Secret(bytes([number]) * 32)


LOG = LogSigner(ORIGIN, _seed(1), _seed(2))
COSIGNER = CosignerKeys("cn.example/node", _seed(3), _seed(4))
CHECKPOINT = Checkpoint(ORIGIN, 42, bytes(range(32)))
LOG_LINES = LOG.lines(CHECKPOINT, TIME)
COSIGNER_LINES = COSIGNER.lines(CHECKPOINT, TIME + 1)


def _note(*lines: SignatureLine, checkpoint: Checkpoint = CHECKPOINT) -> str:
    return Note(checkpoint.text(), lines).encode()


def _altered(line: SignatureLine, at: int = -1) -> SignatureLine:
    body = bytearray(line.signature)
    body[at] ^= 1
    return SignatureLine(line.name, line.key_id, bytes(body))


def _open(*lines: SignatureLine) -> OpenedCheckpoint:
    return open_checkpoint(_note(*lines), LOG.vkeys(), COSIGNER.vkeys())


def test_a_log_signs_with_ed25519_and_with_mldsa44() -> None:
    """Types 01 and 06, under its origin. SPEC 9.3.7."""
    assert [(key.name, key.type) for key in LOG.vkeys()] == [(ORIGIN, ED25519), (ORIGIN, COSIGNATURE_MLDSA44)]
    assert [(line.key_id, len(line.signature)) for line in LOG_LINES] == [
        (LOG.vkeys()[0].key_id, 64),
        (LOG.vkeys()[1].key_id, 8 + 2420),
    ]


def test_a_cosigner_signs_with_ed25519_and_with_mldsa44() -> None:
    """Types 04 and 06, each with the time. SPEC 9.3.8."""
    assert [key.type for key in COSIGNER.vkeys()] == [COSIGNATURE_ED25519, COSIGNATURE_MLDSA44]
    assert [len(line.signature) for line in COSIGNER_LINES] == [8 + 64, 8 + 2420]
    assert all(line.signature[:8] == (TIME + 1).to_bytes(8, "big") for line in COSIGNER_LINES)


def test_an_opened_checkpoint_says_who_signed_it_and_when() -> None:
    """The log's lines, and each cosignature that verified."""
    opened = _open(*LOG_LINES, *COSIGNER_LINES)
    assert opened.checkpoint == CHECKPOINT
    assert opened.log_lines == tuple(LOG_LINES)
    assert opened.cosigned == (
        Cosigned("cn.example/node", COSIGNATURE_ED25519, TIME + 1),
        Cosigned("cn.example/node", COSIGNATURE_MLDSA44, TIME + 1),
    )
    assert opened.cosigners == frozenset(COSIGNER.vkeys())


def test_the_order_of_lines_means_nothing() -> None:
    """Other logs shuffle theirs to keep readers honest. SPEC 9.3.7."""
    opened = _open(*reversed([*LOG_LINES, *COSIGNER_LINES]))
    assert opened.cosigners == frozenset(COSIGNER.vkeys())


def test_1_the_note_and_its_checkpoint_are_read_strictly() -> None:
    """An extension line is refused, though the signature over it may hold. SPEC 9.3.6."""
    with pytest.raises(Malformed):
        open_checkpoint("not a note", LOG.vkeys())
    with pytest.raises(Malformed):
        open_checkpoint(Note(CHECKPOINT.text() + "extension\n", tuple(LOG_LINES)).encode(), LOG.vkeys())


def test_2_without_a_log_key_of_the_origin_nothing_is_accepted() -> None:
    """No key at all, another log's, or another's among them. SPEC 9.3.7."""
    other = LogSigner("cn.example/ledger", _seed(1), _seed(2))
    for keys in ([], other.vkeys(), [*LOG.vkeys(), *other.vkeys()]):
        with pytest.raises(ProofFailed, match="origin"):
            open_checkpoint(_note(*LOG_LINES), keys)


def test_2_a_log_s_signature_under_another_s_origin_is_refused() -> None:
    """Even where the key itself verifies it: a log speaks of itself alone."""
    foreign = Checkpoint("cn.example/ledger", 42, bytes(32))
    with pytest.raises(ProofFailed, match="origin"):
        open_checkpoint(_note(*LOG.lines(foreign, TIME), checkpoint=foreign), LOG.vkeys())


def test_3_two_keys_that_lines_cannot_tell_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key ids are 32 bits: whoever names keys can make two that collide."""
    monkeypatch.setattr(VerifierKey, "key_id", property(lambda self: bytes(4)))
    with pytest.raises(ProofFailed, match="have the id"):
        open_checkpoint(_note(*LOG_LINES), LOG.vkeys())


@pytest.mark.parametrize("which", range(4))
def test_4_one_bad_line_of_a_known_key_refuses_the_whole_note(which: int) -> None:
    """Altered in its signature, or in its time. SPEC 9.3.7."""
    for at in (-1, 0):
        lines = [*LOG_LINES, *COSIGNER_LINES]
        lines[which] = _altered(lines[which], at)
        with pytest.raises(ProofFailed):
            _open(*lines)


@pytest.mark.parametrize("which", range(4))
def test_4_a_bad_second_line_of_a_known_key_refuses_it_too(which: int) -> None:
    """Every line of a known key is verified, not just the first."""
    lines = [*LOG_LINES, *COSIGNER_LINES]
    with pytest.raises(ProofFailed):
        _open(*lines, _altered(lines[which]))
    assert _open(*lines, lines[which]).cosigners == frozenset(COSIGNER.vkeys())


@pytest.mark.parametrize("which", range(4))
def test_4_a_signature_of_another_length_is_refused(which: int) -> None:
    """Cut short, one byte longer, or no more than a time."""
    lines = [*LOG_LINES, *COSIGNER_LINES]
    whole = lines[which]
    for body in (whole.signature[:-1], whole.signature + b"\0", whole.signature[:8], b"s"):
        lines[which] = SignatureLine(whole.name, whole.key_id, body)
        with pytest.raises(ProofFailed):
            _open(*lines)


def test_4_lines_of_unknown_keys_are_ignored() -> None:
    """Noise, a cosigner that was not asked for, and a known key's id under another name. SPEC 9.3.7."""
    noise = SignatureLine("grease.example", b"\1\2\3\4", b"noise")
    borrowed = SignatureLine("other.example", LOG_LINES[0].key_id, b"noise")
    opened = open_checkpoint(_note(noise, *LOG_LINES, borrowed, *COSIGNER_LINES), LOG.vkeys())
    assert opened.cosigned == ()


@pytest.mark.parametrize("which", range(2))
def test_5_every_log_key_must_have_signed(which: int) -> None:
    """One half is not enough, whoever has cosigned. SPEC 9.3.7."""
    with pytest.raises(ProofFailed, match="no line of the log's key"):
        _open(LOG_LINES[which], *COSIGNER_LINES)
    with pytest.raises(ProofFailed, match="no line of the log's key"):
        _open(*COSIGNER_LINES)


def test_a_signature_over_one_checkpoint_says_nothing_of_another() -> None:
    """Size, root and origin are all covered, by every kind of line."""
    for other in (Checkpoint(ORIGIN, 43, CHECKPOINT.root), Checkpoint(ORIGIN, 42, bytes(32))):
        for lines in (LOG_LINES, [*LOG.lines(other, TIME), *COSIGNER_LINES]):
            with pytest.raises(ProofFailed):
                open_checkpoint(_note(*lines, checkpoint=other), LOG.vkeys(), COSIGNER.vkeys())


def test_an_mldsa44_line_holds_for_its_signer_s_name_only() -> None:
    """The same key under another name signs other bytes."""
    twin = CosignerKeys("twin.example", _seed(3), _seed(4))
    key = twin.vkeys()[1]
    moved = SignatureLine(key.name, key.key_id, COSIGNER_LINES[1].signature)
    with pytest.raises(ProofFailed):
        open_checkpoint(_note(*LOG_LINES, moved), LOG.vkeys(), twin.vkeys())


def test_a_cosignature_without_a_time_claims_nothing() -> None:
    """It verifies, and is not counted. SPEC 9.3.8."""
    opened = _open(*LOG_LINES, *COSIGNER.lines(CHECKPOINT, 0))
    assert opened.cosigned == ()
    assert opened.cosigners == frozenset()


def test_a_log_s_plain_key_is_no_cosigner() -> None:
    """Its line has no time in it."""
    plain = LogSigner(ORIGIN, _seed(8), _seed(9))
    opened = open_checkpoint(
        _note(*LOG_LINES, *plain.lines(CHECKPOINT, TIME)), LOG.vkeys(), [plain.vkeys()[0], *COSIGNER.vkeys()]
    )
    assert opened.cosigned == ()


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_a_key_of_small_order_is_refused(point: bytes) -> None:
    """Under one anybody could sign."""
    key = VerifierKey(ORIGIN, ED25519, point)
    forged = SignatureLine(ORIGIN, key.key_id, point + bytes(32))
    with pytest.raises(ProofFailed, match="prime-order"):
        open_checkpoint(_note(forged), [key])


def test_mldsa44_signatures_are_randomised_and_all_hold() -> None:
    """So they are stored, never made again to compare."""
    again = LOG.lines(CHECKPOINT, TIME)
    assert again[0] == LOG_LINES[0]
    assert again[1] != LOG_LINES[1]
    assert _open(*again).checkpoint == CHECKPOINT


def test_a_signer_prints_no_seed() -> None:
    """Nor does it take one of another length."""
    signer = LogSigner(ORIGIN, Secret(b"A" * 32), Secret(b"A" * 32))
    assert "AAAA" not in repr(signer) + repr(vars(signer))
    for seeds in ((Secret(bytes(31)), _seed(2)), (_seed(1), Secret(bytes(33)))):
        with pytest.raises(ValueError, match=r"32|seed"):
            LogSigner(ORIGIN, *seeds)
