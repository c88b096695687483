"""Evidence of one bulletin in a small ledger; what who holds the file can do to it, and what an operator can."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from broker.fsck import Stored
from keys.evidence import Evidence, Placed
from protocol import merkle
from protocol.checkpoint import Checkpoint
from protocol.entry import Entry, Link, Submission
from protocol.header import Relation
from protocol.merkle import leaf_hash
from protocol.note import Note
from protocol.statements import GOVERNANCE, Kind
from protocol.tlogproof import TlogProof
from tests.support.altering import replace
from tests.support.operator import signed_checkpoint
from tests.support.trees import memory
from tests.support.world import NOW, ORIGINS, World, admit, node_keys, open_ledger, signing_key

WORLD = World.found()


@functools.cache
def ledger() -> tuple[tuple[bytes, ...], tuple[bytes, ...], int, int]:
    """Entries, among them a revocation and a second directory; JSON; where a bulletin and its cancel stand."""
    with TemporaryDirectory() as folder:
        ledger = open_ledger(Path(folder), WORLD)
        with contextlib.closing(ledger.storage):
            first = admit(ledger, WORLD.bulletin())
            admit(ledger, WORLD.revocation("cn-embassy/desk"))
            admit(ledger, WORLD.with_directory(issued=NOW).publication())
            admit(ledger, WORLD.bulletin())
            cancelled = ledger.storage.entry(first.index)
            assert cancelled is not None
            relation = Relation("cancels", ORIGINS["PK"], first.index, cancelled.leaf())
            index = admit(ledger, WORLD.bulletin(relations=(relation,))).index
            admit(ledger, WORLD.bulletin())
        stored = Stored(Path(folder) / "pk-ledger.db")
        with contextlib.closing(stored.db):
            versions = (WORLD.directory, WORLD.with_directory(issued=NOW).directory)
            json = [stored.directory(version.hash) for version in versions]
            return tuple(stored.entries(0, 100)), tuple(one for one in json if one), first.index, index


@functools.cache
def packed(*, cosigned: bool = False, forge: Callable[[Entry], Entry] | None = None) -> Evidence:
    """Of the cancel; with ``forge`` as an operator who has the log's keys makes it of another entry in its place."""
    honest, json, first, index = ledger()
    entries = list(honest)
    if forge is not None:
        entries[index] = forge(Entry.decode(entries[index])).encode()
    nodes = memory([leaf_hash(data) for data in entries])
    size = len(entries)

    def placed(at: int) -> Placed:
        return Placed(at, entries[at], tuple(merkle.inclusion_path(at, size, nodes)))

    note = signed_checkpoint(size, merkle.root(size, nodes), NOW // 1000)
    if cosigned:
        parsed = Note.parse(note)
        lines = node_keys("CN").cosigner.lines(Checkpoint.parse(parsed.text), NOW // 1000)
        note = Note(parsed.text, (*parsed.lines, *lines)).encode()
    kinds = [Entry.decode(data).kind for data in entries]
    governance = tuple(placed(at) for at in range(index) if kinds[at] in GOVERNANCE)
    proof = TlogProof(index, placed(index).path, note)
    return Evidence(entries[index], proof, governance, (placed(first),), json)


def other_note(evidence: Evidence) -> Evidence:
    lines = Note.parse(evidence.proof.checkpoint).lines
    note = Note(
        Note.parse(evidence.proof.checkpoint).text, (lines[0], replace(lines[1], signature=lines[1].signature[::-1]))
    )
    return replace(evidence, proof=replace(evidence.proof, checkpoint=note.encode()))


def without(kind: int) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(
        evidence, governance=tuple(p for p in evidence.governance if Entry.decode(p.entry).kind != kind)
    )


def other_signatures(evidence: Evidence) -> Evidence:
    entry = Entry.decode(evidence.entry)
    return replace(evidence, entry=replace(entry, signatures=entry.signatures[:-1] + b"\x00").encode())


CHANGES: dict[str, Callable[[Evidence], Evidence]] = {
    "another time": lambda e: replace(e, entry=replace(Entry.decode(e.entry), time=NOW + 1).encode()),
    "another signature": other_signatures,
    "another index": lambda e: replace(e, proof=replace(e.proof, index=e.proof.index - 1)),
    "a path cut short": lambda e: replace(e, proof=replace(e.proof, path=e.proof.path[:-1])),
    "a line of the log altered": other_note,
    "a revocation left out": without(5),
    "the directories left out": without(3),
    "the key bundles left out": without(4),
    "the second directory's JSON left out": lambda e: replace(e, directories=e.directories[:1]),
    "the first directory's JSON left out": lambda e: replace(e, directories=e.directories[1:]),
    "a target with another index": lambda e: replace(e, targets=(replace(e.targets[0], index=8),)),
    "governance after the bulletin": lambda e: replace(
        e, governance=(*e.governance, Placed(e.proof.index + 1, e.entry, e.proof.path))
    ),
    "a governance entry altered": lambda e: replace(
        e, governance=(replace(e.governance[0], entry=e.governance[0].entry + b"\x00"), *e.governance[1:])
    ),
}


def as_entry(entry: Entry, submission: Submission) -> Entry:
    return replace(entry, kind=submission.kind, statement=submission.statement, signatures=submission.signatures)


FORGED: dict[str, tuple[str, Callable[[Entry], Entry]]] = {
    "a signature": (
        "signature",
        lambda e: replace(e, signatures=e.signatures[:-2] + bytes([e.signatures[-2] ^ 1, 0xC0])),
    ),
    "a key of nobody": (
        "key-not-in-force",
        lambda e: as_entry(e, WORLD.bulletin(signer="nobody", key_id=signing_key("nobody").public.key_id)),
    ),
    "what is no bulletin": (
        "not of a bulletin",
        lambda e: as_entry(e, WORLD.suspension("cn-embassy")),
    ),
    "another link": ("governance-link", lambda e: replace(e, link=Link(Kind.DIRECTORY, 0))),
}

FORMS: list[tuple[str, Any]] = [  # as ``tests/support/edits.py`` has it
    ("type", "khunjerab.evidence.v2"),
    ("extra", 1),
    ("governance/0/extra", 1),
    ("governance/1/index", 0),
    ("governance", []),
    ("directories", []),
    ("directories", [""]),
    ("directories", ["e31="]),  # of two spellings of these bytes, the other
    ("directories", ["e30"]),
    ("entry", 1),
    ("entry", ...),
]
