"""What this machine can do at all, measured beside the node: HTTP, one core's signatures, one disk's commits."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nacl.bindings
import nacl.signing
import uvloop
from aiohttp import web

from bench.load import Run, drive, request_of

MESSAGE_BYTES = 2048
GROUP = 64


def verify_rate(seconds: float = 1.0, threads: int = 1) -> float:
    """Ed25519 verifications a second with PyNaCl, of messages of 2 KiB."""
    key = nacl.signing.SigningKey.generate()
    signed, public = bytes(key.sign(os.urandom(MESSAGE_BYTES))), bytes(key.verify_key)

    def verify() -> int:
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            for _ in range(64):
                nacl.bindings.crypto_sign_open(signed, public)
            count += 64
        return count

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        total = sum(pool.map(lambda _: verify(), range(threads)))
        return total / (time.perf_counter() - began)


def sqlite_rate(folder: Path, row_bytes: int, seconds: float = 1.0) -> float:
    """Rows a second into SQLite, WAL and synchronous=FULL, 64 rows a transaction."""
    path = folder / f"floor-{time.time_ns()}.db"
    data, count = os.urandom(row_bytes), 0
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("CREATE TABLE entry (idx INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT")
        began = time.perf_counter()
        while time.perf_counter() < began + seconds:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO entry (data) VALUES (?)", [(data,)] * GROUP)
            db.execute("COMMIT")
            count += GROUP
        rate = count / (time.perf_counter() - began)
    for left in folder.glob(path.name + "*"):
        left.unlink()
    return rate


@contextlib.contextmanager
def http_server(port: int) -> Iterator[None]:
    """An aiohttp application in a process of its own that reads a body and answers 1 KiB."""
    context: Any = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_serve, args=(port, ready), daemon=True)
    process.start()
    ready.wait(10)
    try:
        yield
    finally:
        process.kill()
        process.join()


def _serve(port: int, ready: Any) -> None:
    answer = bytes(1024)

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer)

    async def main() -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/entries", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set()
        await asyncio.Event().wait()

    uvloop.run(main())


def http_run(port: int, body: bytes, requests: int, connections: int) -> Run:
    """POSTs of ``body`` to ``http_server``."""
    return uvloop.run(drive("127.0.0.1", port, [request_of("/v1/entries", body)] * requests, connections))
