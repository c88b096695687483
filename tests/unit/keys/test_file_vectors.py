"""tests/vectors of words, requests and files: each is one expectation, and the kind of each refusal is asserted."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keys.card import open_card
from keys.errors import KeysError
from keys.keyring import open_keyring
from keys.secret import Secret
from protocol import canonical
from protocol.addcheckpoint import AddCheckpoint, decode_lines, decode_size, encode_lines, encode_size
from protocol.card import decode_card
from protocol.entry import decode_batch
from protocol.errors import ProtocolError
from protocol.labeltext import format_label, parse_label
from protocol.names import format_id, parse_id
from protocol.page import format_cursor, parse_cursor
from protocol.promise import decode_promises
from protocol.sigfile import open_signature
from protocol.stream import parse_credit
from tests.vectors import make, make_files, make_log

COUNT_MIN = {
    "label": 13,
    "id": 6,
    "cursor": 8,
    "batch": 5,
    "promises": 4,
    "add-checkpoint": 8,
    "cosignatures": 5,
    "size": 5,
    "credit": 8,
    "signature-file": 5,
    "card": 8,
    "keyring": 7,
}
FILES = sorted(path for format_ in COUNT_MIN for path in (make.FOLDER / format_).glob("*.json"))


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


def _label(text: str) -> Any:
    label = parse_label(text, "PK", make_files.POLICY.equivalence, make_files.ALPHA3)
    printed = format_label(label, make_files.ALPHA3)
    assert parse_label(printed, "CN", make_files.POLICY.equivalence, make_files.ALPHA3) == label
    return make.jsoned(label.to_wire())


def _id(text: str) -> Any:
    sender, number = parse_id(text)
    assert format_id(sender, number) == text
    return [sender, number.hex()]


def _cursor(text: str) -> Any:
    assert format_cursor(parse_cursor(text)) == text
    return parse_cursor(text)


def _batch(data: bytes) -> Any:
    assert canonical.encode(list(decode_batch(data))) == data
    return [make.jsoned(one) for one in decode_batch(data)]


def _request(data: bytes) -> Any:
    request = AddCheckpoint.parse(data)
    assert request.encode() == data
    return {"old": request.old, "proof": [one.hex() for one in request.path], "size": request.checkpoint.size}


def _cosignatures(data: bytes) -> Any:
    assert encode_lines(decode_lines(data)) == data
    return [[line.name, make.jsoned(line.signature)] for line in decode_lines(data)]


def _size(data: bytes) -> Any:
    assert encode_size(decode_size(data)) == data
    return decode_size(data)


def _signature_file(data: bytes) -> Any:
    subject, signature = open_signature(data)
    return {"sha256": subject.hex(), "key_id": signature.key_id.hex()}


def _card(data: bytes) -> Any:
    kind = next(kind for kind in ("seat", "agency", "authority") if f'"kind": "{kind}"'.encode() in data)
    card = open_card(data, kind)
    assert card.encode(decode_card(data)[1]) == data
    return [card.kind, card.name, card.key.key_id.hex(), [key.key_id.hex() for key in card.kem]]


def _keyring(data: bytes) -> Any:
    opened = open_keyring(data, Secret(make_files.PASSPHRASE))
    return {name: secret.reveal().hex() for name, secret in opened.secrets.items()}


WORDS: dict[str, Callable[[str], Any]] = {"label": _label, "id": _id, "cursor": _cursor}
BYTES: dict[str, Callable[[bytes], Any]] = {
    "batch": _batch,
    "promises": lambda data: [[make.jsoned(one) for one in pair] for pair in decode_promises(data)],
    "add-checkpoint": _request,
    "cosignatures": _cosignatures,
    "size": _size,
    "signature-file": _signature_file,
    "credit": parse_credit,
    "card": _card,
    "keyring": _keyring,
}


@pytest.mark.parametrize("format_", COUNT_MIN)
def test_no_vector_has_gone_missing(format_: str) -> None:
    """A loader that finds nothing would pass."""
    assert sum(path.parent.name == format_ for path in FILES) >= COUNT_MIN[format_]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_vector_holds(path: Path) -> None:
    """SPEC 4.5.2, 6.4.1, 6.4.2, 6.4.3, 9.2.2, 9.7.1, 11.2.4, 11.6.2, 11.10.1, 13.2.2, 13.3.1, 13.3.2, 13.3.4."""
    vector, format_ = _load(path), path.parent.name

    def examined() -> Any:
        if format_ in WORDS:
            return WORDS[format_](vector["given"])
        return BYTES[format_](base64.b64decode(vector["given"]))

    if "error" not in vector:
        assert examined() == vector["value"]
        return
    with pytest.raises((ProtocolError, KeysError)) as caught:
        examined()
    assert isinstance(caught.value, ProtocolError | KeysError)
    assert caught.value.code == vector["error"]


def test_the_script_makes_the_files_byte_for_byte() -> None:
    """All but those that were made once, and no file is without a maker."""
    on_disk = {
        path.relative_to(make.FOLDER).as_posix(): path.read_bytes()
        for path in FILES
        if path.parent.name not in make_files.ONCE
    }
    assert on_disk == {name: make_log.render(vector) for name, vector in make_files.deterministic().items()}


def test_the_script_would_make_the_others_anew() -> None:
    """The same names and expectations, other randomness."""
    made = make_files.made_once()
    once = {path.relative_to(make.FOLDER).as_posix() for path in FILES if path.parent.name in make_files.ONCE}
    assert once == set(made)
    for name, vector in made.items():
        assert {**_load(make.FOLDER / name), "given": None} == {**vector, "given": None}
