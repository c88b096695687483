"""Whether a node may sign. It may until something shows that it must not; then only its operator helps."""

from __future__ import annotations

import structlog

from protocol.problem import Problem

log = structlog.get_logger()


class Standing:
    """Shared by all that sign and all that promise. What stops it is durable elsewhere: a restart changes nothing."""

    def __init__(self, not_signing: str | None = None) -> None:
        self.not_signing = not_signing
        self.stopping = False

    def stop_signing(self, reason: str) -> None:
        """From now on this node serves reads, and signs nothing. The first reason stays."""
        if self.not_signing is None:
            self.not_signing = reason
            log.critical("not-signing", reason=reason, hint="khunjerab node restore")

    def resume(self) -> None:
        """What stopped it has been repaired, durably."""
        self.not_signing = None

    def require_signing(self) -> None:
        """Raise Problem where nothing may be promised."""
        if self.not_signing is not None:
            raise Problem("not-signing", f"this node takes nothing: {self.not_signing}")

    def require_running(self) -> None:
        """Raise Problem where the node is going down."""
        if self.stopping:
            raise Problem("stopping", "this node is stopping")
