"""What evidence of a fork shows, in words: the two trees, what they rest on, and what they leave open."""

from __future__ import annotations

from typing import Any

from clients.screen import emit, format_moment, out
from keys.fork import CHECKPOINT, TREE_HEAD, Contradiction, Tree
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
