"""protocol/statements.py: the six kinds."""

import hashlib
from typing import Any

import pytest

from protocol import canonical, limits
from protocol.entry import Entry, Link
from protocol.errors import Malformed, ProtocolError
from protocol.header import Header
from protocol.pae import pae
from protocol.signing import KemKey, PublicKey, Signature, encode_signatures
from protocol.statements import (
    GOVERNANCE,
    LINKED,
    NO_HASH,
    SIGNED_UNDER,
    Acknowledgement,
    AcknowledgementLine,
    Bulletin,
    DirectoryVersion,
    KeyBundle,
    Kind,
    Revocation,
    Seat,
    Statement,
    Suspect,
    Suspension,
    WrapHash,
    decode,
    statement_hash,
)
from tests.support.world import World

ORIGIN = "pk.khunjerab.test/ledger"
H = bytes(range(32))
HEADER = World.found().header()
KEY, KEM = PublicKey(b"e" * 32, b"m" * 1952), KemKey(b"k" * 1184, b"x" * 32)
STATEMENTS: dict[Kind, Statement] = {
    Kind.BULLETIN: Bulletin(HEADER, HEADER.encode(), (WrapHash(H, H),), H),
    Kind.ACKNOWLEDGEMENT: Acknowledgement(
        *(1, H, ORIGIN, "cn-liaison", H, "pk-liaison", 5), (AcknowledgementLine(ORIGIN, 7, H, "read", 5),)
    ),
    Kind.DIRECTORY: DirectoryVersion(2, 4096, H, H),
    Kind.KEY_BUNDLE: KeyBundle(H, "pk-liaison", H, 1, NO_HASH, 5, 6, (Seat("desk", KEY, KEM),)),
    Kind.REVOCATION: Revocation(H, "pk-liaison", (H,), 5, "lost", Suspect(ORIGIN, 7)),
    Kind.SUSPENSION: Suspension(H, "pk-liaison", 5, "under inquiry", H),
}


def _wire(kind: Kind) -> list[Any]:
    return canonical.decode(STATEMENTS[kind].encode(), bytes_max=limits.ENTRY_BYTES_MAX)


def test_the_wire_form_of_each_kind() -> None:
    """Field for field. SPEC 7.2.1, 7.3.1, 7.4.1, 7.5.1, 7.6.1, 7.7.1."""
    assert _wire(Kind.BULLETIN) == [HEADER.encode(), [[H, H]], H]
    assert _wire(Kind.ACKNOWLEDGEMENT) == [
        *(1, H, ORIGIN, "cn-liaison", H, "pk-liaison", 5, [[ORIGIN, 7, H, "read", 5]])
    ]
    assert _wire(Kind.DIRECTORY) == [2, 4096, H, H]
    seat = ["desk", [KEY.ed25519, KEY.mldsa65], [KEM.mlkem768, KEM.x25519]]
    assert _wire(Kind.KEY_BUNDLE) == [H, "pk-liaison", H, 1, NO_HASH, 5, 6, [seat]]
    assert _wire(Kind.REVOCATION) == [H, "pk-liaison", [H], 5, "lost", [ORIGIN, 7]]
    assert _wire(Kind.SUSPENSION) == [H, "pk-liaison", 5, "under inquiry", H]


@pytest.mark.parametrize("kind", Kind)
def test_what_is_encoded_is_decoded(kind: Kind) -> None:
    """By its own kind, and by no other with as many fields. SPEC 7.8.1."""
    data = STATEMENTS[kind].encode()
    assert decode(kind, data) == STATEMENTS[kind]
    for other in set(Kind) - {kind}:
        with pytest.raises(ProtocolError):
            decode(other, data)


@pytest.mark.parametrize("kind", Kind)
def test_a_field_more_or_less_is_refused(kind: Kind) -> None:
    """SPEC 3.1.4."""
    for wire in (_wire(kind)[:-1], [*_wire(kind), None]):
        with pytest.raises(Malformed, match="not an array of"):
            decode(kind, canonical.encode(wire))


@pytest.mark.parametrize(
    "kind, at, value",
    [
        (Kind.BULLETIN, 0, [1]),
        (Kind.BULLETIN, 0, b"\x90"),
        (Kind.BULLETIN, 1, []),
        (Kind.BULLETIN, 1, [[H, H]] * 257),
        (Kind.BULLETIN, 1, [[H]]),
        (Kind.BULLETIN, 2, H[1:]),
        (Kind.ACKNOWLEDGEMENT, 7, []),
        (Kind.ACKNOWLEDGEMENT, 7, [[ORIGIN, 7, H, "pending", 5]]),
        (Kind.ACKNOWLEDGEMENT, 7, [[ORIGIN, 7, H, "read", 5]] * 257),
        (Kind.ACKNOWLEDGEMENT, 5, "PK"),
        (Kind.DIRECTORY, 0, 0),
        (Kind.DIRECTORY, 1, limits.DIRECTORY_BYTES_MAX + 1),
        (Kind.DIRECTORY, 3, None),
        (Kind.KEY_BUNDLE, 4, None),
        (Kind.KEY_BUNDLE, 7, []),
        (Kind.KEY_BUNDLE, 7, [["Desk", KEY.to_wire(), KEM.to_wire()]]),
        (Kind.KEY_BUNDLE, 7, [["desk", [b"e" * 31, KEY.mldsa65], KEM.to_wire()]]),
        (Kind.KEY_BUNDLE, 7, [["desk", KEY.to_wire(), [KEM.mlkem768, b"x"]]]),
        (Kind.REVOCATION, 2, []),
        (Kind.REVOCATION, 2, [H] * 65),
        (Kind.REVOCATION, 2, [1]),
        (Kind.REVOCATION, 4, "a\nb"),
        (Kind.REVOCATION, 5, [ORIGIN]),
        (Kind.SUSPENSION, 3, "x" * 501),
        (Kind.SUSPENSION, 4, b""),
    ],
)
def test_a_broken_field_is_refused(kind: Kind, at: int, value: Any) -> None:
    """One at a time. SPEC 7.2.1, 7.3.1, 7.4.1, 7.5.1, 7.6.1, 7.7.1."""
    wire = _wire(kind)
    wire[at] = value
    with pytest.raises(ProtocolError):
        decode(kind, canonical.encode(wire))


def test_kinds_have_their_numbers_for_ever() -> None:
    """They stand in entries; governance is what every reader of a ledger is given. SPEC 7.8.1."""
    assert {kind.word: int(kind) for kind in Kind} == {
        "bulletin": 1,
        "acknowledgement": 2,
        "directory": 3,
        "key-bundle": 4,
        "revocation": 5,
        "suspension": 6,
    }
    assert sorted(GOVERNANCE) == [3, 4, 5, 6]
    assert sorted(LINKED) == [3, 5, 6]


def test_a_statement_is_known_by_its_kind_and_bytes() -> None:
    """The same bytes as another kind are another statement. SPEC 7.8.2, 3.5.2."""
    data = STATEMENTS[Kind.SUSPENSION].encode()
    hashes = {statement_hash(kind, data) for kind in Kind}
    assert len(hashes) == len(Kind)
    assert statement_hash(Kind.SUSPENSION, data) == hashlib.sha256(pae(b"khunjerab/1/statement", b"\6", data)).digest()


def test_each_kind_is_signed_under_a_domain_of_its_own() -> None:
    """SPEC 5.2.2, 3.5.2."""
    assert {kind: SIGNED_UNDER[kind].decode() for kind in Kind} == {
        kind: f"khunjerab/1/sign/{kind.word}" for kind in Kind
    }


def test_a_header_s_bytes_are_kept_as_they_came() -> None:
    """What is bound and signed is never made again. SPEC 3.3.1."""
    data = STATEMENTS[Kind.BULLETIN].encode()
    bulletin = Bulletin.decode(data)
    assert bulletin.header_bytes in data
    assert bulletin.encode() == data
    assert Header.decode(bulletin.header_bytes) == bulletin.header


def test_the_largest_statements_fit_an_entry_with_their_signatures() -> None:
    """Nothing within the bounds is refused for its size, bulletins excepted. SPEC 2.1.2."""
    origin, name = "a" * limits.ORIGIN_CHARS_MAX, "a" * limits.NAME_CHARS_MAX
    top, late = canonical.UINT_MAX, limits.TIME_MS_MAX
    line = AcknowledgementLine(ORIGIN, top, H, "received", late)
    head = Acknowledgement(2, H, ORIGIN, name, H, name, late, (line,) * limits.ACKNOWLEDGEMENT_LINES_MAX)
    seats = (Seat(name, KEY, KEM),) * limits.SEATS_PER_AGENCY_MAX
    revocation = Revocation(H, name, (H,) * limits.REVOKED_KEYS_MAX, late, "封" * 500, Suspect(origin, top))
    largest: list[tuple[Kind, Statement, int]] = [
        (Kind.ACKNOWLEDGEMENT, head, 1),
        (Kind.KEY_BUNDLE, KeyBundle(H, name, H, top, H, late, late, seats), 1),
        (Kind.DIRECTORY, DirectoryVersion(top, limits.DIRECTORY_BYTES_MAX, H, H), limits.SIGNATURES_MAX),
        (Kind.REVOCATION, revocation, limits.AUTHORITY_KEYS_PER_NATION_MAX),
        (Kind.SUSPENSION, Suspension(H, name, late, "封" * 500, H), limits.AUTHORITY_KEYS_PER_NATION_MAX),
    ]
    for kind, statement, signers in largest:
        signatures = tuple(Signature(bytes([n]) * 32, b"e" * 64, b"m" * 3309) for n in range(signers))
        link = Link(Kind.REVOCATION, top)
        entry = Entry(kind, statement.encode(), encode_signatures(signatures), late, link)
        assert Entry.decode(entry.encode()) == entry
        assert decode(kind, entry.statement) == statement
