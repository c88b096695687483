"""What changed between two versions of a directory, as lines that can be read out at the signing table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from protocol.directory import Directory
from protocol.label import Clearance
from protocol.note import VerifierKey
from protocol.parties import Agency, Feed, Nation, Node
from protocol.policy import Policy
from protocol.signing import PublicKey
from protocol.times import format_time

Facts = dict[str, str]  # what a part says, in words, by name


def differences(before: Directory | None, after: Directory) -> list[str]:
    """``+`` what came, ``-`` what went, ``~`` what changed and how; everything is new where there is no ``before``."""
    lines = list(_changed(_head(before) if before else None, _head(after), "directory"))
    old = _parts(before) if before else {}
    new = _parts(after)
    for what, facts in new.items():
        lines += _changed(old.get(what), facts, what)
    lines += [f"- {what}" for what in old if what not in new]
    return lines


def _changed(old: Facts | None, new: Facts, what: str) -> Iterator[str]:
    if old is None:
        told = "; ".join(f"{name} {value}" for name, value in new.items() if value)
        yield f"+ {what}: {told}"
        return
    for name, value in new.items():
        if old.get(name) != value:
            yield f"~ {what}: {name} {old.get(name) or 'none'} -> {value or 'none'}"
    for name in old.keys() - new.keys():
        yield f"~ {what}: {name} {old[name]} -> none"


def _head(directory: Directory) -> Facts:
    return {
        "version": str(directory.version),
        "issued": format_time(directory.issued),
        "expires": format_time(directory.expires),
    }


def _parts(directory: Directory) -> dict[str, Facts]:
    found = {f"nation {nation.id}": _nation(nation) for nation in directory.nations}
    found |= {f"agency {agency.id}": _agency(agency) for agency in directory.agencies}
    found |= {f"feed {feed.name}": _feed(feed) for feed in directory.feeds}
    found |= {f"node {node.origin}": _node(node) for node in directory.nodes}
    return found | {"policy": _policy(directory.policy)}


def _nation(nation: Nation) -> Facts:
    facts = {"code": nation.code, "name": nation.name, "threshold": str(nation.threshold)}
    return facts | {f"authority {authority.name}": _key(authority.key) for authority in nation.authorities}


def _agency(agency: Agency) -> Facts:
    return {
        "nation": agency.nation,
        "name": agency.name,
        "home": agency.home,
        "identity": _key(agency.identity),
        "clearance": _clearance(agency.clearance),
        "roles": _list(agency.roles),
    }


def _feed(feed: Feed) -> Facts:
    return {
        "title": feed.title,
        "members": _list(feed.members),
        "ceiling": _clearance(feed.ceiling),
        "domestic bulletins": "allowed" if feed.domestic else "not allowed",
    }


def _node(node: Node) -> Facts:
    return {
        "nation": node.nation,
        "url": node.url,
        "log keys": _list([_verifier(key) for key in node.log]),
        "cosigner keys": _list([_verifier(key) for key in node.cosigner]),
        "receipt": _key(node.receipt),
        "TLS": _list([digest.hex() for digest in node.tls]),
    }


def _policy(policy: Policy) -> Facts:
    facts: Facts = {}
    for name, value in policy.to_json().items():
        if name == "levels":
            facts |= {f"levels of {nation}": " < ".join(levels) for nation, levels in value.items()}
        elif name == "maps":
            facts |= {f"map {one['from']} to {one['to']}": _pairs(one["values"]) for one in value}
        else:
            facts[name] = _list(value) if isinstance(value, list) else _pairs(value)
    return facts


def _pairs(value: object) -> str:
    return ", ".join(f"{k} = {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _list(values: Sequence[str]) -> str:
    return ", ".join(values)


def _clearance(clearance: Clearance) -> str:
    return "//".join([f"{clearance.policy}:{clearance.classification}", *clearance.compartments])


def _key(key: PublicKey) -> str:
    return f"key {key.key_id.hex()}"


def _verifier(key: VerifierKey) -> str:
    """By a hash of all of it: its own key id has 32 bits, and an ML-DSA key is a screenful."""
    return f"{key.name}+{key.key_id.hex()} SHA-256 {hashlib.sha256(key.encode().encode()).hexdigest()}"
