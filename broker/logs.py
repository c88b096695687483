"""The node's log: one line an event on stderr, for people on a terminal, as JSON elsewhere.

No secret is ever an event's value: tokens, passphrases, keys and bodies are not given to it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from typing import TextIO, cast

import structlog

from broker.quota import Budget

LINES_PER_MINUTE_MAX = 600  # of one kind: a flood is counted, not written


class LineLimit:
    """Drops what comes too often: an attacker fills no disk. The next line let through says how many were dropped."""

    def __init__(self, budget: Budget, per_minute: int = LINES_PER_MINUTE_MAX) -> None:
        self._budget, self._per_minute = budget, per_minute
        self._dropped: dict[str, int] = {}

    def __call__(self, logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """A structlog processor."""
        del logger
        kind = str(event["event"])  # a word of ours, so there are few
        if method == "critical":
            return event
        if not self._budget.spend(kind, self._per_minute):
            self._dropped[kind] = self._dropped.get(kind, 0) + 1
            raise structlog.DropEvent
        if kind in self._dropped:
            event["dropped_before"] = self._dropped.pop(kind)
        return event


class _Lossy(io.TextIOBase):
    """A stream that loses a line rather than raise: a full disk or a closed pipe under the log stops no node."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """All of it, or what fits."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """If it can be."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        """As the stream."""
        return self._stream.isatty()


class _HttpServerLog(logging.Handler):
    """What aiohttp complains of, broken requests mostly, as one line each and without a trace."""

    def emit(self, record: logging.LogRecord) -> None:
        """One event."""
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().warning(
            "http", message=record.getMessage()[:200], error=str(error)[:200] if error else None
        )


def configure(budget: Budget, *, as_json: bool) -> None:
    """For the whole process, all that it says on stderr; called by ``node serve``."""
    sys.stderr = cast("TextIO", _Lossy(sys.stderr))
    shape: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            LineLimit(budget),
            *shape,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    for name in ("aiohttp.server", "aiohttp.web", "aiohttp.websocket", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_HttpServerLog()], False
