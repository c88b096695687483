"""JSON with one thing in it changed, for tests of what refuses it."""

from typing import Any


def edited(value: Any, place: str, new: Any) -> Any:
    """``value`` with ``new`` at a place such as ``nations/0/code``; an Ellipsis takes away what is there."""
    *path, last = place.split("/")
    inner = value
    for step in path:
        inner = inner[int(step) if step.isdigit() else step]
    if new is ...:
        del inner[last]
    else:
        inner[last] = new
    return value
