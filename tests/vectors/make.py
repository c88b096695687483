"""Makes tests/vectors/FORMAT/NAME.json for our own formats: ``python -m tests.vectors.make``.

A file is one expectation: what holds, the bytes given, and either what they decode to or the code of the error that
refuses them. All but the sealed bulletin come out the same byte for byte. HPKE, Cobblestone and ML-DSA are randomised,
so ``sealed`` was made once, with keys of nobody, and is made again only if its folder has been taken away.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocol import canonical, padding
from protocol.content import Attachment, Content, Place, Point, Version
from protocol.entry import WRAP_BYTES, Entry, Link, Submission
from protocol.header import Header, Recipient, Relation
from protocol.label import Label
from protocol.login import Login, encode_signed
from protocol.page import Consistency, Item, Part, encode_page
from protocol.problem import Problem
from protocol.signing import KemKey, PublicKey, Signature, encode_signatures
from protocol.statements import (
    NO_HASH,
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
)
from protocol.stream import Answers
from protocol.treehead import Receipt, TreeHead
from tests.support.altering import replace
from tests.support.world import NOW, ORIGINS, World, first_directory, kem_seed
from tests.vectors.make_log import render

FOLDER = Path(__file__).parent
SEALED = "sealed"
Vector = dict[str, Any]
Named = tuple[str, Vector]

ORIGIN, EMBASSY = ORIGINS["PK"], "cn-embassy"
ID = bytes.fromhex("01a20c91a00070018203040506070809")


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


LABEL = Label("PK", "Restricted", ("CONVOY",), ("CN", "PK"), ("ORIGINATOR CONTROLLED",), "2030-01-01")
HEADER = Header(
    suite=1,
    exchange=_hash("exchange"),
    origin=ORIGIN,
    directory_version=3,
    directory_hash=_hash("directory"),
    id=ID,
    sender="pk-liaison",
    key_id=_hash("key"),
    own_bundle=_hash("own bundle"),
    recipients=(Recipient(EMBASSY, _hash("bundle")), Recipient("cn-liaison", _hash("bundle 2"))),
    feed="convoys",
    label=LABEL,
    status="exercise",
    precedence="flash",
    created=NOW,
    expires=NOW + 86_400_000,
    relations=(Relation("supersedes", ORIGIN, 41, _hash("leaf")),),
)
SOST = Point(36_691_000, 74_824_000)
AREA = (SOST, Point(36_700_000, 74_824_000), Point(36_700_000, 74_830_000), SOST)
CONTENT = Content(
    versions=(Version("en", "Road closed", "A slide.\nWait."), Version("zh-Hans", "封路", "山体滑坡")),
    category="road-closure",
    severity="Severe",
    urgency="Immediate",
    certainty="Observed",
    officer="A. Karim",
    places=(Place("Sost", SOST, AREA, "KKH-12"),),
    valid_from=NOW,
    grade="B2",
    measures=("Wait at Sost.",),
    answer_due=NOW + 3_600_000,
    attachments=(Attachment("slide.jpg", "image/jpeg", b"\xff\xd8"),),
)
KEY, KEM = PublicKey(b"e" * 32, b"m" * 1952), KemKey(b"k" * 1184, b"x" * 32)
SIGNATURES = (Signature(_hash("a"), b"e" * 64), Signature(_hash("b"), b"e" * 64, b"m" * 3309))
LINE = AcknowledgementLine(ORIGIN, 7, _hash("leaf"), "read", NOW)
STATEMENTS: dict[str, Statement] = {
    "bulletin": Bulletin(HEADER, HEADER.encode(), (WrapHash(_hash("kem"), _hash("wrap")),), _hash("body")),
    "acknowledgement": Acknowledgement(1, _hash("exchange"), ORIGIN, EMBASSY, _hash("key"), "pk-liaison", NOW, (LINE,)),
    "directory": DirectoryVersion(2, 4096, _hash("json"), _hash("json before")),
    "key-bundle": KeyBundle(
        *(_hash("exchange"), EMBASSY, _hash("identity"), 1, NO_HASH, NOW, NOW + 1), (Seat("desk", KEY, KEM),)
    ),
    "revocation": Revocation(_hash("exchange"), EMBASSY, (_hash("key"),), NOW, "lost", Suspect(ORIGIN, 7)),
    "suspension": Suspension(_hash("exchange"), EMBASSY, NOW, "under inquiry", _hash("suspension")),
}
ENTRY = Entry(
    Kind.SUSPENSION, STATEMENTS["suspension"].encode(), encode_signatures(SIGNATURES), NOW, Link(Kind.DIRECTORY, 3)
)
HEAD = TreeHead(_hash("exchange"), ORIGIN, 9, _hash("root"), NOW, SIGNATURES[0])
RECEIPT = Receipt(8, NOW, Link(Kind.DIRECTORY, 3), (_hash("sibling"),), HEAD)
PART = Part(HEAD, (Item(8, ENTRY.encode(), (_hash("sibling"),)),), "", (Consistency(3, 9, (_hash("node"),)),), 9)
SUBMISSION = Submission(Kind.BULLETIN, b"statement", b"signatures", (b"w" * WRAP_BYTES,), b"body")
LOGIN = Login(_hash("exchange"), ORIGIN, NOW, bytes(16), "")


def jsoned(value: Any) -> Any:
    """What msgpack decodes to, as JSON: byte strings as ``hex:…``, long ones by their hash."""
    if isinstance(value, bytes):
        return f"hex:{value.hex()}" if len(value) <= 64 else f"sha256:{hashlib.sha256(value).hexdigest()}"
    return [jsoned(item) for item in value] if isinstance(value, list) else value


def holds(what: str, data: bytes) -> Vector:
    """Bytes that decode, and what to."""
    value = jsoned(canonical.decode(data, bytes_max=10**7, array_max=1000))
    return {"holds": what, "given": base64.b64encode(data).decode(), "value": value}


def refused(what: str, data: bytes, error: str = "malformed") -> Vector:
    """Bytes that are refused, and how."""
    return {"holds": what, "given": base64.b64encode(data).decode(), "error": error}


def _broken(good: bytes, *changes: tuple[str, int, Any, str]) -> Iterator[Named]:
    """One field replaced; then what no format lets pass."""
    for name, at, value, error in changes:
        wire = canonical.decode(good, bytes_max=10**7, array_max=1000)
        wire[at] = value
        yield name, refused(f"Field {at} is not as it must be: {name}.", canonical.encode(wire), error)
    wire = canonical.decode(good, bytes_max=10**7, array_max=1000)
    yield "field-missing", refused("A field less.", canonical.encode(wire[:-1]))
    yield "field-more", refused("A field more.", canonical.encode([*wire, None]))
    yield "trailing-byte", refused("A byte after the end.", good + b"\0")
    yield "cut", refused("A byte less.", good[:-1])


def _header() -> Iterator[Named]:
    yield "whole", holds("Every field, with a relation.", HEADER.encode())
    longest = b"\xdc\x00\x11\xcd\x00\x01" + HEADER.encode()[4:]
    yield "long-integer", refused("The suite in three bytes instead of one.", longest)
    yield from _broken(
        HEADER.encode(),
        ("short-hash", 1, bytes(31), "malformed"),
        ("origin-scheme", 2, "https://pk.example", "malformed"),
        ("uuid-4", 5, bytes.fromhex("01a20c91a00040018203040506070809"), "malformed"),
        ("no-recipient", 9, [], "malformed"),
        ("unsorted-recipients", 9, [["cn-liaison", bytes(32)], [EMBASSY, bytes(32)]], "malformed"),
        ("sender-is-recipient", 9, [["pk-liaison", bytes(32)]], "malformed"),
        ("too-many-recipients", 9, [[f"a{n:03}", bytes(32)] for n in range(65)], "too-large"),
        ("unsorted-label", 11, ["PK", "Secret", [], ["PK", "CN"], [], None], "malformed"),
        ("label-without-date", 11, ["PK", "Secret", [], ["CN"], [], "2030-02-30"], "malformed"),
        ("bidi-classification", 11, ["PK", "Se\u202ecret", [], ["CN"], [], None], "malformed"),
        ("unknown-status", 12, "Actual", "malformed"),
        ("boolean", 14, True, "malformed"),
        ("float", 14, 1.0, "malformed"),
        ("relation-origin", 16, [["replies", "https://pk.example", 1, bytes(32)]], "malformed"),
        ("relation-kind", 16, [["denies", ORIGIN, 1, bytes(32)]], "malformed"),
        ("feed-name", 10, "Convoys", "malformed"),
        ("recipient-name", 9, [["CN Embassy", bytes(32)]], "malformed"),
        ("too-many-relations", 16, [["replies", ORIGIN, 1, bytes(32)]] * 17, "too-large"),
    )


def _statements() -> Iterator[Named]:
    fields: dict[str, list[tuple[str, int, Any, str]]] = {
        "bulletin": [("no-wrap", 1, [], "malformed")],
        "acknowledgement": [
            ("unknown-state", 7, [[ORIGIN, 7, bytes(32), "pending", NOW]], "malformed"),
            ("origin-scheme", 2, "https://pk.example", "malformed"),
            ("sender-name", 3, "CN Embassy", "malformed"),
            ("to-name", 5, "PK Liaison", "malformed"),
            ("line-origin", 7, [["https://pk.example", 7, bytes(32), "read", NOW]], "malformed"),
        ],
        "directory": [("version-0", 0, 0, "malformed")],
        "key-bundle": [("no-seat", 7, [], "malformed"), ("agency-name", 1, "CN Embassy", "malformed")],
        "revocation": [("no-key", 2, [], "malformed"), ("agency-name", 1, "CN Embassy", "malformed")],
        "suspension": [("long-reason", 3, "x" * 501, "too-large"), ("agency-name", 1, "CN Embassy", "malformed")],
    }
    for word, statement in STATEMENTS.items():
        yield f"{word}-whole", holds(f"A {word} with every field.", statement.encode())
        for name, vector in _broken(statement.encode(), *fields[word]):
            yield f"{word}-{name}", vector


def _content() -> Iterator[Named]:
    yield "whole", holds("Every field.", CONTENT.encode())
    yield from _broken(
        CONTENT.encode(),
        ("language-twice", 0, [["en", "a", "b"], ["en", "c", "d"]], "malformed"),
        ("not-nfc", 5, "e\u0301", "malformed"),
        ("escape", 5, "\x1b[2J", "malformed"),
        ("unknown-severity", 2, "severe", "malformed"),
        ("off-the-earth", 6, [["Sost", [90_000_001, 0], [], ""]], "malformed"),
        ("open-polygon", 6, [["Sost", None, [[0, 0], [0, 1], [1, 1], [1, 0]], ""]], "malformed"),
        ("float-coordinate", 6, [["Sost", [36.6, 74.8], [], ""]], "malformed"),
        ("unknown-grade", 9, "G1", "malformed"),
        ("too-many-measures", 10, ["Wait."] * 65, "too-large"),
    )


def _signatures() -> Iterator[Named]:
    good = [signature.to_wire() for signature in sorted(SIGNATURES, key=lambda s: s.key_id)]
    yield "whole", holds("One of each suite, sorted by key id.", encode_signatures(SIGNATURES))
    yield "none", refused("At least one.", canonical.encode([]))
    yield "unsorted", refused("Sorted by key id.", canonical.encode(good[::-1]))
    yield "twice", refused("A key signs once.", canonical.encode([good[0], good[0]]))
    yield "short", refused("Ed25519 signatures are 64 bytes.", canonical.encode([[bytes(32), bytes(63), None]]))
    yield "empty-mldsa65", refused("nil where there is none.", canonical.encode([[bytes(32), bytes(64), b""]]))
    many = [[bytes([n]) * 32, bytes(64), None] for n in range(19)]
    yield "too-many", refused("At most 18.", canonical.encode(many))


def _entry() -> Iterator[Named]:
    yield "whole", holds("A suspension after a directory.", ENTRY.encode())
    yield "first", holds("The first entry links to nothing.", replace(ENTRY, link=None).encode())
    yield from _broken(
        ENTRY.encode(),
        ("kind-0", 0, 0, "malformed"),
        ("kind-7", 0, 7, "malformed"),
        ("text-statement", 1, "statement", "malformed"),
        ("negative-time", 3, -1, "malformed"),
        ("link-to-bundle", 4, [4, 0], "malformed"),
    )
    yield "too-large", refused("At most 65,535 bytes.", replace(ENTRY, statement=bytes(65_535)).encode(), "too-large")


def _submission() -> Iterator[Named]:
    yield "whole", holds("A bulletin with one wrap.", SUBMISSION.encode())
    yield from _broken(
        SUBMISSION.encode(),
        ("kind-7", 0, b"\7", "malformed"),
        ("number", 0, 1, "malformed"),
        ("nested", 1, [b"statement"], "malformed"),
        ("short-wrap", 3, bytes(WRAP_BYTES - 1), "malformed"),
    )


def _receipt() -> Iterator[Named]:
    yield "whole", holds("For the first time.", RECEIPT.encode())
    yield "seen-before", holds("With the first entry.", replace(RECEIPT, entry=ENTRY.encode()).encode())
    yield from _broken(
        RECEIPT.encode(),
        ("short-hash", 3, [bytes(31)], "malformed"),
        ("long-path", 3, [bytes(32)] * 64, "too-large"),
        ("unsigned-head", 4, [*HEAD.to_wire()[:5], None], "malformed"),  # type: ignore[index]
    )


def _answers() -> Iterator[Named]:
    refusal = Problem("expired", "it has ended", {"step": 3}).to_json().decode()
    both = Answers(HEAD, (RECEIPT.bare, refusal, replace(RECEIPT.bare, entry=ENTRY.encode())))
    yield "whole", holds("Two receipts under one head, the second of what stood there, and a refusal.", both.encode())
    yield "refusals", holds("No head where there is no receipt.", Answers(None, (refusal, refusal)).encode())
    bare = RECEIPT.bare.to_wire()
    yield from _broken(
        both.encode(),
        ("no-head", 0, None, "malformed"),
        ("needless-head", 1, [refusal], "malformed"),
        ("unsigned-head", 0, [*HEAD.to_wire()[:5], None], "malformed"),  # type: ignore[index]
        ("nothing", 1, [], "malformed"),
        ("whole-receipt", 1, [RECEIPT.to_wire()], "malformed"),
        ("bytes", 1, [RECEIPT.bare.encode()], "malformed"),
        ("long-path", 1, [[*bare[:3], [bytes(32)] * 64, None]], "too-large"),  # type: ignore[index]
        ("too-many", 1, [bare] * 257, "too-large"),
    )


def _page() -> Iterator[Named]:
    yield "whole", holds("One part with one item.", encode_page((PART,)))
    yield "empty", holds("No origin has anything.", encode_page(()))
    other = replace(PART, head=replace(HEAD, origin=ORIGINS["CN"])).to_wire()
    for name, parts in (
        ("unsorted", [PART.to_wire(), other]),
        ("origin-twice", [PART.to_wire(), PART.to_wire()]),
        ("items-out-of-order", [replace(PART, items=PART.items * 2).to_wire()]),
        ("next-within", [replace(PART, next=8).to_wire()]),
        ("next-beyond", [replace(PART, next=10).to_wire()]),
    ):
        yield name, refused(f"Parts and items are in order: {name}.", canonical.encode(parts))
    item, long = PART.items[0], (bytes(32),) * 64
    for name, part in (
        ("item-long-path", replace(PART, items=(replace(item, path=long),))),
        ("consistency-long-path", replace(PART, consistencies=(Consistency(3, 9, long),))),
        ("four-consistencies", replace(PART, consistencies=PART.consistencies * 4)),
    ):
        yield name, refused(f"Over a bound: {name}.", canonical.encode([part.to_wire()]), "too-large")
    head, _, *rest = canonical.decode(PART.encode(), bytes_max=10**7)
    many = [head, [[at, b"", [], None, None, ""] for at in range(257)], *rest]
    yield "257-items", refused("Over a bound: 257-items.", canonical.encode([many]), "too-large")
    yield "17-parts", refused("Over a bound: 17-parts.", canonical.encode([PART.to_wire()] * 17), "too-large")
    for name, part in (
        ("unsigned-head", replace(PART, head=replace(HEAD, signature=None))),
        ("withheld-lines", replace(PART, items=(replace(item, withheld="a\nb"),))),
        ("checkpoint-control", replace(PART, checkpoint="\x1b")),
    ):
        yield name, refused(f"Not as it must be: {name}.", canonical.encode([part.to_wire()]))


def _login() -> Iterator[Named]:
    signed = encode_signed(LOGIN, SIGNATURES[1])
    yield "whole", holds("Signed in suite 2.", signed)
    yield from _broken(
        signed, ("unsigned", 1, None, "malformed"), ("short-nonce", 0, replace(LOGIN, nonce=b"").encode(), "malformed")
    )


def _padding() -> Iterator[Named]:
    for length in (0, 1, 1022, 1023, 1024, 65_535):
        data = bytes([length % 256]) * length
        digest = hashlib.sha256(data).hexdigest()
        given = base64.b64encode(padding.pad(data)).decode()
        yield f"{length}", {"holds": f"{length} bytes.", "given": given, "value": {"length": length, "sha256": digest}}
    for name, data in (
        ("no-mark", bytes(1024)),
        ("below-floor", b"\x80" + bytes(1022)),
        ("one-zero-more", b"\x80" + bytes(1024)),
        ("after-mark", b"\x80" + bytes(1022) + b"\x01"),
        ("next-bucket", b"x" * 1023 + b"\x80" + bytes(64)),
    ):
        yield name, refused(f"One padding for one length: {name}.", data)


def _directory() -> Iterator[Named]:
    whole = first_directory()
    feed = replace(whole.feeds[0], members=("pk-liaison",))
    good = replace(whole, agencies=whole.agencies[:1], feeds=(feed,), nodes=whole.nodes[:1])
    data = good.encode()
    yield "whole", {"holds": "Version 1.", "given": data.decode(), "value": hashlib.sha256(data).hexdigest()}
    broken = {
        "trailing-newline": data + b"\n",
        "compact": data.replace(b"\n", b"", 1),
        "escape": data.replace("中".encode(), b"\\u4e2d", 1),
        "member-twice": data.replace(b'  "version": 1,\n', b'  "version": 1,\n  "version": 1,\n', 1),
        "unknown-member": data.replace(b'  "version": 1,\n', b'  "version": 1,\n  "note": 1,\n', 1),
        "float": data.replace(b'"version": 1,', b'"version": 1.0,', 1),
        "version-2-without-exchange": replace(good, version=2).encode(),
        "401-days": replace(good, expires=good.issued + 401 * 86_400_000).encode(),
        "agency-twice": replace(good, agencies=(*good.agencies, good.agencies[0])).encode(),
        "shared-code": replace(good, nations=(replace(good.nations[0], code="CHN"), good.nations[1])).encode(),
        "threshold-3-of-2": replace(good, nations=(replace(good.nations[0], threshold=3), good.nations[1])).encode(),
        "stranger-in-feed": replace(good, feeds=(replace(good.feeds[0], members=("pk-stranger",)),)).encode(),
    }
    for name, text in broken.items():
        yield name, {"holds": f"One form, consistent in itself: {name}.", "given": text.decode(), "error": "malformed"}


MAKERS = {
    "header": _header,
    "statement": _statements,
    "content": _content,
    "signatures": _signatures,
    "entry": _entry,
    "submission": _submission,
    "receipt": _receipt,
    "answers": _answers,
    "page": _page,
    "login": _login,
    "padding": _padding,
    "directory": _directory,
}


def deterministic() -> dict[str, Vector]:
    """Every vector without randomness, by its path below FOLDER."""
    return {f"{format_}/{name}.json": vector for format_, make in MAKERS.items() for name, vector in make()}


def sealed() -> dict[str, Vector]:
    """A bulletin of each suite with the seed that opens it; and what must not open."""
    world = World.found()
    made: dict[str, Vector] = {}
    for suite in (1, 2):
        submission = world.bulletin("pk-site-security", to=(EMBASSY,), suite=suite, id=ID)
        header = Bulletin.decode(submission.statement).header_bytes
        bundle = world.bundles["pk-site-security"]
        given: dict[str, Any] = {
            "statement": submission.statement.hex(),
            "signatures": submission.signatures.hex(),
            "wraps": [wrap.hex() for wrap in submission.wraps],
            "body": submission.body.hex(),
            "agency": EMBASSY,
            "kem_seed": kem_seed(f"{EMBASSY}/desk/1").reveal().hex(),
            "ed25519": bundle.seats[0].signing.ed25519.hex(),
            "mldsa65": bundle.seats[0].signing.mldsa65.hex(),
        }
        value = {"header": header.hex(), "count": 0, "title": "Road closed at Sost"}
        made[f"suite-{suite}"] = {"holds": f"A bulletin of suite {suite} opens.", "given": given, "value": value}
        for name, changes in (
            ("other-wrap", {"wraps": given["wraps"][::-1]}),
            ("other-agency", {"agency": "cn-liaison"}),
            ("short-wrap", {"wraps": [given["wraps"][0][:-2]]}),
            ("altered-wrap", {"wraps": [_altered(given["wraps"][0])]}),
            ("altered-body", {"body": _altered(given["body"])}),
            ("other-seed", {"kem_seed": "00" * 32}),
        ):
            vector = {"holds": f"It does not open: {name}.", "given": given | changes, "error": "cannot-open"}
            made[f"suite-{suite}-{name}"] = vector
        for name, changes in (
            ("altered-statement", {"statement": _altered(given["statement"])}),
            ("altered-signature", {"signatures": _altered(given["signatures"], 60)}),
        ):
            vector = {"holds": f"Its signature fails: {name}.", "given": given | changes, "error": "bad-signature"}
            made[f"suite-{suite}-{name}"] = vector
    return {f"{SEALED}/{name}.json": vector for name, vector in made.items()}


def _altered(data: str, at: int = -1) -> str:
    raw = bytearray.fromhex(data)
    raw[at] ^= 1
    return raw.hex()


def _write(vectors: dict[str, Vector]) -> None:
    for path, vector in vectors.items():
        (FOLDER / path).parent.mkdir(exist_ok=True)
        (FOLDER / path).write_bytes(render(vector))


if __name__ == "__main__":
    _write(deterministic())
    if not (FOLDER / SEALED).exists():
        _write(sealed())
