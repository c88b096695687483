"""A bulletin written in $EDITOR, again and again until it can go out."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from clients import compose
from clients.asking import ask
from clients.compose import Order
from clients.errors import ClientError, Declined, UsageError
from clients.screen import show_error


class Editor:
    """A template in a file that only this user can read, and that is gone afterwards. A context manager.

    Raises UsageError where there is no terminal to write at, or no editor.
    """

    def __init__(self, template: str) -> None:
        if not sys.stdin.isatty():
            raise UsageError(
                "there is nothing to send, and no terminal to write it at", "khunjerab post FILE, or --help"
            )
        self._template = template
        self._editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="khunjerab-")
        self._path = Path(self._folder.name) / "bulletin.toml"
        self._path.write_text(self._template)
        return self

    def __exit__(self, *exc: object) -> None:
        self._folder.cleanup()

    def order(self) -> Order:
        """What was written, once it can be read. Raises Declined where nothing was."""
        try:
            subprocess.run([*shlex.split(self._editor), str(self._path)], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise UsageError(f"the editor {self._editor!r} failed: {error}", "set EDITOR") from None
        try:
            text = self._path.read_text("utf-8")
            if text == self._template:
                raise Declined("nothing was written: not sent")
            return Order().merged(compose.read_file(self._path.name, text))
        except UnicodeDecodeError:
            return self.order_again(UsageError("what was written is not UTF-8", "set the editor to write it so"))
        except UsageError as mistake:
            return self.order_again(mistake)

    def order_again(self, mistake: ClientError) -> Order:
        """What is written after this mistake is told; whoever would rather not raises Declined."""
        show_error(mistake)
        if not ask("Edit it again?"):
            raise Declined("not sent")
        return self.order()
