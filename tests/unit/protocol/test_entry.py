"""protocol/entry.py: entries, submissions and batches."""

import hashlib
from typing import Any

import pytest

from protocol import canonical, limits
from protocol.entry import WRAP_BYTES, Entry, Link, Submission, decode_batch
from protocol.errors import Malformed, ProtocolError, TooLarge
from protocol.statements import Kind

ENTRY = Entry(Kind.BULLETIN, b"statement", b"signatures", 1_795_507_200_000, Link(Kind.DIRECTORY, 0))
SUBMISSION = Submission(Kind.BULLETIN, b"statement", b"signatures", (b"a" * WRAP_BYTES, b"b" * WRAP_BYTES), b"body")


def test_an_entry_is_its_five_fields_and_their_bytes_are_the_leaf() -> None:
    """SPEC 9.1.1, 9.3.1."""
    data = canonical.encode([1, b"statement", b"signatures", 1_795_507_200_000, [3, 0]])
    assert ENTRY.encode() == data
    assert Entry.decode(data) == ENTRY
    assert ENTRY.leaf() == hashlib.sha256(b"\0" + data).digest()


def test_the_first_entry_has_no_link() -> None:
    """SPEC 9.1.2."""
    first = Entry(Kind.DIRECTORY, b"s", b"", 1, None)
    assert Entry.decode(first.encode()) == first


@pytest.mark.parametrize(
    "at, value",
    [(0, 0), (0, 7), (0, True), (1, "text"), (1, [1]), (2, None), (3, -1), (4, 0), (4, []), (4, [3]), (4, [3, -1])],
)
def test_each_field_of_an_entry_has_its_type(at: int, value: Any) -> None:
    """SPEC 9.1.1, 7.8.1."""
    wire: list[Any] = [1, b"statement", b"signatures", 5, [3, 0]]
    wire[at] = value
    with pytest.raises(Malformed):
        Entry.decode(canonical.encode(wire))


@pytest.mark.parametrize("kind", [0, 1, 2, 4, 7])
def test_a_link_names_a_directory_revocation_or_suspension(kind: int) -> None:
    """Bundles and what agencies say are no governance to walk by. SPEC 9.1.2."""
    with pytest.raises(Malformed):
        Entry.decode(canonical.encode([1, b"", b"", 5, [kind, 0]]))


def test_an_entry_is_at_most_what_a_bundle_can_say() -> None:
    """65,535 bytes in all. SPEC 9.1.1, 2.1.1."""
    overhead = len(Entry(Kind.BULLETIN, bytes(60_000), b"", 0, None).encode()) - 60_000
    entry = Entry(Kind.BULLETIN, bytes(limits.ENTRY_BYTES_MAX - overhead), b"", 0, None)
    assert len(entry.encode()) == limits.ENTRY_BYTES_MAX
    assert Entry.decode(entry.encode()) == entry
    with pytest.raises(TooLarge):
        Entry.decode(Entry(Kind.BULLETIN, entry.statement + b"\0", b"", 0, None).encode())


def test_a_submission_is_a_flat_array_of_five() -> None:
    """SPEC 9.2.1."""
    wraps = b"a" * WRAP_BYTES + b"b" * WRAP_BYTES
    assert SUBMISSION.encode() == canonical.encode([b"\1", b"statement", b"signatures", wraps, b"body"])
    assert Submission.decode(SUBMISSION.encode()) == SUBMISSION
    assert SUBMISSION.hashes() == (
        (hashlib.sha256(b"a" * WRAP_BYTES).digest(), hashlib.sha256(b"b" * WRAP_BYTES).digest()),
        hashlib.sha256(b"body").digest(),
    )


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"\1", b"s", b"g", b""],
        [b"\1", b"s", b"g", b"", b"", b""],
        [b"", b"s", b"g", b"", b""],
        [b"\1\1", b"s", b"g", b"", b""],
        [b"\0", b"s", b"g", b"", b""],
        [b"\7", b"s", b"g", b"", b""],
        [b"\1", b"s", b"g", b"x", b""],
        [b"\1", b"s", b"g", bytes(WRAP_BYTES + 1), b""],
        [b"\1", bytes(limits.ENTRY_BYTES_MAX + 1), b"g", b"", b""],
        [b"\1", b"s", bytes(limits.ENTRY_BYTES_MAX + 1), b"", b""],
        [1, b"s", b"g", b"", b""],
        [b"\1", [b"s"], b"g", b"", b""],
    ],
)
def test_another_envelope_is_refused(parts: list[Any]) -> None:
    """Wraps of another length among them. SPEC 9.2.1, 3.2.1, 8.2.3."""
    with pytest.raises(ProtocolError):
        Submission.decode(canonical.encode(parts))


def test_a_batch_holds_one_to_sixty_four() -> None:
    """Each is taken apart later, so that a bad one does not spoil the others. SPEC 9.2.2."""
    assert decode_batch(canonical.encode([b"no envelope", SUBMISSION.encode()])) == [
        b"no envelope",
        SUBMISSION.encode(),
    ]
    assert len(decode_batch(canonical.encode([b""] * limits.BATCH_SUBMISSIONS_MAX))) == limits.BATCH_SUBMISSIONS_MAX
    batches: list[Any] = [[], [b""] * (limits.BATCH_SUBMISSIONS_MAX + 1), [1], [[]]]
    for batch in batches:
        with pytest.raises(ProtocolError):
            decode_batch(canonical.encode(batch))
    with pytest.raises(TooLarge):
        decode_batch(bytes(limits.REQUEST_BYTES_MAX + 1))
