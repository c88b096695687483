"""The header of a bulletin (SPEC §7.1): what nodes see and judge by, and what every wrap and body is bound to."""

from __future__ import annotations

import functools

from protocol import canonical, limits, names
from protocol.canonical import Fields, Wire
from protocol.errors import Malformed
from protocol.label import Label
from protocol.record import record

STATUSES = ("actual", "exercise", "test")  # CAP 1.2
PRECEDENCES = ("routine", "priority", "immediate", "flash")  # ACP 121, lowest first
RELATIONS = ("supersedes", "cancels", "answers", "replies")
SUITES = (1, 2)


@record
class Recipient:
    """An agency and the key bundle that its wraps were sealed to."""

    agency: str
    bundle: bytes  # SHA-256 of the bundle's statement

    def to_wire(self) -> Wire:
        """[agency, bundle]."""
        return [self.agency, self.bundle]

    @classmethod
    def from_wire(cls, value: object) -> Recipient:
        """[agency, bundle]."""
        f = Fields(value, "recipient", 2)
        return cls(f.matching("agency", names.agency), f.hash("bundle"))


@record
class Relation:
    """What this bulletin does to another, named by where that one stands."""

    kind: str
    origin: str
    index: int
    leaf: bytes

    def to_wire(self) -> Wire:
        """[kind, origin, index, leaf]."""
        return [self.kind, self.origin, self.index, self.leaf]

    @classmethod
    def from_wire(cls, value: object) -> Relation:
        """[kind, origin, index, leaf]."""
        f = Fields(value, "relation", 4)
        return cls(f.choice("kind", RELATIONS), f.matching("origin", names.origin), f.uint("index"), f.hash("leaf"))


@record
class Header:
    """SPEC §7.1, in wire order. Times are milliseconds since 1970, UTC."""

    suite: int
    exchange: bytes  # SHA-256 of the first directory
    origin: str
    directory_version: int
    directory_hash: bytes
    id: bytes
    sender: str
    key_id: bytes  # of the seat's signing key
    own_bundle: bytes  # the sender's own agency reads what it sent
    recipients: tuple[Recipient, ...]  # sorted by agency, never the sender
    feed: str
    label: Label
    status: str
    precedence: str
    created: int
    expires: int
    relations: tuple[Relation, ...] = ()

    def encode(self) -> bytes:
        """The bytes that are bound, hashed and signed."""
        return canonical.encode(
            [
                self.suite,
                self.exchange,
                self.origin,
                self.directory_version,
                self.directory_hash,
                self.id,
                self.sender,
                self.key_id,
                self.own_bundle,
                [recipient.to_wire() for recipient in self.recipients],
                self.feed,
                self.label.to_wire(),
                self.status,
                self.precedence,
                self.created,
                self.expires,
                [relation.to_wire() for relation in self.relations],
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Raises Malformed or TooLarge."""
        values = canonical.decode(data, bytes_max=limits.ENTRY_BYTES_MAX)
        if len(values) != _HEADER_FIELDS:
            raise Malformed(f"header is not an array of {_HEADER_FIELDS} fields")
        before, after = _lasting(canonical.encode(values[:5] + values[6:14]))
        own = Fields([values[5], *values[14:]], "header", 4)
        bulletin_id = names.bulletin_id(own.exactly("id", names.ID_BYTES))
        times = own.uint("created"), own.uint("expires")
        fields = (*before, bulletin_id, *after, *times)
        return cls(*fields, own.array("relations", limits.RELATIONS_MAX, Relation.from_wire))

    @property
    def addressees(self) -> tuple[Recipient, ...]:
        """Everyone it is sealed to, in the order of the wraps: the recipients, then the sender's own agency."""
        return (*self.recipients, Recipient(self.sender, self.own_bundle))

    @property
    def name(self) -> str:
        """``SENDER/UUID``."""
        return names.format_id(self.sender, self.id)

    def is_sent_to(self, agency: str) -> bool:
        """Whether ``agency`` is a recipient."""
        return any(recipient.agency == agency for recipient in self.recipients)


_HEADER_FIELDS = 17
_BeforeId = tuple[int, bytes, str, int, bytes]
_AfterId = tuple[str, bytes, bytes, tuple[Recipient, ...], str, Label, str, str]


@functools.lru_cache(maxsize=256)
def _lasting(data: bytes) -> tuple[_BeforeId, _AfterId]:
    """All of a header but id, times and relations: a sender says the same again and again, so it is read once."""
    f = Fields(canonical.decode(data, bytes_max=limits.ENTRY_BYTES_MAX), "header", 13)
    before = (
        f.uint("suite"),
        f.hash("exchange"),
        f.matching("origin", names.origin),
        f.uint("directory version"),
        f.hash("directory hash"),
    )
    after = (
        f.matching("sender", names.agency),
        f.hash("key id"),
        f.hash("own bundle"),
        f.array("recipients", limits.RECIPIENTS_MAX, Recipient.from_wire, at_least=1),
        f.matching("feed", names.feed),
        f.value(Label.from_wire),
        f.choice("status", STATUSES),
        f.choice("precedence", PRECEDENCES),
    )
    sender, recipients = after[0], after[3]
    agencies = [recipient.agency for recipient in recipients]
    if agencies != sorted(set(agencies)) or sender in agencies:
        raise Malformed("header: recipients are not sorted, repeat an agency, or name the sender")
    return before, after
