"""The server: one aiohttp application on TLS 1.3, with bounds where the library has none, or none that would hold."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from broker.errors import NodeHomeError
from broker.http import admin, evidence, exchange, log, witness
from broker.http.admin import Watched
from broker.http.intake import Intake
from broker.http.request import MEMBERS, MEMBERS_BYTES_MAX, NODE, STRANGERS, STRANGERS_BYTES_MAX, problems
from broker.http.witness import WITNESS
from broker.node import Node
from broker.witness.witness import Witness
from protocol import limits

KEEPALIVE_SECONDS = 15  # also bounds slow headers
HANDSHAKE_SECONDS = 10
SHUTDOWN_SECONDS = 5
CONNECTIONS_MAX = 8192  # idle ones too; a session's waiting requests are bounded in broker/sessions.py


def application(node: Node) -> web.Application:
    """Every public route of a node."""
    app = web.Application(client_max_size=limits.REQUEST_BYTES_MAX + 1, middlewares=[problems])
    app[NODE] = node
    app[STRANGERS], app[MEMBERS] = Intake(STRANGERS_BYTES_MAX), Intake(MEMBERS_BYTES_MAX)
    app.add_routes(exchange.routes)
    app.add_routes(log.routes)
    app.add_routes(witness.routes)
    app.add_routes(evidence.routes)
    if node.witness is not None:
        app[WITNESS] = node.witness
    app.on_shutdown.append(_end_what_waits)
    return app


def witness_application(subject: Witness) -> web.Application:
    """The two routes of a witness by itself."""
    app = web.Application(client_max_size=limits.ADD_CHECKPOINT_BYTES_MAX + 1, middlewares=[problems])
    app[WITNESS] = subject
    app[STRANGERS] = Intake(STRANGERS_BYTES_MAX)
    app.add_routes(witness.routes_alone)
    return app


async def _end_what_waits(app: web.Application) -> None:
    """After the listening socket is closed, and before requests in flight are waited for."""
    app[NODE].begin_stop()


def tls_context(pem: Path) -> ssl.SSLContext:
    """TLS 1.3 and nothing older, with the node's own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(pem)
    return context


class Site(web.BaseSite):
    """A listening socket that accepts no more connections than ``CONNECTIONS_MAX`` at a time."""

    def __init__(self, runner: web.AppRunner, listen: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(runner, ssl_context=tls, backlog=1024)
        self._listen = listen

    @property
    def name(self) -> str:
        """Where it listens."""
        return self._listen

    async def start(self) -> None:
        """Bind. Raises NodeHomeError where that cannot be."""
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")

        def protocol() -> asyncio.Protocol:
            return _Refusing() if len(server.connections) >= CONNECTIONS_MAX else server()

        host, port = parse_listen(self._listen)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                protocol,
                host,
                port,
                ssl=self._ssl_context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._ssl_context else None,
                backlog=self._backlog,
                reuse_address=True,
            )
        except OSError as error:
            raise NodeHomeError(f"cannot listen on {self._listen}: {error.strerror or error}") from None
        await super().start()

    async def stop(self) -> None:
        """Accept no more, make what was accepted, and close only then: asyncio would lose it, and not close it."""
        if isinstance(self._server, asyncio.Server):
            loop = asyncio.get_running_loop()
            for listening in self._server.sockets:
                loop.remove_reader(listening.fileno())
            await asyncio.sleep(0)
        await super().stop()


class _Refusing(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it before it costs anything."""
        if isinstance(transport, asyncio.Transport):
            transport.abort()


async def serve(node: Node, listen: str, tls: ssl.SSLContext | None) -> web.AppRunner:
    """Bind and answer. Raises NodeHomeError where plain HTTP would leave this machine, or the address is taken."""
    return await _serve(application(node), listen, tls)


async def serve_witness(subject: Witness, listen: str, tls: ssl.SSLContext | None) -> web.AppRunner:
    """The same for a witness by itself."""
    return await _serve(witness_application(subject), listen, tls)


async def _serve(app: web.Application, listen: str, tls: ssl.SSLContext | None) -> web.AppRunner:
    if tls is None and not is_loopback(parse_listen(listen)[0]):
        raise NodeHomeError(f"plain HTTP is for loopback only, and {listen} is not: use an https URL")
    return await run_application(app, listen, tls)


async def serve_admin(watched: Watched, listen: str) -> web.AppRunner:
    """Metrics and health. Raises NodeHomeError for any address but loopback's: it tells who exchanges how much."""
    if not is_loopback(parse_listen(listen)[0]):
        raise NodeHomeError(f"metrics and health are for loopback only, and {listen} is not")
    return await run_application(admin.application(watched), listen, None)


async def run_application(app: web.Application, listen: str, tls: ssl.SSLContext | None) -> web.AppRunner:
    """Bind and answer, by the settings of every listener. Raises NodeHomeError where the address is taken."""
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        auto_decompress=False,
        max_line_size=4096,
        max_field_size=8192,
        max_headers=40,
        lingering_time=2,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        await Site(runner, listen, tls).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def parse_listen(listen: str) -> tuple[str, int]:
    """``HOST:PORT``. Raises NodeHomeError."""
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 2**16:
        raise NodeHomeError(f"{listen!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether an address never leaves this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def uses_tls(url: str) -> bool:
    """Whether a node's URL asks for TLS."""
    return urlsplit(url).scheme == "https"
