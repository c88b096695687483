"""Where a passphrase comes from: a file, the environment's file, or a prompt; never an argument."""

from __future__ import annotations

import getpass
import os
import signal
import sys
from pathlib import Path

from clients.asking import on_interrupt
from clients.errors import UsageError
from keys.secret import Secret

VARIABLE = "KHUNJERAB_PASSPHRASE_FILE"


def find_passphrase(file: Path | None, *, new: bool = False) -> Secret:
    """The passphrase; asked twice where it is ``new``. Raises UsageError without file, variable or terminal."""
    hint = f"use --passphrase-file, set {VARIABLE}, or run it at a terminal"
    return read_passphrase(file_of(file), "Passphrase", hint, twice=new)


def file_of(file: Path | None) -> Path | None:
    """The one that was named, else the environment's, else none: a person is asked."""
    return file or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)


def read_passphrase(file: Path | None, prompt: str, hint: str, *, twice: bool) -> Secret:
    """What a file holds, else what is typed at ``prompt``. Raises UsageError."""
    if file is not None:
        try:
            value = file.read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise UsageError(f"the passphrase file {file} cannot be read: {error.strerror}") from None
        if not value:
            raise UsageError(f"the passphrase file {file} is empty")
        return Secret(value)
    if not sys.stdin.isatty():
        raise UsageError("no passphrase", hint)
    with on_interrupt(signal.default_int_handler):
        first = getpass.getpass(f"{prompt}: ")
        again = getpass.getpass("Again: ") if twice else first
    if again != first:
        raise UsageError("the two passphrases differ")
    if not first:
        raise UsageError("an empty passphrase protects nothing")
    return Secret(first.encode())
