"""The next directory on its way to the signing table: parts put in, changed and taken out, each giving a new draft.

A draft may not hold together yet: ``Directory.check`` is asked when it is signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from clients.errors import UsageError
from protocol.card import Card
from protocol.directory import Directory
from protocol.label import Clearance, Equivalence
from protocol.parties import Agency, Authority, Feed, Nation, Node
from protocol.policy import Policy
from protocol.times import DAY_MS

T = TypeVar("T", Nation, Authority, Agency, Feed, Node)
LIFE_DAYS = 365
OFFICIAL = ("publish", "subscribe")
_KNOWN = Policy().equivalence  # the levels of Pakistan and China, and the maps between them


def begin(issued: int, days: int = LIFE_DAYS) -> Directory:
    """Version 1, with nobody in it."""
    policy = Policy().replace(equivalence=Equivalence({}, {}))
    issued -= issued % 1000
    return Directory(None, 1, bytes(32), issued, issued + days * DAY_MS, (), (), (), (), policy)


def follow(before: Directory, issued: int, days: int = LIFE_DAYS) -> Directory:
    """Version N+1 on the one in force, the same but for its place in the chain and its times."""
    issued -= issued % 1000
    return before.replace(
        exchange=before.exchange_hash,
        version=before.version + 1,
        previous=before.hash,
        issued=issued,
        expires=issued + days * DAY_MS,
    )


# Nations


def put_nation(draft: Directory, nation: Nation, levels: Sequence[str] = ()) -> Directory:
    """A nation, new or in the place of the one before; a new one brings its levels, and maps to those known here."""
    draft = draft.replace(nations=_put(draft.nations, nation, "id"))
    equivalence = draft.policy.equivalence
    if levels:
        equivalence = equivalence.replace(levels={**equivalence.levels, nation.id: tuple(levels)})
    elif nation.id not in equivalence.levels:
        if nation.id not in _KNOWN.levels:
            raise UsageError(f"the levels of {nation.id} are not known here", "--levels LOWEST,…,HIGHEST")
        levels = _KNOWN.levels[nation.id]
        equivalence = equivalence.replace(levels={**equivalence.levels, nation.id: tuple(levels)})
    return _with_equivalence(draft, _with_known_maps(equivalence))


def add_nation(draft: Directory, nation: Nation, levels: Sequence[str] = ()) -> Directory:
    """One that is not there yet: never another's authorities by mistake. Raises UsageError."""
    if any(known.id == nation.id for known in draft.nations):
        raise UsageError(f"{nation.id} is in the draft already", f"khunjerab directory set nation {nation.id} …")
    return put_nation(draft, nation, levels)


def _with_known_maps(equivalence: Equivalence) -> Equivalence:
    """What is unknown stays unmapped, and so denied: such maps are written into the JSON by hand."""
    known = {
        ends: values
        for ends, values in _KNOWN.maps.items()
        if all(equivalence.levels.get(end) == _KNOWN.levels[end] for end in ends)
    }
    return equivalence.replace(maps={**known, **equivalence.maps})


def _with_equivalence(draft: Directory, equivalence: Equivalence) -> Directory:
    return draft.replace(policy=draft.policy.replace(equivalence=equivalence))


def with_authorities(nation: Nation, cards: Sequence[Card], without: Sequence[str] = ()) -> Nation:
    """Authority keys from their cards, by name, and without those named. Raises UsageError where one is not there."""
    for name in without:
        _find(nation.authorities, name, "name", f"authority of {nation.id}")
    kept = tuple(authority for authority in nation.authorities if authority.name not in without)
    for card in cards:
        kept = _put(kept, Authority(card.name, card.key), "name")
    return nation.replace(authorities=kept)


def remove_nation(draft: Directory, id_: str) -> Directory:
    """A nation with its levels, maps, agencies and nodes."""
    _find(draft.nations, id_, "id", "nation")
    for agency in draft.agencies:
        if agency.nation == id_:
            draft = remove_agency(draft, agency.id)
    equivalence = draft.policy.equivalence
    levels = {nation: values for nation, values in equivalence.levels.items() if nation != id_}
    maps = {ends: values for ends, values in equivalence.maps.items() if id_ not in ends}
    draft = _with_equivalence(draft, Equivalence(levels, maps))
    nodes = tuple(node for node in draft.nodes if node.nation != id_)
    return draft.replace(nations=_without(draft.nations, id_, "id"), nodes=nodes)


# Agencies


def put_agency(draft: Directory, agency: Agency) -> Directory:
    """An agency, new or in the place of the one before. Raises UsageError for what the draft has not."""
    _check_level(draft, agency.clearance)
    _find(draft.nodes, agency.home, "origin", "node")
    return draft.replace(agencies=_put(draft.agencies, agency, "id"))


def new_agency(draft: Directory, card: Card, nation: str, classification: str, home: str = "") -> Agency:
    """An agency from its card; at home in its nation's node, where there is one only. Raises UsageError."""
    if any(agency.id == card.name for agency in draft.agencies):
        raise UsageError(f"{card.name} is in the draft already", f"khunjerab directory set agency {card.name} …")
    return Agency(
        id=card.name,
        nation=find_nation(draft, nation).id,
        name=card.name.replace("-", " ").title(),
        home=home or _only_node(draft, nation),
        identity=card.key,
        clearance=Clearance(nation, classification),
        roles=OFFICIAL,
    )


def _only_node(draft: Directory, nation: str) -> str:
    nodes = [node.origin for node in draft.nodes if node.nation == nation]
    if len(nodes) != 1:
        raise UsageError(f"{nation} has {len(nodes)} nodes in the draft", "add its node first, or say --home ORIGIN")
    return nodes[0]


def remove_agency(draft: Directory, id_: str) -> Directory:
    """An agency, out of every feed too."""
    _find(draft.agencies, id_, "id", "agency")
    feeds = tuple(f.replace(members=tuple(m for m in f.members if m != id_)) for f in draft.feeds)
    return draft.replace(agencies=_without(draft.agencies, id_, "id"), feeds=feeds)


def _check_level(draft: Directory, clearance: Clearance) -> None:
    levels = draft.policy.equivalence.levels.get(find_nation(draft, clearance.policy).id, ())
    if clearance.classification not in levels:
        raise UsageError(f"{clearance.policy} has no level {clearance.classification!r}", f"it has {', '.join(levels)}")
    known = draft.policy.compartments
    for compartment in clearance.compartments:
        if compartment not in known:
            raise UsageError(f"{compartment} is no compartment of the exchange", f"it has {', '.join(known) or 'none'}")


# Feeds and nodes


def put_feed(draft: Directory, feed: Feed) -> Directory:
    """A feed, new or in the place of the one before. Raises UsageError for what the draft has not."""
    _check_level(draft, feed.ceiling)
    for member in feed.members:
        find_agency(draft, member)
    return draft.replace(feeds=_put(draft.feeds, feed, "name"))


def add_feed(draft: Directory, feed: Feed) -> Directory:
    """One that is not there yet: never another's members by mistake. Raises UsageError."""
    if any(known.name == feed.name for known in draft.feeds):
        raise UsageError(f"{feed.name} is in the draft already", f"khunjerab directory set feed {feed.name} …")
    return put_feed(draft, feed)


def remove_feed(draft: Directory, name: str) -> Directory:
    """A feed."""
    _find(draft.feeds, name, "name", "feed")
    return draft.replace(feeds=_without(draft.feeds, name, "name"))


def put_node(draft: Directory, node: Node) -> Directory:
    """A node by its card, new or in the place of the one before."""
    return draft.replace(nodes=_put(draft.nodes, node, "origin"))


def remove_node(draft: Directory, origin: str) -> Directory:
    """A node; its agencies are to be moved first."""
    _find(draft.nodes, origin, "origin", "node")
    left = [agency.id for agency in draft.agencies if agency.home == origin]
    if left:
        raise UsageError(f"{left[0]} is at home there", f"khunjerab directory set agency {left[0]} --home ORIGIN")
    return draft.replace(nodes=_without(draft.nodes, origin, "origin"))


# Finding


def find_nation(draft: Directory, id_: str) -> Nation:
    """Raises UsageError."""
    return _find(draft.nations, id_, "id", "nation")


def find_agency(draft: Directory, id_: str) -> Agency:
    """Raises UsageError."""
    return _find(draft.agencies, id_, "id", "agency")


def find_feed(draft: Directory, name: str) -> Feed:
    """Raises UsageError."""
    return _find(draft.feeds, name, "name", "feed")


def _find(parts: tuple[T, ...], value: str, key: str, what: str) -> T:
    for part in parts:
        if getattr(part, key) == value:
            return part
    listed = ", ".join(getattr(part, key) for part in parts) or "none"
    raise UsageError(f"there is no {what} {value!r} in the draft", f"it has {listed}")


def _put(parts: tuple[T, ...], new: T, key: str) -> tuple[T, ...]:
    """In the place of the part with the same key, else at the end: a diff shows just what changed."""
    if any(getattr(part, key) == getattr(new, key) for part in parts):
        return tuple(new if getattr(part, key) == getattr(new, key) else part for part in parts)
    longer = list(parts)
    longer.append(new)
    return tuple(longer)


def _without(parts: tuple[T, ...], value: str, key: str) -> tuple[T, ...]:
    return tuple(part for part in parts if getattr(part, key) != value)
