"""protocol/checkpoint.py: the three lines, and what cosigners sign over them."""

import base64

import pytest

from protocol import checkpoint
from protocol.checkpoint import Checkpoint
from protocol.errors import Malformed, TooLarge
from protocol.merkle import EMPTY_ROOT

SPEC_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
ROOT = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
ROOT_64 = base64.b64encode(ROOT).decode()


def test_the_specification_s_checkpoint_is_read_and_written() -> None:
    """C2SP tlog-checkpoint. SPEC 9.3.6."""
    parsed = Checkpoint.parse(SPEC_TEXT)
    assert parsed == Checkpoint("example.com/behind-the-sofa", 20_852_163, ROOT)
    assert parsed.text() == SPEC_TEXT


def test_the_empty_tree_has_a_checkpoint() -> None:
    """Size 0, and the hash of nothing."""
    empty = Checkpoint("a", 0, EMPTY_ROOT)
    assert empty.text() == "a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    assert Checkpoint.parse(empty.text()) == empty


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        "a\n1\n",
        f"a\n1\n{ROOT_64}",
        f"a\n1\n{ROOT_64}\n\n",
        f"a\n1\n{ROOT_64}\nextension\n",
        f"\n1\n{ROOT_64}\n",
        f"a b\n1\n{ROOT_64}\n",
        f"a+b\n1\n{ROOT_64}\n",
        f"a\n01\n{ROOT_64}\n",
        f"a\n+1\n{ROOT_64}\n",
        f"a\n-1\n{ROOT_64}\n",
        f"a\n1 \n{ROOT_64}\n",
        f"a\n\n{ROOT_64}\n",
        f"a\n1_0\n{ROOT_64}\n",
        f"a\n١\n{ROOT_64}\n",
        f"a\n9223372036854775808\n{ROOT_64}\n",
        f"a\n{'9' * 5000}\n{ROOT_64}\n",
        f"a\n1\n{ROOT_64[:-1]}\n",
        f"a\n1\n{ROOT_64.replace('2I=', '2J=')}\n",
        "a\n1\nAAAA\n",
        f"a\r\n1\r\n{ROOT_64}\r\n",
    ],
)
def test_another_form_of_a_checkpoint_is_refused(text: str) -> None:
    """No extension line, no leading zero, no other digits, no root of another length. SPEC 9.3.6."""
    with pytest.raises(Malformed):
        Checkpoint.parse(text)


def test_an_origin_fits_what_a_cosignature_can_say() -> None:
    """255 bytes."""
    with pytest.raises(TooLarge):
        Checkpoint.parse(f"{'a' * 256}\n1\n{ROOT_64}\n")


def test_the_largest_size_is_what_readers_in_signed_64_bits_can_hold() -> None:
    """2**63 - 1."""
    largest = Checkpoint("a", 2**63 - 1, ROOT)
    assert Checkpoint.parse(largest.text()) == largest
    for size in (2**63, -1):
        with pytest.raises(Malformed):
            Checkpoint("a", size, ROOT)


def test_an_ed25519_cosigner_signs_a_time_and_the_whole_text() -> None:
    """C2SP tlog-cosignature, type 04. SPEC 9.3.8."""
    assert checkpoint.ed25519_cosigned_message(SPEC_TEXT, 1_679_315_147) == (
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


def test_an_mldsa44_cosigner_signs_its_name_a_time_and_the_subtree_from_0() -> None:
    """C2SP tlog-cosignature, type 06, byte by byte. SPEC 9.3.8."""
    message = checkpoint.mldsa44_cosigned_message("w.example", 0x0102, Checkpoint("o.example/x", 0x0304, ROOT))
    assert message == (
        b"subtree/v1\n\0\x09w.example\0\0\0\0\0\0\x01\x02\x0bo.example/x\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\x04" + ROOT
    )


@pytest.mark.parametrize("time_s", [0, 1, 1_679_315_147, 2**63 - 1])
def test_the_time_of_a_cosignature_stands_before_its_signature(time_s: int) -> None:
    """Eight bytes, big-endian."""
    body = checkpoint.join_timestamped(time_s, b"signature")
    assert body == time_s.to_bytes(8, "big") + b"signature"
    assert checkpoint.split_timestamped(body) == (time_s, b"signature")


@pytest.mark.parametrize("body", [b"", bytes(7), bytes(8), b"\x80" + bytes(71)])
def test_a_cosignature_without_a_time_or_a_signature_is_refused(body: bytes) -> None:
    """Or with a time that no signed 64 bits hold."""
    with pytest.raises(Malformed):
        checkpoint.split_timestamped(body)


@pytest.mark.parametrize("time_s", [-1, 2**63])
def test_no_cosignature_is_made_at_a_time_that_cannot_be_said(time_s: int) -> None:
    """The caller is at fault."""
    with pytest.raises(ValueError, match="not a time"):
        checkpoint.join_timestamped(time_s, b"signature")
