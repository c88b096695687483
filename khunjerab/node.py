"""``khunjerab node``: make, run and look at a node."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from broker import fsck as storage_check
from broker.errors import NodeHomeError
from broker.home import SEED_BYTES_OF_NODE, NodeConfig, NodeHome
from broker.http import server
from broker.ledger import Ledger, now_ms
from broker.node import Node
from clients.commands.context import AsJson, context_of
from clients.commands.verdict import tell
from clients.errors import UsageError
from clients.passphrase import find_passphrase
from clients.screen import say
from keys.keyring import write_private
from keys.secret import Secret
from keys.signing import verify_all
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.sigfile import read_signature
from protocol.signing import encode_signatures
from protocol.statements import DirectoryVersion, Kind
from protocol.strictjson import dumps

app = typer.Typer(help="Make, run and look at a node.", no_args_is_help=True)


@app.command()
def init(
    ctx: typer.Context,
    signatures: Annotated[list[Path] | None, typer.Argument(help="Signature files of the directory.")] = None,
    origin: Annotated[str, typer.Option(help="The ledger's name, for ever: a URL without scheme.")] = "",
    nation: Annotated[str, typer.Option(help="Who runs it, alpha-2.")] = "",
    url: Annotated[str, typer.Option(help="Where clients reach it.")] = "",
    listen: Annotated[str, typer.Option(help="HOST:PORT to bind.")] = "",
    admin: Annotated[str, typer.Option(help="HOST:PORT of metrics and health, on loopback.")] = "",
    card: Annotated[Path | None, typer.Option(help="Write the node's card here.")] = None,
    directory: Annotated[Path | None, typer.Option(help="Enter this directory version as the first entries.")] = None,
) -> None:
    """Make a node's keys, certificate and empty ledger; or, with --directory, enter the first directory."""
    context = context_of(ctx)
    passphrase = find_passphrase(context.passphrase_file, new=directory is None)
    if directory is not None:
        enter_first_directory(context.home, passphrase, directory, signatures or [])
        return
    if not (origin and nation and url and listen):
        raise UsageError("--origin, --nation, --url and --listen are needed to make a node")
    config = NodeConfig(origin, nation, url, listen, admin)
    home = NodeHome.create(context.home, config, passphrase, Secret(os.urandom(SEED_BYTES_OF_NODE)))
    node_card = dumps(home.card(home.keys(passphrase)).to_json())
    write_private(context.home / "card.json", node_card)
    if card is not None:
        card.write_bytes(node_card)
    say(f"node {origin} is in {context.home}; give its card to the custodians who write the directory")


def enter_first_directory(folder: Path, passphrase: Secret, path: Path, signatures: list[Path]) -> None:
    """A ledger begins with version 1. Raises UsageError, NodeHomeError, and what the judge refuses."""
    home = NodeHome(folder)
    data = path.read_bytes()
    directory = Directory.decode(data)
    if home.config.pin:
        raise NodeHomeError("this ledger has its first directory already")
    statement = DirectoryVersion(directory.version, len(data), hashlib.sha256(data).digest(), directory.previous)
    signed = tuple(read_signature(file.read_bytes(), statement.sha256) for file in signatures)
    if not signed:
        raise UsageError("the signature files of the directory are needed too")
    submission = Submission(Kind.DIRECTORY, statement.encode(), encode_signatures(signed), (), data)
    keys = home.keys(passphrase)
    listed = directory.by_origin.get(home.config.origin)
    if listed != home.card(keys):
        raise UsageError("the directory does not list this node, or not with the card that it has now")
    with contextlib.closing(home.storage()) as storage:
        ledger = Ledger(storage, home.config.origin, directory.exchange_hash, keys.receipt)
        staged = ledger.stage(submission, now_ms())
        verify_all(staged.checks)
        ledger.commit(ledger.build([staged]))
    home.with_pin(directory.exchange_hash)
    say(f"the ledger {home.config.origin} begins with directory version {directory.version}")
    say(f"pin {directory.exchange_hash.hex()}")


@app.command()
def serve(ctx: typer.Context) -> None:
    """Run the node until SIGTERM or SIGINT."""
    context = context_of(ctx)
    home = NodeHome(context.home)
    if not home.config.pin:
        raise UsageError("this node has no directory yet", "khunjerab node init --directory D.json SIG…")
    passphrase = find_passphrase(context.passphrase_file)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(home, passphrase))


def _loop_factory():  # type: ignore[no-untyped-def]  # noqa: ANN202 - uvloop has no types here
    import uvloop

    return uvloop.new_event_loop


async def _serve(home: NodeHome, passphrase: Secret) -> None:
    config = home.config
    node = Node(config, home.keys(passphrase), home.storage())
    await node.start()
    tls = server.tls_context(home.folder / "tls.pem") if server.uses_tls(config.url) else None
    runner = await server.serve(node, config.listen, tls)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    say(f"serving {config.origin} at {config.url}, {node.ledger.head.size} entries")
    await stop.wait()
    await runner.cleanup()
    await node.stop()
    say("stopped")


@app.command()
def fsck(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Judge every entry again and compare every table with what follows from them; safe while the node runs."""
    home = NodeHome(context_of(ctx).home)
    config = home.config
    if not config.pin:
        raise UsageError("this node has no directory yet", "khunjerab node init --directory D.json SIG…")
    report = storage_check.check(home.folder / "ledger.db", config.origin, bytes.fromhex(config.pin), now_ms())
    tell(report, as_json=as_json)
