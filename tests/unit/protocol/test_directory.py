"""protocol/directory.py and parties.py: what one version of the directory says about itself."""

import hashlib
import json
from typing import Any

import pytest

from protocol import limits
from protocol.directory import Directory
from protocol.errors import Malformed, ProtocolError
from protocol.label import Clearance, Label
from protocol.note import COSIGNATURE_ED25519, ED25519, VerifierKey
from protocol.strictjson import dumps
from protocol.times import DAY_MS
from tests.support.altering import replace
from tests.support.edits import edited
from tests.support.world import first_directory

FIRST = first_directory()


def _refused(directory: Directory, match: str = "") -> None:
    with pytest.raises(Malformed, match=match):
        Directory.decode(directory.encode())


def _first(directory: Directory, what: str, **changes: Any) -> Directory:
    items = getattr(directory, what)
    changed: Any = {what: (replace(items[0], **changes), *items[1:])}
    return replace(directory, **changed)


def test_a_directory_is_its_json_and_is_known_by_its_hash() -> None:
    """Read and written again it is the same bytes. SPEC 10.1.1."""
    data = FIRST.encode()
    assert Directory.decode(data) == FIRST
    assert Directory.decode(data).encode() == data
    assert FIRST.hash == FIRST.exchange_hash == hashlib.sha256(data).digest()


def test_members_have_their_names_and_order() -> None:
    """SPEC 10.1.2, 10.3.1, 10.4.1, 10.5.1, 10.6.1, 10.7.1."""
    value = json.loads(FIRST.encode())
    assert list(value) == [
        *("type", "exchange", "version", "previous", "issued", "expires"),
        *("nations", "agencies", "feeds", "nodes", "policy"),
    ]
    assert list(value["nations"][0]) == ["id", "code", "name", "threshold", "authorities"]
    assert list(value["nations"][0]["authorities"][0]) == ["name", "key"]
    assert list(value["nations"][0]["authorities"][0]["key"]) == ["ed25519", "mldsa65"]
    assert list(value["agencies"][0]) == ["id", "nation", "name", "home", "identity", "clearance", "roles"]
    assert list(value["agencies"][0]["clearance"]) == ["classification", "compartments"]
    assert list(value["feeds"][0]) == ["name", "title", "members", "ceiling", "domestic"]
    assert list(value["feeds"][0]["ceiling"]) == ["policy", "classification", "compartments"]
    assert list(value["nodes"][0]) == ["origin", "nation", "url", "log", "cosigner", "receipt", "tls"]
    assert value["type"] == "khunjerab.directory.v1"


@pytest.mark.parametrize(
    "place, value",
    [
        ("type", "khunjerab.directory.v2"),
        ("extra", 1),
        ("feeds", ...),
        ("version", "1"),
        ("version", 0),
        ("issued", "2026-11-23"),
        ("previous", "00"),
        ("exchange", "00"),
        ("nations", []),
        ("nodes", [{}] * 17),
        ("nations/0/extra", 1),
        ("nations/0/id", "pk"),
        ("nations/0/code", "PK"),
        ("nations/0/code", "pak"),
        ("nations/0/name", "Pak\u202eistan"),
        ("nations/0/authorities/0/name", "Custodian"),
        ("nations/0/authorities/0/key/ed25519", "AA=="),
        ("agencies/0/id", "PK"),
        ("agencies/0/roles", ["admin"]),
        ("agencies/0/roles", [{}]),
        ("agencies/0/clearance/policy", "PK"),
        ("agencies/0/clearance/compartments", [1]),
        ("feeds/0/domestic", 1),
        ("feeds/0/members", [None]),
        ("nodes/0/log", []),
        ("nodes/0/log", ["no vkey"]),
        ("nodes/0/tls", ["00"]),
        ("nodes/0/tls", ["00" * 32] * 3),
        ("nodes/0/origin", "https://pk"),
    ],
)
def test_a_member_of_another_form_is_refused(place: str, value: Any) -> None:
    """SPEC 10.1.2, 10.1.3, 10.3.1, 10.4.1, 10.5.1, 10.6.1."""
    with pytest.raises(ProtocolError):
        Directory.decode(dumps(edited(json.loads(FIRST.encode()), place, value)))


def test_members_stand_in_their_order() -> None:
    """SPEC 10.1.2."""
    value = json.loads(FIRST.encode())
    value["nations"] = value.pop("nations")
    with pytest.raises(Malformed, match="out of order"):
        Directory.decode(dumps(value))


def test_only_version_1_has_an_empty_exchange_and_no_previous() -> None:
    """SPEC 10.2.1."""
    pin = FIRST.hash
    second = replace(FIRST, version=2, exchange=pin, previous=pin)
    assert Directory.decode(second.encode()).exchange_hash == pin
    for changed in (
        replace(FIRST, exchange=pin),
        replace(FIRST, previous=pin),
        replace(second, exchange=None),
        replace(second, previous=bytes(32)),
        replace(second, version=1),
    ):
        _refused(changed, "version 1")


def test_a_version_lives_at_most_400_days() -> None:
    """And ends after it is issued. SPEC 10.2.2."""
    longest = replace(FIRST, expires=FIRST.issued + limits.DIRECTORY_LIFE_DAYS_MAX * DAY_MS)
    assert Directory.decode(longest.encode()) == longest
    for expires in (FIRST.issued, FIRST.issued - 1000, longest.expires + 1000):
        _refused(replace(FIRST, expires=expires), "expires")


@pytest.mark.parametrize("what", ["nations", "agencies", "feeds", "nodes"])
def test_nothing_stands_in_it_twice(what: str) -> None:
    """SPEC 10.2.3."""
    items = getattr(FIRST, what)
    changed: Any = {what: (*items, items[0])}
    _refused(replace(FIRST, **changed), "twice")


@pytest.mark.parametrize(
    "directory",
    [
        _first(FIRST, "nations", code="CHN"),
        _first(FIRST, "nations", authorities=tuple(replace(a, name="one") for a in FIRST.nations[0].authorities)),
        _first(FIRST, "agencies", roles=("publish", "publish")),
        _first(FIRST, "agencies", clearance=Clearance("PK", "Secret", ("CONVOY", "CONVOY"))),
        _first(FIRST, "feeds", members=("pk-liaison", "pk-liaison")),
        replace(FIRST, policy=replace(FIRST.policy, compartments=("CONVOY", "CONVOY"))),
    ],
)
def test_lists_within_it_repeat_nothing_either(directory: Directory) -> None:
    """Two nations of one code would make ``REL`` mean either. SPEC 10.2.3."""
    _refused(directory, "twice")


def test_no_key_is_shared() -> None:
    """Nor half of one, nor a log's or cosigner's with another's: one key, one meaning. SPEC 10.2.4."""
    pk, cn = FIRST.nodes
    stranger, mine = FIRST.agencies[1].identity, FIRST.agencies[0].identity
    half = replace(mine, mldsa65=stranger.mldsa65)
    plain = VerifierKey(pk.origin, ED25519, mine.ed25519)
    cosigner = VerifierKey("pk/cosigner", COSIGNATURE_ED25519, pk.log[0].public)
    for directory in (
        _first(FIRST, "agencies", identity=stranger),
        _first(FIRST, "agencies", identity=half),
        _first(FIRST, "agencies", identity=pk.receipt),
        _first(FIRST, "agencies", identity=FIRST.nations[1].authorities[0].key),
        _first(FIRST, "nodes", receipt=cn.receipt),
        _first(FIRST, "nodes", log=(plain,)),
        _first(FIRST, "nodes", cosigner=(cosigner,)),
        _first(FIRST, "nodes", cosigner=cn.cosigner),
    ):
        _refused(directory, "twice")


@pytest.mark.parametrize("threshold", [0, 3, 8])
def test_a_threshold_can_be_met(threshold: int) -> None:
    """By the keys that the nation has, and never by none. SPEC 10.2.5."""
    _refused(_first(FIRST, "nations", threshold=threshold), "threshold")
    assert Directory.decode(_first(FIRST, "nations", threshold=1).encode()).nations[0].threshold == 1


@pytest.mark.parametrize(
    "directory",
    [
        _first(FIRST, "agencies", nation="XX", clearance=Clearance("XX", "Secret")),
        _first(FIRST, "agencies", home="elsewhere.example/ledger"),
        _first(FIRST, "nodes", nation="XX"),
    ],
)
def test_nations_and_homes_are_in_it(directory: Directory) -> None:
    """SPEC 10.2.6."""
    _refused(directory, "not in this directory")


@pytest.mark.parametrize(
    "directory",
    [
        _first(FIRST, "agencies", clearance=Clearance("PK", "机密")),
        _first(FIRST, "agencies", clearance=Clearance("PK", "Secret", ("UNLISTED",))),
        _first(FIRST, "feeds", ceiling=Clearance("CN", "Secret")),
        _first(FIRST, "feeds", ceiling=Clearance("XX", "Secret")),
        _first(FIRST, "feeds", ceiling=Clearance("PK", "Secret", ("UNLISTED",))),
    ],
)
def test_clearances_and_ceilings_are_levels_and_compartments_that_exist(directory: Directory) -> None:
    """SPEC 10.2.7."""
    _refused(directory, "no level|no compartment")


def test_members_of_a_feed_are_agencies() -> None:
    """SPEC 10.2.8."""
    _refused(_first(FIRST, "feeds", members=("pk-liaison", "pk-stranger")), "pk-stranger is no agency")


def test_a_node_s_keys_have_its_name_and_their_types() -> None:
    """Else what the directory lists could sign no checkpoint. SPEC 10.6.1."""
    pk, cn = FIRST.nodes
    alien = VerifierKey("elsewhere.example/ledger", ED25519, bytes(32))
    for changes in ({"log": (alien,)}, {"log": pk.cosigner}, {"cosigner": pk.log}, {"log": (*pk.log, cn.log[0])}):
        with pytest.raises(ProtocolError):
            Directory.decode(_first(FIRST, "nodes", **changes).encode())


def test_it_says_why_an_agency_may_not_read() -> None:
    """SPEC 6.2.1."""
    label = Label("PK", "Secret", ("CONVOY",), ("CN", "PK"))
    assert FIRST.why_denied(label, FIRST.by_agency["cn-liaison"]) is None
    assert FIRST.why_denied(label, FIRST.by_agency["cn-embassy"]) == "clearance-too-low"


def test_what_it_holds_is_found_by_name() -> None:
    """Without a search for each statement."""
    assert FIRST.by_nation["CN"].name == "中国"
    assert FIRST.by_feed["sites"].domestic
    assert FIRST.by_origin["pk.khunjerab.test/ledger"].nation == "PK"
    assert FIRST.alpha3 == {"PK": "PAK", "CN": "CHN"}
