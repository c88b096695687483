"""protocol/page.py: pages and cursors."""

from typing import Any

import pytest

from protocol import canonical, limits
from protocol.errors import Malformed, ProtocolError, TooLarge
from protocol.page import Consistency, Item, Part, decode_page, encode_page, format_cursor, parse_cursor
from protocol.signing import Signature
from protocol.treehead import TreeHead
from tests.support.altering import replace

H = bytes(range(32))
PK, CN = "pk.khunjerab.test/ledger", "cn.khunjerab.test/ledger"


def _part(origin: str = PK, *indexes: int, following: int = 9) -> Part:
    head = TreeHead(H, origin, 9, H, 5, Signature(H, b"e" * 64))
    items = tuple(Item(index, b"entry", (H,), b"wrap", b"body") for index in indexes)
    return Part(head, items, f"{origin}\n9\nroot\n\n— line\n", (Consistency(3, 9, (H, H)),), following)


def test_a_page_has_a_part_for_each_origin() -> None:
    """Sorted by it. SPEC 11.2.1, 11.2.2."""
    parts = (_part(PK, 3, 7), _part(CN))
    data = encode_page(parts)
    assert decode_page(data) == (parts[1], parts[0])
    assert decode_page(encode_page(())) == ()
    wire = canonical.decode(data, bytes_max=9_999)
    assert wire[1] == [
        [H, PK, 9, H, 5, [H, b"e" * 64, None]],
        [[3, b"entry", [H], b"wrap", b"body", ""], [7, b"entry", [H], b"wrap", b"body", ""]],
        f"{PK}\n9\nroot\n\n— line\n",
        [[3, 9, [H, H]]],
        9,
        None,
    ]


@pytest.mark.parametrize("field", ["entry", "wrap", "body"])
def test_an_item_is_bounded(field: str) -> None:
    """An entry as everywhere, a body as the JSON of a directory. SPEC 2.1.1, 11.2.2."""
    most = limits.ENTRY_BYTES_MAX if field == "entry" else limits.DIRECTORY_BYTES_MAX
    for length in (most, most + 1):
        data: dict[str, Any] = {field: bytes(length)}
        page = encode_page((replace(_part(), items=(replace(_part(PK, 3).items[0], **data),)),))
        if length == most:
            assert len(decode_page(page)) == 1
        else:
            with pytest.raises(TooLarge):
                decode_page(page)


def test_a_part_may_name_evidence_against_its_log() -> None:
    """By its hash, of 32 bytes; else nil. SPEC 11.2.1."""
    part = replace(_part(), evidence=H)
    assert decode_page(encode_page((part,))) == (part,)
    with pytest.raises(Malformed):
        decode_page(canonical.encode([[*part.to_wire()[:-1], H[1:]]]))  # type: ignore[index]


@pytest.mark.parametrize("origins", [(PK, CN), (PK, PK)])
def test_parts_that_are_not_sorted_or_come_twice_are_refused(origins: tuple[str, ...]) -> None:
    """SPEC 11.2.1."""
    with pytest.raises(Malformed):
        decode_page(canonical.encode([_part(origin).to_wire() for origin in origins]))


def test_an_item_may_come_without_wrap_and_body() -> None:
    """Withheld, and why. SPEC 11.2.2."""
    part = replace(_part(), items=(Item(3, b"entry", (), None, None, "agency-suspended"),))
    assert decode_page(encode_page((part,))) == (part,)


@pytest.mark.parametrize("indexes, following", [((7, 3), 9), ((3, 3), 9), ((3, 7), 7), ((3, 7), 6), ((), 10)])
def test_items_are_in_order_below_the_next_index(indexes: tuple[int, ...], following: int) -> None:
    """Nothing is handed over twice, or skipped by a cursor that runs ahead of the head. SPEC 11.2.3."""
    with pytest.raises(Malformed):
        decode_page(canonical.encode([_part(PK, *indexes, following=following).to_wire()]))


@pytest.mark.parametrize(
    "at, value", [(0, None), (1, [[]]), (1, None), (2, "a\x1bb"), (3, [[3, 9, []]] * 4), (3, [[3]]), (4, -1)]
)
def test_each_field_of_a_part_has_its_type(at: int, value: Any) -> None:
    """SPEC 11.2.1."""
    wire: Any = _part().to_wire()
    wire[at] = value
    with pytest.raises(ProtocolError):
        decode_page(canonical.encode([wire]))


def test_a_cursor_prints_and_reads() -> None:
    """SPEC 11.2.4."""
    cursor = {PK: 17, CN: 0}
    assert format_cursor(cursor) == f"{CN}=0,{PK}=17"
    assert parse_cursor(f"{CN}=0,{PK}=17") == cursor
    assert parse_cursor("") == {}


@pytest.mark.parametrize(
    "text",
    [
        PK,
        f"{PK}=",
        f"{PK}=01",
        f"{PK}=-1",
        f"{PK}=+1",
        f"{PK}=1 ",
        f"{PK}=1,",
        f"{PK}=1,{CN}=1",
        f"{PK}=1,{PK}=1",
        f"{PK}=²",
        f"{PK}={2**53}",
        f"{PK}=" + "9" * 5000,
        "Not An Origin=1",
        ",".join(f"n{n:02}=1" for n in range(17)),
    ],
)
def test_another_spelling_of_a_cursor_is_refused(text: str) -> None:
    """One position, one text; and no number that Python balks at. SPEC 11.2.4."""
    with pytest.raises(ProtocolError):
        parse_cursor(text)
