"""A node as a process: started in one order, stopped in the other, and never half alive.

Up: lock the home, open the ledger, sign what is due, listen for the operator, listen for everyone. Down: close the
listening socket, end streams and long polls, finish what was taken, sign a last checkpoint, close the store, let go of
the lock. If a part of the node dies by itself, all of it goes down with status 1, for a supervisor to start again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from typing import Any

from aiohttp import web

from broker import logs
from broker.home import NodeHome, NodeKeys
from broker.http import server
from broker.node import Node
from broker.quota import Budget
from clients.errors import ClientError
from clients.screen import say
from keys.secret import Secret
from khunjerab.reach import reach_with
from khunjerab.witnesses import HttpWitness


def run_node(home: NodeHome, passphrase: Secret, *, log_json: bool) -> None:
    """Until SIGTERM or SIGINT. Raises NodeHomeError, LedgerBroken, StorageError, WrongPassphrase at the start."""
    import uvloop

    logs.configure(Budget(60, time.monotonic), as_json=log_json)
    keys = home.keys(passphrase)
    with home.locked(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(home, keys))


async def _serve(home: NodeHome, keys: NodeKeys) -> None:
    config, stop = home.config, asyncio.Event()
    reach, policy = reach_with(keys.receipt, bytes.fromhex(config.pin)), home.policy()
    node = Node(config, keys, home.storage(), cosigned=home.cosigned(), home=home.folder, reach=reach)
    node.ask_witnesses(lambda witness: HttpWitness(witness, lambda: node.peers.url_of(witness.name)), policy)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    try:
        await node.start()
        async with contextlib.AsyncExitStack() as listening:
            if config.admin:
                _clean_up(listening, await server.serve_admin(node, config.admin))
            tls = server.tls_context(home.folder / "tls.pem") if server.uses_tls(config.url) else None
            _clean_up(listening, await server.serve(node, config.listen, tls))
            gc.freeze()  # what is there by now stays, and is not looked through again and again for garbage
            say(f"serving {config.origin} at {config.url}, {node.ledger.head.size} entries")
            if node.not_signing is not None:
                say(f"signing nothing: {node.not_signing}")
            if node.witness is None:
                say("cosigning nothing: what this node has cosigned is not known here; see Backup and restore")
            await _until_over(node, stop)
    finally:
        await node.stop()
    say("stopped")


def _clean_up(stack: contextlib.AsyncExitStack, runner: web.AppRunner) -> None:
    stack.push_async_callback(runner.cleanup)


async def _until_over(node: Node, stop: asyncio.Event) -> None:
    """Return when the operator says so; raise when the node died by itself."""
    asked = asyncio.create_task(stop.wait())
    either: list[asyncio.Future[Any]] = [asked, node.failed]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
    if node.failed.done():
        error = node.failed.exception()
        raise ClientError(f"a part of the node died: {error!r}", "start it again; the log has more") from error
