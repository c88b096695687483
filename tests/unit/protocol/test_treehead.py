"""protocol/treehead.py: tree heads and receipts."""

from typing import Any

import pytest

from protocol import canonical, merkle
from protocol.entry import Entry, Link
from protocol.errors import Malformed, ProofFailed, ProtocolError
from protocol.pae import pae
from protocol.signing import Signature
from protocol.statements import Kind
from protocol.treehead import Receipt, TreeHead
from tests.support.altering import replace

ORIGIN = "pk.khunjerab.test/ledger"
H = bytes(range(32))
LINK = Link(Kind.DIRECTORY, 0)
SIGNATURE = Signature(H, b"e" * 64)
ENTRY = Entry(Kind.BULLETIN, b"statement", b"signatures", 5, LINK)
SIBLING = merkle.leaf_hash(b"before")
HEAD = TreeHead(H, ORIGIN, 2, merkle.node_hash(SIBLING, ENTRY.leaf()), 6, SIGNATURE)
RECEIPT = Receipt(1, 5, LINK, (SIBLING,), HEAD)


def test_a_tree_head_is_its_six_fields_and_signs_the_first_five() -> None:
    """Under a domain that no checkpoint has. SPEC 9.4.1."""
    assert HEAD.to_wire() == [H, ORIGIN, 2, HEAD.root, 6, [H, b"e" * 64, None]]
    assert TreeHead.from_wire(HEAD.to_wire()) == HEAD
    assert HEAD.message() == pae(b"khunjerab/1/sign/tree-head", canonical.encode([H, ORIGIN, 2, HEAD.root, 6]))
    assert replace(HEAD, signature=None).message() == HEAD.message()


def test_a_head_from_the_wire_is_signed() -> None:
    """SPEC 9.4.1."""
    with pytest.raises(Malformed):
        TreeHead.from_wire(replace(HEAD, signature=None).to_wire())


def test_a_receipt_is_what_the_node_added_the_path_and_the_head() -> None:
    """SPEC 9.4.2."""
    data = canonical.encode([1, 5, [3, 0], [SIBLING], HEAD.to_wire(), None])
    assert RECEIPT.encode() == data
    assert Receipt.decode(data) == RECEIPT
    seen = replace(RECEIPT, entry=ENTRY.encode())
    assert Receipt.decode(seen.encode()) == seen


@pytest.mark.parametrize(
    "at, value", [(0, -1), (1, None), (2, [1, 0]), (3, [H] * 64), (3, [b"x"]), (3, None), (4, []), (5, "")]
)
def test_each_field_of_a_receipt_has_its_type(at: int, value: Any) -> None:
    """SPEC 9.4.2, 2.1.1."""
    wire: list[Any] = [1, 5, [3, 0], [SIBLING], HEAD.to_wire(), None]
    wire[at] = value
    with pytest.raises(ProtocolError):
        Receipt.decode(canonical.encode(wire))


def test_a_receipt_leads_from_the_entry_to_the_head() -> None:
    """And gives the leaf that relations and acknowledgements name. SPEC 9.4.3."""
    assert RECEIPT.leaf_of(ENTRY) == ENTRY.leaf()


@pytest.mark.parametrize(
    "changed",
    [
        {"index": 0},
        {"path": ()},
        {"path": (H,)},
        {"path": (SIBLING, SIBLING)},
        {"head": replace(HEAD, root=H)},
        {"head": replace(HEAD, size=3)},
        {"time": 6},
        {"link": None},
    ],
)
def test_a_receipt_that_does_not_lead_there_is_refused(changed: dict[str, Any]) -> None:
    """Whatever of it is wrong. SPEC 9.4.3."""
    with pytest.raises(ProofFailed):
        replace(RECEIPT, **changed).leaf_of(ENTRY)


def test_where_it_was_seen_before_the_first_entry_counts() -> None:
    """Its signatures may differ from those just posted; the statement may not. SPEC 9.4.2, 9.4.3."""
    posted = replace(ENTRY, signatures=b"others")
    assert replace(RECEIPT, entry=ENTRY.encode()).leaf_of(posted) == ENTRY.leaf()
    with pytest.raises(ProofFailed):
        RECEIPT.leaf_of(posted)


@pytest.mark.parametrize("other", [replace(ENTRY, statement=b"other"), replace(ENTRY, kind=Kind.ACKNOWLEDGEMENT)])
def test_a_receipt_for_another_statement_is_no_promise(other: Entry) -> None:
    """A node cannot pay with the proof of a bulletin that stands there anyway. SPEC 9.4.3."""
    with pytest.raises(ProofFailed, match="another statement"):
        replace(RECEIPT, entry=ENTRY.encode()).leaf_of(other)
