"""A node of the demo as a process: its addresses, how it is started, asked and ended."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from khunjerab.demo.ports import free_port
from khunjerab.demo.shell import DemoFailed, Shell

READY_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60


class NodeProcess:
    """One node; ``home`` is its folder's name."""

    def __init__(self, shell: Shell, home: str, origin: str) -> None:
        self._shell, self.home, self.origin = shell, home, origin
        self.port, self.admin_port = free_port(), free_port()
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where everybody but its peer reaches it."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        """Its home."""
        return self._shell.folder / self.home

    def start(self) -> None:
        """As a process that stays."""
        self.process = self._shell.start(self.home, "node", "serve")

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.communicate(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def wait_until_ready(self) -> None:
        """Until it answers. Raises DemoFailed when it ends instead."""
        end = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                raise DemoFailed(f"{self.home} ended: its log is beside its home")
            try:
                self.json("/v1/node")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise DemoFailed(f"{self.home} does not become ready")

    def tls(self) -> ssl.SSLContext:
        """Its own certificate and no other."""
        return ssl.create_default_context(cafile=str(self.folder / "tls.pem"))

    def get(self, path: str) -> bytes:
        """What it answers."""
        with urllib.request.urlopen(f"{self.url}{path}", context=self.tls(), timeout=30) as answer:  # noqa: S310 - https on loopback
            return bytes(answer.read())

    def json(self, path: str) -> Any:
        """What it answers, as a value."""
        return json.loads(self.get(path))
