"""protocol/header.py: what nodes see of a bulletin."""

from typing import Any

import pytest

from protocol import canonical, limits
from protocol.errors import ProtocolError
from protocol.header import Header, Recipient, Relation
from tests.support.altering import replace
from tests.support.world import World

ORIGIN = "pk.khunjerab.test/ledger"
HEADER = World.found().header(to=("cn-embassy", "cn-liaison"), relations=(Relation("answers", ORIGIN, 7, bytes(32)),))


def _changed(at: int, value: Any) -> bytes:
    wire = canonical.decode(HEADER.encode(), bytes_max=limits.ENTRY_BYTES_MAX)
    wire[at] = value
    return canonical.encode(wire)


def test_a_header_is_its_seventeen_fields_in_order() -> None:
    """SPEC 7.1.1."""
    wire = canonical.decode(HEADER.encode(), bytes_max=limits.ENTRY_BYTES_MAX)
    assert wire == [
        *(HEADER.suite, HEADER.exchange, HEADER.origin, HEADER.directory_version, HEADER.directory_hash),
        *(HEADER.id, HEADER.sender, HEADER.key_id, HEADER.own_bundle),
        [[recipient.agency, recipient.bundle] for recipient in HEADER.recipients],
        *(HEADER.feed, HEADER.label.to_wire(), "actual", "routine", HEADER.created, HEADER.expires),
        [["answers", ORIGIN, 7, bytes(32)]],
    ]
    assert Header.decode(HEADER.encode()) == HEADER


@pytest.mark.parametrize(
    "at, value",
    [
        (0, None),
        (1, bytes(31)),
        (2, "https://pk.example"),
        (3, "1"),
        (4, b""),
        (5, bytes(16)),
        (6, "PK"),
        (7, bytes(33)),
        (8, None),
        (9, []),
        (9, [["cn-embassy"]]),
        (9, [["cn-embassy", bytes(32)]] * 65),
        (10, ""),
        (11, ["PK"]),
        (12, "Actual"),
        (13, "urgent"),
        (14, -1),
        (15, 2**53),
        (16, [["answers", ORIGIN, 7, bytes(32)]] * 17),
    ],
)
def test_each_field_has_its_type_and_bound(at: int, value: Any) -> None:
    """One after the other, broken alone. SPEC 7.1.1."""
    with pytest.raises(ProtocolError):
        Header.decode(_changed(at, value))


def test_a_field_more_or_less_is_refused() -> None:
    """SPEC 3.1.4."""
    wire = canonical.decode(HEADER.encode(), bytes_max=limits.ENTRY_BYTES_MAX)
    for other in (wire[:-1], [*wire, None]):
        with pytest.raises(ProtocolError, match="17"):
            Header.decode(canonical.encode(other))


@pytest.mark.parametrize(
    "agencies", [("cn-liaison", "cn-embassy"), ("cn-embassy", "cn-embassy"), ("cn-embassy", "pk-liaison")]
)
def test_recipients_are_sorted_named_once_and_never_the_sender(agencies: tuple[str, ...]) -> None:
    """So nobody gets two wraps, and the sender's own agency has its own place. SPEC 7.1.2."""
    header = replace(HEADER, recipients=tuple(Recipient(agency, bytes(32)) for agency in agencies))
    with pytest.raises(ProtocolError, match="recipients"):
        Header.decode(header.encode())


@pytest.mark.parametrize(
    "wire", [["forwards", ORIGIN, 7, bytes(32)], ["answers", ORIGIN, -1, bytes(32)], ["answers", ORIGIN, 7]]
)
def test_a_relation_names_its_target_by_origin_index_and_leaf(wire: Any) -> None:
    """And is of one of four kinds. SPEC 7.1.3."""
    with pytest.raises(ProtocolError):
        Header.decode(_changed(16, [wire]))
    for kind in ("supersedes", "cancels", "answers", "replies"):
        assert Header.decode(_changed(16, [[kind, ORIGIN, 7, bytes(32)]])).relations[0].kind == kind


def test_the_sender_s_own_agency_is_the_last_addressee() -> None:
    """It is sealed to, and it is no recipient. SPEC 8.2.5."""
    assert [addressee.agency for addressee in HEADER.addressees] == ["cn-embassy", "cn-liaison", "pk-liaison"]
    assert HEADER.addressees[-1].bundle == HEADER.own_bundle
    assert HEADER.is_sent_to("cn-embassy")
    assert not HEADER.is_sent_to("pk-liaison")


def test_a_bulletin_s_name_is_sender_and_id() -> None:
    """SPEC 4.5.2."""
    assert HEADER.name.startswith("pk-liaison/")
