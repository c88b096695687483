"""A ledger read again from its entries (SPEC §12.4): the rules of the ledger itself, then the judge.

Mirror, fsck, auditor, replica and client all step through this one machine. The property it holds: a ledger that a node
built is accepted at every index.
"""

from __future__ import annotations

from collections.abc import Sequence

from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.judge import Accepted, Lookup, NotSentToMe, Refused, apply, judge
from keys.signing import SignatureCheck, verify_all
from protocol.entry import Entry, Link
from protocol.errors import ProtocolError
from protocol.record import Record
from protocol.statements import GOVERNANCE, LINKED


class Fault(Record):
    """A rule that an entry breaks: the check's name, what was expected, what was found; the judge's step if its."""

    check: str
    expected: str
    found: str
    step: int | None = None


class Step(Record):
    """What one entry came to. ``owed`` are the signature checks of a bulletin or acknowledgement, for batching."""

    index: int
    entry: Entry | None
    accepted: Accepted | None
    faults: tuple[Fault, ...]
    owed: Sequence[SignatureCheck] = ()


class Replay:
    """The state of a ledger after its last entry: exchange, last time, last governance entry."""

    def __init__(self, exchange: Exchange, link: Link | None = None, time: int = 0) -> None:
        self.exchange = exchange
        self.link = link
        self.time = time

    def step(self, index: int, data: bytes, lookup: Lookup) -> Step:
        """Judge the entry at ``index`` and move on. Whatever is wrong with it is in ``faults``; it then has no effect.

        Governance is verified here, as it changes the state; other signatures are owed by the caller. Indexes may have
        gaps where a reader is not given every entry: governance never is left out, and the links show it.
        """
        try:
            entry = Entry.decode(data)
        except ProtocolError as error:
            return Step(index, None, None, (Fault("entry-form", "a canonical entry", error.detail, 1),))
        faults = self._broken_rules(entry)
        self.time = max(self.time, entry.time)
        verdict = judge(self.exchange, entry, entry.time, lookup)
        if entry.kind in LINKED and not self._lacks(entry.link, lookup):
            self.link = Link(entry.kind, index)
        if isinstance(verdict, Refused):
            faults.append(Fault(verdict.code, "an entry that the judge accepts", verdict.detail, verdict.step))
        elif entry.kind in GOVERNANCE:
            faults += _broken_signatures(verdict.checks)
        if faults or isinstance(verdict, Refused):
            return Step(index, entry, None, tuple(faults))
        self.exchange = apply(self.exchange, verdict, index, entry.time)
        return Step(index, entry, verdict, (), () if entry.kind in GOVERNANCE else verdict.checks)

    def _lacks(self, link: Link | None, lookup: Lookup) -> bool:
        """Whether an entry links to governance that this reader was never given.

        Then its own links stay behind, so that nothing after it can be walked either until what is missing has come.
        """
        return link is not None and link != self.link and isinstance(lookup.entry(link.index), NotSentToMe)

    def _broken_rules(self, entry: Entry) -> list[Fault]:
        faults = []
        if entry.time < self.time:
            faults.append(Fault("time-order", f"a time of at least {self.time}", str(entry.time)))
        if entry.link != self.link:
            faults.append(Fault("governance-link", _told(self.link), _told(entry.link)))
        return faults


def _broken_signatures(checks: Sequence[SignatureCheck]) -> list[Fault]:
    try:
        verify_all(checks)
    except BadSignature as error:
        return [Fault("bad-signature", "a signature that verifies", error.detail, 8)]
    return []


def _told(link: Link | None) -> str:
    return "no link" if link is None else f"{link.kind.word} at {link.index}"
