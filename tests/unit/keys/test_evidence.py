"""Evidence of one bulletin: it holds, it says what it rests on, and nothing in it can be changed or left out."""

from collections.abc import Callable
from typing import Any

import pytest

from keys.evidence import Evidence, check
from protocol.entry import Entry
from protocol.errors import ProofFailed, ProtocolError
from protocol.strictjson import dumps, loads
from tests.support.edits import edited
from tests.support.packed import CHANGES, FORGED, FORMS, WORLD, packed
from tests.support.world import ORIGINS


def test_it_holds_and_says_what_it_rests_on() -> None:
    shown = check(packed(), WORLD.pin)
    assert (shown.header.sender, shown.links, shown.bundles) == ("pk-liaison", 3, 6)
    assert (shown.exchange.in_force.version, shown.opened.cosigned) == (2, ())
    assert [one.name for one in check(packed(cosigned=True), WORLD.pin).opened.cosigned] == [
        f"{ORIGINS['CN']}/cosigner"
    ] * 2


def test_it_is_read_as_it_was_written() -> None:
    """SPEC 14.3.1."""
    assert Evidence.decode(packed().encode()) == packed()
    assert check(Evidence.decode(packed().encode()), None).pin == WORLD.pin


def test_another_pin_is_another_exchange() -> None:
    with pytest.raises(ProofFailed):
        check(packed(), bytes(32))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_changed_or_left_out_fails(change: Callable[[Evidence], Evidence]) -> None:
    """SPEC 14.3.2."""
    with pytest.raises(ProofFailed):
        check(change(packed()), WORLD.pin)


@pytest.mark.parametrize("told, forge", FORGED.values(), ids=FORGED.keys())
def test_what_an_operator_forged_fails_though_the_log_signed_it(told: str, forge: Callable[[Entry], Entry]) -> None:
    """Paths and checkpoint hold; the entry does not. SPEC 14.3.2."""
    with pytest.raises(ProofFailed, match=told):
        check(packed(forge=forge), WORLD.pin)


@pytest.mark.parametrize("place, value", FORMS)
def test_evidence_of_another_form_is_refused(place: str, value: Any) -> None:
    """SPEC 14.3.1."""
    with pytest.raises(ProtocolError):
        Evidence.decode(dumps(edited(loads(packed().encode(), 10**6), place, value)))


@pytest.mark.parametrize("data", [b"", b"{}\n"])
def test_what_is_no_evidence_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Evidence.decode(data)
