"""Questions to whoever sits at the terminal; without one the answer must be given beforehand."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from clients.errors import Declined, UsageError
from clients.screen import err


@contextlib.contextmanager
def on_interrupt(act: Callable[..., Any]) -> Iterator[None]:
    """What Ctrl-C does meanwhile. A running loop would only note it, and wait until the terminal has been answered."""
    if threading.current_thread() is not threading.main_thread():  # which alone hears of it
        yield
        return
    before = signal.signal(signal.SIGINT, act)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if told to. Raises Declined for a no, UsageError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask at", "say --yes")
    if not ask(question):
        raise Declined("nothing was done")


def ask(question: str) -> bool:
    """Whether whoever sits at the terminal says yes; to end the input says no. Ctrl-C ends the command at once."""
    with on_interrupt(signal.default_int_handler):
        err.print(f"{question} [y/N] ", end="", markup=False)
        try:
            return input().strip().lower() in {"y", "yes"}
        except EOFError:
            err.print()
            return False
