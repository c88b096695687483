"""Makes vectors of words, requests and files: ``python -m tests.vectors.make_files``.

A file is one expectation: what holds, what is given, and either what it comes to or the code of the error that refuses
it. Those of ONCE hold ML-DSA signatures or salts, which are random: they were made once, with keys of nobody, and are
made again only if their folder has been taken away.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keys.card import make_card
from keys.keyring import Keyring, seal_keyring
from keys.secret import Secret
from protocol import canonical
from protocol.addcheckpoint import AddCheckpoint, encode_lines, encode_size
from protocol.entry import encode_batch
from protocol.labeltext import format_label
from protocol.names import format_id
from protocol.note import Note, SignatureLine
from protocol.policy import Policy
from protocol.promise import Promise, encode_promises
from protocol.sigfile import write_signature
from protocol.treehead import Receipt
from tests.support.world import kem_key, signing_key
from tests.vectors import make
from tests.vectors.make import HEAD, ID, LABEL, ORIGIN, SIGNATURES, SUBMISSION, Named, Vector, refused
from tests.vectors.make_log import render

POLICY, ALPHA3 = Policy(), {"CN": "CHN", "PK": "PAK"}
PASSPHRASE, KEYRING_MEMORY_BYTES = b"a passphrase of nobody", 8192
KEYRING = Keyring({"signing": Secret(bytes(range(64))), "store": Secret(bytes(32))})
NOTE = Note("example.com/foo\n3\n" + base64.b64encode(bytes(32)).decode() + "\n", (SignatureLine("n", b"kkkk", b"s"),))
RECEIPT = Receipt(8, 1_795_507_200_000, None, (bytes(32),), HEAD)


def given(holds: str, data: bytes, value: Any) -> Vector:
    """Bytes, and what they come to."""
    return {"holds": holds, "given": base64.b64encode(data).decode(), "value": value}


def _words(text: str, holds: str, value: Any) -> Vector:
    return {"holds": holds, "given": text, "value": value}


def _no_words(text: str, holds: str) -> Vector:
    return {"holds": holds, "given": text, "error": "malformed"}


def _labels() -> Iterator[Named]:
    """Read in Pakistan's profile, under the policy that the code has by default."""
    whole = make.jsoned(LABEL.to_wire())
    yield "whole", _words(format_label(LABEL, ALPHA3), "Every part of it.", whole)
    plain = ["PK", "Secret", [], ["CN", "PK"], [], None]
    yield "without-policy", _words("Secret//REL CHN, PAK", "The profile's own policy is meant.", plain)
    yield "in-any-case", _words("secret//REL PAK,CHN", "Sets in any order, levels in any case.", plain)
    yield "nobody", _words("Secret//REL NOBODY", "Nobody may read it.", ["PK", "Secret", [], [], [], None])
    chinese = ["CN", "机密", [], ["CN", "PK"], [], "2030-01-01"]
    yield "date", _words("CN:机密★2030-01-01//REL CHN, PAK", "A date of declassification.", chinese)
    for name, text in (
        ("no-rel", "Secret"),
        ("no-level", "//REL CHN"),
        ("another-policy-s-level", "机密//REL CHN"),
        ("unknown-nation", "Secret//REL IND"),
        ("alpha-2", "Secret//REL CN"),
        ("star-without-date", "Secret★//REL CHN"),
        ("no-such-day", "Secret★2030-02-30//REL CHN"),
        ("empty", ""),
    ):
        yield name, _no_words(text, f"A label has one text: {name}.")


def _ids() -> Iterator[Named]:
    text = format_id("pk-liaison", ID)
    yield "whole", _words(text, "Sender and UUID.", ["pk-liaison", ID.hex()])
    for name, other in (
        ("upper-case", text.upper()),
        ("no-hyphens", text.replace("-", "")),
        ("uuid-4", text.replace("-7001-", "-4001-").replace("-7000-", "-4000-")),
        ("no-sender", text.partition("/")[2]),
        ("braces", text.replace("/", "/{") + "}"),
    ):
        yield name, _no_words(other, f"An id has one spelling: {name}.")


def _cursors() -> Iterator[Named]:
    other = "cn.khunjerab.test/ledger"
    yield "two", _words(f"{other}=0,{ORIGIN}=42", "A position for each origin.", {other: 0, ORIGIN: 42})
    yield "empty", _words("", "From the beginning.", {})
    for name, text in (
        ("unsorted", f"{ORIGIN}=42,{other}=0"),
        ("twice", f"{ORIGIN}=1,{ORIGIN}=2"),
        ("leading-zero", f"{ORIGIN}=01"),
        ("negative", f"{ORIGIN}=-1"),
        ("no-index", ORIGIN),
        ("trailing-comma", f"{ORIGIN}=1,"),
    ):
        yield name, _no_words(text, f"A cursor has one spelling: {name}.")


def _batches() -> Iterator[Named]:
    one = SUBMISSION.encode()
    yield "two", given("Each for itself.", encode_batch([SUBMISSION, SUBMISSION]), [make.jsoned(one)] * 2)
    bad = canonical.encode([b"no submission", one])
    yield (
        "one-bad",
        given("A bad one does not spoil the others.", bad, [make.jsoned(b"no submission"), make.jsoned(one)]),
    )
    yield "none", refused("At least one.", canonical.encode([]))
    yield "nested", refused("A flat array of byte strings.", canonical.encode([[one]]))
    yield "too-many", refused("At most 64.", canonical.encode([b""] * 65), "too-large")


def _promises() -> Iterator[Named]:
    promise = Promise(SUBMISSION, RECEIPT)
    pair = [make.jsoned(SUBMISSION.encode()), make.jsoned(RECEIPT.encode())]
    yield "one", given("What was posted, and its receipt.", encode_promises([promise]), [pair])
    yield "none", refused("At least one.", canonical.encode([]))
    yield "receipt-alone", refused("Pairs.", canonical.encode([[RECEIPT.encode()]]))
    yield "too-many", refused("At most 64.", canonical.encode([[b"", b""]] * 65), "too-large")


def _requests() -> Iterator[Named]:
    """To a witness: a request, and its answers."""
    request = AddCheckpoint(2, (bytes(32),), NOTE).encode()
    yield "whole", given("An old size, a proof, a checkpoint.", request, {"old": 2, "proof": ["00" * 32], "size": 3})
    for name, data in (
        ("no-old", request.removeprefix(b"old 2\n")),
        ("old-above", request.replace(b"old 2", b"old 4")),
        ("leading-zero", request.replace(b"old 2", b"old 02")),
        ("no-empty-line", request.replace(b"\n\n", b"\n", 1)),
        ("short-hash", request.replace(b"AAAA", b"", 1)),
        ("no-signature", request.partition("\n— ".encode())[0] + b"\n"),
    ):
        yield name, refused(f"A request to a witness has one form: {name}.", data)
    many = b"old 2\n" + base64.b64encode(bytes(32)) + b"\n"
    yield "64-hashes", refused("At most 63 hashes.", request.replace(b"old 2\n", many + many[6:] * 62), "too-large")


def _cosignatures() -> Iterator[Named]:
    lines = encode_lines(NOTE.lines)
    yield "one", given("Signature lines alone.", lines, [["n", make.jsoned(b"s")]])
    yield "none", refused("At least one.", b"")
    yield "no-newline", refused("Each with a newline.", lines[:-1])
    yield "text-before", refused("Nothing else.", b"text\n" + lines)
    yield "too-many", refused("At most 16.", lines * 17, "too-large")


def _sizes() -> Iterator[Named]:
    yield "whole", given("A decimal number and a newline.", encode_size(42), 42)
    for name, data in (
        ("no-newline", b"42"),
        ("leading-zero", b"042\n"),
        ("negative", b"-1\n"),
        ("2-63", b"%d\n" % 2**63),
    ):
        yield name, refused(f"A size has one spelling: {name}.", data)


def _signature_files() -> Iterator[Named]:
    data = write_signature(SIGNATURES[1], bytes(32), "pk-custodian-1")
    value = {"sha256": "00" * 32, "key_id": SIGNATURES[1].key_id.hex()}
    yield "whole", given("Who signed, and what.", data, value)
    for name, other in (
        ("type", data.replace(b"signature.v1", b"signature.v2")),
        ("extra", data.replace(b'  "signer"', b'  "note": 1,\n  "signer"')),
        ("compact", data.replace(b"\n", b"")),
        ("suite-1", write_signature(SIGNATURES[0], bytes(32), "pk-custodian-1")),
    ):
        yield name, refused(f"A signature file has one form: {name}.", other)


def _credits() -> Iterator[Named]:
    yield "whole", given("So many entries more.", b'{"credit": 4096}', 4096)
    for name, data in (
        ("none", b'{"credit": 0}'),
        ("4097", b'{"credit": 4097}'),
        ("leading-zero", b'{"credit": 01}'),
        ("text", b'{"credit": "1"}'),
        ("more", b'{"credit": 1, "more": 1}'),
        ("array", b"[1]"),
        ("empty", b""),
    ):
        yield name, refused(f"Credit is of 1 to 4,096 entries: {name}.", data)


MAKERS: dict[str, Callable[[], Iterator[Named]]] = {
    "label": _labels,
    "id": _ids,
    "cursor": _cursors,
    "batch": _batches,
    "promises": _promises,
    "add-checkpoint": _requests,
    "cosignatures": _cosignatures,
    "size": _sizes,
    "signature-file": _signature_files,
    "credit": _credits,
}


def deterministic() -> dict[str, Vector]:
    """Every vector without randomness, by its path below the folder."""
    return {f"{format_}/{name}.json": vector for format_, maker in MAKERS.items() for name, vector in maker()}


def _cards() -> Iterator[Named]:
    key = signing_key("pk-liaison/desk")
    card = make_card("seat", "desk", key, (kem_key("pk-liaison/desk/1"),))
    value = ["seat", "desk", key.public.key_id.hex(), [kem_key("pk-liaison/desk/1").key_id.hex()]]
    yield "seat", given("A seat's card, with a KEM key.", card, value)
    agency = make_card("agency", "pk-liaison", key)
    yield "agency", given("An agency's has none.", agency, ["agency", "pk-liaison", key.public.key_id.hex(), []])
    for name, data in (
        ("type", card.replace(b"card.v1", b"card.v2")),
        ("extra", card.replace(b'  "name"', b'  "note": 1,\n  "name"')),
        ("another-name", card.replace(b'"desk"', b'"duty"')),
        ("another-kind", agency.replace(b'"agency"', b'"authority"')),
        ("agency-with-kem", card.replace(b'"seat"', b'"agency"')),
        ("seat-without-kem", agency.replace(b'"agency"', b'"seat"')),
    ):
        yield name, refused(f"A card proves what it says: {name}.", data, "card-refused")


def _keyrings() -> Iterator[Named]:
    """Under PASSPHRASE, at a cost for tests."""
    data = seal_keyring(KEYRING, Secret(PASSPHRASE), KEYRING_MEMORY_BYTES)
    yield (
        "whole",
        given("Secrets by name.", data, {name: secret.reveal().hex() for name, secret in KEYRING.secrets.items()}),
    )
    costs = data.index(b"\n") + 17
    for name, other in (
        ("altered", data[:-1] + bytes([data[-1] ^ 1])),
        ("another-salt", data[: costs - 16] + bytes(16) + data[costs:]),
        ("cut", data[:-1]),
        ("17-operations", data[:costs] + (17).to_bytes(4, "big") + data[costs + 4 :]),
        ("2-gib", data[: costs + 4] + (2**31).to_bytes(4, "big") + data[costs + 8 :]),
        ("another-magic", b"khunjerab/2" + data[11:]),
    ):
        yield name, refused(f"One error for all that does not open: {name}.", other, "wrong-passphrase")


ONCE: dict[str, Callable[[], Iterator[Named]]] = {"card": _cards, "keyring": _keyrings}


def made_once() -> dict[str, Vector]:
    """The others, with new randomness."""
    return {f"{format_}/{name}.json": vector for format_, maker in ONCE.items() for name, vector in maker()}


def main() -> None:
    """Write the files; of those made once only folders that are not there."""
    new = {path: vector for path, vector in made_once().items() if not (make.FOLDER / Path(path).parent).exists()}
    for path, vector in {**deterministic(), **new}.items():
        (make.FOLDER / path).parent.mkdir(exist_ok=True)
        (make.FOLDER / path).write_bytes(render(vector))


if __name__ == "__main__":
    main()
