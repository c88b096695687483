"""Errors of every package as the client errors that a user sees: one line, what to do, a status."""

from __future__ import annotations

import os
import sqlite3
import sys
import traceback
from collections.abc import Callable
from typing import Any

from broker.errors import BrokerError, LedgerBroken, StorageError, StorageUnsure
from clients.errors import ClientError, Declined, Tampering, UsageError
from keys.errors import KeysError
from protocol.errors import ProtocolError
from protocol.problem import Problem

TRACE_VARIABLE = "KHUNJERAB_TRACE"  # set it to see where an internal error came from
_DISK = "is the disk full? khunjerab node fsck looks for damage"
_STATE = "is the disk full? For a damaged file see docs/errors.md"
# The first that fits; a seat's home alone lets out SQLite's own errors.
_LINES: tuple[tuple[type[Exception], Callable[[Any], ClientError]], ...] = (
    (ClientError, lambda error: error),
    (Problem, lambda error: Declined(f"{error.code}: {error.detail}", error.hint, error.code)),
    (ProtocolError, lambda error: UsageError(error.detail)),
    (KeysError, lambda error: UsageError(error.detail)),
    (LedgerBroken, lambda error: Tampering("ledger-broken", str(error))),
    (StorageError, lambda error: UsageError(f"the node's store: {error}", _DISK)),
    (StorageUnsure, lambda error: UsageError(f"the node's store: {error}", _DISK)),
    (BrokerError, lambda error: UsageError(str(error))),
    (sqlite3.Error, lambda error: UsageError(f"state.db of this home: {error}", _STATE)),
)


def as_client_error(error: Exception) -> ClientError:
    """The line for ``error``; only what nobody foresaw is an internal error."""
    for kind, line in _LINES:
        if isinstance(error, kind):
            return line(error)
    if isinstance(error, OSError) and error.strerror:
        return UsageError(f"{error.filename or 'what was read or written'}: {error.strerror}")
    if hasattr(error, "format_message"):  # a usage error of the command line's own library
        where = getattr(getattr(error, "ctx", None), "command_path", "khunjerab")
        return UsageError(error.format_message(), f"{where} --help")
    if os.environ.get(TRACE_VARIABLE):
        traceback.print_exception(error, file=sys.stderr)
    return ClientError(f"internal error: {type(error).__name__}: {error}", f"run it again with {TRACE_VARIABLE}=1")
