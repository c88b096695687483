"""tests/vectors: each file is one expectation of one of our formats, and the kind of each refusal is asserted."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keys.errors import KeysError
from keys.kem import PrivateKey
from keys.sealing import open_body, open_wrap
from keys.secret import Secret
from keys.signing import SignatureCheck, signed_message
from protocol import canonical, padding
from protocol.content import Content
from protocol.directory import Directory
from protocol.entry import Entry, Submission
from protocol.errors import ProtocolError
from protocol.header import Header
from protocol.login import decode_signed, encode_signed
from protocol.page import decode_page, encode_page
from protocol.signing import PublicKey, decode_signatures, encode_signatures
from protocol.statements import Bulletin, Kind, decode
from protocol.stream import Answers
from protocol.treehead import Receipt
from tests.vectors import make, make_log

COUNT_MIN = {
    "header": 20,
    "statement": 36,
    "content": 14,
    "signatures": 7,
    "entry": 12,
    "submission": 9,
    "receipt": 9,
    "answers": 14,
    "page": 7,
    "login": 7,
    "padding": 11,
    "directory": 13,
    "sealed": 18,
}
FILES = sorted(path for format_ in COUNT_MIN for path in (make.FOLDER / format_).glob("*.json"))


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


def _id(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def _login(data: bytes) -> bytes:
    return encode_signed(*decode_signed(data))


RECODE: dict[str, Callable[[bytes], bytes]] = {
    "header": lambda data: Header.decode(data).encode(),
    "content": lambda data: Content.decode(data).encode(),
    "signatures": lambda data: encode_signatures(decode_signatures(data)),
    "entry": lambda data: Entry.decode(data).encode(),
    "submission": lambda data: Submission.decode(data).encode(),
    "receipt": lambda data: Receipt.decode(data).encode(),
    "answers": lambda data: Answers.decode(data).encode(),
    "page": lambda data: encode_page(decode_page(data)),
    "login": _login,
}


def _examine(path: Path, given: Any) -> Any:
    """What the vector's bytes come to; they are encoded again on the way."""
    format_ = path.parent.name
    if format_ == "directory":
        data = given.encode()
        assert Directory.decode(data).encode() == data
        return hashlib.sha256(data).hexdigest()
    if format_ == "sealed":
        return _open(given)
    data = base64.b64decode(given)
    if format_ == "padding":
        bare = padding.unpad(data)
        assert padding.pad(bare) == data
        return {"length": len(bare), "sha256": hashlib.sha256(bare).hexdigest()}
    if format_ == "statement":
        kind = next(kind for kind in Kind if path.stem.startswith(kind.word))
        assert decode(kind, data).encode() == data
    else:
        assert RECODE[format_](data) == data
    return make.jsoned(canonical.decode(data, bytes_max=len(data), array_max=1000))


def _open(given: dict[str, Any]) -> dict[str, Any]:
    """As a reader does: the signature, the wrap, the body."""
    statement, body = bytes.fromhex(given["statement"]), bytes.fromhex(given["body"])
    key = PublicKey(bytes.fromhex(given["ed25519"]), bytes.fromhex(given["mldsa65"]))
    (signature,) = decode_signatures(bytes.fromhex(given["signatures"]))
    message = signed_message(Kind.BULLETIN, statement)
    SignatureCheck(key, message, signature, signature.suite).verify()
    bulletin = Bulletin.decode(statement)
    header, own = bulletin.header_bytes, PrivateKey(Secret(bytes.fromhex(given["kem_seed"])))
    wrap = open_wrap(bytes.fromhex(given["wraps"][0]), header, given["agency"], own, bulletin.wraps[0].kem_key_id)
    content = open_body(body, header, wrap.content_key)
    return {"header": header.hex(), "count": wrap.count, "title": content.versions[0].title}


@pytest.mark.parametrize("format_", COUNT_MIN)
def test_no_vector_has_gone_missing(format_: str) -> None:
    """A loader that finds nothing would pass."""
    assert sum(path.parent.name == format_ for path in FILES) >= COUNT_MIN[format_]


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_a_vector_holds(path: Path) -> None:
    """What is given comes to the value, or is refused by exactly that kind of error. SPEC 3.1.2, 8.2.2, 8.2.4."""
    vector = _load(path)
    if "error" not in vector:
        assert _examine(path, vector["given"]) == vector["value"]
        return
    with pytest.raises((ProtocolError, KeysError)) as caught:
        _examine(path, vector["given"])
    assert isinstance(caught.value, ProtocolError | KeysError)
    assert caught.value.code == vector["error"]


def test_the_script_makes_the_files_byte_for_byte() -> None:
    """All but the sealed ones, and no file is without a maker."""
    on_disk = {
        path.relative_to(make.FOLDER).as_posix(): path.read_bytes() for path in FILES if path.parent.name != make.SEALED
    }
    assert on_disk == {name: make_log.render(vector) for name, vector in make.deterministic().items()}


def test_the_script_would_make_the_sealed_files_anew() -> None:
    """The same names and expectations, other randomness."""
    made = make.sealed()
    assert {f"{make.SEALED}/{path.name}" for path in FILES if path.parent.name == make.SEALED} == set(made)
    for name, vector in made.items():
        on_disk = _load(make.FOLDER / name)
        assert {**on_disk, "given": None} == {**vector, "given": None}
        assert on_disk["given"]["statement"] != vector["given"]["statement"]
