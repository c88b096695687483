"""Signed notes and verifier keys (SPEC §9; C2SP signed-note): a text, and lines that sign it.

    example.com/ledger
    42
    <root>

    — example.com/ledger <base64 of key id and signature>

The text ends at the last empty line. A verifier key is ``name+key id+base64(type, public key)``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Final

from protocol import limits
from protocol.errors import Malformed, TooLarge
from protocol.record import Record

ED25519: Final = 0x01
COSIGNATURE_ED25519: Final = 0x04
COSIGNATURE_MLDSA44: Final = 0x06

PUBLIC_BYTES = {ED25519: 32, COSIGNATURE_ED25519: 32, COSIGNATURE_MLDSA44: 1312}
KEY_ID_BYTES = 4
NAME_BYTES_MAX = 255  # what a tlog-cosignature can hold
_DASH = "— "
SIGNATURE_LINE_START = f"\n{_DASH}"  # where one begins in a note


def check_name(name: str, what: str = "a key's name") -> None:
    """Raise Malformed or TooLarge unless ``name`` can name a key: no spaces, no controls, no plus sign."""
    if len(_utf8(name)) > NAME_BYTES_MAX:
        raise TooLarge(f"{what} is over {NAME_BYTES_MAX} bytes")
    if not name or any(char.isspace() or char < " " or char == "+" for char in name):
        raise Malformed(f"{what} is empty, or holds a space, a control character or a plus sign")


def unbase64(text: str, what: str) -> bytes:
    """Bytes of standard base64 with padding, in the one form that an encoder gives them."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Malformed(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Malformed(f"{what} is base64 with bits that do not belong there")
    return data


class VerifierKey(Record):
    """A public key under the name of whoever holds it."""

    name: str
    type: int
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != PUBLIC_BYTES.get(self.type):
            raise Malformed(f"no verifier key of type {self.type} has {len(self.public)} bytes")

    @property
    def key_id(self) -> bytes:
        """What signature lines call the key by, beside its name."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed).digest()[:KEY_ID_BYTES]

    @property
    def _typed(self) -> bytes:
        return bytes([self.type]) + self.public

    def encode(self) -> str:
        """The key as a vkey string."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._typed).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key of a vkey string. Raises Malformed or TooLarge, also for a type that is not of this module."""
        if len(text) > limits.NOTE_BYTES_MAX:
            raise TooLarge("a verifier key is longer than a note may be")
        name, _, rest = text.partition("+")
        typed = unbase64(rest.partition("+")[2], "a verifier key")
        key = cls(name, typed[0] if typed else 0, typed[1:])
        if key.encode() != text:
            raise Malformed("a verifier key whose id is not that of its name and bytes")
        return key


class SignatureLine(Record):
    """One signature under a note; for a cosignature the bytes begin with its time."""

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.key_id) != KEY_ID_BYTES or not self.signature:
            raise Malformed("a signature line without a key id of 4 bytes and a signature")

    def encode(self) -> str:
        """The line, newline included."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> SignatureLine:
        """The signature of one line, its newline included. Raises Malformed or TooLarge."""
        name, space, rest = line.removeprefix(_DASH).removesuffix("\n").partition(" ")
        if not (space and line.startswith(_DASH) and line.endswith("\n")):
            raise Malformed("a signature line that does not read '— name base64'")
        data = unbase64(rest, "a signature line")
        return cls(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


class Note(Record):
    """A text that ends in a newline, and at least one signature line. Nothing here has been verified."""

    text: str
    lines: tuple[SignatureLine, ...]

    def __post_init__(self) -> None:
        if any(char < " " and char != "\n" for char in self.text) or not self.text.endswith("\n"):
            raise Malformed("the text of a note holds a control character, or does not end in a newline")
        if not self.lines:
            raise Malformed("a note without a signature line")
        if len(self.lines) > limits.NOTE_SIGNATURES_MAX:
            raise TooLarge(f"a note with more than {limits.NOTE_SIGNATURES_MAX} signature lines")
        _check_size(self.encode())

    def with_lines(self, lines: Iterable[SignatureLine]) -> Note:
        """The note with these lines too, each in the place of one by the same key, as far as there is room."""
        merged = {(line.name, line.key_id): line for line in (*self.lines, *lines)}
        kept: list[SignatureLine] = []
        used = len(self.text.encode()) + 1
        for line in merged.values():
            used += len(line.encode().encode())
            if used <= limits.NOTE_BYTES_MAX and len(kept) < limits.NOTE_SIGNATURES_MAX:
                kept.append(line)
        return Note(self.text, tuple(kept))

    def encode(self) -> str:
        """The note as it is signed, stored and sent."""
        return f"{self.text}\n{''.join(line.encode() for line in self.lines)}"

    @classmethod
    def parse(cls, note: str) -> Note:
        """The note of this text. Raises Malformed or TooLarge."""
        _check_size(note)
        text, separator, signatures = note.rpartition("\n\n")
        lines = signatures.split("\n")
        if not separator or lines.pop() != "":
            raise Malformed("a note is a text, an empty line, and signature lines")
        if len(lines) > limits.NOTE_SIGNATURES_MAX:
            raise TooLarge(f"a note with more than {limits.NOTE_SIGNATURES_MAX} signature lines")
        return cls(text + "\n", tuple(SignatureLine.parse(line + "\n") for line in lines))


def _check_size(note: str) -> None:
    if len(note) > limits.NOTE_BYTES_MAX or len(_utf8(note)) > limits.NOTE_BYTES_MAX:
        raise TooLarge(f"a note of more than {limits.NOTE_BYTES_MAX} bytes")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Malformed("text that UTF-8 cannot hold") from None
