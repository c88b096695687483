"""On what a bench ran, and how much else ran there: a figure without it says little."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.carriers import nats, redis

PARTS = ("aiohttp", "cryptography", "msgpack", "msgspec", "nats-py", "PyNaCl", "uvloop")


def environment() -> dict[str, Any]:
    """Kernel, processor, versions, load."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "nats-server": _told_by(str(nats.SERVER)),
        "redis-server": _told_by(redis.SERVER) if redis.SERVER else "not installed",
        **{name: version(name) for name in PARTS},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _told_by(program: str) -> str:
    return subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def processor_seconds(pid: int) -> float:
    """Of a process, with its threads and the processes that it has started and that run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    ]
    return own + sum(processor_seconds(child) for child in children)
