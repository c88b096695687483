"""protocol/login.py: the signed login."""

from typing import Any

import pytest

from protocol import canonical
from protocol.errors import ProtocolError
from protocol.login import Login, decode_signed, encode_signed
from protocol.pae import pae
from protocol.signing import Signature

H = bytes(range(32))
LOGIN = Login(H, "pk.khunjerab.test/ledger", 5, bytes(16), "pk.khunjerab.test/ledger\n9\nroot\n\n— line\n")
SIGNATURE = Signature(H, b"e" * 64, b"m" * 3309)


def test_a_login_is_its_five_fields_signed_as_bytes() -> None:
    """SPEC 11.1.1."""
    data = canonical.encode([H, LOGIN.origin, 5, bytes(16), LOGIN.checkpoint])
    assert LOGIN.encode() == data
    assert LOGIN.message() == pae(b"khunjerab/1/sign/login", data)
    assert encode_signed(LOGIN, SIGNATURE) == canonical.encode([data, SIGNATURE.to_wire()])
    assert decode_signed(encode_signed(LOGIN, SIGNATURE)) == (LOGIN, SIGNATURE)


@pytest.mark.parametrize(
    "at, value",
    [(0, b""), (1, "PK"), (2, -5), (3, bytes(15)), (3, bytes(17)), (4, None), (4, "\x1b"), (4, "x" * 65_537)],
)
def test_each_field_has_its_type_and_bound(at: int, value: Any) -> None:
    """SPEC 11.1.1."""
    wire: list[Any] = [H, LOGIN.origin, 5, bytes(16), LOGIN.checkpoint]
    wire[at] = value
    with pytest.raises(ProtocolError):
        decode_signed(canonical.encode([canonical.encode(wire), SIGNATURE.to_wire()]))


@pytest.mark.parametrize("wire", [[], [LOGIN.encode()], [LOGIN.encode(), None], [[], SIGNATURE.to_wire()]])
def test_a_login_without_its_signature_is_refused(wire: Any) -> None:
    """SPEC 11.1.1."""
    with pytest.raises(ProtocolError):
        decode_signed(canonical.encode(wire))
