"""Backups of a node: a folder that is a home, made while the node runs; and a home made of it again.

A backup is as secret as the home: the keyring in it is sealed, the ledger is not. What the node has cosigned is not in
it: an older one would let it cosign a second history (``broker/witness/store.py``). A ledger that is put back is older
than what this node has promised since: it serves reads and signs nothing until it has the rest (``broker/restore.py``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from broker.errors import LedgerBroken, NodeHomeError
from broker.home import EVIDENCE, POLICIES, NodeHome
from broker.storage.contract import Halt
from broker.storage.sqlite import SqliteStorage, copy_ledger
from broker.tree import Tree
from keys.keyring import write_private

FILES = ("keyring", "tls.pem", "card.json", "peers.toml", "node.toml")  # node.toml last: without it a folder is no home
BESIDE = (f"{EVIDENCE}/*.json", f"{POLICIES}/*.policy")
LEDGER = "ledger.db"
RESTORED = "restored from a backup: it may be older than what this node has promised"


def back_up(home: NodeHome, target: Path) -> int:
    """Copy a home, running or not, to ``target``, which must not exist; how many entries. The rename commits it."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise NodeHomeError(f"{target} is there already: a backup never overwrites one")
    new = target.with_name(f".new-{target.name}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True, mode=0o700)
    try:
        copy_ledger(home.folder / LEDGER, new / LEDGER)
        entries = _check(new / LEDGER)
        _copy_files(home.folder, new)
        new.replace(target)  # commit point
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _sync_folder(target.parent)
    return entries


def put_back(backup: Path, folder: Path) -> NodeHome:
    """Make the home ``folder`` of a backup. It signs nothing until the tail is there; see the module."""
    if not (backup / "node.toml").is_file() or not (backup / LEDGER).is_file():
        raise NodeHomeError(f"{backup} is no backup of a node: it has no node.toml and {LEDGER}")
    if (folder / "node.toml").exists() or (folder / LEDGER).exists():
        raise NodeHomeError(f"{folder} holds a node already: restore into an empty home")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    copy_ledger(backup / LEDGER, folder / LEDGER)
    _check(folder / LEDGER)
    with contextlib.closing(SqliteStorage(folder / LEDGER)) as storage:
        storage.halt(Halt(RESTORED))  # before there is a node.toml, so that none starts without it
    _copy_files(backup, folder)
    return NodeHome(folder)


def _check(path: Path) -> int:
    """That the copy is a ledger which hashes to what was recorded; how many entries it has."""
    with contextlib.closing(SqliteStorage(path)) as storage:
        tree, recorded = Tree(storage), storage.newest_recorded()
        if recorded and (recorded.size > tree.size or tree.root(recorded.size) != recorded.root):
            raise LedgerBroken(f"{path} does not hash to the root that was recorded at {recorded.size}")
        return tree.size


def _copy_files(source: Path, target: Path) -> None:
    beside = [path for kind in BESIDE for path in sorted(source.glob(kind))]
    for path in (*beside, *(source / name for name in FILES)):
        if path.exists():
            write_private(target / path.relative_to(source), path.read_bytes())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
