"""protocol/note.py: verifier keys, signature lines and notes, as C2SP signed-note has them."""

import base64

import pytest

from protocol import limits, note
from protocol.errors import Malformed, TooLarge
from protocol.note import Note, SignatureLine, VerifierKey

SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
LINE = SignatureLine("example.com/foo", bytes.fromhex("530d903a"), b"signature")
NOTE = Note("a text\n", (LINE,))


def test_the_specification_s_verifier_key_is_read_and_written() -> None:
    """Its key id is computed from its name, type and bytes."""
    key = VerifierKey.parse(SPEC_VKEY)
    assert (key.name, key.type, key.key_id.hex()) == ("example.com/foo", note.ED25519, "530d903a")
    assert key.encode() == SPEC_VKEY


@pytest.mark.parametrize(
    "key_type, length", [(note.ED25519, 32), (note.COSIGNATURE_ED25519, 32), (note.COSIGNATURE_MLDSA44, 1312)]
)
def test_each_type_of_key_has_its_length_and_an_id_of_its_own(key_type: int, length: int) -> None:
    """The same bytes under another type or name are another key."""
    key = VerifierKey("a", key_type, bytes(length))
    assert VerifierKey.parse(key.encode()) == key
    assert key.key_id != VerifierKey("b", key_type, bytes(length)).key_id
    for wrong in (length - 1, length + 1, 0):
        with pytest.raises(Malformed):
            VerifierKey("a", key_type, bytes(wrong))


def test_the_same_bytes_as_log_key_and_as_cosigner_key_have_two_ids() -> None:
    """So a cosignature never passes for a log's signature."""
    assert (
        VerifierKey("a", note.ED25519, bytes(32)).key_id != VerifierKey("a", note.COSIGNATURE_ED25519, bytes(32)).key_id
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "++",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/foo+530d903a+",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        SPEC_VKEY + "\n",
        SPEC_VKEY + "=",
        SPEC_VKEY[:-1],
        " " + SPEC_VKEY,
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "\ud800+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_another_spelling_of_a_verifier_key_is_refused(text: str) -> None:
    """And so is a key id that is not the key's, or a type that no key here has."""
    with pytest.raises(Malformed):
        VerifierKey.parse(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\tb", "a\u3000b", "a\u00a0b", "a\x00b", "\u2028"])
def test_a_name_holds_no_space_control_or_plus(name: str) -> None:
    """Any space that Unicode knows. SPEC 9.3.5."""
    with pytest.raises(Malformed):
        VerifierKey(name, note.ED25519, bytes(32))
    with pytest.raises(Malformed):
        SignatureLine(name, bytes(4), b"s")


def test_a_name_is_as_long_as_a_cosignature_can_say() -> None:
    """255 bytes of UTF-8."""
    VerifierKey("a" * 255, note.ED25519, bytes(32))
    for name in ("a" * 256, "关" * 86):
        with pytest.raises(TooLarge):
            VerifierKey(name, note.ED25519, bytes(32))


def test_a_note_is_its_text_an_empty_line_and_its_signature_lines() -> None:
    """The text may hold empty lines itself: the last one counts. SPEC 9.3.5."""
    encoded = "a text\n\n— example.com/foo " + base64.b64encode(b"\x53\x0d\x90\x3asignature").decode() + "\n"
    assert NOTE.encode() == encoded
    assert Note.parse(encoded) == NOTE
    long = Note("one\n\n— example.com/foo AAAA\n\n\ntwo\n", (LINE, LINE))
    assert Note.parse(long.encode()) == long


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n",
        "a text\n",
        "a text\n\n",
        "a text\n" + LINE.encode(),
        "a text\n\n" + LINE.encode().removesuffix("\n"),
        "a text\n\n" + LINE.encode() + "\n",
        "a text\n\n" + LINE.encode() + "more\n",
        "a text\n\n" + LINE.encode().replace("—", "-"),
        "a text\n\n" + LINE.encode().replace(" ", "  "),
        "a text\n\n" + LINE.encode().replace("\n", " \n"),
        "a text\n\n" + LINE.encode().replace("\n", "\r\n"),
        "a text\r\n\n" + LINE.encode(),
        "a\ttext\n\n" + LINE.encode(),
        "a text\x00\n\n" + LINE.encode(),
        "a \udc80 text\n\n" + LINE.encode(),
        "a text\n\n— example.com/foo AAAAAA\n",
        "a text\n\n— example.com/foo AAAAAA==\n",
        "a text\n\n— example.com/foo AAAAAAB=\n",
        "a text\n\n— example.com/foo AAAA_AA=\n",
        "a text\n\n— example.com/foo\n",
        "a text\n\n—  AAAAAAA=\n",
    ],
)
def test_another_form_of_a_note_is_refused(text: str) -> None:
    """No other dash, no other base64, no carriage return, nothing behind the last line. SPEC 9.3.5."""
    with pytest.raises(Malformed):
        Note.parse(text)


def test_a_note_has_one_to_sixteen_lines() -> None:
    """As many as other readers are bound to accept. SPEC 9.3.5."""
    assert Note.parse(Note("t\n", (LINE,) * 16).encode()).lines == (LINE,) * 16
    with pytest.raises(TooLarge):
        Note("t\n", (LINE,) * 17)
    with pytest.raises(TooLarge):
        Note.parse("t\n\n" + LINE.encode() * 17)
    with pytest.raises(Malformed):
        Note("t\n", ())


def test_sixteen_post_quantum_lines_fit_a_note_and_a_larger_note_is_refused() -> None:
    """64 KiB in UTF-8. SPEC 9.3.5."""
    line = SignatureLine("n" * 200, bytes(4), bytes(8 + 2420))
    Note("t\n", (line,) * 16)
    fits = limits.NOTE_BYTES_MAX - len(LINE.encode().encode()) - 2
    assert len(Note("t" * fits + "\n", (LINE,)).encode().encode()) == limits.NOTE_BYTES_MAX
    for text in ("t" * (fits + 1) + "\n", "关" * (fits // 3 + 1) + "\n"):
        with pytest.raises(TooLarge):
            Note.parse(text + "\n" + LINE.encode())
    with pytest.raises(TooLarge):
        VerifierKey.parse("a+00000000+" + "A" * limits.NOTE_BYTES_MAX)
