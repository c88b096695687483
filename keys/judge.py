"""The one judge (SPEC §12), which says whether a statement may stand in this ledger at this time.

Admission asks it before appending; mirror, fsck, auditor, replica and client replay the same function over what stands.
To accept a statement it must be

(1) of canonical form and bounded size;
(2) not seen before in this ledger;
(3) of a known suite, for this exchange, this ledger and its agency's home, within its times;
(4) signed by a key in force whose holder has the role;
(5) under a label that sender, feed and every recipient may bear;
(6) sealed with one wrap for each seat, to keys in force;
(7) rightly related to what stands before it;
(8) truly signed: these checks are returned as owed, so that callers can batch them.

Steps (0) and (9), session and quotas, belong to the door and never to replay. SPEC §12.2 has the table of which steps
hold for which kind; tests name the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from keys.case import NOT_SENT_TO_ME, Accepted, Case, First, Lookup, NotSentToMe, Refused, Signed
from keys.exchange import Exchange, HeldBundle
from keys.governance import judge_directory, judge_key_bundle, judge_revocation, judge_suspension
from protocol import limits
from protocol.directory import Directory
from protocol.errors import ProtocolError
from protocol.header import ENDINGS, SUITES, Header, Relation
from protocol.label import Label, why_denied
from protocol.parties import Agency
from protocol.signing import decode_signatures
from protocol.statements import (
    Acknowledgement,
    Bulletin,
    KeyBundle,
    Kind,
    Revocation,
    Suspension,
    decode,
)
from protocol.times import DAY_MS

__all__ = [
    "NOT_SENT_TO_ME",
    "Accepted",
    "First",
    "Lookup",
    "NotSentToMe",
    "Refused",
    "Signed",
    "apply",
    "judge",
    "judge_related",
    "why_not_reader",
    "why_not_recipient",
    "why_not_related",
    "why_not_sent",
]

_BEARABLE_MAX = 1024


def judge(exchange: Exchange, signed: Signed, time: int, lookup: Lookup) -> Accepted | Refused:
    """Judge one statement against the state before it; ``time`` is its admission time in milliseconds. Pure."""
    try:
        return _judge(exchange, signed, time, lookup)
    except Refused as refused:
        return refused


def _judge(exchange: Exchange, signed: Signed, time: int, lookup: Lookup) -> Accepted:
    # (1) Size and canonical form.
    try:
        statement = decode(signed.kind, signed.statement)
        signatures = decode_signatures(signed.signatures)
    except ProtocolError as error:
        raise Refused(1, error.code, error.detail) from None
    case = Case(exchange, statement, signed, signatures, time, lookup)
    return _JUDGES[signed.kind](case)


def _judge_bulletin(case: Case) -> Accepted:
    bulletin: Bulletin = case.statement
    header, exchange = bulletin.header, case.exchange
    # (2) Seen before: a bulletin is known by sender and id.
    first = case.lookup.first(header.sender, header.id)
    if first is not None:
        if first.statement_hash == case.digest:
            raise Refused(2, "seen-before", "this bulletin stands in the ledger already", first.index)
        raise Refused(2, "id-reused", f"{header.name} is another bulletin, at index {first.index}", first.index)
    # (3) Suite, exchange, origin, home, directory seen, times.
    case.refuse_other_exchange(header.exchange)
    if header.suite not in SUITES:
        raise Refused(3, "suite-unknown", f"there is no suite {header.suite}")
    agency = case.home_agency(header.sender, header.origin)
    seen = exchange.versions.get(header.directory_hash)
    if seen is None or seen.version != header.directory_version:
        raise Refused(3, "stale-directory", "no directory version with that hash is known: fetch the one in force")
    if exchange.in_force.policy.suite_for(header.label.policy, header.label.classification) > header.suite:
        raise Refused(3, "suite-too-weak", "a bulletin of this classification is signed with suite 2")
    if header.expires <= case.time:
        raise Refused(3, "expired", "it has expired")
    if header.expires > header.created + limits.EXPIRES_DAYS_MAX * DAY_MS:
        raise Refused(3, "expires-too-late", f"it may last {limits.EXPIRES_DAYS_MAX} days at most")
    case.refuse_future(header.created)
    if case.time > exchange.grace_ends():
        raise Refused(3, "directory-expired", "the directory and its grace have ended: publish the next version")
    # (4) Sender and seat in force, role held.
    key = case.seat(agency, header.key_id, "publish")
    signature = case.only_signature(header.key_id)
    # (5) Label.
    _judge_label(exchange, agency, header)
    # (6) Wraps.
    _judge_wraps(case, bulletin)
    # (7) Relations.
    for relation in header.relations:
        _judge_relation(case, header, relation)
    return case.accept([(key, signature)], header.suite)


def _judge_label(exchange: Exchange, sender: Agency, header: Header) -> None:
    """(5) Once for all bulletins of one sender, feed, label and recipients: nothing else counts here, not even time."""
    marked = header.sender, header.feed, header.label, header.recipients
    if marked in exchange.bearable:
        return
    _judge_marked(exchange, sender, header)
    if len(exchange.bearable) == _BEARABLE_MAX:
        exchange.bearable.clear()
    exchange.bearable.add(marked)


def _judge_marked(exchange: Exchange, sender: Agency, header: Header) -> None:
    """(5) The label is of the sender's own policy; sender, feed and every recipient may bear it."""
    directory, label = exchange.in_force, header.label
    if label.policy != sender.nation:
        raise Refused(5, "label-policy", f"{sender.id} labels by the policy of {sender.nation}")
    denied = why_denied(label, sender.clearance, None, directory.policy.equivalence)
    if denied:
        raise Refused(5, "sender-not-cleared", f"{sender.id} may not write under this label: {denied}")
    feed = directory.by_feed.get(header.feed)
    if feed is None or sender.id not in feed.members:
        raise Refused(5, "feed-not-joined", f"{sender.id} is no member of a feed {header.feed}")
    denied = why_denied(label, feed.ceiling, None, directory.policy.equivalence)
    if denied:
        raise Refused(5, "feed-ceiling", f"the label is above what {feed.name} carries: {denied}")
    reasons = {r.agency: why_not_recipient(exchange, header, r.agency) for r in header.recipients}
    kept_out = {name: reason for name, reason in reasons.items() if reason}
    if kept_out:
        told = ", ".join(f"{name} ({reason})" for name, reason in kept_out.items())
        raise Refused(5, "recipient-denied", f"not every recipient may read it: {told}", None, tuple(kept_out))
    abroad = any(directory.by_agency[r.agency].nation != sender.nation for r in header.recipients)
    if not abroad and not feed.domestic:
        raise Refused(5, "domestic-only", f"{feed.name} carries no bulletin without a recipient abroad")


def why_not_recipient(exchange: Exchange, header: Header, name: str) -> str | None:
    """Why step (5) keeps ``name`` from what is under ``header``, by the newest state given; None if it does not."""
    directory = exchange.in_force
    agency, feed = directory.by_agency.get(name), directory.by_feed.get(header.feed)
    if agency is None:
        return "agency-unknown"
    if exchange.is_suspended(name):
        return "agency-suspended"
    if feed is None or name not in feed.members:
        return "feed-not-joined"
    return why_not_reader(directory, header.label, agency)


def why_not_reader(directory: Directory, label: Label, agency: Agency) -> str | None:
    """Why step (5) keeps an agency from what is under ``label`` on any feed of its own; None if it does not."""
    return "role-missing" if "subscribe" not in agency.roles else directory.why_denied(label, agency)


def why_not_sent(exchange: Exchange, header: Header, name: str, time: int) -> str | None:
    """Why ``name`` cannot be sent what is under ``header``: step (5), or no bundle to seal to; None if it can."""
    reason = why_not_recipient(exchange, header, name)
    return "no-key-bundle" if reason is None and exchange.newest_bundle(name, time) is None else reason


def _judge_wraps(case: Case, bulletin: Bulletin) -> None:
    """(6) For each addressee a bundle that runs, and exactly one wrap for each of its seats not revoked, in order."""
    expected: list[bytes] = []
    for addressee in bulletin.header.addressees:
        seats, name = case.exchange.seats_named(addressee, case.time), addressee.agency
        if seats is None:
            raise Refused(6, "stale-keys", f"the bundle of {name} that it names does not run", None, (name,))
        if not seats:
            raise Refused(6, "stale-keys", f"every seat in the bundle of {name} is revoked", None, (name,))
        expected += [seat.kem.key_id for seat in seats]
    if [wrap.kem_key_id for wrap in bulletin.wraps] != expected:
        raise Refused(6, "stale-keys", "the wraps are not one for each seat in force")


def _judge_relation(case: Case, header: Header, relation: Relation) -> None:
    target = _target(case, relation.origin, relation.index, relation.leaf)
    if target is not None:
        judge_related(case.exchange, header, relation.kind, target, case.time)


def judge_related(exchange: Exchange, header: Header, kind: str, target: Header, time: int) -> None:
    """(7) Supersede and cancel one's own, of one status, to all who had it; answer what one was asked. Raises Refused.

    The judge itself sees only targets in its own ledger: a node that mirrors another one asks this of those too.
    """
    wrong = why_not_related(header, kind, target)
    if wrong is not None:
        raise Refused(7, *wrong)
    if kind in ENDINGS:
        missed = [r.agency for r in target.recipients if not header.is_sent_to(r.agency)]
        missed = [name for name in missed if why_not_sent(exchange, target, name, time) is None]
        if missed:
            detail = f"{', '.join(missed)} had the first and must have this"
            raise Refused(7, "recipient-left-out", detail, None, tuple(missed))


def why_not_related(header: Header, kind: str, target: Header) -> tuple[str, str] | None:
    """Why step (7) keeps a bulletin from what it says it does to ``target``: code and words; None if it does not.

    Whoever holds a target in another ledger asks this before it has any effect.
    """
    if kind in ENDINGS:
        if target.sender != header.sender:
            return "not-yours", f"only {target.sender} {kind} its bulletin"
        if target.status != header.status:
            return "status-differs", f"{header.status} does nothing to what is {target.status}"
    elif kind == "answers":
        if not target.is_sent_to(header.sender):
            return "not-asked", f"{header.sender} was not asked by {target.name}"
    elif header.sender != target.sender and not target.is_sent_to(header.sender):
        return "not-yours", f"{header.sender} has no part in {target.name}"
    return None


def _target(case: Case, origin: str, index: int, leaf: bytes) -> Header | None:
    """The header of the bulletin at ``index``; None where only form can be judged."""
    if origin != case.exchange.origin:
        return None
    entry = case.lookup.entry(index)
    if isinstance(entry, NotSentToMe):
        return None
    if entry is None or entry.kind is not Kind.BULLETIN or entry.leaf() != leaf:
        raise Refused(7, "target-unknown", f"no bulletin with that hash stands at index {index}", index)
    return Bulletin.decode(entry.statement).header


def _judge_acknowledgement(case: Case) -> Accepted:
    acknowledgement: Acknowledgement = case.statement
    # (2) Seen before.
    case.refuse_repeat()
    # (3) Suite, exchange, origin, home, time.
    case.refuse_other_exchange(acknowledgement.exchange)
    if acknowledgement.suite not in SUITES:
        raise Refused(3, "suite-unknown", f"there is no suite {acknowledgement.suite}")
    agency = case.home_agency(acknowledgement.sender, acknowledgement.origin)
    case.refuse_future(acknowledgement.created)
    # (4) Seat in force, role held; the agency it is for exists.
    key = case.seat(agency, acknowledgement.key_id, "subscribe")
    signature = case.only_signature(acknowledgement.key_id)
    case.agency(acknowledgement.to)
    # (7) Each line is about a bulletin that `to`, another agency, sent to the one who acknowledges.
    if acknowledgement.to == agency.id:
        raise Refused(7, "not-yours", "nobody acknowledges to itself")
    for line in acknowledgement.lines:
        target = _target(case, line.origin, line.index, line.leaf)
        if target is not None and (target.sender != acknowledgement.to or not target.is_sent_to(agency.id)):
            raise Refused(7, "not-yours", f"{target.name} was not sent by {acknowledgement.to} to {agency.id}")
    return case.accept([(key, signature)], acknowledgement.suite)


_JUDGES: dict[Kind, Callable[[Case], Accepted]] = {
    Kind.BULLETIN: _judge_bulletin,
    Kind.ACKNOWLEDGEMENT: _judge_acknowledgement,
    Kind.DIRECTORY: judge_directory,
    Kind.KEY_BUNDLE: judge_key_bundle,
    Kind.REVOCATION: judge_revocation,
    Kind.SUSPENSION: judge_suspension,
}


def apply(exchange: Exchange, accepted: Accepted, index: int, time: int) -> Exchange:
    """The exchange after an accepted entry at ``index``; bulletins and acknowledgements change nothing."""
    statement = accepted.statement
    if accepted.directory is not None:
        return exchange.with_directory(accepted.directory)
    if isinstance(statement, KeyBundle):
        return exchange.with_bundle(HeldBundle(accepted.digest, statement), time)
    if isinstance(statement, Revocation):
        return exchange.with_revocation(statement, index)
    if isinstance(statement, Suspension):
        return exchange.with_suspension(statement, accepted.digest)
    return exchange
