"""Which keys a home holds, and their cards."""

from __future__ import annotations

from clients.bundles import bundles_in
from clients.errors import UsageError
from clients.home import Home
from clients.keymaking import with_kem_keys
from keys import kem
from keys.card import make_card
from keys.keyring import Keyring
from keys.signing import SigningKey
from protocol import limits
from protocol.signing import KemKey


def held_key(home: Home, name: str) -> SigningKey:
    """A signing key of this home. Raises UsageError."""
    seed = home.keyring.get(name)
    if seed is None:
        raise UsageError(f"this home holds no {name} key", "khunjerab keys show lists what it holds")
    return SigningKey(seed)


def only_agency(home: Home) -> str:
    """The agency whose identity key is here, where there is just one. Raises UsageError."""
    held = home.keyring.names("identity")
    if len(held) != 1:
        raise UsageError(f"this home holds the identity keys of {', '.join(held) or 'no agency'}", "name one")
    return held[0]


def holdings(home: Home) -> list[tuple[str, str, str]]:
    """Kind, name and key id of every key pair, those that wait to be used last."""
    keyring, profile = home.keyring, home.profile
    found = []
    for name in sorted(keyring.secrets, key=lambda name: (name.startswith("next/"), name)):
        kind, _, rest = name.removeprefix("next/").partition("/")
        if kind not in {"signing", "authority", "identity"}:
            continue
        of = {"signing": profile.seat, "authority": profile.custodian}.get(kind, rest)
        waiting = "next " if name.startswith("next/") else ""
        found.append((waiting + kind, of, SigningKey(keyring.secrets[name]).public.key_id.hex()))
    return found + [("kem", profile.seat, key_id) for key_id in sorted(keyring.names("kem"))]


def card_of(home: Home, agency: str = "", prefix: str = "") -> bytes:
    """The card of a seat, of an agency if one is named or nothing else is here, else of the authority.

    ``prefix`` is ``next/`` for the key that waits. Raises UsageError.
    """
    if home.profile.seat:
        return _seat_card(home, held_key(home, f"{prefix}signing"))
    if agency or home.keyring.get("authority") is None:
        agency = agency or only_agency(home)
        return make_card("agency", agency, held_key(home, f"{prefix}identity/{agency}"))
    return make_card("authority", home.profile.custodian, held_key(home, f"{prefix}authority"))


def _seat_card(home: Home, key: SigningKey) -> bytes:
    """With the next KEM keys that no bundle has used: new ones are made, and kept, before the card can name them."""
    unused = sorted(set(home.keyring.names("kem")) - used_kem_keys(home))
    missing = limits.KEM_KEYS_PER_CARD - len(unused)
    if missing > 0:
        home.save_keyring(with_kem_keys(home.keyring, missing))
        unused = sorted(set(home.keyring.names("kem")) - used_kem_keys(home))
    chosen = unused[: limits.KEM_KEYS_PER_CARD]
    return make_card("seat", home.profile.seat, key, tuple(_kem_key(home.keyring, key_id) for key_id in chosen))


def used_kem_keys(home: Home) -> set[str]:
    """Key ids, in hexadecimal, of the KEM keys that stand in the bundles of this seat's agency, as far as synced."""
    profile = home.profile
    if not profile.origin:
        return set()
    entries = (entry for _, entry in home.state.governance(profile.origin))
    return {seat.kem.key_id.hex() for bundle in bundles_in(entries, profile.agency) for seat in bundle.seats}


def _kem_key(keyring: Keyring, key_id: str) -> KemKey:
    return kem.public_key_of(keyring.secrets[f"kem/{key_id}"])
