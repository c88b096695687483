"""Makes tests/vectors/fork: ``python -m tests.vectors.make_fork``.

A file is one expectation: what holds, the evidence and the pin given, and either what is shown or the code of the error
that refuses it. ML-DSA signatures are randomised, so they were made once, and are made again only if the folder has
been taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keys.fork import Contradiction, Fork, check
from tests.support.altering import replace
from tests.support.forks import HONEST, PIN, REWRITTEN, SIZE, fork, versions
from tests.vectors.make_log import write_once

FOLDER = Path(__file__).parent / "fork"
Vector = dict[str, Any]


def value_of(shown: Contradiction) -> Vector:
    """What a vector says of evidence that holds."""
    return {
        "origin": shown.origin,
        "nation": shown.node.nation,
        "old": {"size": shown.old.size, "root": shown.old.root.hex(), "signed": shown.old.signed},
        "new": {"size": shown.new.size, "root": shown.new.root.hex(), "signed": shown.new.signed},
        "other_root": shown.fork.other_root.hex(),
    }


def file_of(given: Vector) -> bytes:
    """The evidence that a vector gives."""
    return str(given["file"]).encode()


def _shown() -> Iterator[tuple[str, str, Fork]]:
    one = versions()[:1]
    small, large = sorted((HONEST, REWRITTEN), key=lambda history: history.root(SIZE))
    yield "sizes", "The larger tree begins with another.", fork(HONEST.checkpoint(300), REWRITTEN, SIZE, 300, one)
    yield "power-of-two", "The same at a power of two.", fork(HONEST.checkpoint(256), REWRITTEN, SIZE, 256, one)
    yield "equal", "Two trees of one size.", fork(small.checkpoint(SIZE), large, SIZE, SIZE, one)
    yield "receipt", "A receipt's head counts.", fork(HONEST.head(300), REWRITTEN, SIZE, 300, one)
    yield "receipt-equal", "Also at the checkpoint's own size.", fork(HONEST.head(SIZE), REWRITTEN, SIZE, SIZE, one)
    yield "two-versions", "The keys stand in any version.", fork(HONEST.head(300), REWRITTEN, SIZE, 300)


def _refused() -> Iterator[tuple[str, str, str, bytes]]:
    whole = fork(HONEST.head(300), REWRITTEN, SIZE, 300, versions()[:1])
    small, large = sorted((HONEST, REWRITTEN), key=lambda history: history.root(SIZE))
    failed, malformed = "proof-failed", "malformed"
    yield "one-history", "An honest log broke nothing.", failed, fork(HONEST.head(300), HONEST, SIZE, 300).encode()
    yield "same-root", "The other root is another.", failed, replace(whole, other_root=HONEST.root(300)).encode()
    yield "no-proof", "Two sizes need a proof.", failed, replace(whole, proof=()).encode()
    yield "other-proof", "A proof is of this tree.", failed, replace(whole, proof=HONEST.proof(300, SIZE)).encode()
    ahead = replace(whole, old=REWRITTEN.head(SIZE), new=HONEST.checkpoint(300))
    yield "head-ahead", "A head ahead of a checkpoint breaks nothing.", failed, ahead.encode()
    empty = replace(whole, old=REWRITTEN.checkpoint(0), other_root=HONEST.root(0), proof=())
    yield "empty-tree", "Every tree begins with the empty one.", failed, empty.encode()
    unsigned = replace(whole, old=replace(HONEST.head(300), root=bytes(32)))
    yield "unsigned-head", "A head is signed by the receipt key.", failed, unsigned.encode()
    note = whole.new.replace("\n600\n", "\n599\n")
    yield "unsigned-checkpoint", "Every log key has signed.", failed, replace(whole, new=note).encode()
    chain = replace(whole, versions=versions()[1:])
    yield "no-version-1", "The directory begins with the pinned one.", failed, chain.encode()
    stranger = replace(versions()[1], signatures=versions()[0].signatures)
    swapped = replace(whole, versions=(versions()[0], stranger))
    yield "unsigned-version", "The judge accepts each.", failed, swapped.encode()
    order = fork(large.checkpoint(SIZE), small, SIZE, SIZE, versions()[:1])
    yield "order", "The smaller root of one size stands first.", malformed, order.encode()
    file = whole.encode()
    yield "trailing", "One newline ends it.", malformed, file + b"\n"
    yield "type", "A type that is known.", malformed, file.replace(b"fork.v1", b"fork.v2")
    yield (
        "upper-case",
        "Hashes are in lower case.",
        malformed,
        file.replace(whole.other_root.hex().encode(), whole.other_root.hex().upper().encode()),
    )


def made() -> dict[str, Vector]:
    """Every vector, by file name, with new signatures."""
    vectors: dict[str, Vector] = {}
    for name, holds, one in _shown():
        given = {"file": one.encode().decode(), "pin": PIN.hex()}
        vectors[f"{name}.json"] = {"holds": holds, "given": given, "value": value_of(check(one, PIN))}
    for name, holds, error, file in _refused():
        given = {"file": file.decode(), "pin": PIN.hex()}
        vectors[f"refused-{name}.json"] = {"holds": holds, "given": given, "error": error}
    whole = vectors["sizes.json"]["given"]["file"]
    other = {
        "holds": "Another pin is another exchange.",
        "given": {"file": whole, "pin": "00" * 32},
        "error": "proof-failed",
    }
    return {**vectors, "refused-pin.json": other}


if __name__ == "__main__":
    write_once(FOLDER, made)
