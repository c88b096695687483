"""The body and wraps of a bulletin on their way from one store to another: those that were signed, whole, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from broker.storage.contract import StoredWrap
from keys.exchange import Exchange
from protocol.entry import WRAP_BYTES
from protocol.statements import Bulletin


def split_wraps(joined: bytes) -> list[bytes]:
    """The wraps that a page joins; the last may be torn."""
    return [joined[at : at + WRAP_BYTES] for at in range(0, len(joined), WRAP_BYTES)]


def whole(bulletin: Bulletin, body: bytes | None, wraps: Iterable[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    """Body and wraps in the order of the statement; both empty where anything is missing or is not what was signed."""
    if body is None or hashlib.sha256(body).digest() != bulletin.body:
        return b"", ()
    found = {hashlib.sha256(wrap).digest(): wrap for wrap in wraps}
    if any(stated.hash not in found for stated in bulletin.wraps):
        return b"", ()
    return body, tuple(found[stated.hash] for stated in bulletin.wraps)


def by_seat(exchange: Exchange, bulletin: Bulletin, wraps: Sequence[bytes]) -> tuple[StoredWrap, ...]:
    """The wraps of a bulletin that stands, each under its seat; none where a bundle that it names is known no more."""
    named = {addressee.bundle for addressee in bulletin.header.addressees}
    bundles = [held.bundle for chain in exchange.bundles.values() for held in chain if held.hash in named]
    seats = {seat.kem.key_id: seat.signing.key_id for bundle in bundles for seat in bundle.seats}
    if any(stated.kem_key_id not in seats for stated in bulletin.wraps):
        return ()
    return tuple(StoredWrap(seats[stated.kem_key_id], wrap) for stated, wrap in zip(bulletin.wraps, wraps, strict=True))
