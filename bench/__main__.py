"""``python -m bench``: every figure of the README, as a ratio to a floor of the same run, and ``build/bench.json``."""

from __future__ import annotations

import argparse
import json
import platform
import ssl
from importlib.metadata import version
from pathlib import Path

from bench.admission import admission
from bench.audit import audit
from bench.table import print_table

RESULTS = Path("build/bench.json")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--posts", type=int, default=4000, help="Bulletins a round and scenario.")
    parser.add_argument("--entries", type=int, default=20_000, help="Of the audited ledger.")
    options = parser.parse_args()
    figures = [
        *admission(1, options.rounds, options.posts),
        *admission(2, options.rounds, options.posts),
        *audit(options.rounds, options.entries),
    ]
    print_table(figures)
    RESULTS.parent.mkdir(exist_ok=True)
    environment = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "openssl": ssl.OPENSSL_VERSION,
        **{name: version(name) for name in ("aiohttp", "cryptography", "PyNaCl", "msgspec", "uvloop")},
    }
    RESULTS.write_text(json.dumps({"environment": environment, "figures": [f.to_json() for f in figures]}, indent=2))


main()
