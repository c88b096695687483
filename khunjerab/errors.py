"""Errors of every package as the client errors that a user sees: one line, what to do, a status."""

from __future__ import annotations

import os
import sys
import traceback

from broker.errors import BrokerError, LedgerBroken
from clients.errors import ClientError, Declined, Tampering, UsageError
from keys.errors import KeysError
from protocol.errors import ProtocolError
from protocol.problem import Problem

TRACE_VARIABLE = "KHUNJERAB_TRACE"  # set it to see where an internal error came from


def as_client_error(error: Exception) -> ClientError:
    """The line for ``error``; only what nobody foresaw is an internal error."""
    if isinstance(error, ClientError):
        return error
    if isinstance(error, Problem):
        return Declined(f"{error.code}: {error.detail}", error.hint, error.code)
    if isinstance(error, LedgerBroken):
        return Tampering("ledger-broken", str(error))
    if isinstance(error, ProtocolError | KeysError):
        return UsageError(error.detail)
    if isinstance(error, BrokerError):
        return UsageError(str(error))
    if isinstance(error, OSError) and error.filename:
        return UsageError(f"{error.filename}: {error.strerror}")
    if hasattr(error, "format_message"):  # a usage error of the command line's own library
        where = getattr(getattr(error, "ctx", None), "command_path", "khunjerab")
        return UsageError(error.format_message(), f"{where} --help")
    if os.environ.get(TRACE_VARIABLE):
        traceback.print_exception(error, file=sys.stderr)
    return ClientError(f"internal error: {type(error).__name__}: {error}", f"run it again with {TRACE_VARIABLE}=1")
