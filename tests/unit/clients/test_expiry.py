"""What runs out is told before it does, to whom it concerns."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients import agent
from clients.commands.session import unlock
from clients.errors import UsageError
from clients.expiry import directory_warnings, warnings_of
from clients.holdings import card_of, held_key, holdings, only_agency
from clients.home import Home, Profile
from clients.keymaking import seat_keyring, with_authority, with_identity
from clients.recovery import open_sealed, seal
from keys.card import make_card, open_card
from keys.exchange import Exchange
from keys.keyring import Keyring
from keys.secret import Secret
from protocol import limits
from protocol.times import DAY_MS
from tests.support.paper import PaperLedger
from tests.support.world import NOW, World, kem_key, seed, signing_key

PASSPHRASE = Secret(b"of nobody")
WORLD = World.found()
EXPIRES = WORLD.directory.expires


def exchange() -> Exchange:
    return PaperLedger(WORLD).exchange


def home_of_seat(folder: Path, name: str = "pk-liaison/desk") -> Home:
    agency, _, seat = name.partition("/")
    keyring = Keyring({"signing": signing_key(name).seed, "store": seed("store", 32)})
    profile = Profile(agency=agency, seat=seat, pin=WORLD.pin.hex(), origin=WORLD.directory.by_agency[agency].home)
    return Home.create(folder, profile, keyring, PASSPHRASE)


def test_a_directory_is_told_from_60_days_before_its_end_and_through_the_grace() -> None:
    assert directory_warnings(exchange(), EXPIRES - 60 * DAY_MS - 1) == []
    (before,) = directory_warnings(exchange(), EXPIRES - 60 * DAY_MS)
    assert "expires in 60 days" in before
    assert "sign version 2" in before
    (grace,) = directory_warnings(exchange(), EXPIRES + 1)
    assert "no bulletin is admitted after" in grace
    (over,) = directory_warnings(exchange(), EXPIRES + 31 * DAY_MS)
    assert "its grace are over" in over


def test_a_seat_is_told_a_week_before_its_bundle_ends(tmp_path: Path) -> None:
    home = home_of_seat(tmp_path / "home")
    assert warnings_of(exchange(), home, NOW + 23 * DAY_MS) == []
    (soon,) = warnings_of(exchange(), home, NOW + 25 * DAY_MS)
    assert "ends in 6 days" in soon
    (over,) = warnings_of(exchange(), home, NOW + 31 * DAY_MS)
    assert "no running key bundle" in over


def test_a_seat_is_told_that_it_is_revoked_or_its_agency_suspended(tmp_path: Path) -> None:
    home = home_of_seat(tmp_path / "home")
    ledger = PaperLedger(WORLD)
    ledger.admit(WORLD.suspension("pk-liaison"))
    assert warnings_of(ledger.exchange, home, NOW) == ["pk-liaison is suspended by its nation"]
    ledger.admit(WORLD.revocation("pk-liaison/desk"))
    assert "revoked" in warnings_of(ledger.exchange, home, NOW)[1]


def test_a_custodian_is_told_from_the_day_of_renewal(tmp_path: Path) -> None:
    """For each agency whose cards it keeps; and when a card runs low."""
    home = Home.create(tmp_path / "home", Profile(), with_identity(Keyring(), "pk-liaison"), PASSPHRASE)
    card = tmp_path / "home" / "cards" / "pk-liaison" / "desk.json"
    card.parent.mkdir(parents=True)
    card.write_bytes(make_card("seat", "desk", signing_key("pk-liaison/desk"), (kem_key("pk-liaison/desk/9"),)))
    low, due = "has 1 KEM keys left", "is to be renewed"
    assert [low in line for line in warnings_of(exchange(), home, NOW + 6 * DAY_MS)] == [True]
    assert [due in line for line in warnings_of(exchange(), home, NOW + 7 * DAY_MS)] == [True, False]
    assert "has no running key bundle" in warnings_of(exchange(), home, NOW + 31 * DAY_MS)[0]
    home.close()


def test_a_card_is_filled_up_with_new_kem_keys(tmp_path: Path) -> None:
    """A seat never hands out a card with fewer than a full set; the seeds are kept before the card names them."""
    home = Home.create(tmp_path / "home", Profile(seat="desk"), seat_keyring(), PASSPHRASE)
    first = open_card(card_of(home), "seat")
    assert open_card(card_of(home), "seat") == first
    gone = f"kem/{first.kem[0].key_id.hex()}"
    home.save_keyring(home.keyring.without(gone))
    second = open_card(card_of(home), "seat")
    assert len(second.kem) == limits.KEM_KEYS_PER_CARD
    assert len(set(first.kem) & set(second.kem)) == limits.KEM_KEYS_PER_CARD - 1
    assert {key.key_id.hex() for key in second.kem} <= set(home.read_keyring_anew().names("kem"))


def test_holdings_are_named_by_whose_they_are(tmp_path: Path) -> None:
    """The authority by its custodian, an identity by its agency; what is missing is said."""
    keyring = with_authority(with_identity(Keyring(), "pk-liaison"))
    home = Home.create(tmp_path / "home", Profile(custodian="pk-custodian-1"), keyring, PASSPHRASE)
    named = [(kind, name) for kind, name, _ in holdings(home)]
    assert named == [("authority", "pk-custodian-1"), ("identity", "pk-liaison")]
    assert only_agency(home) == "pk-liaison"
    assert open_card(card_of(home, "pk-liaison"), "agency").key == held_key(home, "identity/pk-liaison").public
    assert open_card(card_of(home), "authority").name == "pk-custodian-1"
    with pytest.raises(UsageError, match="no signing key"):
        held_key(home, "signing")


def test_an_export_opens_with_its_recovery_passphrase_only() -> None:
    keyring, profile = with_authority(Keyring()), Profile(custodian="pk-custodian-1")
    data = seal(keyring, profile, PASSPHRASE)
    assert open_sealed(data, PASSPHRASE) == (keyring, profile)
    with pytest.raises(UsageError, match="does not open"):
        open_sealed(data, Secret(b"another"))


def test_without_an_agent_the_passphrase_is_asked_for(tmp_path: Path) -> None:
    """Nothing listens, or something that is no socket lies there."""
    home = home_of_seat(tmp_path / "home")
    assert agent.ask(home.folder) is None
    (home.folder / agent.SOCKET).write_bytes(b"")
    assert agent.ask(home.folder) is None
    assert agent.lock(home.folder) is False


@pytest.mark.parametrize("span", ["0m", "25h", "15", "-1s", "1d"])
def test_a_keyring_is_held_for_a_day_at_most(span: str) -> None:
    with pytest.raises(UsageError, match="no span up to 24h"):
        unlock(None, span)  # type: ignore[arg-type]
