"""Makes tests/vectors/log: ``python -m tests.vectors.make_log``.

A file is one expectation: what holds, what kind of thing is given, the thing, and either what comes of it or the code
of the error that refuses it. All but the signed notes come out the same byte for byte. ML-DSA signatures are
randomised, so ``open-*.json`` were made once, and are made again only if ``open-whole.json`` has been taken away.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keys.lognote import CosignerKeys, LogSigner
from keys.secret import Secret
from protocol import merkle, tiles
from protocol.checkpoint import Checkpoint
from protocol.errors import Malformed, ProofFailed, ProtocolError, TooLarge
from protocol.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519, Note, SignatureLine, VerifierKey
from protocol.tlogproof import TlogProof
from tests.support import trees

FOLDER = Path(__file__).parent / "log"
SIGNED = "open-"
Vector = dict[str, Any]
Named = tuple[str, Vector]

_LEAVES = trees.numbered_leaves(65_537)
_NODES = trees.memory(_LEAVES)
_ROOT = hashlib.sha256(b"root").digest()
_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
_LINE = SignatureLine("example.com/foo", bytes.fromhex("530d903a"), b"signature")


def deterministic() -> dict[str, Vector]:
    """Every vector without a signature, by file name."""
    makers = (_inclusion, _consistency, _tile_paths, _bundles, _vkeys, _notes, _checkpoints, _proofs, _policies)
    return {f"{name}.json": vector for maker in makers for name, vector in maker()}


def signed() -> dict[str, Vector]:
    """The signed notes, with new signatures."""
    return {f"{SIGNED}{name}.json": vector for name, vector in _opened()}


def render(vector: Vector) -> bytes:
    """The bytes of a vector's file."""
    return (json.dumps(vector, indent=2, ensure_ascii=False) + "\n").encode()


def write_once(folder: Path, made: Callable[[], dict[str, Vector]]) -> None:
    """The files of a folder, where there is none: signatures that are randomised are not made again."""
    if folder.exists():
        return
    folder.mkdir()
    for name, vector in made().items():
        (folder / name).write_bytes(render(vector))


def _accepted(holds: str, kind: str, given: Any, value: Any) -> Vector:
    return {"holds": holds, "kind": kind, "given": given, "value": value}


def _refused(holds: str, kind: str, given: Any, error: type[ProtocolError]) -> Vector:
    return {"holds": holds, "kind": kind, "given": given, "error": error.code}


def _inclusion() -> Iterator[Named]:
    def given(index: int, size: int, **changed: Any) -> dict[str, Any]:
        path = [one.hex() for one in merkle.inclusion_path(index, size, _NODES)]
        root = merkle.root(size, _NODES).hex()
        return {"leaf": _LEAVES[index].hex(), "index": index, "size": size, "path": path, "root": root} | changed

    for index, size in ((0, 1), (0, 8), (5, 8), (6, 7), (255, 256), (256, 257), (0, 65_537), (65_536, 65_537)):
        yield (
            f"inclusion-{index}-of-{size}",
            _accepted("A path from a leaf leads to the root.", "inclusion", given(index, size), None),
        )
    whole = given(5, 7)
    path = whole["path"]
    for name, holds, changed in (
        ("short", "A path with a hash missing proves nothing.", {"path": path[:-1]}),
        ("long", "A path with a hash too many proves nothing.", {"path": [*path, path[0]]}),
        ("swapped", "A path's hashes have one order.", {"path": [path[1], path[0], *path[2:]]}),
        ("cut-hash", "A hash of a path is 32 bytes.", {"path": [path[0][:-2], *path[1:]]}),
        ("other-leaf", "A path is of one leaf.", {"leaf": _LEAVES[4].hex()}),
        ("other-index", "A path is of one index.", {"index": 4}),
        ("outside", "An index lies inside the tree.", {"index": 7}),
        ("double-size", "A path is of one size.", {"size": 14}),
        ("other-root", "A path leads to one root.", {"root": merkle.root(8, _NODES).hex()}),
    ):
        yield f"inclusion-{name}", _refused(holds, "inclusion", whole | changed, ProofFailed)


def _consistency() -> Iterator[Named]:
    def given(old: int, new: int, **changed: Any) -> dict[str, Any]:
        path = [one.hex() for one in merkle.consistency_path(old, new, _NODES)]
        roots = {"old_root": merkle.root(old, _NODES).hex(), "new_root": merkle.root(new, _NODES).hex()}
        return {"old": old, "new": new, "path": path} | roots | changed

    for old, new in ((0, 5), (1, 2), (4, 7), (6, 8), (7, 7), (255, 257), (256, 65_536), (65_535, 65_537)):
        yield (
            f"consistency-{old}-to-{new}",
            _accepted("A tree extends an older one.", "consistency", given(old, new), None),
        )
    whole = given(6, 8)
    path = whole["path"]
    for name, holds, changed in (
        ("short", "A path with a hash missing proves nothing.", {"path": path[:-1]}),
        ("long", "A path with a hash too many proves nothing.", {"path": [*path, path[0]]}),
        ("empty", "Two sizes need a path.", {"path": []}),
        ("smaller", "A tree does not extend a larger one.", {"old": 8, "new": 6}),
        ("other-old", "The old root is the older tree's.", {"old_root": merkle.root(5, _NODES).hex()}),
        ("other-new", "The new root is the newer tree's.", {"new_root": merkle.root(7, _NODES).hex()}),
        ("two-roots", "One size has one root.", given(8, 8, old_root=_ROOT.hex())),
        ("path-for-none", "From the empty tree there is nothing to prove.", given(0, 5, path=path)),
        ("no-empty-root", "The empty tree has one root.", given(0, 5, old_root=_ROOT.hex())),
    ):
        yield f"consistency-{name}", _refused(holds, "consistency", whole | changed, ProofFailed)


def _tile_paths() -> Iterator[Named]:
    for name, level, index, width in (
        ("full", 0, 5, 256),
        ("partial", 1, 1_234_067, 8),
        ("entries", None, 70_000 // 256, 112),
    ):
        value = {"level": level, "index": index, "width": width}
        yield (
            f"tile-path-{name}",
            _accepted("A tile has one path.", "tile-path", tiles.tile_path(level, index, width), value),
        )
    for name, holds, path in (
        ("level-zeros", "A level has no leading zeros.", "tile/00/000"),
        ("level-64", "There are 64 levels.", "tile/64/000"),
        ("index-zeros", "An index has no empty group.", "tile/0/x000/001"),
        ("index-short", "A group is three digits.", "tile/0/05"),
        ("width-256", "A full tile has no .p.", "tile/0/000.p/256"),
        ("width-0", "An empty tile is not served.", "tile/0/000.p/0"),
        ("up", "A path leads nowhere else.", "tile/0/../../checkpoint"),
    ):
        yield f"tile-path-{name}", _refused(holds, "tile-path", path, Malformed)


def _bundles() -> Iterator[Named]:
    entries = [b"", b"one", bytes(300)]
    data = tiles.encode_bundle(entries)

    def given(data: bytes, width: int) -> dict[str, Any]:
        return {"data": base64.b64encode(data).decode(), "width": width}

    value = [base64.b64encode(entry).decode() for entry in entries]
    yield "bundle-whole", _accepted("A bundle holds its entries.", "bundle", given(data, 3), value)
    yield "bundle-short", _refused("A bundle holds every entry.", "bundle", given(data, 4), Malformed)
    yield "bundle-trailing", _refused("A bundle holds nothing else.", "bundle", given(data + b"\0", 3), Malformed)
    yield "bundle-cut", _refused("An entry is as long as its length says.", "bundle", given(data[:-1], 3), Malformed)


def _vkeys() -> Iterator[Named]:
    spec = VerifierKey.parse(_VKEY)
    fields = {"name": spec.name, "type": spec.type, "public": spec.public.hex()}
    yield "vkey-specification", _accepted("C2SP's own example is read.", "vkey", _VKEY, fields)
    for name, key_type, length in (("cosigner", COSIGNATURE_ED25519, 32), ("mldsa44", COSIGNATURE_MLDSA44, 1312)):
        key = VerifierKey("w.example", key_type, bytes(length))
        fields = {"name": key.name, "type": key.type, "public": key.public.hex()}
        yield f"vkey-{name}", _accepted("A cosigner's key is read.", "vkey", key.encode(), fields)
    for name, holds, text in (
        ("other-id", "A key id is that of its key.", _VKEY.replace("530d903a", "530d903b")),
        ("upper-case", "A key id is in lower case.", _VKEY.replace("530d903a", "530D903A")),
        ("space", "A name holds no space.", _VKEY.replace("/foo", " foo")),
        ("type", "A type is one that is known here.", _VKEY.replace("+Aeky", "+Auky")),
        ("bits", "Base64 has one form.", _VKEY[:-1] + "l"),
    ):
        yield f"vkey-{name}", _refused(holds, "vkey", text, Malformed)
    yield "vkey-long-name", _refused("A name is 255 bytes at most.", "vkey", "a" * 256 + _VKEY, TooLarge)


def _notes() -> Iterator[Named]:
    note = Note("a text\n\nwith an empty line\n", (_LINE, _LINE))
    lines = [{"name": _LINE.name, "key_id": _LINE.key_id.hex(), "signature": _LINE.signature.hex()}] * 2
    value = {"text": note.text, "lines": lines}
    yield "note-whole", _accepted("The last empty line ends the text.", "note", note.encode(), value)
    signed = f"a text\n\n{_LINE.encode()}"
    for name, holds, text, error in (
        ("unsigned", "A note is signed.", "a text\n\n", Malformed),
        ("no-newline", "A note ends in a newline.", signed[:-1], Malformed),
        ("hyphen", "A line begins with an em dash.", signed.replace("—", "-"), Malformed),
        ("carriage-return", "A note holds no control character.", signed.replace("text", "text\r"), Malformed),
        ("trailing", "Nothing follows the lines.", signed + "more", Malformed),
        ("bits", "Base64 has one form.", signed.replace("ZQ==", "ZR=="), Malformed),
        ("seventeen-lines", "A note has 16 lines at most.", f"a text\n\n{_LINE.encode() * 17}", TooLarge),
    ):
        yield f"note-{name}", _refused(holds, "note", text, error)


def _checkpoints() -> Iterator[Named]:
    root = base64.b64encode(_ROOT).decode()
    for checkpoint in (
        Checkpoint("pk.example/ledger", 42, _ROOT),
        Checkpoint("pk.example/ledger", 0, merkle.EMPTY_ROOT),
    ):
        value = {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
        holds = "A checkpoint is origin, size and root."
        yield f"checkpoint-{checkpoint.size}", _accepted(holds, "checkpoint", checkpoint.text(), value)
    for name, holds, text, error in (
        ("extension", "A checkpoint has no extension line.", f"o\n1\n{root}\nmore\n", Malformed),
        ("leading-zero", "A size has no leading zero.", f"o\n01\n{root}\n", Malformed),
        ("size-2-63", "A size is below 2**63.", f"o\n{2**63}\n{root}\n", Malformed),
        ("origin-space", "An origin holds no space.", f"o o\n1\n{root}\n", Malformed),
        ("no-origin", "A checkpoint has an origin.", f"\n1\n{root}\n", Malformed),
        ("short-root", "A root is 32 bytes.", "o\n1\nAAAA\n", Malformed),
        ("long-origin", "An origin is 255 bytes at most.", f"{'o' * 256}\n1\n{root}\n", TooLarge),
    ):
        yield f"checkpoint-{name}", _refused(holds, "checkpoint", text, error)


def _proofs() -> Iterator[Named]:
    note = Note(Checkpoint("o.example", 7, merkle.root(7, _NODES)).text(), (_LINE,)).encode()
    proof = TlogProof(5, tuple(merkle.inclusion_path(5, 7, _NODES)), note, b"extra")
    text = proof.encode()
    value = {"index": 5, "path": [one.hex() for one in proof.path], "checkpoint": note, "extra": b"extra".hex()}
    yield "tlog-proof-whole", _accepted("A proof is a file.", "tlog-proof", text, value)
    hash_line = base64.b64encode(proof.path[0]).decode() + "\n"
    for name, holds, changed, error in (
        ("version", "A proof is of version 1.", text.replace("@v1", "@v2"), Malformed),
        ("index-zero", "An index has no leading zero.", text.replace("index 5", "index 05"), Malformed),
        ("no-index", "A proof has an index.", text.replace("index 5\n", ""), Malformed),
        ("empty-extra", "Extra data that is empty is left out.", text.replace("ZXh0cmE=", ""), Malformed),
        ("no-note", "A proof ends in a signed note.", text.replace("— ", ""), Malformed),
        ("64-hashes", "A path has 63 hashes at most.", text.replace(hash_line, hash_line * 62), TooLarge),
    ):
        yield f"tlog-proof-{name}", _refused(holds, "tlog-proof", changed, error)


def _policies() -> Iterator[Named]:
    log = VerifierKey("o.example", ED25519, bytes(32)).encode()
    one, two = (VerifierKey("w.example", COSIGNATURE_ED25519, bytes([byte] * 32)).encode() for byte in (1, 2))
    text = f"log {log}\nwitness a {one}\nwitness b {two}\ngroup both 2 a b\nquorum both\n"
    yield "policy-both", _accepted("Both nations must have signed.", "policy", text, {"any": False, "all": True})
    either = text.replace("both 2", "both 1")
    yield "policy-either", _accepted("One of two is enough.", "policy", either, {"any": True, "all": True})
    yield "policy-none", _accepted("Nobody is asked.", "policy", "quorum none\n", {"any": True, "all": True})
    for name, holds, changed in (
        ("undefined", "A name is defined before it is used.", text.replace("quorum both", "quorum c")),
        ("twice", "A witness counts once.", text.replace("2 a b", "2 a a")),
        ("threshold", "No more are asked than there are.", text.replace("both 2", "both 3")),
        ("log-as-witness", "A log's plain key cosigns nothing.", text.replace(one, log)),
        ("same-key", "A key is one witness.", text.replace(two, one)),
        ("no-quorum", "A policy has a quorum.", text.replace("quorum both\n", "")),
        ("no-newline", "A policy ends in a newline.", text.removesuffix("\n")),
    ):
        yield f"policy-{name}", _refused(holds, "policy", changed, Malformed)


def _opened() -> Iterator[Named]:
    origin = "pk.example/ledger"
    log = LogSigner(origin, Secret(b"\1" * 32), Secret(b"\2" * 32))
    cosigner = CosignerKeys("cn.example/node", Secret(b"\3" * 32), Secret(b"\4" * 32))
    checkpoint = Checkpoint(origin, 42, _ROOT)
    own, others = log.lines(checkpoint, 1_700_000_000), cosigner.lines(checkpoint, 1_700_000_001)
    keys = {
        "log_keys": [key.encode() for key in log.vkeys()],
        "cosigner_keys": [key.encode() for key in cosigner.vkeys()],
    }

    def given(*lines: SignatureLine, text: str = checkpoint.text()) -> dict[str, Any]:
        return {"note": Note(text, lines).encode()} | keys

    def broken(line: SignatureLine) -> SignatureLine:
        return SignatureLine(line.name, line.key_id, line.signature[:-1] + bytes([line.signature[-1] ^ 1]))

    both = [[cosigner.name, key_type, 1_700_000_001] for key_type in (COSIGNATURE_ED25519, COSIGNATURE_MLDSA44)]
    value = {"origin": origin, "size": 42, "root": _ROOT.hex(), "cosigned": both[:1]}
    yield "whole", _accepted("Every line verifies.", "open", given(*own, *others), value | {"cosigned": both})
    yield "one-cosigner", _accepted("A cosigner may miss.", "open", given(*own, others[0]), value)
    unknown = given(_LINE, *own, others[0])
    yield "unknown-line", _accepted("Lines of unknown keys are ignored.", "open", unknown, value)
    larger = Checkpoint(origin, 43, _ROOT).text()
    for name, holds, refused in (
        ("no-ed25519", "Every log key has signed.", given(own[1], *others)),
        ("no-mldsa44", "Every log key has signed.", given(own[0], *others)),
        ("bad-ed25519", "A known key's line verifies.", given(broken(own[0]), own[1])),
        ("bad-mldsa44", "A known key's line verifies.", given(own[0], broken(own[1]))),
        ("bad-cosignature", "A known cosigner's line verifies.", given(*own, broken(others[0]))),
        ("other-size", "A line is over one checkpoint.", given(*own, text=larger)),
        ("other-origin", "A log speaks of itself.", given(*own, text=checkpoint.text().replace("pk", "cn"))),
    ):
        yield name, _refused(holds, "open", refused, ProofFailed)


def main() -> None:
    """Write every file that is not as it should be, and take away those that no longer have a maker."""
    FOLDER.mkdir(exist_ok=True)
    wanted = {name: render(vector) for name, vector in deterministic().items()}
    if not (FOLDER / f"{SIGNED}whole.json").exists():
        wanted |= {name: render(vector) for name, vector in signed().items()}
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted and not path.name.startswith(SIGNED):
            path.unlink()
    for name, data in wanted.items():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
