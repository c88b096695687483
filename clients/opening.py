"""Opening what was sent here (SPEC §11.3): (6) the wrap, (7) the count, (8) the body."""

from __future__ import annotations

import hashlib

from clients.home import Home
from keys.errors import CannotOpen
from keys.kem import PrivateKey
from keys.keyring import Keyring
from keys.sealing import OpenedWrap, open_body, open_wrap
from protocol.content import Content
from protocol.record import Record
from protocol.statements import Bulletin


class Opened(Record):
    """A bulletin's content, or why there is none; ``missing`` says how many before it were kept from this reader."""

    content: Content | None
    problem: str
    missing: int = 0


class Opener:
    """Opens with the KEM keys of one seat's keyring."""

    def __init__(self, home: Home) -> None:
        self._home, self._agency, self._state = home, home.profile.agency, home.state
        self._keys = _keys(home.keyring)

    def open(
        self, index: int, bulletin: Bulletin, body: bytes | None, wrap: bytes | None, withheld: str = ""
    ) -> Opened:
        """Whatever is wrong is said in ``problem``: the bulletin stands at ``index`` all the same."""
        if withheld:
            return Opened(None, f"withheld: {withheld}")
        if wrap is None or body is None:
            return Opened(None, "not sealed to this seat" if body is not None else "body-missing")
        try:
            opened = self._unwrap(bulletin, wrap)  # (6)
            missing = self._missing(index, bulletin, opened)  # (7)
            if hashlib.sha256(body).digest() != bulletin.body:  # (8)
                return Opened(None, "body-altered", missing)
            return Opened(open_body(body, bulletin.header_bytes, opened.content_key), "", missing)
        except CannotOpen as error:
            return Opened(None, f"cannot-open: {error.detail}")

    def _unwrap(self, bulletin: Bulletin, wrap: bytes) -> OpenedWrap:
        digest = hashlib.sha256(wrap).digest()
        mine = [stated.kem_key_id for stated in bulletin.wraps if stated.hash == digest]
        if not any(key_id in self._keys for key_id in mine):  # a card was made since this process began
            self._keys = _keys(self._home.read_keyring_anew())
        for stated in bulletin.wraps:
            key = self._keys.get(stated.kem_key_id)
            if stated.hash == digest and key is not None:
                return open_wrap(wrap, bulletin.header_bytes, self._agency, key, stated.kem_key_id)
        raise CannotOpen("the wrap is not one that was signed for a key of this seat")

    def _missing(self, index: int, bulletin: Bulletin, opened: OpenedWrap) -> int:
        """How many the sender held receipts for, and never came here: a lower bound, so it never alarms falsely."""
        header = bulletin.header
        if header.sender == self._agency:
            return 0
        held = self._state.count_before(header.origin, header.key_id, header.feed, index)
        return max(0, opened.count - held)


def _keys(keyring: Keyring) -> dict[bytes, PrivateKey]:
    return {bytes.fromhex(name): PrivateKey(keyring.secrets[f"kem/{name}"]) for name in keyring.names("kem")}
