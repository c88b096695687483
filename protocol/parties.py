"""Who stands in a directory (SPEC §10.3 to 10.6): nations with their authority keys, agencies, feeds, nodes."""

from __future__ import annotations

import base64
from typing import Any

from protocol import limits, names
from protocol.errors import Malformed
from protocol.label import Clearance
from protocol.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519, VerifierKey
from protocol.record import Record
from protocol.signing import ED25519_KEY_BYTES, MLDSA65_KEY_BYTES, PublicKey
from protocol.strictjson import Json, Members, unhex

ROLES = ("audit", "publish", "subscribe")
SHA256_BYTES = 32


def key_to_json(key: PublicKey) -> Json:
    """Both halves in base64."""
    return {
        "ed25519": base64.b64encode(key.ed25519).decode(),
        "mldsa65": base64.b64encode(key.mldsa65).decode(),
    }


def key_from_json(value: Any) -> PublicKey:
    """Both halves; that they are sound is keys/signing.py's to say."""
    m = Members(value, "key")
    key = PublicKey(m.base64("ed25519", ED25519_KEY_BYTES), m.base64("mldsa65", MLDSA65_KEY_BYTES))
    m.end()
    return key


class Authority(Record):
    """One of a nation's keys that sign the directory, by the name of its custodian."""

    name: str
    key: PublicKey

    def to_json(self) -> Json:
        """SPEC §10.3."""
        return {"name": self.name, "key": key_to_json(self.key)}

    @classmethod
    def from_json(cls, value: Any) -> Authority:
        """SPEC §10.3."""
        m = Members(value, "authority key")
        authority = cls(m.matching("name", names.agency), key_from_json(m.get("key", dict)))
        m.end()
        return authority


class Nation(Record):
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
            m.matching("code", names.alpha3),
            m.text("name", limits.NAME_CHARS_MAX),
            m.uint("threshold", 1, limits.AUTHORITY_KEYS_PER_NATION_MAX),
            m.array("authorities", limits.AUTHORITY_KEYS_PER_NATION_MAX, Authority.from_json),
        )
        m.end()
        return nation


class Agency(Record):
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
            "identity": key_to_json(self.identity),
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
            key_from_json(m.get("identity", dict)),
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


class Feed(Record):
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


class Node(Record):
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
            "receipt": key_to_json(self.receipt),
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
            key_from_json(m.get("receipt", dict)),
            m.array("tls", limits.TLS_CERTIFICATES_PER_NODE_MAX, lambda d: unhex(_text(d), SHA256_BYTES, "tls hash")),
        )
        m.end()
        if any(key.name != node.origin or key.type not in {ED25519, COSIGNATURE_MLDSA44} for key in node.log):
            raise Malformed(f"node {node.origin}: a log key's name is not the origin, or its type not 01 or 06")
        if any(key.type not in {COSIGNATURE_ED25519, COSIGNATURE_MLDSA44} for key in node.cosigner):
            raise Malformed(f"node {node.origin}: a cosigner key's type is not 04 or 06")
        return node
