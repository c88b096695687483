"""$EDITOR, for what is too long to be said in options."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from clients.asking import on_interrupt
from clients.errors import Declined, UsageError


def _folder_of_its_own() -> tempfile.TemporaryDirectory[str]:
    """In the session's folder; in the common one where that is missing, or is another user's, as after ``su``."""
    try:
        return tempfile.TemporaryDirectory(prefix="khunjerab-", dir=os.environ.get("XDG_RUNTIME_DIR") or None)
    except OSError:
        return tempfile.TemporaryDirectory(prefix="khunjerab-")


class Editor:
    """A template in a file that only this user can read, and that is gone afterwards. A context manager.

    It lies in the session's own folder where there is one (XDG Base Directory: in memory, gone at logout), so that not
    even a process that is killed leaves it on a disk. Raises UsageError where there is no terminal to write at.
    """

    def __init__(self, template: str) -> None:
        if not sys.stdin.isatty():
            raise UsageError(
                "there is nothing to send, and no terminal to write it at", "khunjerab post FILE, or --help"
            )
        self._template = template.encode()
        self._command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"

    def __enter__(self) -> Self:
        self._folder = _folder_of_its_own()
        self.path = Path(self._folder.name) / "bulletin.toml"
        self.path.write_bytes(self._template)
        return self

    def __exit__(self, *exc: object) -> None:
        self._folder.cleanup()

    def run(self) -> None:
        """Let it be written, or written again. Raises UsageError where the editor fails, Declined where nothing was.

        Ctrl-C is the editor's meanwhile, and costs no text: in some it ends an insertion.
        """
        try:
            with on_interrupt(lambda *_: None):  # a handler, which the editor does not inherit as it would SIG_IGN
                subprocess.run([*shlex.split(self._command), str(self.path)], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise UsageError(f"the editor {self._command!r} failed: {error}", "set EDITOR") from None
        if self.path.read_bytes() == self._template:
            raise Declined("nothing was written: not sent")
