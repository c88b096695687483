"""How far a bulletin came: logged, witnessed, and for each recipient received, read, acted, due, late (SPEC §11.5)."""

from __future__ import annotations

from typing import Any

from broker.node import Node
from broker.sessions import Session
from protocol import names
from protocol.problem import Problem
from protocol.statements import ACKNOWLEDGED, Bulletin


def state_of(node: Node, session: Session, sender: str, number: bytes) -> dict[str, Any]:
    """The state as JSON. Raises Problem where there is no such bulletin, or it does not concern the caller."""
    first = node.storage.first(sender, number)
    entry = node.storage.entry(first.index) if first else None
    if first is None or entry is None:
        raise Problem("not-found", "there is no such bulletin for you")
    header = Bulletin.decode(entry.statement).header
    speaker = session.speaker
    everyone = speaker.audits or (speaker.kind == "seat" and speaker.agency == header.sender)
    if not everyone and not (speaker.kind == "seat" and header.is_sent_to(speaker.agency or "")):
        raise Problem("not-found", "there is no such bulletin for you")
    due = entry.time + node.ledger.exchange.in_force.policy.deadline_ms(header.precedence)
    lines = node.storage.acknowledged(header.origin, first.index)
    recipients = []
    for recipient in header.recipients:
        if not everyone and recipient.agency != speaker.agency:
            continue
        times = {line.state: line.time for line in lines if line.agency == recipient.agency}
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
        "index": first.index,
        "status": header.status,
        "logged": entry.time,
        "witnessed_by": node.asking.witnessed_by(first.index) if node.asking else [],
        "recipients": recipients,
    }
