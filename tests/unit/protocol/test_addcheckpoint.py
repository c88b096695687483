"""What is asked of a witness, and what it answers."""

import base64

import pytest

from protocol import limits
from protocol.addcheckpoint import AddCheckpoint, decode_lines, decode_size, encode_lines, encode_size
from protocol.checkpoint import Checkpoint
from protocol.errors import Malformed, ProtocolError, TooLarge
from protocol.merkle import EMPTY_ROOT
from protocol.note import Note, SignatureLine

LINE = SignatureLine("pk.example/ledger", b"\1\2\3\4", b"\5" * 64)
NOTE = Note(Checkpoint("pk.example/ledger", 9, b"\7" * 32).text(), (LINE,))
HASH = base64.b64encode(b"\x11" * 32).decode()


def body(old: str = "old 7", *proof: str, note: str = NOTE.encode()) -> bytes:
    return "".join(f"{line}\n" for line in (old, *proof, "")).encode() + note.encode()


def test_a_request_is_what_c2sp_writes() -> None:
    """The old size, the proof, an empty line, the checkpoint. SPEC 9.7.1."""
    request = AddCheckpoint(7, (b"\x11" * 32, b"\x11" * 32), NOTE)
    assert request.encode() == body("old 7", HASH, HASH)
    assert AddCheckpoint.parse(request.encode()) == request
    assert request.checkpoint == Checkpoint("pk.example/ledger", 9, b"\7" * 32)
    assert AddCheckpoint.parse(body("old 0")).path == ()


def test_a_proof_has_up_to_63_hashes() -> None:
    """One more is too large, whether it is read or made. SPEC 9.7.1."""
    assert len(AddCheckpoint.parse(body("old 7", *[HASH] * 63)).path) == 63
    with pytest.raises(TooLarge):
        AddCheckpoint.parse(body("old 7", *[HASH] * 64))
    with pytest.raises(TooLarge):
        AddCheckpoint(7, (b"\x11" * 32,) * 64, NOTE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"old 7\n",
        body("7"),
        body("new 7"),
        body("Old 7"),
        body("old  7"),
        body("old 7 "),
        body("old\t7"),
        body("old 07"),
        body("old 00"),
        body("old -1"),
        body("old +7"),
        body("old 1e1"),
        body("old ٧"),
        body("old 9223372036854775808"),
        body("old 10"),  # above the checkpoint's
        body("old 7", "junk"),
        body("old 7", HASH[:-1]),
        body("old 7", HASH + " "),
        body("old 7", base64.b64encode(b"\x11" * 31).decode()),
        body("old 7", base64.b64encode(b"\x11" * 33).decode()),
        body("old 7", HASH[:-2] + "F="),  # bits that do not belong there
        body().replace(b"\n", b"\r\n"),
        body().rstrip(b"\n"),
        body() + b"\n",
        body() + b"more",
        body(note=NOTE.encode().replace("\n9\n", "\n09\n")),
        body(note=NOTE.encode().replace("\n9\n", "\n9\nan extension\n")),
        body(note=NOTE.text),
        body("old 7", "", HASH),
        b"\xff" + body(),
        body().replace(b"pk.example", b"\xff\xfe"),
    ],
)
def test_another_form_is_malformed(data: bytes) -> None:
    """SPEC 9.7.1."""
    with pytest.raises(Malformed):
        AddCheckpoint.parse(data)


def test_a_request_too_long_is_not_looked_at() -> None:
    """SPEC 9.7.1, 2.1.1."""
    with pytest.raises(TooLarge):
        AddCheckpoint.parse(b"x" * (limits.ADD_CHECKPOINT_BYTES_MAX + 1))
    largest = Note(NOTE.text, tuple(SignatureLine(f"k{i}", b"\0" * 4, b"\1" * 3_000) for i in range(16)))
    whole = AddCheckpoint(7, (b"\x11" * 32,) * 63, largest)
    assert AddCheckpoint.parse(whole.encode()) == whole


def test_an_answer_is_lines_or_a_size() -> None:
    """SPEC 9.7.2."""
    assert decode_lines(encode_lines([LINE, LINE])) == (LINE, LINE)
    assert encode_size(20852163) == b"20852163\n"
    assert decode_size(b"20852163\n") == 20852163
    assert decode_size(encode_size(0)) == 0


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", LINE.encode().encode() + b"\n", LINE.encode().encode()[:-1], b"text\n", b"\xff\n"],
)
def test_an_answer_that_is_no_lines(data: bytes) -> None:
    """Whatever a witness says. SPEC 9.7.2."""
    with pytest.raises(Malformed):
        decode_lines(data)


@pytest.mark.parametrize("data", [encode_lines([LINE] * 17), b"x" * (limits.NOTE_BYTES_MAX + 1)])
def test_an_answer_of_too_many_lines(data: bytes) -> None:
    """No more than a note has. SPEC 9.7.2."""
    with pytest.raises(TooLarge):
        decode_lines(data)


@pytest.mark.parametrize("data", [b"", b"7", b"07\n", b"7\n\n", b" 7\n", b"-7\n", b"9" * 1000 + b"\n", b"\xff\n"])
def test_an_answer_that_is_no_size(data: bytes) -> None:
    """SPEC 9.7.2."""
    with pytest.raises(ProtocolError):
        decode_size(data)


def test_the_empty_tree_can_be_asked_for() -> None:
    """Its size is 0, and so is the old one. SPEC 9.7.1."""
    note = Note(Checkpoint("pk.example/ledger", 0, EMPTY_ROOT).text(), (LINE,))
    assert AddCheckpoint.parse(AddCheckpoint(0, (), note).encode()).checkpoint.size == 0
