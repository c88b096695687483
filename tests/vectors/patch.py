"""JSON Patch (RFC 6902: add, remove, replace): a vector that differs little from another says only in what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

Patch = list[dict[str, Any]]


def between(old: Any, new: Any) -> Patch:
    """What makes ``new`` of ``old``. Names must be free of ``/`` and ``~``."""
    return list(_between(old, new, ""))


def _between(old: Any, new: Any, path: str) -> Iterator[dict[str, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() - new.keys():
            yield {"op": "remove", "path": f"{path}/{name}"}
        for name in new.keys() - old.keys():
            yield {"op": "add", "path": f"{path}/{name}", "value": new[name]}
        for name in (name for name in old if name in new):
            yield from _between(old[name], new[name], f"{path}/{name}")
    elif isinstance(old, list) and isinstance(new, list):
        yield from _between_lists(old, new, path)
    elif old != new or type(old) is not type(new):
        yield {"op": "replace", "path": path, "value": new}


def _between_lists(old: list[Any], new: list[Any], path: str) -> Iterator[dict[str, Any]]:
    before, after = ([json.dumps(item) for item in one] for one in (old, new))
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for _, start, end, new_start, new_end in reversed(matcher.get_opcodes()):
        both = min(end - start, new_end - new_start)  # from the end on, so that no index moves
        for at in reversed(range(start + both, end)):
            yield {"op": "remove", "path": f"{path}/{at}"}
        for item in reversed(new[new_start + both : new_end]):
            yield {"op": "add", "path": f"{path}/{start + both}", "value": item}
        for at in range(both):
            yield from _between(old[start + at], new[new_start + at], f"{path}/{start + at}")


def patched(value: Any, patch: Patch) -> Any:
    """A copy of ``value`` with every operation done."""
    value = json.loads(json.dumps(value))
    for operation in patch:
        *steps, last = operation["path"].split("/")[1:]
        inner = value
        for step in steps:
            inner = inner[int(step) if isinstance(inner, list) else step]
        at = int(last) if isinstance(inner, list) else last
        if operation["op"] == "remove":
            del inner[at]
        elif operation["op"] == "add" and isinstance(inner, list):
            inner.insert(at, operation["value"])
        else:
            inner[at] = operation["value"]
    return value
