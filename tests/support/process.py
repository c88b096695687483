"""A node as an operator runs it: a home on the disk, and ``khunjerab node serve`` as a process of its own."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from broker.home import NodeConfig
from broker.ledger import Ledger
from broker.storage import sqlite
from broker.witness import store as witness_store
from keys.keyring import Keyring, seal_keyring, write_private
from khunjerab.demo.ports import free_port
from tests.support.live import PASSPHRASE, now_ms
from tests.support.world import World, admit, origin_of, seed, signing_key

_CHEAP_MEMORY_BYTES = 64 * 1024  # Argon2id for a passphrase of nobody
_SECONDS_TO_START = 180
_POLL_SECONDS = 0.02


def make_home(folder: Path, world: World, *, admin: bool = False, nation: str = "PK") -> Path:
    """The home of a nation's node, with the keys that ``world`` knows it by and the founding in its ledger."""
    listen = f"127.0.0.1:{free_port()}"
    config = NodeConfig(
        origin=origin_of(nation),
        nation=nation,
        url=f"http://{listen}",
        listen=listen,
        admin=f"127.0.0.1:{free_port()}" if admin else "",
        pin=world.pin.hex(),
        outbox_wait="0",
    )
    seeds = {
        "receipt": seed(f"sign/{nation}", 64),
        "log/ed25519": seed(f"{nation}/log/ed25519", 32),
        "log/mldsa44": seed(f"{nation}/log/mldsa44", 32),
        "cosigner/ed25519": seed(f"{nation}/co/ed25519", 32),
        "cosigner/mldsa44": seed(f"{nation}/co/mldsa44", 32),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / "keyring", seal_keyring(Keyring(seeds), PASSPHRASE, _CHEAP_MEMORY_BYTES))
    write_private(folder / "passphrase", PASSPHRASE.reveal())
    write_private(folder / "node.toml", config.dump())
    sqlite.create(folder / "ledger.db")
    witness_store.create(folder / "witness.db")
    with closing(sqlite.SqliteStorage(folder / "ledger.db")) as storage:
        ledger = Ledger(storage, config.origin, world.pin, signing_key(nation))
        for submission in world.founding():
            admit(ledger, submission, now_ms())
    return folder


class NodeProcess:
    """Started and killed as often as a test likes, over one home. Use it in ``async with``: nothing is left running."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = NodeConfig.load(home / "node.toml")
        self.log = home / "node.log"
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(self, failed: object, *exc: object) -> None:
        self._end()
        if failed is not None:  # which pytest shows
            sys.stderr.write(f"{self.home.name}:\n{self.words()}\n")

    def _end(self) -> None:
        if self._process is not None:
            self.kill()

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.config.url

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None, "the node does not run"
        return self._process.pid

    async def start(self) -> None:
        """Return when it answers; AssertionError with its last words where it ends instead."""
        self.launch()
        await self.ready()

    def launch(self) -> None:
        """Begin, without waiting for an answer."""
        assert self._process is None, "the node runs already"
        environment = {**os.environ, "KHUNJERAB_PASSPHRASE_FILE": str(self.home / "passphrase")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "khunjerab", "--home", str(self.home), "node", "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    async def ready(self) -> dict[str, Any]:
        """What ``/v1/node`` says, as soon as it does."""
        async with asyncio.timeout(_SECONDS_TO_START):
            while True:
                assert self._process is not None
                assert self._process.poll() is None, f"the node went down:\n{self.words()}"
                try:
                    return await asyncio.to_thread(_describe, self.url)
                except OSError:
                    await asyncio.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """SIGKILL, and nothing is left of it when this returns."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self._process.wait, _SECONDS_TO_START)
        self._process = None
        return status

    def words(self) -> str:
        """The end of what it logged."""
        return self.log.read_text("utf-8", "replace")[-4000:]

    def resident_bytes(self) -> int:
        """VmRSS."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


def _describe(url: str) -> dict[str, Any]:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        connection.request("GET", "/v1/node")
        described: dict[str, Any] = json.load(connection.getresponse())
    return described
