"""``khunjerab node backup``, ``restore`` and ``new-cosigner``: what an operator does before and after the worst."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

from broker.backup import back_up, put_back
from broker.home import SEED_BYTES_OF_COSIGNER, SEED_BYTES_OF_NODE, NodeConfig, NodeHome
from broker.ledger import Ledger
from broker.peer import load_peers
from broker.restore import StoredTail, Tail, take_back
from broker.storage.sqlite import SqliteStorage
from clients.archive import Archive
from clients.commands.context import context_of
from clients.errors import UsageError
from clients.passphrase import find_passphrase
from clients.screen import say
from keys.keyring import write_private
from keys.secret import Secret
from protocol.strictjson import dumps


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.command()(backup)
    app.command()(restore)
    app.command()(new_cosigner)


def backup(ctx: typer.Context, to: Annotated[Path, typer.Argument(help="A folder that is not there yet.")]) -> None:
    """Copy the node's home while it runs: ledger, settings, sealed keyring, certificate."""
    entries = back_up(NodeHome(context_of(ctx).home), to)
    say(f"{entries} entries, keyring and settings are in {to}: keep it as safe as the node")


def restore(
    ctx: typer.Context,
    backup: Annotated[Path | None, typer.Argument(help="What `node backup` made.", show_default=False)] = None,
    tail: Annotated[
        Path | None,
        typer.Option("--from", help="The newest entries: an `audit export`, or a newer backup.", show_default=False),
    ] = None,
    new_origin: Annotated[
        str, typer.Option("--new-origin", help="Give the old ledger up, and begin one of this name.")
    ] = "",
    card: Annotated[Path | None, typer.Option(help="With --new-origin: write the new node's card here.")] = None,
) -> None:
    """Make this home of a backup. It signs nothing until its peers, or without any --from, brought what is newer."""
    context = context_of(ctx)
    if backup is None and tail is None:
        raise UsageError("nothing to restore", "name the backup, or with --from the newest entries")
    if new_origin:
        if backup is None or tail is not None:
            raise UsageError("--new-origin takes a backup, and no --from")
        _begin_anew(backup, context.home, new_origin, find_passphrase(context.passphrase_file), card)
        return
    home = put_back(backup, context.home) if backup is not None else NodeHome(context.home)
    if tail is None:
        say(f"{context.home} is restored; it serves reads and signs nothing until it has the newest entries")
        if load_peers(home.folder):
            say("from its peers it gets them by itself, once it is served and all of them answer")
        else:
            say("khunjerab node restore --from DIR, where DIR is an `audit export` or a newer backup")
        say("it has lost what it cosigned, and cosigns again after khunjerab node new-cosigner")
        return
    passphrase, has_peers = find_passphrase(context.passphrase_file), bool(load_peers(home.folder))
    keys = home.keys(passphrase)
    with home.locked(), contextlib.ExitStack() as stack:
        storage = stack.enter_context(contextlib.closing(home.storage()))
        ledger = Ledger(storage, home.config.origin, bytes.fromhex(home.config.pin), keys.receipt)
        entries = take_back(ledger, _tail(tail, stack), keys.log.vkeys(), has_peers=has_peers)
    then = "signs again once its peers were heard" if has_peers else "signs again"
    say(f"{entries} entries were taken back; the ledger has {ledger.tree.size}, and {then}")
    if has_peers:
        say("a peer that will never answer: khunjerab node peer remove ORIGIN, and this once more if it was the last")


def new_cosigner(
    ctx: typer.Context,
    card: Annotated[Path | None, typer.Option(help="Write the node's new card here.", show_default=False)] = None,
) -> None:
    """Give the node new cosigner keys: after a restore, which loses what it cosigned, or when they are no secret."""
    context = context_of(ctx)
    home = NodeHome(context.home)
    passphrase = find_passphrase(context.passphrase_file)
    with home.locked():
        home.renew_cosigner(passphrase, Secret(os.urandom(SEED_BYTES_OF_COSIGNER)))
    node_card = dumps(home.card(home.keys(passphrase)).to_json())
    write_private(context.home / "card.json", node_card, replace=True)
    if card is not None:
        card.write_bytes(node_card)
    say(f"the node has new cosigner keys, and its new card is {card or context.home / 'card.json'}")
    say("give it to the custodians: its cosignatures count from the directory version that lists it")


def _tail(folder: Path, stack: contextlib.ExitStack) -> Tail:
    if (folder / "ledger.db").exists():
        return StoredTail(stack.enter_context(contextlib.closing(SqliteStorage(folder / "ledger.db"))))
    if not (folder / "checkpoint").exists():
        raise UsageError(f"{folder} is neither an `audit export` nor a backup of a node")
    return Archive(folder)


def _begin_anew(backup: Path, folder: Path, origin: str, passphrase: Secret, card: Path | None) -> None:
    """A new node with new keys, which knows the old ledger's governance; the directory decides when it counts."""
    old = NodeHome(backup).config
    config = NodeConfig(origin, old.nation, old.url, old.listen, old.admin)
    if origin == old.origin:
        raise UsageError("a new origin has another name than the old one")
    home = NodeHome.create(folder, config, passphrase, Secret(os.urandom(SEED_BYTES_OF_NODE)))
    home.keep_history(backup / "ledger.db")
    node_card = dumps(home.card(home.keys(passphrase)).to_json())
    write_private(folder / "card.json", node_card)
    if card is not None:
        card.write_bytes(node_card)
    say(f"node {origin} is in {folder}; give its card to the custodians, in place of the one of {old.origin}")
    say("then: khunjerab node init --directory D.json SIG…")
