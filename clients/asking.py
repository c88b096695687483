"""Questions to whoever sits at the terminal; without one the answer must be given beforehand."""

from __future__ import annotations

import sys

from clients.errors import Declined, UsageError
from clients.screen import err


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if told to. Raises Declined for a no, UsageError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask at", "say --yes")
    if not ask(question):
        raise Declined("nothing was done")


def ask(question: str) -> bool:
    """Whether whoever sits at the terminal says yes; to end the input says no."""
    err.print(f"{question} [y/N] ", end="", markup=False)
    try:
        return input().strip().lower() in {"y", "yes"}
    except EOFError:
        err.print()
        return False
