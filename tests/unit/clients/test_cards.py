"""Cards: what they prove, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clients.cardfiles import drop_seat_card, keep_seat_card, read_card, seat_cards
from clients.errors import UsageError
from clients.keymaking import promoted, seat_keyring, with_authority, with_identity, with_next
from keys import kem
from keys.card import make_card, open_card
from keys.errors import CardRefused
from keys.keyring import Keyring
from protocol import limits
from protocol.strictjson import dumps
from tests.support.world import kem_key, signing_key

KEM = tuple(kem_key(f"pk-liaison/desk/{number}") for number in range(1, limits.KEM_KEYS_PER_CARD + 1))
SEAT = make_card("seat", "desk", signing_key("pk-liaison/desk"), KEM)


def changed(data: bytes, **members: object) -> bytes:
    return dumps({**json.loads(data), **members})


def test_a_card_opens_to_what_was_put_in() -> None:
    card = open_card(SEAT, "seat")
    assert (card.name, card.key, card.kem) == ("desk", signing_key("pk-liaison/desk").public, KEM)
    assert make_card("seat", "desk", signing_key("pk-liaison/desk"), card.kem)[:500] == SEAT[:500]


@pytest.mark.parametrize("kind", ["agency", "authority"])
def test_other_cards_have_no_kem_keys(kind: str) -> None:
    assert open_card(make_card(kind, "pk-liaison", signing_key("pk-liaison/identity")), kind).kem == ()


def test_1_what_is_no_card_is_refused() -> None:
    """Other members, another order, another form of the same JSON, another file altogether."""
    for data in (b"", b"{}\n", SEAT[:-1], SEAT.replace(b"  ", b" "), changed(SEAT, more=1), changed(SEAT, kem=[])):
        with pytest.raises(CardRefused):
            open_card(data, "seat")


def test_2_a_card_of_another_kind_is_refused() -> None:
    """An agency's identity is not taken for an authority."""
    with pytest.raises(CardRefused, match="the card of an agency, not of an authority"):
        open_card(make_card("agency", "pk-liaison", signing_key("pk-liaison/identity")), "authority")


def test_3_a_key_that_is_none_is_refused() -> None:
    """An X25519 half of small order would keep everyone from sealing."""
    value = json.loads(SEAT)
    value["kem"][0]["x25519"] = "A" * 43 + "="
    with pytest.raises(CardRefused):
        open_card(dumps(value), "seat")


def test_4_a_proof_for_other_keys_is_refused() -> None:
    """Neither the name nor a KEM key can be changed, nor another's key shown as one's own."""
    other = json.loads(make_card("seat", "desk", signing_key("pk-liaison/duty"), KEM))
    for data in (changed(SEAT, name="duty"), changed(SEAT, kem=other["kem"][1:]), changed(SEAT, key=other["key"])):
        with pytest.raises(CardRefused, match="proves nothing"):
            open_card(data, "seat")


def test_a_custodian_keeps_cards_by_seat(tmp_path: Path) -> None:
    """Another signing key under the same name is taken only when told so."""
    file = tmp_path / "card.json"
    file.write_bytes(SEAT)
    keep_seat_card(tmp_path, "pk-liaison", file, replace=False)
    keep_seat_card(tmp_path, "pk-liaison", file, replace=False)
    file.write_bytes(make_card("seat", "desk", signing_key("pk-liaison/duty"), KEM))
    with pytest.raises(UsageError, match="another signing key"):
        keep_seat_card(tmp_path, "pk-liaison", file, replace=False)
    keep_seat_card(tmp_path, "pk-liaison", file, replace=True)
    assert [card.key for card in seat_cards(tmp_path, "pk-liaison")] == [signing_key("pk-liaison/duty").public]
    drop_seat_card(tmp_path, "pk-liaison", "desk")
    assert seat_cards(tmp_path, "pk-liaison") == []
    with pytest.raises(UsageError):
        drop_seat_card(tmp_path, "pk-liaison", "desk")
    with pytest.raises(UsageError, match="No such file"):
        read_card(tmp_path / "absent.json", "seat")


def test_a_file_that_is_no_card_is_named(tmp_path: Path) -> None:
    """Among several the one that is wrong; what it holds is not read out."""
    file = tmp_path / "passphrase"
    file.write_text("12.5")
    with pytest.raises(CardRefused, match="passphrase: this is no card") as refused:
        read_card(file, "seat")
    assert "12.5" not in refused.value.detail


def test_new_keys_never_take_the_place_of_old_ones() -> None:
    """A second identity or authority is refused; rotation keeps the old until the new is promoted."""
    keyring = with_authority(with_identity(Keyring(), "pk-liaison"))
    with pytest.raises(UsageError, match="already"):
        with_authority(keyring)
    with pytest.raises(UsageError, match="already"):
        with_identity(keyring, "pk-liaison")
    assert len(with_identity(keyring, "pk-embassy").names("identity")) == 2
    rotating = with_next(keyring, "authority")
    assert rotating.get("authority") == keyring.get("authority")
    done = promoted(rotating, "authority")
    assert (done.get("authority"), done.get("next/authority")) == (rotating.get("next/authority"), None)
    with pytest.raises(UsageError):
        promoted(done, "authority")
    with pytest.raises(UsageError, match="no signing key"):
        with_next(keyring, "signing")


def test_a_seat_begins_with_the_keys_of_one_card() -> None:
    """Each KEM seed lies under its key's id."""
    keyring = seat_keyring()
    names = keyring.names("kem")
    assert len(names) == limits.KEM_KEYS_PER_CARD
    assert kem.public_key_of(keyring.secrets[f"kem/{names[0]}"]).key_id.hex() == names[0]
