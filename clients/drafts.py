"""A bulletin before it is sealed: what the officer decided, and nothing that keys or directory decide."""

from __future__ import annotations

from protocol import canonical, limits, names
from protocol.canonical import Fields
from protocol.content import Content
from protocol.header import PRECEDENCES, STATUSES, Relation
from protocol.label import Label
from protocol.record import Record

_DRAFT_BYTES_MAX = limits.CONTENT_BYTES_MAX + limits.ENTRY_BYTES_MAX


class Draft(Record):
    """Kept sealed in the outbox under its id until it is sent."""

    id: bytes
    recipients: tuple[str, ...]
    feed: str
    label: Label
    status: str
    precedence: str
    created: int
    expires: int
    relations: tuple[Relation, ...]
    content: Content

    def encode(self) -> bytes:
        """For the outbox."""
        return canonical.encode(
            [
                self.id,
                list(self.recipients),
                self.feed,
                self.label.to_wire(),
                self.status,
                self.precedence,
                self.created,
                self.expires,
                [relation.to_wire() for relation in self.relations],
                self.content.encode(),
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Draft:
        """From the outbox. Raises Malformed."""
        f = Fields(canonical.decode(data, bytes_max=_DRAFT_BYTES_MAX), "draft", 10)
        return cls(
            id=names.bulletin_id(f.exactly("id", names.ID_BYTES)),
            recipients=f.sorted_names("recipients", limits.RECIPIENTS_MAX, names.agency),
            feed=f.matching("feed", names.feed),
            label=f.value(Label.from_wire),
            status=f.choice("status", STATUSES),
            precedence=f.choice("precedence", PRECEDENCES),
            created=f.uint("created"),
            expires=f.uint("expires"),
            relations=f.array("relations", limits.RELATIONS_MAX, Relation.from_wire),
            content=Content.decode(f.bytes("content", limits.CONTENT_BYTES_MAX)),
        )
