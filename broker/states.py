"""How far a bulletin came: logged, witnessed, and for each recipient received, read, acted, due, late (SPEC §11.5).

It may stand in this node's ledger or in a mirror, and so may the words about it: an agency says them at its home.
"""

from __future__ import annotations

import contextlib
from typing import Any

from broker.deliveries import Shown
from broker.node import Node
from broker.sessions import Session
from keys.witnessing import policy_of, witnessed
from protocol import names
from protocol.entry import Entry
from protocol.errors import ProtocolError
from protocol.header import Header
from protocol.problem import Problem
from protocol.statements import ACKNOWLEDGED, Bulletin


def state_of(node: Node, session: Session, sender: str, number: bytes) -> dict[str, Any]:
    """The state as JSON. Raises Problem where there is no such bulletin, or it does not concern the caller."""
    shown, index, entry = _find(node, sender, number)
    header = Bulletin.decode(entry.statement).header
    speaker = session.speaker
    everyone = speaker.audits or (speaker.kind == "seat" and speaker.agency == header.sender)
    if not everyone and not (speaker.kind == "seat" and header.is_sent_to(speaker.agency or "")):
        raise Problem("not-found", "there is no such bulletin for you")
    due = entry.time + node.ledger.exchange.in_force.policy.deadline_ms(header.precedence)
    words = _words(node, header, index, entry.leaf())
    recipients = []
    for recipient in header.recipients:
        if not everyone and recipient.agency != speaker.agency:
            continue
        times = words.get(recipient.agency, {})
        reached = [state for state in ACKNOWLEDGED if state in times]
        recipients.append(
            {
                "agency": recipient.agency,
                "state": reached[-1] if reached else "pending",
                **{state: times.get(state) for state in ACKNOWLEDGED},
                "due": due,
                "late": (min(times.values()) if times else node.clock()) > due,
            }
        )
    return {
        "id": names.format_id(sender, number),
        "origin": header.origin,
        "index": index,
        "status": header.status,
        "logged": entry.time,
        "witnessed_by": _witnesses(node, shown, index),
        "recipients": recipients,
    }


def _find(node: Node, sender: str, number: bytes) -> tuple[Shown, int, Entry]:
    """Where a bulletin stands: the own ledger first."""
    for shown in (node.ledger, *node.mirrors):
        first = shown.storage.first(sender, number)
        entry = shown.storage.entry(first.index) if first and first.index < shown.head.size else None
        if first is not None and entry is not None:
            return shown, first.index, entry
    raise Problem("not-found", "there is no such bulletin for you")


def _words(node: Node, header: Header, index: int, leaf: bytes) -> dict[str, dict[str, int]]:
    """What each agency said of a bulletin to its sender, in whatever ledger. Nothing else counts (SPEC §11.3.5)."""
    words: dict[str, dict[str, int]] = {}
    for shown in (node.ledger, *node.mirrors):
        for line in shown.storage.acknowledged(header.origin, index):
            if (line.leaf, line.addressee) == (leaf, header.sender):
                words.setdefault(line.agency, {}).setdefault(line.state, line.time)
    return words


def _witnesses(node: Node, shown: Shown, index: int) -> list[str]:
    """Who cosigned a checkpoint that covers the entry; of a mirror this node itself, and whom its peer shows."""
    if shown.origin == node.ledger.origin:
        return node.asking.witnessed_by(index) if node.asking else []
    published, directory, found = shown.published, node.ledger.exchange.in_force, set[str]()
    if node.witness is not None and node.witness.store.kept(shown.origin).size > index:
        found.add(node.ledger.origin)
    if published is not None and published.size > index:
        with contextlib.suppress(ProtocolError):  # of a node that the newest directory lists no more
            found |= set(witnessed(published.note, shown.origin, directory, policy_of(directory, shown.origin)).by)
    return sorted(found)
