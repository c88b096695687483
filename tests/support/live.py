"""A real node on a free loopback port, and real homes of its agencies' seats."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from broker.home import NodeConfig
from broker.http import server
from broker.node import Node
from broker.storage import sqlite
from broker.storage.contract import Storage
from broker.witness import store as witness_store
from clients.client import Client
from clients.home import Home, Profile
from keys.keyring import Keyring
from keys.secret import Secret
from khunjerab.demo.ports import free_port
from khunjerab.reach import reach_with
from khunjerab.witnesses import HttpWitness
from tests.support.altering import replace
from tests.support.world import (
    ORIGINS,
    World,
    first_directory,
    kem_key,
    kem_seed,
    node_keys,
    open_ledger,
    origin_of,
    seed,
    signing_key,
)

PASSPHRASE = Secret(b"correct horse battery staple")


def now_ms() -> int:
    """What the clock of the machine says."""
    return time.time_ns() // 1_000_000


def world_of_today(**changes: Any) -> World:
    """A world whose directory and bundles run now, with both nations' agencies at home in the one node."""
    agencies = tuple(replace(agency, home=ORIGINS["PK"]) for agency in first_directory().agencies)
    return World.found(now_ms() // 1000 * 1000 - 60_000, **{"agencies": agencies} | changes)


@contextlib.asynccontextmanager
async def live_node(
    folder: Path,
    world: World,
    port: int = 0,
    clock: Callable[[], int] = now_ms,
    wrap: Callable[[Storage], Storage] = lambda storage: storage,
    nation: str = "PK",
    ask: bool = False,
    *,
    outbox_wait: str = "0",
) -> AsyncIterator[Node]:
    """A nation's node in this process, on a real socket and a real file; ``node.config.url`` says where.

    ``clock`` is the node's own; ``wrap`` puts something between it and its store; with ``ask`` it has
    its checkpoints cosigned.
    """
    port = port or free_port()
    path = folder / f"{nation.lower()}-ledger.db"
    if not path.exists():
        open_ledger_here(folder, world, nation)
    url = f"http://127.0.0.1:{port}"
    config = NodeConfig(origin_of(nation), nation, url, f"127.0.0.1:{port}", "", world.pin.hex(), outbox_wait)
    keys = node_keys(nation)
    cosigned = folder / f"{nation.lower()}-witness.db"
    if not cosigned.exists():
        witness_store.create(cosigned)
    home = folder / f"{nation.lower()}-home"
    home.mkdir(exist_ok=True)
    reach = reach_with(keys.receipt, world.pin, clock)
    storage, kept = wrap(sqlite.SqliteStorage(path)), witness_store.WitnessStore(cosigned)
    node = Node(config, keys, storage, clock, kept, home=home, reach=reach)
    if ask:
        node.ask_witnesses(lambda witness: HttpWitness(witness, lambda: node.peers.url_of(witness.name)), None)
    await node.start()
    runner = await server.serve(node, config.listen, None)
    try:
        yield node
    finally:
        await runner.cleanup()
        await node.stop()


def open_ledger_here(folder: Path, world: World, nation: str = "PK") -> None:
    """Begin the ledger with the world's founding."""
    open_ledger(folder, world, nation, now=now_ms()).storage.close()


def seat_home(folder: Path, world: World, agency: str, seat: str = "desk", url: str = "") -> Home:
    """The home of a seat that has joined, as ``khunjerab join`` leaves it; the same one if it is there."""
    path = folder / f"{agency}-{seat}"
    if not (path / "profile.toml").exists():
        name = f"{agency}/{seat}/1"
        keyring = Keyring(
            {
                "signing": signing_key(f"{agency}/{seat}").seed,
                f"kem/{kem_key(name).key_id.hex()}": kem_seed(name),
                "store": seed(f"store/{agency}/{seat}", 32),
            }
        )
        at = world.directory.by_agency[agency].home
        profile = Profile(agency=agency, seat=seat, node=url, pin=world.pin.hex(), origin=at, officer="A. Karim")
        Home.create(path, profile, keyring, PASSPHRASE)
        (path / "directory").mkdir()
        (path / "directory" / "1.json").write_bytes(world.directory.encode())
    home = Home(path)
    home.unlock_with(lambda: PASSPHRASE)
    if url and home.profile.node != url:
        home.save_profile(replace(home.profile, node=url))
    return home


@contextlib.contextmanager
def seat(folder: Path, world: World, agency: str, name: str = "desk", url: str = "") -> Iterator[Client]:
    """A seat's client, not yet connected: ``async with`` it."""
    home = seat_home(folder, world, agency, name, url)
    try:
        yield Client(home)
    finally:
        home.close()
