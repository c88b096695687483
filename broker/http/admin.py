"""The operator's listener, on loopback only: metrics, health, readiness."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from broker.http.request import problems


class Watched(Protocol):
    """What an operator watches: a node, or a witness by itself."""

    @property
    def registry(self) -> CollectorRegistry:
        """Its metrics."""

    def state(self) -> dict[str, Any]:
        """What it is at the moment; ``ready`` says whether it does its work."""


WATCHED: web.AppKey[Watched] = web.AppKey("watched", Watched)
routes = web.RouteTableDef()


def application(watched: Watched) -> web.Application:
    """The three routes."""
    app = web.Application(middlewares=[problems])
    app[WATCHED] = watched
    app.add_routes(routes)
    return app


@routes.get("/metrics")
async def get_metrics(request: web.Request) -> web.Response:
    """Prometheus text."""
    body = generate_latest(request.app[WATCHED].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


@routes.get("/healthz")
async def get_health(request: web.Request) -> web.Response:
    """That the process answers: what a supervisor restarts it for."""
    del request
    return web.json_response({"status": "ok"})


@routes.get("/readyz")
async def get_readiness(request: web.Request) -> web.Response:
    """Whether it admits and signs, and if not, why: 503 then."""
    state = request.app[WATCHED].state()
    return web.json_response(state, status=200 if state["ready"] else web.HTTPServiceUnavailable.status_code)
