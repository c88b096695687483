"""Who acknowledged late, or never: over all ledgers of an audit, as recipients acknowledge in their own."""

from __future__ import annotations

from collections import Counter

from protocol.header import Header
from protocol.statements import Acknowledgement

_Key = tuple[str, int, bytes, str, str]  # origin, index and leaf; whose word it is, and to whom


class Deadlines:
    """Bulletins that wait for a first acknowledgement. Ledgers may come in any order."""

    def __init__(self) -> None:
        self._due: dict[_Key, int] = {}
        self._early: dict[_Key, int] = {}  # acknowledged in a ledger that came before the bulletin's own
        self._late: Counter[str] = Counter()
        self._homes = set[str]()

    def sent(self, origin: str, index: int, leaf: bytes, header: Header, due: int) -> None:
        """A bulletin that its recipients are to acknowledge by ``due``."""
        for recipient in header.recipients:
            key = (origin, index, leaf, recipient.agency, header.sender)
            time = self._early.pop(key, None)
            if time is None:
                self._due[key] = due
            else:
                self._late[recipient.agency] += time > due

    def acknowledged(self, acknowledgement: Acknowledgement) -> None:
        """A recipient's word; its first on a bulletin counts.

        The judge of another ledger than the bulletin's saw its form alone: what names another hash, or is said to
        another than the sender, is no word on it.
        """
        for line in acknowledgement.lines:
            key = (line.origin, line.index, line.leaf, acknowledgement.sender, acknowledgement.to)
            due = self._due.pop(key, None)
            if due is not None:
                self._late[acknowledgement.sender] += line.time > due
            else:
                self._early[key] = min(line.time, self._early.get(key, line.time))

    def audited(self, origin: str) -> None:
        """That a ledger was read to its end: who is at home there has said all that it said."""
        self._homes.add(origin)

    def warnings(self, now: int, homes: dict[str, str]) -> list[str]:
        """A sentence for each agency; ``homes`` are the ledgers in which agencies acknowledge."""
        silent = Counter(
            agency for (_, _, _, agency, _), due in self._due.items() if due < now and homes.get(agency) in self._homes
        )
        late = [f"{agency} acknowledged {count} late" for agency, count in sorted(self._late.items()) if count]
        return late + [
            f"{agency} has not acknowledged {count}, and they are late" for agency, count in sorted(silent.items())
        ]
