"""The directory (SPEC §10): the signed list of nations, agencies, keys, clearances, feeds, nodes and policy.

JSON that two ministries can read and diff at the signing table. This module checks what one version says about itself;
who may sign the next one is the judge's business.
"""

from __future__ import annotations

import functools
import hashlib

from protocol import limits
from protocol.errors import Malformed
from protocol.label import Clearance, Label, why_denied
from protocol.parties import SHA256_BYTES, Agency, Feed, Nation, Node
from protocol.policy import Policy
from protocol.record import Record
from protocol.strictjson import Members, dumps, loads, unhex
from protocol.times import DAY_MS, format_time, parse_time

TYPE = "khunjerab.directory.v1"


class Directory(Record, dict=True):
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
        directory = cls.draft(data)
        directory.check()
        return directory

    @classmethod
    def draft(cls, data: bytes) -> Directory:
        """A version on its way to the signing table: its form holds, ``check`` is still to come."""
        m = Members(loads(data, limits.DIRECTORY_BYTES_MAX), "directory")
        m.choice("type", (TYPE,))
        exchange = m.get("exchange", str)
        directory = cls(
            exchange=unhex(exchange, SHA256_BYTES, "directory: 'exchange'") if exchange else None,
            version=m.uint("version", 1, 2**31),
            previous=m.hex("previous", SHA256_BYTES),
            issued=m.matching("issued", parse_time),
            expires=m.matching("expires", parse_time),
            nations=m.array("nations", limits.NATIONS_MAX, Nation.from_json),
            agencies=m.array("agencies", limits.AGENCIES_MAX, Agency.from_json),
            feeds=m.array("feeds", limits.FEEDS_MAX, Feed.from_json),
            nodes=m.array("nodes", limits.NODES_MAX, Node.from_json),
            policy=Policy.from_json(m.get("policy", dict)),
        )
        m.end()
        return directory

    def check(self) -> None:
        """Raise Malformed unless the version is consistent in itself (SPEC §10.2, clause by clause)."""
        first = self.version == 1
        if first != (self.exchange is None) or first != (self.previous == bytes(SHA256_BYTES)):
            raise Malformed("directory: only version 1 has an empty exchange and no previous")
        if not self.issued < self.expires <= self.issued + limits.DIRECTORY_LIFE_DAYS_MAX * DAY_MS:
            raise Malformed(f"directory: it expires within {limits.DIRECTORY_LIFE_DAYS_MAX} days of its issue")
        if not self.nations:
            raise Malformed("directory: it has no nation")
        _distinct("nation", [nation.id for nation in self.nations])
        _distinct("nation code", [nation.code for nation in self.nations])
        _distinct("agency", [agency.id for agency in self.agencies])
        _distinct("feed", [feed.name for feed in self.feeds])
        _distinct("node", [node.origin for node in self.nodes])
        keys = [a.key for nation in self.nations for a in nation.authorities]
        keys += [agency.identity for agency in self.agencies] + [node.receipt for node in self.nodes]
        _distinct("key", [key.key_id.hex() for key in keys])
        halves = [half for key in keys for half in (key.ed25519, key.mldsa65)]
        halves += [key.public for node in self.nodes for key in (*node.log, *node.cosigner)]
        _distinct("key half", [half.hex() for half in halves])
        for nation in self.nations:
            if nation.threshold > len(nation.authorities):
                raise Malformed(f"nation {nation.id}: threshold {nation.threshold} of {len(nation.authorities)} keys")
            _distinct("authority", [authority.name for authority in nation.authorities])
        for agency in self.agencies:
            _distinct("role", list(agency.roles))
            self._known(agency.nation, agency.home, f"agency {agency.id}")
            self._check_level(agency.clearance, f"agency {agency.id}")
        for node in self.nodes:
            self._known(node.nation, node.origin, f"node {node.origin}")
        for feed in self.feeds:
            _distinct("member", list(feed.members))
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
        _distinct("compartment", list(clearance.compartments))
        unknown = set(clearance.compartments) - set(self.policy.compartments)
        if unknown:
            raise Malformed(f"{what}: {min(unknown)} is no compartment of the exchange")

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
