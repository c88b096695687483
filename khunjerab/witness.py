"""``khunjerab witness``: make, run and look at a witness of other people's logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from broker import logs
from broker.http import server
from broker.quota import Budget
from broker.witness.alone import WitnessAlone
from broker.witness.home import SEED_BYTES_OF_WITNESS, WitnessConfig, WitnessHome
from broker.witness.witness import Witness, holds_nothing_to_compare
from clients.commands.context import AsJson, context_of
from clients.passphrase import find_passphrase
from clients.screen import emit, out, say
from keys.keyring import write_private
from keys.lognote import CosignerKeys
from keys.secret import Secret
from khunjerab.logform import LogJson, logs_json
from protocol.times import format_time

app = typer.Typer(help="Make, run and look at a witness: it cosigns logs that extend.", no_args_is_help=True)


@app.command()
def init(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Option(help="What its keys are called, for ever: a URL without scheme.")],
    url: Annotated[str, typer.Option(help="Where logs reach it.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT to bind.")],
    admin: Annotated[str, typer.Option(help="HOST:PORT of metrics and health, on loopback.")] = "",
) -> None:
    """Make a witness's keys, certificate and empty store, and print the lines by which others know it."""
    context = context_of(ctx)
    passphrase = find_passphrase(context.passphrase_file, new=True)
    config = WitnessConfig(name, url, listen, admin)
    home = WitnessHome.create(context.home, config, passphrase, Secret(os.urandom(SEED_BYTES_OF_WITNESS)))
    lines = _policy_lines(home.config, home.keys(passphrase))
    write_private(context.home / "witness.policy", "".join(f"{line}\n" for line in lines).encode())
    say(f"witness {name} is in {context.home}; its lines for the policies of others are in witness.policy there")
    for line in lines:
        typer.echo(line)


def _policy_lines(config: WitnessConfig, keys: CosignerKeys) -> list[str]:
    """For a tlog-policy file: a name for each key, and a group that wants both."""
    vkeys = keys.vkeys()
    names = [f"{config.name}/{kind}" for kind in ("ed25519", "mldsa44")]
    lines = [f"witness {name} {key.encode()} {config.url}" for name, key in zip(names, vkeys, strict=True)]
    return [*lines, f"group {config.name} all {' '.join(names)}"]


@app.command()
def add(
    ctx: typer.Context, policies: Annotated[list[Path], typer.Argument(help="tlog-policy files, one for each log.")]
) -> None:
    """Cosign the log of each policy from the next start on; its `log` lines say by which keys it is known."""
    home = WitnessHome(context_of(ctx).home)
    for path in policies:
        say(f"{home.add(path)} is cosigned from the next start on")


@app.command()
def serve(ctx: typer.Context, log_json: LogJson = None) -> None:
    """Run the witness until SIGTERM or SIGINT."""
    context = context_of(ctx)
    home = WitnessHome(context.home)
    keys = home.keys(find_passphrase(context.passphrase_file))
    logs.configure(Budget(60, time.monotonic), as_json=logs_json(log_json))
    with home.locked():
        asyncio.run(_serve(home, keys))


async def _serve(home: WitnessHome, keys: CosignerKeys) -> None:
    """Down: close the listening socket, answer what was taken, close the store."""
    config, stop = home.config, asyncio.Event()
    known = home.logs()
    witness = Witness(keys, home.store(), known, holds_nothing_to_compare, lambda: time.time_ns() // 1_000_000_000)
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(witness.close)
        if config.admin:
            watched = await server.serve_admin(WitnessAlone(witness, known), config.admin)
            stack.push_async_callback(watched.cleanup)
        tls = server.tls_context(home.folder / "tls.pem") if server.uses_tls(config.url) else None
        stack.push_async_callback((await server.serve_witness(witness, config.listen, tls)).cleanup)
        say(f"witness {config.name} at {config.url}, {len(list(known))} logs")
        await stop.wait()
    say("stopped")


@app.command()
def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The logs that it knows and what it has cosigned of each, while it runs or not; and its lines for policies."""
    home = WitnessHome(context_of(ctx).home)
    with contextlib.closing(home.store()) as store:
        cosigned = {kept.origin: kept for kept in store.all()}
    lines = (home.folder / "witness.policy").read_text().splitlines()
    known = list(home.logs())
    origins = sorted({*known, *cosigned})
    if as_json:
        rows = [
            {
                "origin": origin,
                "known": origin in known,
                "size": cosigned[origin].size if origin in cosigned else None,
                "time": cosigned[origin].time_s if origin in cosigned else None,
            }
            for origin in origins
        ]
        emit({"name": home.config.name, "url": home.config.url, "policy": lines, "logs": rows})
        return
    for origin in origins:
        kept, more = cosigned.get(origin), "" if origin in known else ", known no more"
        said = f"{kept.size} entries, {format_time(kept.time_s * 1000)}" if kept else "nothing cosigned yet"
        out.print(f"{origin}: {said}{more}", markup=False)
    for line in lines:
        typer.echo(line)
