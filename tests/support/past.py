"""PK's node as it was before it went on: put back from a backup, as its operator would."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from broker.node import Node
from broker.storage.contract import Halt, Storage
from broker.storage.sqlite import SqliteStorage, copy_ledger
from clients.client import Client
from khunjerab.demo.ports import free_port
from tests.support.live import live_node, seat
from tests.support.pair import PEER, follow, world_of_two
from tests.support.world import World

RESTORED = "restored from a backup"


@dataclass
class Past:
    """Both nations' nodes over files in one folder, each of which follows the other while it runs."""

    folder: Path
    world: World
    ports: dict[str, int]
    entries: list[bytes] = field(default_factory=list)  # of PK's ledger, as they were promised
    bodies: dict[int, bytes | None] = field(default_factory=dict)  # what was beside them

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Nothing has happened yet."""
        past = cls(folder, world_of_two(), {nation: free_port() for nation in PEER})
        for nation, peer in PEER.items():
            follow(folder, nation, past.url(peer))
        return past

    @property
    def ledger(self) -> Path:
        """PK's."""
        return self.folder / "pk-ledger.db"

    def url(self, nation: str) -> str:
        """Where its node answers, when it runs."""
        return f"http://127.0.0.1:{self.ports[nation]}"

    @contextlib.asynccontextmanager
    async def running(
        self, nation: str, outbox_wait: str = "0", wrap: Callable[[Storage], Storage] = lambda storage: storage
    ) -> AsyncIterator[Node]:
        """Its node."""
        port = self.ports[nation]
        async with live_node(
            self.folder, self.world, port, wrap=wrap, nation=nation, ask=True, outbox_wait=outbox_wait
        ) as node:
            yield node

    @contextlib.asynccontextmanager
    async def client(self, agency: str, nation: str = "PK") -> AsyncIterator[Client]:
        """A seat of the agency, at a nation's node."""
        with seat(self.folder, self.world, agency, url=self.url(nation)) as client:
            async with client:
                yield client

    def remember(self, node: Node) -> None:
        """What PK's node has now is what it promised."""
        self.entries = node.storage.entry_bytes(0, 999)
        self.bodies = {index: node.storage.body(index) for index in range(len(self.entries))}

    def back_up(self) -> None:
        """While the node runs."""
        copy_ledger(self.ledger, self.folder / "backup.db")

    def put_back(self) -> None:
        """As `node restore` leaves it: the ledger of the backup, halted."""
        for file in self.folder.glob("pk-ledger.db*"):
            file.unlink()
        shutil.copy(self.folder / "backup.db", self.ledger)
        with contextlib.closing(SqliteStorage(self.ledger)) as storage:
            storage.halt(Halt(RESTORED))
