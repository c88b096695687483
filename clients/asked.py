"""What an audit is asked for, beside its sources."""

from __future__ import annotations

from dataclasses import dataclass

from clients.clock import now_ms
from keys.auditing import Terms
from keys.claims import Claims, parsed
from protocol.tlogpolicy import Policy
from protocol.treehead import Receipt


@dataclass(frozen=True, slots=True)
class Asked:
    """The pin, and what was handed over. A policy is for the ledgers that its log lines name; without any, for all."""

    pin: bytes
    bodies: bool = False
    checkpoints: tuple[str, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    policies: tuple[Policy, ...] = ()

    def terms(self, published: str, *earlier: str, beyond: frozenset[str] = frozenset()) -> Terms:
        """For one ledger, of which what is ``beyond`` cannot be looked at."""
        handed = tuple(note for note in (*earlier, *self.checkpoints) if note and note not in beyond)
        checkpoint = parsed(published)
        policy = self._policy_of(checkpoint.origin) if checkpoint else None
        return Terms(self.pin, now_ms(), Claims(published, handed, self.receipts, policy), self.bodies)

    def _policy_of(self, origin: str) -> Policy | None:
        """The one that names the ledger before one that names none."""
        fitting = [policy for policy in self.policies if policy.log_keys(origin) or not policy.logs]
        return next((policy for policy in fitting if policy.logs), next(iter(fitting), None))

    def policied(self) -> set[str]:
        """The ledgers that policies name."""
        return {log.key.name for policy in self.policies for log in policy.logs}
