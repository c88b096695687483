"""The cards that a custodian keeps in the home: ``cards/AGENCY/SEAT.json``, verified each time they are read."""

from __future__ import annotations

from pathlib import Path

from clients.errors import UsageError
from keys.card import open_card
from keys.errors import CardRefused
from keys.keyring import write_private
from protocol.card import Card


def read_card(path: Path, kind: str) -> Card:
    """The card in a file. Raises UsageError where it cannot be read, CardRefused where it proves nothing."""
    try:
        return open_card(path.read_bytes(), kind)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except CardRefused as refused:
        raise CardRefused(f"{path}: {refused.detail}") from None


def seat_cards(home: Path, agency: str) -> list[Card]:
    """The cards of an agency's seats, by name."""
    return [read_card(path, "seat") for path in sorted((home / "cards" / agency).glob("*.json"))]


def keep_seat_card(home: Path, agency: str, file: Path, *, replace: bool) -> Card:
    """Keep a seat's card. Raises UsageError for another signing key under a known name, unless ``replace``."""
    card = read_card(file, "seat")
    path = home / "cards" / agency / f"{card.name}.json"
    if path.exists() and not replace and read_card(path, "seat").key != card.key:
        raise UsageError(
            f"{agency} has a seat {card.name} with another signing key", "if it was rotated, say --replace"
        )
    write_private(path, file.read_bytes(), replace=True)
    return card


def drop_seat_card(home: Path, agency: str, name: str) -> None:
    """Forget a seat's card: the next bundle leaves it out, which revokes nothing. Raises UsageError."""
    try:
        (home / "cards" / agency / f"{name}.json").unlink()
    except FileNotFoundError:
        raise UsageError(f"no card of {agency}/{name} is kept here") from None
