"""The server: one aiohttp application on TLS 1.3, hardened by the settings that FACTS found to matter."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from broker.errors import NodeHomeError
from broker.http import exchange, log
from broker.http.request import NODE, problems
from broker.node import Node
from protocol import limits

KEEPALIVE_SECONDS = 15  # also bounds slow headers
SHUTDOWN_SECONDS = 5


def application(node: Node) -> web.Application:
    """Every public route of a node."""
    app = web.Application(client_max_size=limits.REQUEST_BYTES_MAX + 1, middlewares=[problems])
    app[NODE] = node
    app.add_routes(exchange.routes)
    app.add_routes(log.routes)
    return app


def tls_context(pem: Path) -> ssl.SSLContext:
    """TLS 1.3 and nothing older, with the node's own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(pem)
    return context


async def serve(node: Node, listen: str, tls: ssl.SSLContext | None) -> web.AppRunner:
    """Bind and answer. Raises NodeHomeError where plain HTTP would leave this machine."""
    host, _, port = listen.rpartition(":")
    if tls is None and not is_loopback(host):
        raise NodeHomeError(f"plain HTTP is for loopback only, and {host} is not: use an https URL")
    runner = web.AppRunner(
        application(node),
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
    await web.TCPSite(runner, host.strip("[]"), int(port), backlog=1024, ssl_context=tls).start()
    return runner


def is_loopback(host: str) -> bool:
    """Whether an address never leaves this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def uses_tls(url: str) -> bool:
    """Whether a node's URL asks for TLS."""
    return urlsplit(url).scheme == "https"
