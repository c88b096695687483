"""The directory (SPEC §10): the signed list of nations, agencies, keys, clearances, feeds, nodes and policy.

JSON that two ministries can read and diff at the signing table. This module gives it its form and checks what one
version says about itself; who may sign the next one is the judge's business.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
from dataclasses import dataclass
from typing import Any

from protocol import limits, names
from protocol.errors import Malformed
from protocol.label import Clearance, Label, why_denied
from protocol.note import VerifierKey
from protocol.policy import Policy
from protocol.signing import ED25519_KEY_BYTES, MLDSA65_KEY_BYTES, PublicKey
from protocol.strictjson import Json, Members, dumps, loads, unhex

TYPE = "khunjerab.directory.v1"
ROLES = ("audit", "publish", "subscribe")
SHA256_BYTES = 32
DAY_MS = 86_400_000


def format_time(time_ms: int) -> str:
    """RFC 3339 in UTC, whole seconds, ``Z``."""
    return datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(value: str) -> int:
    """Milliseconds of the one form that ``format_time`` prints."""
    try:
        moment = datetime.datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise Malformed(f"{value[:40]!r} is not a time such as 2026-11-24T08:00:00Z") from None
    time_ms = int(moment.timestamp()) * 1000
    if time_ms < 0 or format_time(time_ms) != value:
        raise Malformed(f"{value[:40]!r} is not a time such as 2026-11-24T08:00:00Z")
    return time_ms


def _key_to_json(key: PublicKey) -> Json:
    return {
        "ed25519": base64.b64encode(key.ed25519).decode(),
        "mldsa65": base64.b64encode(key.mldsa65).decode(),
    }


def _key_from_json(value: Any) -> PublicKey:
    m = Members(value, "key")
    key = PublicKey(m.base64("ed25519", ED25519_KEY_BYTES), m.base64("mldsa65", MLDSA65_KEY_BYTES))
    m.end()
    return key


@dataclass(frozen=True, slots=True)
class Authority:
    """One of a nation's keys that sign the directory, by the name of its custodian."""

    name: str
    key: PublicKey

    def to_json(self) -> Json:
        """SPEC §10.3."""
        return {"name": self.name, "key": _key_to_json(self.key)}

    @classmethod
    def from_json(cls, value: Any) -> Authority:
        """SPEC §10.3."""
        m = Members(value, "authority key")
        authority = cls(m.matching("name", names.agency), _key_from_json(m.get("key", dict)))
        m.end()
        return authority


@dataclass(frozen=True, slots=True)
class Nation:
    """A nation, its authority keys and how many of them must sign."""

    id: str
    code: str  # ISO 3166-1 alpha-3, as labels print it
    name: str
    threshold: int
    authorities: tuple[Authority, ...]

    def to_json(self) -> Json:
        """SPEC §10.3."""
        return {
            "id": self.id,
            "code": self.code,
            "name": self.name,
            "threshold": self.threshold,
            "authorities": [authority.to_json() for authority in self.authorities],
        }

    @classmethod
    def from_json(cls, value: Any) -> Nation:
        """SPEC §10.3."""
        m = Members(value, "nation")
        nation = cls(
            m.matching("id", names.nation),
            m.text("code", 3),
            m.text("name", limits.NAME_CHARS_MAX),
            m.uint("threshold", 1, limits.AUTHORITY_KEYS_PER_NATION_MAX),
            m.array("authorities", limits.AUTHORITY_KEYS_PER_NATION_MAX, Authority.from_json),
        )
        m.end()
        return nation


@dataclass(frozen=True, slots=True)
class Agency:
    """The party that sends and receives; ``home`` is the origin of the ledger that orders its acts."""

    id: str
    nation: str
    name: str
    home: str
    identity: PublicKey
    clearance: Clearance
    roles: tuple[str, ...]

    def to_json(self) -> Json:
        """SPEC §10.4."""
        return {
            "id": self.id,
            "nation": self.nation,
            "name": self.name,
            "home": self.home,
            "identity": _key_to_json(self.identity),
            "clearance": {
                "classification": self.clearance.classification,
                "compartments": list(self.clearance.compartments),
            },
            "roles": list(self.roles),
        }

    @classmethod
    def from_json(cls, value: Any) -> Agency:
        """SPEC §10.4."""
        m = Members(value, "agency")
        id_, nation = m.matching("id", names.agency), m.matching("nation", names.nation)
        agency = cls(
            id_,
            nation,
            m.text("name", limits.NAME_CHARS_MAX),
            m.matching("home", names.origin),
            _key_from_json(m.get("identity", dict)),
            _clearance_from_json(m.get("clearance", dict), nation),
            m.array("roles", len(ROLES), lambda role: _one_of(role, ROLES)),
        )
        m.end()
        return agency


def _clearance_from_json(value: Any, policy: str) -> Clearance:
    m = Members(value, "clearance")
    clearance = Clearance(
        policy,
        m.text("classification", limits.NAME_CHARS_MAX),
        m.array("compartments", limits.COMPARTMENTS_MAX, lambda name: names.compartment(_text(name))),
    )
    m.end()
    return clearance


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Malformed("an array holds something that is not text")
    return value


def _one_of(value: Any, options: tuple[str, ...]) -> str:
    if value not in options:
        raise Malformed(f"{str(value)[:40]!r} is not one of {', '.join(options)}")
    return str(value)


@dataclass(frozen=True, slots=True)
class Feed:
    """A named channel: who is in it, how high its labels go, whether bulletins may stay inside one nation."""

    name: str
    title: str
    members: tuple[str, ...]
    ceiling: Clearance
    domestic: bool

    def to_json(self) -> Json:
        """SPEC §10.5."""
        return {
            "name": self.name,
            "title": self.title,
            "members": list(self.members),
            "ceiling": {
                "policy": self.ceiling.policy,
                "classification": self.ceiling.classification,
                "compartments": list(self.ceiling.compartments),
            },
            "domestic": self.domestic,
        }

    @classmethod
    def from_json(cls, value: Any) -> Feed:
        """SPEC §10.5."""
        m = Members(value, "feed")
        name, title = m.matching("name", names.feed), m.text("title", limits.TITLE_CHARS_MAX)
        members = m.array("members", limits.AGENCIES_MAX, lambda agency: names.agency(_text(agency)))
        c = Members(m.get("ceiling", dict), "ceiling")
        ceiling = Clearance(
            c.matching("policy", names.nation),
            c.text("classification", limits.NAME_CHARS_MAX),
            c.array("compartments", limits.COMPARTMENTS_MAX, lambda name: names.compartment(_text(name))),
        )
        c.end()
        feed = cls(name, title, members, ceiling, m.get("domestic", bool))
        m.end()
        return feed


@dataclass(frozen=True, slots=True)
class Node:
    """A broker: its ledger's origin, where it answers, and the keys that sign for it."""

    origin: str
    nation: str
    url: str
    log: tuple[VerifierKey, ...]  # signs checkpoints: Ed25519 and ML-DSA-44
    cosigner: tuple[VerifierKey, ...]  # cosigns its peers'
    receipt: PublicKey  # signs receipts and tree heads, and logs in as a mirror
    tls: tuple[bytes, ...]  # SHA-256 of its certificates

    def to_json(self) -> Json:
        """SPEC §10.6; a node's card has the same form."""
        return {
            "origin": self.origin,
            "nation": self.nation,
            "url": self.url,
            "log": [key.encode() for key in self.log],
            "cosigner": [key.encode() for key in self.cosigner],
            "receipt": _key_to_json(self.receipt),
            "tls": [digest.hex() for digest in self.tls],
        }

    @classmethod
    def from_json(cls, value: Any) -> Node:
        """SPEC §10.6."""
        m = Members(value, "node")
        node = cls(
            m.matching("origin", names.origin),
            m.matching("nation", names.nation),
            m.text("url", limits.ORIGIN_CHARS_MAX),
            m.array("log", 2, lambda key: VerifierKey.parse(_text(key)), at_least=1),
            m.array("cosigner", 2, lambda key: VerifierKey.parse(_text(key))),
            _key_from_json(m.get("receipt", dict)),
            m.array(
                "tls", limits.TLS_CERTIFICATES_PER_NODE_MAX, lambda d: unhex(_text(d), SHA256_BYTES, "tls hash")
            ),
        )
        m.end()
        if any(key.name != node.origin for key in node.log):
            raise Malformed(f"node {node.origin}: a log key's name is not the origin")
        return node


@dataclass(frozen=True)
class Directory:
    """One version, parsed and consistent in itself. ``bytes`` are what was signed."""

    exchange: bytes | None  # SHA-256 of version 1; None in version 1 itself
    version: int
    previous: bytes
    issued: int
    expires: int
    nations: tuple[Nation, ...]
    agencies: tuple[Agency, ...]
    feeds: tuple[Feed, ...]
    nodes: tuple[Node, ...]
    policy: Policy

    def encode(self) -> bytes:
        """The JSON bytes."""
        return dumps(
            {
                "type": TYPE,
                "exchange": self.exchange.hex() if self.exchange else "",
                "version": self.version,
                "previous": self.previous.hex(),
                "issued": format_time(self.issued),
                "expires": format_time(self.expires),
                "nations": [nation.to_json() for nation in self.nations],
                "agencies": [agency.to_json() for agency in self.agencies],
                "feeds": [feed.to_json() for feed in self.feeds],
                "nodes": [node.to_json() for node in self.nodes],
                "policy": self.policy.to_json(),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Directory:
        """Raises Malformed or TooLarge; what it returns is consistent in itself (SPEC §10.2)."""
        m = Members(loads(data, limits.DIRECTORY_BYTES_MAX), "directory")
        m.matching("type", lambda value: _one_of(value, (TYPE,)))
        exchange = m.get("exchange", str)
        directory = cls(
            exchange=unhex(exchange, SHA256_BYTES, "directory: 'exchange'") if exchange else None,
            version=m.uint("version", 1, 2**31),
            previous=m.hex("previous", SHA256_BYTES),
            issued=m.matching("issued", parse_time),
            expires=m.matching("expires", parse_time),
            nations=m.array("nations", limits.NATIONS_MAX, Nation.from_json, at_least=1),
            agencies=m.array("agencies", limits.AGENCIES_MAX, Agency.from_json),
            feeds=m.array("feeds", limits.FEEDS_MAX, Feed.from_json),
            nodes=m.array("nodes", limits.NODES_MAX, Node.from_json),
            policy=Policy.from_json(m.get("policy", dict)),
        )
        m.end()
        directory.check()
        return directory

    def check(self) -> None:
        """Raise Malformed unless the version is consistent in itself (SPEC §10.2, clause by clause)."""
        first = self.version == 1
        if first != (self.exchange is None) or first != (self.previous == bytes(SHA256_BYTES)):
            raise Malformed("directory: only version 1 has an empty exchange and no previous")
        if not self.issued < self.expires <= self.issued + limits.DIRECTORY_LIFE_DAYS_MAX * DAY_MS:
            raise Malformed(f"directory: it expires within {limits.DIRECTORY_LIFE_DAYS_MAX} days of its issue")
        _distinct("nation", [nation.id for nation in self.nations])
        _distinct("agency", [agency.id for agency in self.agencies])
        _distinct("feed", [feed.name for feed in self.feeds])
        _distinct("node", [node.origin for node in self.nodes])
        keys = [a.key for nation in self.nations for a in nation.authorities]
        keys += [agency.identity for agency in self.agencies] + [node.receipt for node in self.nodes]
        _distinct("key", [key.key_id.hex() for key in keys])
        _distinct("key half", [half.hex() for key in keys for half in (key.ed25519, key.mldsa65)])
        for nation in self.nations:
            if nation.threshold > len(nation.authorities):
                raise Malformed(f"nation {nation.id}: threshold {nation.threshold} of {len(nation.authorities)} keys")
        for agency in self.agencies:
            self._known(agency.nation, agency.home, f"agency {agency.id}")
            self._check_level(agency.clearance, f"agency {agency.id}")
        for node in self.nodes:
            self._known(node.nation, node.origin, f"node {node.origin}")
        for feed in self.feeds:
            strangers = [member for member in feed.members if member not in self.by_agency]
            if strangers:
                raise Malformed(f"feed {feed.name}: {strangers[0]} is no agency")
            self._check_level(feed.ceiling, f"feed {feed.name}")
        self.policy.check([nation.id for nation in self.nations])

    def _known(self, nation: str, origin: str, what: str) -> None:
        if nation not in self.by_nation or origin not in self.by_origin:
            raise Malformed(f"{what}: its nation or its home is not in this directory")

    def _check_level(self, clearance: Clearance, what: str) -> None:
        if self.policy.equivalence.rank(clearance.policy, clearance.classification) is None:
            raise Malformed(f"{what}: {clearance.policy} has no level {clearance.classification!r}")
        unknown = set(clearance.compartments) - set(self.policy.compartments)
        if unknown:
            raise Malformed(f"{what}: {sorted(unknown)[0]} is no compartment of the exchange")

    @functools.cached_property
    def hash(self) -> bytes:
        """SHA-256 of the JSON."""
        return hashlib.sha256(self.encode()).digest()

    @property
    def exchange_hash(self) -> bytes:
        """What the exchange is known by: the SHA-256 of version 1."""
        return self.exchange or self.hash

    @functools.cached_property
    def by_agency(self) -> dict[str, Agency]:
        """Agencies by id."""
        return {agency.id: agency for agency in self.agencies}

    @functools.cached_property
    def by_nation(self) -> dict[str, Nation]:
        """Nations by id."""
        return {nation.id: nation for nation in self.nations}

    @functools.cached_property
    def by_feed(self) -> dict[str, Feed]:
        """Feeds by name."""
        return {feed.name: feed for feed in self.feeds}

    @functools.cached_property
    def by_origin(self) -> dict[str, Node]:
        """Nodes by origin."""
        return {node.origin: node for node in self.nodes}

    @functools.cached_property
    def alpha3(self) -> dict[str, str]:
        """The three-letter code of each nation."""
        return {nation.id: nation.code for nation in self.nations}

    def why_denied(self, label: Label, agency: Agency) -> str | None:
        """Why ``agency`` may not read under ``label``; None if it may (SPEC §6.2)."""
        return why_denied(label, agency.clearance, agency.nation, self.policy.equivalence)


def _distinct(what: str, values: list[str]) -> None:
    seen = set[str]()
    for value in values:
        if value in seen:
            raise Malformed(f"directory: {what} {value[:40]} stands in it twice")
        seen.add(value)
