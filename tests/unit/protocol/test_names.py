"""protocol/names.py: one spelling for each name."""

import uuid
from collections.abc import Callable

import pytest

from protocol import names
from protocol.errors import Malformed, ProtocolError

V7 = uuid.UUID("01a20c91-a000-7001-8203-040506070809")


@pytest.mark.parametrize(
    "grammar, good",
    [
        (names.nation, "PK"),
        (names.alpha3, "PAK"),
        (names.agency, "pk-liaison"),
        (names.agency, "a" * 64),
        (names.feed, "convoys-2"),
        (names.compartment, "CONVOY-2"),
        (names.caveat, "ORIGINATOR CONTROLLED"),
        (names.origin, "pk.khunjerab.example/ledger"),
        (names.origin, "localhost:8443/pk/ledger_2"),
    ],
)
def test_a_name_passes_as_it_is(grammar: Callable[[str], str], good: str) -> None:
    """SPEC 4.1.1, 4.2.1, 4.3.1, 4.4.1."""
    assert grammar(good) == good


@pytest.mark.parametrize(
    "grammar, bad",
    [(names.nation, bad) for bad in ("", "pk", "PAK", "P", "P1", "PK\n", "ＰＫ")]
    + [(names.alpha3, bad) for bad in ("", "PK", "pak", "PAKI", "PAK\n")]
    + [(names.agency, bad) for bad in ("", "-a", "a-", "a--b", "A", "a_b", "1a", "a b", "a\n", "a" * 65, "é", "а")]
    + [(names.feed, bad) for bad in ("", "Convoys", "con/voys")]
    + [(names.compartment, bad) for bad in ("", "convoy", "A B", "A,B", "A//B", "-A", "A" * 65)]
    + [(names.caveat, bad) for bad in ("", "A  B", " A", "A ", "a", "A//B")]
    + [
        (names.origin, bad)
        for bad in ["", "https://pk.example", "PK.example", "pk.example/", "pk..example", "pk.example:123456", "a b"]
    ]
    + [(names.origin, bad) for bad in ("a+b", "a" * 201, "pk.example/..", "pk.example//x", "pk.example=1", "a,b")],
)
def test_any_other_spelling_is_refused(grammar: Callable[[str], str], bad: str) -> None:
    """Look-alikes, empty names, and names that would end a line or a list. SPEC 4.1.1, 4.2.1, 4.3.1, 4.4.1."""
    with pytest.raises(Malformed):
        grammar(bad)


def test_an_id_is_a_uuid_of_version_7() -> None:
    """Its version and variant are checked, and nothing else of it. SPEC 4.5.1."""
    assert names.bulletin_id(V7.bytes) == V7.bytes
    for other in (
        uuid.UUID(int=0),
        uuid.UUID("01a20c91-a000-4001-8203-040506070809"),
        uuid.UUID(int=V7.int & ~(1 << 63)),
    ):
        with pytest.raises(Malformed):
            names.bulletin_id(other.bytes)
    for length in (0, 15, 17):
        with pytest.raises(Malformed):
            names.bulletin_id(bytes(length))


def test_new_ids_are_ids_and_stand_in_the_order_of_their_time() -> None:
    """Whatever the random bytes. SPEC 4.5.1."""
    early, late = names.new_bulletin_id(1_000, b"\xff" * 10), names.new_bulletin_id(1_001, bytes(10))
    assert names.bulletin_id(early) < names.bulletin_id(late)
    assert names.new_bulletin_id(1_795_507_200_000, bytes(range(10))) == V7.bytes


def test_an_id_prints_and_reads_as_sender_and_uuid() -> None:
    """SPEC 4.5.2."""
    assert names.format_id("pk-liaison", V7.bytes) == f"pk-liaison/{V7}"
    assert names.parse_id(f"pk-liaison/{V7}") == ("pk-liaison", V7.bytes)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "pk-liaison",
        f"/{V7}",
        f"PK/{V7}",
        f"pk-liaison/{V7}".upper(),
        f"pk-liaison/{V7.hex}",
        f"pk-liaison/{{{V7}}}",
        f"pk-liaison/urn:uuid:{V7}",
        f"pk-liaison/{V7}/x",
        f"pk-liaison/ {V7}",
        f"pk-liaison/{uuid.UUID(int=0)}",
        "pk-liaison/" + "9" * 10_000,
    ],
)
def test_another_spelling_of_an_id_is_refused(bad: str) -> None:
    """Else one bulletin would have two idempotency keys. SPEC 4.5.2."""
    with pytest.raises(ProtocolError):
        names.parse_id(bad)
