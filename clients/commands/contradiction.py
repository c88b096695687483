"""``khunjerab audit evidence``, and what evidence of a fork shows in words: two trees, and what they rest on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from clients.auditor import site_of
from clients.commands.context import AsJson, open_home
from clients.contradictions import files
from clients.home import Home
from clients.screen import emit, format_moment, out, say, warn
from keys.fork import CHECKPOINT, TREE_HEAD, Contradiction, Fork, Tree, check
from protocol import limits
from protocol.errors import ProtocolError
from protocol.note import COSIGNATURE_MLDSA44


def show(shown: Contradiction, *, pinned: bool, as_json: bool) -> None:
    """On stdout, as whoever is handed the file would want to read it out."""
    if as_json:
        emit(to_json(shown))
        return
    old, new, said = shown.old, shown.new, _forms(shown)
    out.print(f"{shown.origin}, run by {shown.node.nation}, signed two histories", markup=False)
    out.print(f"  {said[0]} of {_told(old)}", markup=False)
    out.print(f"  {said[1]} of {_told(new)}", markup=False)
    if old.size < new.size:
        out.print(
            f"  whose first {old.size} entries have the root {shown.fork.other_root.hex()}, as a proof of "
            f"{len(shown.fork.proof)} hashes shows",
            markup=False,
        )
    for line in _rests_on(shown, pinned=pinned):
        out.print(f"  rests on {line}", markup=False)
    out.print(
        "  does not show which entries differ, which history is the true one, nor who held the keys", markup=False
    )


def to_json(shown: Contradiction) -> dict[str, Any]:
    """SPEC §14.4, as it is told."""
    forms = (CHECKPOINT if isinstance(shown.fork.old, str) else TREE_HEAD, CHECKPOINT)
    old, new = (
        {"form": form, "size": tree.size, "root": tree.root.hex(), "time": tree.signed}
        for form, tree in zip(forms, (shown.old, shown.new), strict=True)
    )
    return {
        "shows": "fork",
        "origin": shown.origin,
        "nation": shown.node.nation,
        "pin": shown.pin.hex(),
        "old": old,
        "new": new,
        "other_root": shown.fork.other_root.hex(),
        "directory": shown.exchange.in_force.version,
    }


def _forms(shown: Contradiction) -> tuple[str, str]:
    return ("a checkpoint" if isinstance(shown.fork.old, str) else "the head of a receipt", "a checkpoint")


def _told(tree: Tree) -> str:
    return f"{tree.size} entries with the root {tree.root.hex()}, signed {format_moment(tree.signed)}"


def _rests_on(shown: Contradiction, *, pinned: bool) -> list[str]:
    """From the ground up."""
    versions = len(shown.fork.versions)
    signed = "directory version 1, signed" if versions == 1 else f"directory versions 1 to {versions}, each signed"
    post_quantum = any(key.type == COSIGNATURE_MLDSA44 for key in shown.node.log)
    log = "the log's keys, Ed25519 and ML-DSA-44" if post_quantum else "the log's key, Ed25519 alone"
    lines = [
        f"the exchange that begins with directory {shown.pin.hex()}, {'your pin' if pinned else 'UNPINNED'}",
        f"{signed} by the authorities of {' and '.join(nation.id for nation in shown.exchange.in_force.nations)}",
        f"{log}, which that directory lists",
    ]
    if not isinstance(shown.fork.old, str):
        lines.append("the node's receipt key, Ed25519 alone")
    return [*lines, "SHA-256: nobody finds two trees under one root"]


async def evidence(
    ctx: typer.Context,
    source: Annotated[str, typer.Option(help="URL of a node: what it holds, instead of what this home does.")] = "",
    folder: Annotated[Path | None, typer.Option("--output", "-o", help="Write the files there.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what is held against logs that signed two histories, or write it out for somebody who is offline.

    Only what holds is listed. `audit check` says in words what a file shows.
    """
    home = open_home(ctx)
    found = await _at_node(home, source) if source else [(moment, data) for moment, _, data in files(home.state)]
    if not found:
        where = f"at {source}" if source else "here"
        say(f"no evidence is held {where}: no log is known to have signed two histories")
    for moment, data in found:
        shown, sha256 = check(Fork.decode(data), bytes.fromhex(home.profile.pin)), hashlib.sha256(data).hexdigest()
        path = folder / f"{sha256}.json" if folder is not None else None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if as_json:
            emit({"sha256": sha256, "origin": shown.origin, "at": moment, "file": str(path) if path else None})
        else:
            out.print(f"{sha256}  {format_moment(moment)}  {shown.origin}: {shown}", markup=False)


async def _at_node(home: Home, url: str) -> list[tuple[int, bytes]]:
    """When a node found each file, and the file: those that hold."""
    site, found = await site_of(home, url), []
    async with site.wire as wire:
        for told in json.loads(await wire.request("GET", "/v1/evidence", login=False)):
            name = f"/v1/evidence/{told['sha256']}"
            data = await wire.request("GET", name, login=False, bytes_max=limits.FORK_BYTES_MAX)
            try:
                check(Fork.decode(data), bytes.fromhex(home.profile.pin))
            except ProtocolError as error:
                warn(f"{told['sha256']} at {url} shows nothing: {error.detail}")
                continue
            found.append((int(told["at"]), data))
    return found
