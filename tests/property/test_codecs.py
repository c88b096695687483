"""Our own formats under Hypothesis: what decodes encodes to the same bytes, and nothing raises but ProtocolError."""

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.card import make_card
from keys.evidence import Evidence, Placed
from protocol import canonical, names, padding, text
from protocol.addcheckpoint import decode_lines, decode_size, encode_lines, encode_size
from protocol.canonical import encode
from protocol.card import decode_card
from protocol.content import Content
from protocol.directory import Directory
from protocol.entry import Entry, Link, Submission, decode_batch
from protocol.errors import ProtocolError
from protocol.header import Header
from protocol.label import Clearance, Equivalence, Label, why_denied
from protocol.labeltext import format_label, parse_label
from protocol.login import Login, decode_signed, encode_signed
from protocol.merkle import EMPTY_ROOT
from protocol.note import Note
from protocol.page import Item, Part, decode_page, encode_page, format_cursor, parse_cursor
from protocol.policy import Policy
from protocol.problem import Problem
from protocol.promise import Promise, decode_promise, decode_promises, encode_promises
from protocol.sigfile import read_signature, write_signature
from protocol.signing import Signature, decode_signatures, encode_signatures
from protocol.statements import Kind, decode
from protocol.stream import Answers, decode_answers
from protocol.strictjson import dumps, loads
from protocol.times import format_time, parse_time
from protocol.tlogproof import TlogProof
from protocol.treehead import BareReceipt, Receipt, TreeHead
from tests.support.operator import signed_checkpoint
from tests.support.world import CONTENT, ORIGINS, World, first_directory, kem_key, signing_key

H = bytes(range(32))
WORLD = World.found()
BULLETIN = WORLD.bulletin()
SIGNATURE = Signature(H, b"e" * 64, b"m" * 3309)
HEAD = TreeHead(H, ORIGINS["PK"], 9, EMPTY_ROOT, 5, SIGNATURE)
ENTRY = Entry(Kind.BULLETIN, BULLETIN.statement, BULLETIN.signatures, 5, Link(Kind.DIRECTORY, 0))
PART = Part(HEAD, (Item(3, ENTRY.encode(), (H,), b"wrap", b"body"),), "checkpoint\n", (), 9)
FIRST = first_directory()
CHECKPOINT = signed_checkpoint(9, EMPTY_ROOT, 5)
PLACED = Placed(0, ENTRY.encode(), (H,))


def _recoded(kind: Kind) -> Callable[[bytes], bytes]:
    return lambda data: decode(kind, data).encode()


def _card(data: bytes) -> bytes:
    card, proof = decode_card(data)
    return card.encode(proof)


def _login(data: bytes) -> bytes:
    return encode_signed(*decode_signed(data))


# name: (an encoding, bytes -> value -> bytes)
CODECS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "header": (WORLD.header().encode(), lambda data: Header.decode(data).encode()),
    "bulletin": (BULLETIN.statement, _recoded(Kind.BULLETIN)),
    "acknowledgement": (
        WORLD.acknowledgement("cn-liaison", "pk-liaison", ()).statement,
        _recoded(Kind.ACKNOWLEDGEMENT),
    ),
    "directory version": (WORLD.publication().statement, _recoded(Kind.DIRECTORY)),
    "key bundle": (WORLD.key_bundle("pk-liaison").statement, _recoded(Kind.KEY_BUNDLE)),
    "revocation": (WORLD.revocation("pk-liaison/desk").statement, _recoded(Kind.REVOCATION)),
    "suspension": (WORLD.suspension("pk-liaison").statement, _recoded(Kind.SUSPENSION)),
    "content": (CONTENT.encode(), lambda data: Content.decode(data).encode()),
    "signatures": (encode_signatures((SIGNATURE,)), lambda data: encode_signatures(decode_signatures(data))),
    "entry": (ENTRY.encode(), lambda data: Entry.decode(data).encode()),
    "submission": (BULLETIN.encode(), lambda data: Submission.decode(data).encode()),
    "batch": (encode([BULLETIN.encode()]), lambda data: encode(list(decode_batch(data)))),
    "promises": (
        encode_promises([Promise(BULLETIN, Receipt(3, 5, None, (H,), HEAD))]),
        lambda data: encode_promises([decode_promise(pair) for pair in decode_promises(data)]),
    ),
    "receipt": (Receipt(3, 5, None, (H,), HEAD).encode(), lambda data: Receipt.decode(data).encode()),
    "answers": (
        Answers(HEAD, (BareReceipt(3, 5, None, (H,)), "{}")).encode(),
        lambda data: Answers.decode(data).encode(),
    ),
    "page": (encode_page((PART,)), lambda data: encode_page(decode_page(data))),
    "login": (encode_signed(Login(H, ORIGINS["PK"], 5, bytes(16)), SIGNATURE), _login),
    "directory": (FIRST.encode(), lambda data: Directory.decode(data).encode()),
    "card": (make_card("seat", "desk", signing_key("pk-liaison/desk"), (kem_key("pk-liaison/desk/1"),)), _card),
    "signature file": (
        write_signature(SIGNATURE, H, "pk-custodian-1"),
        lambda data: write_signature(read_signature(data, H), H, json.loads(data)["signer"]),
    ),
    "evidence": (
        Evidence(ENTRY.encode(), TlogProof(3, (H,), CHECKPOINT), (PLACED,), (PLACED,), (b"{}",)).encode(),
        lambda data: Evidence.decode(data).encode(),
    ),
    "cosignatures": (encode_lines(Note.parse(CHECKPOINT).lines), lambda data: encode_lines(decode_lines(data))),
    "size": (encode_size(2**40), lambda data: encode_size(decode_size(data))),
    "JSON": (dumps({"a": [1, "b", {"c": None}]}), lambda data: dumps(loads(data, 10_000))),
    "padding": (padding.pad(b"content"), lambda data: padding.pad(padding.unpad(data))),
}
OTHER_THAN_MSGPACK = {"directory", "card", "signature file", "evidence", "cosignatures", "size", "JSON", "padding"}
MSGPACK = sorted(set(CODECS) - OTHER_THAN_MSGPACK)
TEXTS: dict[str, Callable[[str], str]] = {
    "id": lambda value: names.format_id(*names.parse_id(value)),
    "cursor": lambda value: format_cursor(parse_cursor(value)),
    "time": lambda value: format_time(parse_time(value)),
}

atoms = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=70) | st.text()
trees = st.recursive(atoms, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=2))


def _decodes_to_itself_or_is_refused(codec: str, data: bytes) -> None:
    try:
        again = CODECS[codec][1](data)
    except ProtocolError:
        return
    assert again == data


@pytest.mark.parametrize("codec", sorted(set(CODECS) - {"acknowledgement"}))
def test_an_encoding_decodes_to_itself(codec: str) -> None:
    """The sample that the others are altered from. SPEC 3.1.2."""
    data, recode = CODECS[codec]
    assert recode(data) == data


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.binary(max_size=300))
@settings(max_examples=40)
def test_any_bytes_are_decoded_or_refused_by_a_protocol_error(codec: str, data: bytes) -> None:
    """SPEC 3.1.1, 3.1.2."""
    _decodes_to_itself_or_is_refused(codec, data)


@pytest.mark.parametrize("codec", MSGPACK)
@given(value=trees)
@settings(max_examples=40)
def test_any_msgpack_is_decoded_or_refused_by_a_protocol_error(codec: str, value: Any) -> None:
    """Of any shape, where bytes at random would not get past the first one. SPEC 3.1.4."""
    _decodes_to_itself_or_is_refused(codec, msgpack.packb(value, unicode_errors="surrogatepass"))


@pytest.mark.parametrize("codec", MSGPACK)
@given(data=st.data())
@settings(max_examples=60)
def test_a_field_replaced_is_decoded_to_itself_or_refused(codec: str, data: st.DataObject) -> None:
    """Any value in any place of an array that was right. SPEC 3.1.4."""
    value = msgpack.unpackb(CODECS[codec][0], strict_map_key=False)
    place = value
    while True:
        at = data.draw(st.integers(0, len(place) - 1))
        if not isinstance(place[at], list) or not place[at] or data.draw(st.booleans()):
            break
        place = place[at]
    place[at] = data.draw(trees)
    _decodes_to_itself_or_is_refused(codec, msgpack.packb(value, unicode_errors="surrogatepass"))


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.data())
@settings(max_examples=60)
def test_an_altered_encoding_decodes_to_itself_or_is_refused(codec: str, data: st.DataObject) -> None:
    """One byte replaced, dropped or doubled. SPEC 3.1.2, 10.1.2."""
    encoded = CODECS[codec][0]
    at = data.draw(st.integers(0, len(encoded) - 1))
    byte = data.draw(st.binary(max_size=2))
    _decodes_to_itself_or_is_refused(codec, encoded[:at] + byte + encoded[at + 1 :])


@given(data=st.binary(max_size=200) | st.text().map(lambda value: value.encode("utf-8", "replace")))
def test_any_bytes_are_a_problem_or_are_refused(data: bytes) -> None:
    """A node's answer may be anything. SPEC 13.1.3."""
    with contextlib.suppress(ProtocolError):
        assert Problem.from_json(data).code


@given(data=st.data())
def test_any_answers_are_receipts_and_problems_or_are_refused(data: st.DataObject) -> None:
    """A node's message may be anything, within the form too. SPEC 11.7.3, 13.1.3."""
    receipt = BareReceipt(3, 5, None, (H,))
    some = st.lists(st.just(receipt) | st.text() | st.just(Problem("expired", "x").to_json().decode()), max_size=4)
    message = data.draw(st.binary(max_size=200) | some.map(lambda each: Answers(HEAD, tuple(each)).encode()))
    with contextlib.suppress(ProtocolError):
        assert all(isinstance(answer, Receipt | Problem) for answer in decode_answers(message))


@pytest.mark.parametrize("codec", TEXTS)
@given(value=st.text() | st.text("0123456789abcdef-/=,.:ZTpk", max_size=60))
@settings(max_examples=60)
def test_any_text_reads_to_itself_or_is_refused(codec: str, value: str) -> None:
    """SPEC 4.5.2, 4.6.1, 11.2.4."""
    try:
        again = TEXTS[codec](value)
    except ProtocolError:
        return
    assert again == value


@given(value=st.text(st.characters(exclude_categories=[])))
def test_text_that_is_cleaned_passes_and_stays(value: str) -> None:
    """SPEC 3.4.1, 3.4.2."""
    cleaned = text.clean(value)
    text.check(cleaned, "text", len(cleaned), lines=True)
    assert text.clean(cleaned) == cleaned


@given(st.binary(max_size=5_000))
def test_content_is_padded_and_unpadded(data: bytes) -> None:
    """SPEC 8.3.1."""
    assert padding.unpad(padding.pad(data)) == data


# Labels

POLICY = Policy()
ALPHA3 = {"PK": "PAK", "CN": "CHN"}
COMPARTMENTS = ("CONVOY", "PERSONNEL", "SITES")
nations = st.sampled_from(["PK", "CN"])


def sets_of(options: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """Sets as they stand in a label."""
    return st.sets(st.sampled_from(options)).map(lambda chosen: tuple(sorted(chosen)))


@st.composite
def labels(draw: st.DrawFn) -> Label:
    """Labels of either policy."""
    policy = draw(nations)
    return Label(
        policy,
        draw(st.sampled_from(POLICY.equivalence.levels[policy])),
        draw(sets_of(COMPARTMENTS)),
        draw(sets_of(("CN", "PK"))),
        draw(sets_of(("EYES ONLY", "ORIGINATOR CONTROLLED"))),
        draw(st.none() | st.dates().map(lambda date: date.isoformat())),
    )


@st.composite
def clearances(draw: st.DrawFn) -> Clearance:
    """Clearances of either nation."""
    policy = draw(nations)
    return Clearance(policy, draw(st.sampled_from(POLICY.equivalence.levels[policy])), draw(sets_of(COMPARTMENTS)))


@st.composite
def equivalences(draw: st.DrawFn) -> Equivalence:
    """Levels and maps that a directory may hold."""
    levels = {nation: tuple(f"{nation}{n}" for n in range(draw(st.integers(1, 6)))) for nation in ("PK", "CN")}
    maps = {
        (source, target): draw(st.dictionaries(st.sampled_from(levels[source]), st.sampled_from(levels[target])))
        for source, target in (("PK", "CN"), ("CN", "PK"))
    }
    return Equivalence(levels, maps)


def _reads(label: Label, clearance: Clearance, equivalence: Equivalence = POLICY.equivalence) -> bool:
    return why_denied(label, clearance, clearance.policy, equivalence) is None


@given(labels(), clearances(), st.sampled_from(COMPARTMENTS), st.sampled_from(["CN", "PK"]))
def test_a_stricter_label_never_lets_in_anyone_new(label: Label, clearance: Clearance, more: str, less: str) -> None:
    """One more compartment, or one nation fewer, narrows. SPEC 6.2.4."""
    compartments = tuple(sorted({*label.compartments, more}))
    releasable = tuple(nation for nation in label.releasable if nation != less)
    head = (label.policy, label.classification)
    for stricter in (Label(*head, compartments, label.releasable), Label(*head, label.compartments, releasable)):
        assert _reads(label, clearance) or not _reads(stricter, clearance)


@given(labels(), clearances())
def test_nobody_reads_what_is_released_to_nobody_or_unknown(label: Label, clearance: Clearance) -> None:
    """SPEC 6.2.2, 6.2.3."""
    assert not _reads(Label(label.policy, label.classification, (), ()), clearance)
    assert not _reads(Label("XX", label.classification, (), label.releasable), clearance)
    assert not _reads(Label(label.policy, "unheard of", (), label.releasable), clearance)
    assert not _reads(label, clearance, Equivalence({}))


@given(labels(), clearances(), clearances())
def test_a_higher_clearance_reads_all_that_a_lower_one_does(label: Label, low: Clearance, high: Clearance) -> None:
    """A set that holds a rank holds every lower one. SPEC 6.2.1."""
    levels = POLICY.equivalence.levels[low.policy]
    top = Clearance(low.policy, levels[-1], tuple(sorted({*low.compartments, *high.compartments})))
    assert _reads(label, top) or not _reads(label, low)


@given(equivalences(), st.data())
@settings(max_examples=200)
def test_in_a_map_that_passes_nothing_comes_back_lower(equivalence: Equivalence, data: st.DataObject) -> None:
    """Nor does a higher level go below a lower one. SPEC 6.3.2."""
    try:
        Policy(equivalence=equivalence).check(["CN", "PK"])
    except ProtocolError:
        return
    source, target = data.draw(st.permutations(["PK", "CN"]))
    ranks = []
    for rank, level in enumerate(equivalence.levels[source]):
        there = equivalence.translate(source, level, target)
        if there is None:
            continue
        ranks.append(equivalence.rank(target, there))
        back = equivalence.translate(target, there, source)
        assert back is None or (equivalence.rank(source, back) or 0) >= rank
    assert ranks == sorted(ranks, key=lambda rank: -1 if rank is None else rank)


@given(labels(), nations)
def test_a_label_prints_and_reads_as_itself(label: Label, own: str) -> None:
    """In whosever profile. SPEC 6.4.1."""
    assert parse_label(format_label(label, ALPHA3), own, POLICY.equivalence, ALPHA3) == label
    assert Label.from_wire(canonical.decode(encode([label.to_wire()]), bytes_max=9_999)[0]) == label


@given(st.text() | st.text("PK:CNSecret机密★//REL PAKCHN,20-1 ", max_size=40))
def test_any_text_is_a_label_or_is_refused(typed: str) -> None:
    """And what is read prints as something that reads the same. SPEC 6.4.1, 6.4.3."""
    try:
        label = parse_label(typed, "PK", POLICY.equivalence, ALPHA3)
    except ProtocolError:
        return
    assert parse_label(format_label(label, ALPHA3), "CN", POLICY.equivalence, ALPHA3) == label
