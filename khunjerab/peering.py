"""``khunjerab node peer``: whose ledgers this node follows, and how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape

from broker.home import NodeHome
from broker.ledger import fold
from broker.peer import PeerConfig, load_peers, save_peers
from clients.commands.context import AsJson, context_of, run
from clients.errors import UsageError
from clients.screen import emit, format_moment, out, say
from khunjerab.readiness import readiness
from protocol import names
from protocol.directory import Directory
from protocol.errors import ProtocolError

app = typer.Typer(help="Whose ledgers this node mirrors.", no_args_is_help=True)
Origin = Annotated[str, typer.Argument(help="The peer's ledger, as the directory lists it.")]


@app.command()
def add(
    ctx: typer.Context,
    origin: Origin,
    url: Annotated[str, typer.Option(help="Where its node is reached from here, if not as the directory says.")] = "",
) -> None:
    """Follow a peer's ledger from now on; a node that runs begins within a second."""
    home = NodeHome(context_of(ctx).home)
    try:
        names.origin(origin)
    except ProtocolError as error:
        raise UsageError(f"{origin!r} is no origin: {error.detail}") from None
    if origin == home.config.origin:
        raise UsageError("a node does not mirror its own ledger", "name the other nation's")
    listed = _directory(home).by_origin
    if origin not in listed:
        others = ", ".join(sorted(set(listed) - {home.config.origin})) or "no other"
        raise UsageError(f"the directory in force lists no node {origin}", f"it lists {others}")
    kept = tuple(peer for peer in load_peers(home.folder) if peer.origin != origin)
    save_peers(home.folder, (*kept, PeerConfig(origin, url)))
    say(f"{origin} is followed at {url or listed[origin].url}: khunjerab node peer status")


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The peers that this node follows, and where."""
    home = NodeHome(context_of(ctx).home)
    listed = _directory(home).by_origin
    for peer in load_peers(home.folder):
        node = listed.get(peer.origin)
        url = peer.url or (node.url if node else "")
        if as_json:
            emit({"origin": peer.origin, "url": url, "nation": node.nation if node else None})
        else:
            out.print(f"{escape(peer.origin)} at {escape(url) or '-'}{'' if node else ' (not in the directory)'}")


@app.command()
def remove(ctx: typer.Context, origin: Origin) -> None:
    """Follow a peer no more. What is mirrored of it stays, and is served."""
    home = NodeHome(context_of(ctx).home)
    peers = load_peers(home.folder)
    kept = tuple(peer for peer in peers if peer.origin != origin)
    if len(kept) == len(peers):
        raise UsageError(f"{origin} is not followed", "khunjerab node peer list")
    save_peers(home.folder, kept)
    say(f"{origin} is followed no more; its mirror stays, and is served")


@app.command()
@run
async def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """How far each peer is mirrored, what was flagged, and why a link is down."""
    home = NodeHome(context_of(ctx).home)
    if not home.config.admin:
        raise UsageError("this node has no admin listener, which alone tells", "set `admin` in node.toml")
    state = await readiness(home)
    for peer in state["peers"]:
        if as_json:
            emit(peer)
            continue
        for line in _told(peer):
            out.print(line)
    if not state["peers"] and not as_json:
        say("this node follows nobody: khunjerab node peer add ORIGIN")


def _told(peer: dict[str, Any]) -> Iterator[str]:
    up = "[green]followed[/]" if peer["connected"] else f"[bold yellow]away[/]: {escape(peer['error'] or '')}"
    yield f"{escape(peer['origin'])} {up}"
    yield f"  entries {peer['entries']}, shown {peer['shown']}, checkpoint {peer['checkpoint']}"
    if peer["lag_entries"]:
        yield f"  behind by {peer['lag_entries']} entries, {peer['lag_s']} s"
    if peer["heard"]:
        yield f"  last news {format_moment(peer['heard'])}"
    if peer["flagged"]:
        yield f"[bold white on red] ALARM [/] {peer['flagged']} of its entries break a rule: khunjerab node fsck"


def _directory(home: NodeHome) -> Directory:
    """The one in force in this node's own ledger."""
    if not home.config.pin:
        raise UsageError("this node has no directory yet", "khunjerab node init --directory D.json SIG…")
    with contextlib.closing(home.storage()) as storage:
        return fold(storage, home.config.origin, bytes.fromhex(home.config.pin)).exchange.in_force
