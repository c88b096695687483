"""protocol/tlogproof.py: the file that proves offline that an entry is in a ledger."""

import base64

import pytest

from protocol.errors import Malformed, TooLarge
from protocol.merkle import leaf_hash
from protocol.note import Note, SignatureLine
from protocol.tlogproof import EXTRA_BYTES_MAX, TlogProof

CHECKPOINT = Note("o.example\n3\nroot\n", (SignatureLine("o.example", bytes(4), b"s"),)).encode()
PATH = (leaf_hash(b"a"), leaf_hash(b"b"))
HASHES = "".join(base64.b64encode(one).decode() + "\n" for one in PATH)
HEAD = "c2sp.org/tlog-proof@v1\n"


def test_a_proof_reads_as_the_specification_shows_it() -> None:
    """Header, extra data, index, path, an empty line, and the checkpoint verbatim. SPEC 9.3.9."""
    proof = TlogProof(73_894, PATH, CHECKPOINT, b"age")
    assert proof.encode() == f"{HEAD}extra YWdl\nindex 73894\n{HASHES}\n{CHECKPOINT}"
    assert TlogProof.parse(proof.encode()) == proof


def test_a_proof_of_the_only_entry_has_no_path_and_may_have_no_extra_data() -> None:
    """The lines are left out."""
    proof = TlogProof(0, (), CHECKPOINT)
    assert proof.encode() == f"{HEAD}index 0\n\n{CHECKPOINT}"
    assert TlogProof.parse(proof.encode()) == proof


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD,
        f"{HEAD}\n{CHECKPOINT}",
        f"{HEAD}index 0\n",
        f"{HEAD}index 0\n\n",
        f"{HEAD}index 0\n\nno note\n",
        f"{HEAD}index 0\n{CHECKPOINT}",
        f"{HEAD}index 00\n\n{CHECKPOINT}",
        f"{HEAD}index -1\n\n{CHECKPOINT}",
        f"{HEAD}index\n\n{CHECKPOINT}",
        f"{HEAD}index  0\n\n{CHECKPOINT}",
        f"{HEAD}index 9223372036854775807\n\n{CHECKPOINT}",
        f"{HEAD}extra \nindex 0\n\n{CHECKPOINT}",
        f"{HEAD}extra YWdm=\nindex 0\n\n{CHECKPOINT}",
        f"{HEAD}extra YWdl\nextra YWdl\nindex 0\n\n{CHECKPOINT}",
        f"{HEAD}index 0\nextra YWdl\n\n{CHECKPOINT}",
        f"{HEAD}index 0\nAAAA\n\n{CHECKPOINT}",
        f"{HEAD}index 0\n{HASHES.rstrip()} \n\n{CHECKPOINT}",
        f"c2sp.org/tlog-proof@v2\nindex 0\n\n{CHECKPOINT}",
        f" {HEAD}index 0\n\n{CHECKPOINT}",
        f"{HEAD}index 0\n\n{CHECKPOINT}\n",
    ],
)
def test_another_form_of_a_proof_is_refused(text: str) -> None:
    """No other order, no other number, no checkpoint that is no note. SPEC 9.3.9."""
    with pytest.raises(Malformed):
        TlogProof.parse(text)


def test_a_path_of_more_than_63_hashes_is_refused() -> None:
    """No tree has one."""
    line = base64.b64encode(PATH[0]).decode() + "\n"
    assert len(TlogProof.parse(f"{HEAD}index 0\n{line * 63}\n{CHECKPOINT}").path) == 63
    with pytest.raises(TooLarge):
        TlogProof.parse(f"{HEAD}index 0\n{line * 64}\n{CHECKPOINT}")
    with pytest.raises(TooLarge):
        TlogProof(0, PATH * 32, CHECKPOINT)


def test_a_proof_is_bounded() -> None:
    """Its extra data, and the file before anything is split."""
    assert TlogProof.parse(TlogProof(0, PATH, CHECKPOINT, bytes(EXTRA_BYTES_MAX)).encode()).extra
    with pytest.raises(TooLarge):
        TlogProof(0, (), CHECKPOINT, bytes(EXTRA_BYTES_MAX + 1))
    with pytest.raises(TooLarge):
        TlogProof.parse(HEAD * 10_000)


def test_no_proof_is_made_with_an_empty_extra_or_another_hash() -> None:
    """What could not be read back is not written."""
    with pytest.raises(Malformed):
        TlogProof(0, (), CHECKPOINT, b"")
    with pytest.raises(Malformed):
        TlogProof(0, (b"short",), CHECKPOINT)
    with pytest.raises(Malformed):
        TlogProof(-1, (), CHECKPOINT)
