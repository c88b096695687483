"""The header of a bulletin (SPEC §7.1): what nodes see and judge by, and what every wrap and body is bound to."""

from __future__ import annotations

import functools
from typing import Annotated

import msgspec

from protocol import limits, names
from protocol.canonical import Hash, Time, Uint, check_choice, check_count
from protocol.errors import Malformed
from protocol.label import Label
from protocol.record import WireRecord

STATUSES = ("actual", "exercise", "test")  # CAP 1.2
PRECEDENCES = ("routine", "priority", "immediate", "flash")  # ACP 121, lowest first
ENDINGS = ("supersedes", "cancels")  # what only the sender of a bulletin does to it
RELATIONS = (*ENDINGS, "answers", "replies")
SUITES = (1, 2)

_Id = Annotated[bytes, msgspec.Meta(min_length=names.ID_BYTES, max_length=names.ID_BYTES)]


class Recipient(WireRecord):
    """[agency, bundle]: an agency and the key bundle that its wraps were sealed to."""

    agency: str
    bundle: Hash  # of the bundle's statement


class Relation(WireRecord):
    """[kind, origin, index, leaf]: what this bulletin does to another, named by where that one stands."""

    kind: str
    origin: str
    index: Uint
    leaf: Hash

    def check(self) -> None:
        """SPEC §7.1.3."""
        check_choice(self.kind, "relation: kind", RELATIONS)
        names.origin(self.origin)


class Header(WireRecord):
    """SPEC §7.1, in wire order. Times are milliseconds since 1970, UTC."""

    suite: Uint
    exchange: Hash  # of the first directory
    origin: str
    directory_version: Uint
    directory_hash: Hash
    id: _Id
    sender: str
    key_id: Hash  # of the seat's signing key
    own_bundle: Hash  # the sender's own agency reads what it sent
    recipients: tuple[Recipient, ...]  # sorted by agency, never the sender
    feed: str
    label: Label
    status: str
    precedence: str
    created: Time
    expires: Time
    relations: tuple[Relation, ...] = ()

    def check(self) -> None:
        """SPEC §7.1.2: names, label, recipients; and every relation."""
        names.bulletin_id(self.id)
        _check_lasting(self.origin, self.sender, self.recipients, self.feed, self.label, self.status, self.precedence)
        check_count(self.relations, "header: relations", limits.RELATIONS_MAX)
        for relation in self.relations:
            relation.check()

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


@functools.lru_cache(maxsize=256)
def _check_lasting(
    origin: str, sender: str, recipients: tuple[Recipient, ...], feed: str, label: Label, status: str, precedence: str
) -> None:
    """What a sender says the same again and again is checked once."""
    names.origin(origin)
    names.agency(sender)
    check_count(recipients, "header: recipients", limits.RECIPIENTS_MAX, at_least=1)
    agencies = [names.agency(recipient.agency) for recipient in recipients]
    if agencies != sorted(set(agencies)) or sender in agencies:
        raise Malformed("header: recipients are not sorted, repeat an agency, or name the sender")
    names.feed(feed)
    label.check()
    check_choice(status, "header: status", STATUSES)
    check_choice(precedence, "header: precedence", PRECEDENCES)
