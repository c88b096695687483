"""Readers that we did not write accept our ledgers, and refuse altered ones: the formats are C2SP's to the byte.

tlog-scales reads checkpoint, tiles, bundles and proofs; sigstore-python verifies inclusion and the log's Ed25519 line;
pymerkle builds and proves trees of its own; Go's checksum database, where Go is installed, does all but ML-DSA.
"""

import base64
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pymerkle
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import LogCheckpoint, verify_checkpoint
from sigstore._internal.trust import Keyring, RekorKeyring
from sigstore.errors import VerificationError
from sigstore_models.common import v1 as common_v1
from tlog_scales import cli, tlog
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import MLDSA44CosignatureSigner, PlainEd25519Signer, Vkey, VkeySet

from keys.lognote import CosignerKeys, LogSigner, open_checkpoint
from keys.secret import Secret
from protocol import merkle, tiles
from protocol.checkpoint import Checkpoint
from protocol.merkle import leaf_hash
from protocol.note import Note
from protocol.tlogproof import TlogProof
from tests.support import trees

SIZE = 66_000  # three levels: 257 full tiles and a partial one, one full and a partial one, and one hash
OLD_SIZE = 65_537
ORIGIN = "pk.example/ledger"
SOME_INDEXES = (0, 1, 255, 256, 511, 65_535, 65_536, SIZE // 2, SIZE - 2, SIZE - 1)
GO_FOLDER = Path(__file__).parent / "go"


@dataclass(frozen=True)
class Ledger:
    """A ledger that our code has built, in memory and as files."""

    folder: Path
    entries: list[bytes]
    nodes: merkle.Nodes
    log: LogSigner
    cosigner: CosignerKeys
    note: str

    def root(self, size: int = SIZE) -> bytes:
        return merkle.root(size, self.nodes)

    def inclusion(self, index: int, size: int = SIZE) -> list[bytes]:
        return merkle.inclusion_path(index, size, self.nodes)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Written once, read by all; whoever alters it takes a copy."""
    folder = tmp_path_factory.mktemp("ledger")
    entries = [b"entry %d " % number * (1 + number % 5) for number in range(SIZE)]
    store = trees.tiles_of([leaf_hash(entry) for entry in entries])
    for (level, index), tile in store.items():
        assert tile.width == tiles.partial_width(SIZE, level, index)
        _write(folder, tiles.tile_path(level, index, tile.width), tile.data())
        if level == 0:
            bundle = tiles.encode_bundle(entries[256 * index : 256 * (index + 1)])
            _write(folder, tiles.bundle_path(index, tile.width), bundle)
    nodes = tiles.nodes(lambda level, index: store[level, index])
    log = LogSigner(ORIGIN, Secret(b"\1" * 32), Secret(b"\2" * 32))
    cosigner = CosignerKeys("cn.example/node", Secret(b"\3" * 32), Secret(b"\4" * 32))
    checkpoint = Checkpoint(ORIGIN, SIZE, merkle.root(SIZE, nodes))
    lines = (*log.lines(checkpoint, 1_700_000_000), *cosigner.lines(checkpoint, 1_700_000_001))
    note = Note(checkpoint.text(), lines).encode()
    _write(folder, "checkpoint", note.encode())
    return Ledger(folder, entries, nodes, log, cosigner, note)


def _write(folder: Path, path: str, data: bytes) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


@pytest.fixture
def altered(ledger: Ledger, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the ledger in which one bit of one file is another: of the byte asked for, or of the middle one."""

    def alter(path: str, at: int | None = None) -> Path:
        copy = tmp_path / path.replace("/", "-")
        shutil.copytree(ledger.folder, copy)
        data = bytearray((copy / path).read_bytes())
        data[len(data) // 2 if at is None else at] ^= 1
        (copy / path).write_bytes(data)
        return copy

    return alter


# tlog-scales


def _reader(folder: Path) -> TilesReader:
    reader = TilesReader(LocalBackend(folder))
    reader.set_size(SIZE)
    return reader


def test_tlog_scales_reads_and_verifies_every_line_of_a_checkpoint(ledger: Ledger) -> None:
    """Ed25519 and ML-DSA-44, the log's and the cosigner's; and our vkey strings."""
    checkpoint = tlog.Checkpoint.from_text(ledger.note)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root_hash) == (ORIGIN, SIZE, ledger.root())
    strings = [key.encode() for key in [*ledger.log.vkeys(), *ledger.cosigner.vkeys()]]
    vkeys = [Vkey.from_string(string) for string in strings]
    assert [vkey.serialize() for vkey in vkeys] == strings  # type: ignore[no-untyped-call]
    for vkey in vkeys:
        checkpoint.verify(vkey)
    assert len(VkeySet(*vkeys).verify(checkpoint.signatures, checkpoint)) == 4
    assert checkpoint.serialize() == ledger.note


def test_tlog_scales_refuses_every_line_over_another_checkpoint(ledger: Ledger) -> None:
    """One leaf more."""
    checkpoint = tlog.Checkpoint.from_text(ledger.note.replace(f"\n{SIZE}\n", f"\n{SIZE + 1}\n"))
    for key in [*ledger.log.vkeys(), *ledger.cosigner.vkeys()]:
        with pytest.raises(InvalidSignature):
            checkpoint.verify(Vkey.from_string(key.encode()))


def test_a_checkpoint_that_tlog_scales_signed_is_opened_by_us(ledger: Ledger) -> None:
    """Its Ed25519 and its ML-DSA-44 lines, with vkeys as it writes them."""
    signers: list[Any] = [PlainEd25519Signer(ORIGIN, b"\1" * 32), MLDSA44CosignatureSigner(ORIGIN, b"\2" * 32)]
    assert [signer.vkey.serialize() for signer in signers] == [key.encode() for key in ledger.log.vkeys()]
    signed = tlog.Checkpoint.make_signed(ORIGIN, SIZE, ledger.root(), signers)
    assert open_checkpoint(signed.serialize(), ledger.log.vkeys()).checkpoint.size == SIZE


def test_tlog_scales_computes_our_roots_and_proofs_from_our_tiles(ledger: Ledger) -> None:
    """And reads our entries out of our bundles."""
    reader = _reader(ledger.folder)
    assert reader.calculate_root_hash() == ledger.root()
    for index in SOME_INDEXES:
        proof = reader.get_inclusion_proof(index, SIZE)
        assert proof.node_hashes == ledger.inclusion(index)
        assert reader.get_entry(index) == ledger.entries[index]
        proof.check(leaf_hash(ledger.entries[index]), ledger.root())
    for old in (1, 255, 256, 257, 65_535, 65_536, OLD_SIZE, SIZE):
        consistency = reader.get_consistency_proof(old, SIZE)
        assert consistency.node_hashes == merkle.consistency_path(old, SIZE, ledger.nodes)
        consistency.check(ledger.root(old), ledger.root())


@pytest.mark.parametrize(
    "path, index",
    [("tile/0/000", 0), ("tile/1/000", 0), ("tile/0/257.p/208", SIZE - 1), ("tile/2/000.p/1", SIZE - 1)],
)
def test_tlog_scales_refuses_a_proof_from_an_altered_tile(
    ledger: Ledger, altered: Callable[..., Path], path: str, index: int
) -> None:
    """Whichever level the tile is of, full or partial."""
    proof = _reader(altered(path)).get_inclusion_proof(index, SIZE)
    with pytest.raises(tlog.InclusionProofInvalid):
        proof.check(leaf_hash(ledger.entries[index]), ledger.root())


@pytest.mark.parametrize("index", SOME_INDEXES)
def test_tlog_scales_writes_the_same_proof_file_as_we_do(
    ledger: Ledger, index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Byte for byte; and ours reads its file."""
    arguments = cli.build_parser().parse_args(["gen-proof", str(ledger.folder), str(index)])
    arguments.func(arguments)
    theirs = capsys.readouterr().out
    assert theirs == TlogProof(index, tuple(ledger.inclusion(index)), ledger.note).encode()
    proof = TlogProof.parse(theirs)
    opened = open_checkpoint(proof.checkpoint, ledger.log.vkeys(), ledger.cosigner.vkeys())
    leaf = leaf_hash(ledger.entries[index])
    merkle.verify_inclusion(leaf, proof.index, opened.checkpoint.size, proof.path, opened.checkpoint.root)


# sigstore-python


def _rekor_entry(ledger: Ledger, index: int, **changed: Any) -> Any:
    proof = {
        "log_index": index,
        "tree_size": SIZE,
        "hashes": ledger.inclusion(index),
        "root_hash": ledger.root(),
        "checkpoint": SimpleNamespace(envelope=ledger.note),
    }
    inner = SimpleNamespace(
        canonicalized_body=ledger.entries[index],
        inclusion_proof=SimpleNamespace(**(proof | changed)),
        log_id=SimpleNamespace(key_id=ledger.log.vkeys()[0].key_id),
    )
    return SimpleNamespace(_inner=inner)


@pytest.fixture
def rekor_keyring(ledger: Ledger) -> RekorKeyring:
    """The log's Ed25519 key, as Sigstore's trusted root would hold it."""
    public = Ed25519PublicKey.from_public_bytes(ledger.log.vkeys()[0].public)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = common_v1.PublicKey(
        raw_bytes=base64.b64encode(der), key_details=common_v1.PublicKeyDetails.PKIX_ED25519, valid_for=None
    )
    return RekorKeyring(Keyring([key]))


@pytest.mark.parametrize("index", SOME_INDEXES)
def test_sigstore_verifies_our_inclusion_paths_and_checkpoint(
    ledger: Ledger, rekor_keyring: RekorKeyring, index: int
) -> None:
    """Its own two steps: the path leads to the root, the checkpoint signs the root."""
    entry = _rekor_entry(ledger, index)
    verify_merkle_inclusion(entry)
    verify_checkpoint(rekor_keyring, entry)


def test_sigstore_refuses_altered_paths_and_checkpoints(ledger: Ledger, rekor_keyring: RekorKeyring) -> None:
    """Another leaf's path, one hash less, another root, another size under the same signature."""
    path = ledger.inclusion(255)
    changes: list[dict[str, Any]] = [
        {"log_index": 254},
        {"hashes": path[:-1]},
        {"hashes": [bytes(32), *path[1:]]},
        {"root_hash": bytes(32)},
    ]
    for changed in changes:
        with pytest.raises(VerificationError):
            verify_merkle_inclusion(_rekor_entry(ledger, 255, **changed))
    note = ledger.note.replace(f"\n{SIZE}\n", f"\n{SIZE + 1}\n")
    changes = [{"checkpoint": SimpleNamespace(envelope=note)}, {"root_hash": bytes(32)}]
    for changed in changes:
        with pytest.raises(VerificationError):
            verify_checkpoint(rekor_keyring, _rekor_entry(ledger, 255, **changed))


def test_sigstore_reads_our_checkpoint(ledger: Ledger) -> None:
    """Origin, size and root, and nothing else in it."""
    read = LogCheckpoint.from_text(Note.parse(ledger.note).text)
    assert (read.origin, read.log_size, read.log_hash) == (ORIGIN, SIZE, ledger.root().hex())
    assert read.other_content == []


# pymerkle

PYMERKLE_SIZE = 1_100


@pytest.fixture(scope="module")
def foreign_tree(ledger: Ledger) -> pymerkle.InmemoryTree:
    """The first entries of our ledger, hashed by pymerkle."""
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    tree.append_entries(ledger.entries[:PYMERKLE_SIZE])
    return tree


def test_pymerkle_has_our_root_at_every_size(ledger: Ledger, foreign_tree: pymerkle.InmemoryTree) -> None:
    """From 1 leaf to 1,100."""
    assert all(foreign_tree.get_root(size) == ledger.root(size) for size in range(1, PYMERKLE_SIZE + 1))


def test_pymerkle_accepts_our_inclusion_paths_and_refuses_altered_ones(
    ledger: Ledger, foreign_tree: pymerkle.InmemoryTree
) -> None:
    """Of every leaf. It counts from one, and puts the leaf itself first."""
    root = ledger.root(PYMERKLE_SIZE)
    for index in range(PYMERKLE_SIZE):
        theirs = foreign_tree.prove_inclusion(index + 1, PYMERKLE_SIZE)
        leaf = leaf_hash(ledger.entries[index])
        assert theirs.path == [leaf, *ledger.inclusion(index, PYMERKLE_SIZE)]
        pymerkle.verify_inclusion(leaf, root, theirs, index=index + 1, size=PYMERKLE_SIZE)
        merkle.verify_inclusion(leaf, index, PYMERKLE_SIZE, theirs.path[1:], root)
        theirs.path[-1] = bytes(32)
        with pytest.raises(pymerkle.InvalidProof):
            pymerkle.verify_inclusion(leaf, root, theirs)


def test_pymerkle_proves_that_our_roots_are_one_history(ledger: Ledger, foreign_tree: pymerkle.InmemoryTree) -> None:
    """Its consistency proofs have a form of their own; they lead to our roots and to no others."""
    for old in (1, 2, 255, 256, 257, 512, 1_024, PYMERKLE_SIZE):
        proof = foreign_tree.prove_consistency(old, PYMERKLE_SIZE)
        pymerkle.verify_consistency(ledger.root(old), ledger.root(PYMERKLE_SIZE), proof)
        for roots in ((bytes(32), ledger.root(PYMERKLE_SIZE)), (ledger.root(old), bytes(32))):
            with pytest.raises(pymerkle.InvalidProof):
                pymerkle.verify_consistency(*roots, proof)


# Go's checksum database


@pytest.fixture(scope="module")
def read_with_go(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:
    """The small program in go/, built once without a network."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("not run: Go is not installed")
    cache = tmp_path_factory.mktemp("go")
    # Debian puts the source of golang-golang-x-mod-dev under /usr/share/gocode, outside any module.
    places = os.pathsep.join([os.environ.get("GOPATH", str(cache)), "/usr/share/gocode"])
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": places,
        "GOPROXY": "off",
        "GOFLAGS": "",
        "GOCACHE": str(cache / "cache"),
    }
    listed = subprocess.run(
        [go, "list", "golang.org/x/mod/sumdb/tlog"], env=environment, capture_output=True, check=False, cwd=cache
    )
    if listed.returncode:
        pytest.skip("not run: golang.org/x/mod is not installed")

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        vkey = ledger.log.vkeys()[0].encode()
        old_root = base64.b64encode(ledger.root(OLD_SIZE)).decode()
        command = [go, "run", str(GO_FOLDER / "readledger.go"), str(folder), vkey, str(OLD_SIZE), old_root]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=cache)

    return run


def test_go_proves_our_entries_and_history_and_refuses_what_was_altered(
    ledger: Ledger, read_with_go: Callable[[Path], Any], altered: Callable[..., Path]
) -> None:
    """The one test that may report as not run: Go is not on every machine."""
    accepted = read_with_go(ledger.folder)
    assert accepted.returncode == 0, accepted.stderr
    expected = [_proof_line("entry", index, ledger.inclusion(index)) for index in SOME_INDEXES]
    expected.append(_proof_line("extends", OLD_SIZE, merkle.consistency_path(OLD_SIZE, SIZE, ledger.nodes)))
    assert accepted.stdout.splitlines() == expected
    for path in ("checkpoint", "tile/0/000", "tile/1/000", "tile/2/000.p/1", "tile/entries/000"):
        refused = read_with_go(altered(path, 2))
        assert refused.returncode == 1, f"{path}: {refused.stdout}"


def _proof_line(word: str, number: int, hashes: list[bytes]) -> str:
    return " ".join([word, str(number), *(base64.b64encode(one).decode() for one in hashes)])
