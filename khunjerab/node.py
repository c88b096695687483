"""``khunjerab node``: make, run and look at a node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from broker import fsck as storage_check
from broker.home import SEED_BYTES_OF_NODE, NodeConfig, NodeHome
from broker.ledger import fold, now_ms
from broker.mirrors import Mirrors
from broker.node import DIRECTORY_WARNING_DAYS
from clients.commands.context import AsJson, context_of, run
from clients.commands.verdict import tell
from clients.errors import UsageError
from clients.passphrase import find_passphrase
from clients.screen import emit, out, say
from clients.transport import Wire
from keys.finding import joined
from keys.keyring import write_private
from keys.secret import Secret
from khunjerab import peering, repair
from khunjerab.beginning import enter_directories
from khunjerab.logform import LogJson, logs_json
from khunjerab.readiness import must_be_served, readiness
from protocol import names
from protocol.errors import ProtocolError
from protocol.strictjson import dumps

app = typer.Typer(help="Make, run and look at a node.", no_args_is_help=True)
repair.register(app)
app.add_typer(peering.app, name="peer")


@app.command()
def init(
    ctx: typer.Context,
    signatures: Annotated[
        list[Path] | None, typer.Argument(help="Signature files of the directory, of every version.")
    ] = None,
    *,
    origin: Annotated[str, typer.Option(help="The ledger's name, for ever: a URL without scheme.")] = "",
    nation: Annotated[str, typer.Option(help="Who runs it, alpha-2.")] = "",
    url: Annotated[str, typer.Option(help="Where clients reach it.")] = "",
    listen: Annotated[str, typer.Option(help="HOST:PORT to bind.")] = "",
    admin: Annotated[str, typer.Option(help="HOST:PORT of metrics and health, on loopback.")] = "",
    card: Annotated[Path | None, typer.Option(help="Write the node's card here.")] = None,
    directory: Annotated[
        list[Path] | None,
        typer.Option(help="Enter this directory version as the first entries; again for each up to the newest."),
    ] = None,
) -> None:
    """Make a node's keys, certificate and empty ledger; or, with --directory, enter the first directory."""
    context = context_of(ctx)
    passphrase = find_passphrase(context.passphrase_file, new=not directory)
    if directory:
        enter_directories(context.home, passphrase, directory, signatures or [])
        return
    if not (origin and nation and url and listen):
        raise UsageError("--origin, --nation, --url and --listen are needed to make a node")
    try:
        names.origin(origin)
    except ProtocolError as error:
        raise UsageError(f"--origin: {error.detail}", "as in pk.example/ledger: it is for ever") from None
    config = NodeConfig(origin, nation, url, listen, admin)
    home = NodeHome.create(context.home, config, passphrase, Secret(os.urandom(SEED_BYTES_OF_NODE)))
    node_card = dumps(home.card(home.keys(passphrase)).to_json())
    write_private(context.home / "card.json", node_card)
    if card is not None:
        card.write_bytes(node_card)
    say(f"node {origin} is in {context.home}; give its card to the custodians who write the directory")


@app.command()
def serve(ctx: typer.Context, log_json: LogJson = None) -> None:
    """Run the node until SIGTERM or SIGINT."""
    from khunjerab.serving import run_node

    context = context_of(ctx)
    home = NodeHome(context.home)
    if not home.config.pin:
        raise UsageError("this node has no directory yet", "khunjerab node init --directory D.json SIG…")
    passphrase = find_passphrase(context.passphrase_file)
    run_node(home, passphrase, log_json=logs_json(log_json))


@app.command()
@run
async def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """What the node says of itself: on its address, and on its admin listener if it has one."""
    home = NodeHome(context_of(ctx).home)
    config = home.config
    tls = [home.certificate_hash()] if config.url.startswith("https:") else []
    async with Wire(config.url, tls) as wire:
        told = await wire.json("GET", "/v1/node", login=False)
    must_be_served(home, config.url)
    state = await readiness(home) if config.admin else {}
    if as_json:
        emit({**told, **state})
        return
    out.print(f"{told['origin']} at {config.url}, version {told['version']}")
    out.print(f"entries {told['size']}, directory version {told['directory']}")
    if not state:
        say("no admin listener is set: whether it signs is not known")
        return
    for line in _told(state):
        out.print(line)


def _told(state: dict[str, Any]) -> Iterator[str]:
    yield "ready" if state["ready"] else "[bold red]not ready[/]"
    if state["not_signing"]:
        yield f"signs nothing: {escape(state['not_signing'])}"
        if state["recovery"]:
            yield f"recovery: {escape(state['recovery'])}"
    if state["storage"]:
        yield f"cannot write: {escape(state['storage'])}"
    if state["checkpoint"]:
        age = state["checkpoint"]["age_s"]
        since = f"{age} s old" if age >= 0 else "from before this start"
        yield f"checkpoint of {state['checkpoint']['size']} entries, {since}"
    left = state["directory"]["days_left"]
    warning = "" if left > DIRECTORY_WARNING_DAYS else "[bold yellow] - publish the next version[/]"
    yield f"directory ends in {left} days{warning}"
    yield f"sessions {state['sessions']}, streams {state['streams']}"
    for peer in state["peers"]:
        how = "followed" if peer["connected"] else "[bold yellow]away[/]"
        yield f"peer {escape(peer['origin'])} {how}, {peer['entries']} entries, {peer['lag_entries']} behind"
    for held in state["evidence"]:
        yield f"[bold white on red] ALARM [/] {escape(held['origin'])} signed two histories: evidence {held['sha256']}"
    for witness in state["witnesses"]:
        yield f"cosigned up to {witness['size']} entries by {escape(witness['name'])} at {escape(witness['url'])}"
        if witness["error"]:
            yield f"[bold yellow]  does not cosign now: {escape(witness['error'])}[/]"
    if not state["cosigns"]:
        yield "[bold yellow]cosigns nothing: what it had cosigned is lost: khunjerab node new-cosigner --card FILE[/]"
    for cosigned in state["cosigned"]:
        yield f"has cosigned {cosigned['size']} entries of {escape(cosigned['origin'])}"


@app.command()
def fsck(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Judge every entry again, mirrors too, and compare every table with what follows; safe while the node runs."""
    home = NodeHome(context_of(ctx).home)
    config = home.config
    if not config.pin:
        raise UsageError("this node has no directory yet", "khunjerab node init --directory D.json SIG…")
    pin = bytes.fromhex(config.pin)
    reports = [storage_check.check(home.folder / "ledger.db", config.origin, pin, now_ms())]
    with contextlib.closing(home.storage()) as storage:
        versions = fold(storage, config.origin, pin).exchange.versions.values()
    mirrors = Mirrors(home.folder, config.origin, pin, now_ms)
    for origin in sorted({node.origin for directory in versions for node in directory.nodes}):
        path = mirrors.path_of(origin)
        if path.exists():
            reports.append(storage_check.check(path, origin, pin, now_ms()))
    tell(joined(reports), as_json=as_json)
