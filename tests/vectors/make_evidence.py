"""Makes tests/vectors/evidence: ``python -m tests.vectors.make_evidence``.

A file is one expectation: what holds, the evidence and the pin given, and either what is shown or the code of the error
that refuses it. The evidence is a member ``file``, or a ``patch`` (RFC 6902) of that in ``holds.json``. ML-DSA
signatures are randomised, so they were made once, and are made again only if the folder has been taken away.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keys.evidence import EVIDENCE_BYTES_MAX, Evidence, Shown, check
from protocol.strictjson import Json, dumps, loads
from tests.support.edits import edited
from tests.support.packed import CHANGES, FORGED, FORMS, WORLD, packed
from tests.vectors.make_log import write_once
from tests.vectors.patch import between, patched

FOLDER = Path(__file__).parent / "evidence"
WHOLE = "holds.json"
Vector = dict[str, Any]


def value_of(shown: Shown) -> Vector:
    """What a vector says of evidence that holds."""
    return {
        "index": shown.index,
        "sender": shown.header.sender,
        "time": shown.entry.time,
        "size": shown.opened.checkpoint.size,
        "directory": shown.exchange.in_force.version,
        "links": shown.links,
        "bundles": shown.bundles,
        "cosigned": [key.name for key in shown.opened.cosigned],
    }


@functools.cache
def _whole() -> Json:
    whole: Json = json.loads((FOLDER / WHOLE).read_bytes())["given"]["file"]
    return whole


def file_of(given: Vector) -> bytes:
    """The evidence that a vector gives."""
    return dumps(given["file"] if "file" in given else patched(_whole(), given["patch"]))


def _json(evidence: Evidence) -> Json:
    return loads(evidence.encode(), EVIDENCE_BYTES_MAX)


def _refused() -> Iterator[tuple[str, str, Json]]:
    """What is refused, the code, and the file."""
    for change, of in CHANGES.items():
        yield change, "proof-failed", _json(of(packed()))
    for what, (_, forge) in FORGED.items():
        yield f"{what}, signed for by the log", "proof-failed", _json(packed(forge=forge))
    for place, value in FORMS:
        said = "taken away" if value is ... else "empty" if value == [] else json.dumps(value)
        yield f"form: {place} is {said}", "malformed", edited(_json(packed()), place, value)


def made() -> dict[str, Vector]:
    """Every vector, by file name, with new signatures."""
    pin, whole = WORLD.pin.hex(), _json(packed())
    cosigned = packed(cosigned=True)
    vectors: dict[str, Vector] = {
        WHOLE: {
            "holds": "A cancel after a revocation and a second directory.",
            "given": {"file": whole, "pin": pin},
            "value": value_of(check(packed(), WORLD.pin)),
        },
        "cosigned.json": {
            "holds": "A peer's lines on the checkpoint count.",
            "given": {"patch": between(whole, _json(cosigned)), "pin": pin},
            "value": value_of(check(cosigned, WORLD.pin)),
        },
        "refused-pin.json": {
            "holds": "Another pin is another exchange.",
            "given": {"patch": [], "pin": "00" * 32},
            "error": "proof-failed",
        },
    }
    for what, error, file in _refused():
        given = {"patch": between(whole, file), "pin": pin}
        name = re.sub(r"[^a-z0-9]+", "-", f"refused {what}".lower().replace("'", "")).strip("-")
        vectors[f"{name}.json"] = {"holds": f"Refused: {what}.", "given": given, "error": error}
    return vectors


if __name__ == "__main__":
    write_once(FOLDER, made)
