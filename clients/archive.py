"""A ledger in a folder, in the layout of C2SP tlog-tiles: what `audit export` writes and every audit reads.

    checkpoint                  the newest signed checkpoint; written last
    tile/<L>/<N>[.p/<W>]        hash tiles
    tile/entries/<N>[.p/<W>]    entry bundles
    directory/<sha256>.json     each directory version as it was signed
    bodies/<sha256>             bodies as they lie at the node, sealed

Nothing in it is believed: a file that is torn or altered shows in the audit.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.tiles import WIDTH, TilePath, decode_bundle, tile_path

_PARTIAL = re.compile("[1-9][0-9]{0,2}")
README = """\
This folder is one ledger of a Khunjerab exchange, in the layout of C2SP tlog-tiles (https://c2sp.org/tlog-tiles).

  checkpoint                  size and root hash of the ledger, signed by the log and perhaps by witnesses
  tile/<L>/<N>[.p/<W>]        its Merkle tree, 256 hashes a file
  tile/entries/<N>[.p/<W>]    its entries, 256 a file, each behind a length of two bytes
  directory/<sha256>.json     the directory versions that the entries name
  bodies/<sha256>             sealed bodies, if they were asked for; nobody but their recipients can read them

To check it, on any machine, without a network:

  khunjerab audit verify <this folder> --pin <SHA-256 of directory version 1>
"""


class Archive:
    """The folder, read as a ``keys.memory.Source`` and written as it is fetched."""

    def __init__(self, folder: Path, below: Archive | None = None) -> None:
        """With ``below``, what is not in the folder is read from there; what is written stays in the folder."""
        self.folder, self._below = folder, below
        self._bundle: tuple[int, list[bytes]] = (-1, [])

    # Reading

    def checkpoint(self) -> str:
        """The signed checkpoint; empty where there is none."""
        return (_read(self.folder / "checkpoint") or b"").decode("utf-8", "replace")

    def entries(self, start: int, stop: int) -> list[bytes]:
        """From their bundles; fewer where one is missing or torn."""
        entries: list[bytes] = []
        for number in range(start // WIDTH, (stop + WIDTH - 1) // WIDTH):
            bundle = self._read_bundle(number)
            first = number * WIDTH
            entries += bundle[max(start - first, 0) : stop - first]
            if len(bundle) < min(WIDTH, stop - first):
                break
        return entries

    def _read_bundle(self, number: int) -> list[bytes]:
        if self._bundle[0] != number:
            width, data = self._widest(None, number)
            try:
                self._bundle = (number, decode_bundle(data, width))
            except ProtocolError:
                return []
        return self._bundle[1]

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """From the tile, or a wider one."""
        held, data = self._widest(level, index)
        return data[: 32 * width] if held >= width else None

    def hash_tile(self, path: TilePath) -> bytes | None:
        """The same, by its path."""
        return self.tile(path.level or 0, path.index, path.width)

    def _widest(self, level: int | None, index: int) -> tuple[int, bytes]:
        full = self.folder / tile_path(level, index, WIDTH)
        data = _read(full)
        if data is not None:
            return WIDTH, data
        partial = full.with_name(f"{full.name}.p")
        names = [path.name for path in partial.iterdir()] if partial.is_dir() else []
        width = max((int(name) for name in names if _PARTIAL.fullmatch(name)), default=0)
        if not width and self._below is not None:
            return self._below._widest(level, index)  # noqa: SLF001 - of its own class
        return width, (_read(partial / str(width)) or b"") if width else b""

    def directory(self, sha256: bytes) -> bytes | None:
        """By its hash."""
        return self._beside(f"directory/{sha256.hex()}.json")

    def body(self, sha256: bytes) -> bytes | None:
        """By its hash."""
        return self._beside(f"bodies/{sha256.hex()}")

    def _beside(self, name: str) -> bytes | None:
        data = _read(self.folder / name)
        return self._below._beside(name) if data is None and self._below is not None else data  # noqa: SLF001

    # Writing

    def write_tile(self, level: int | None, index: int, width: int, data: bytes) -> None:
        """A hash tile, or with level None a bundle."""
        if level is None:
            self._bundle = (-1, [])
        self._write(tile_path(level, index, width), data)
        _forget_others(self.folder / tile_path(level, index, width))

    def write_directory(self, sha256: bytes, data: bytes) -> None:
        """The JSON of a version."""
        self._write(f"directory/{sha256.hex()}.json", data)

    def write_body(self, sha256: bytes, data: bytes) -> None:
        """A sealed body."""
        self._write(f"bodies/{sha256.hex()}", data)

    def write_readme(self) -> None:
        """What this folder is, for whoever gets it."""
        self._write("README.txt", README.encode())

    def write_checkpoint(self, note: str) -> None:
        """The commit point: what came before it is synced first, so a crash leaves the checkpoint of the last time."""
        os.sync()
        path = self.folder / "checkpoint"
        with path.with_suffix(".new").open("wb") as file:
            file.write(note.encode())
            file.flush()
            os.fsync(file.fileno())
        path.with_suffix(".new").replace(path)

    # An audit that fetches: beside what was verified before, until it is verified too

    def stage(self) -> Archive:
        """An empty folder over this one."""
        folder = self.folder / "new"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Archive(folder, self)

    def take_in(self, staged: Archive, note: str) -> None:
        """What was staged is verified: move it here, its checkpoint last. A crash leaves both parts of one history."""
        for path in [path for path in staged.folder.rglob("*") if path.is_file()]:
            target = self.folder / path.relative_to(staged.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            _forget_others(target)
        self._bundle = (-1, [])
        shutil.rmtree(staged.folder)
        self.write_checkpoint(note)

    def set_aside(self, staged: Archive, note: str, name: str) -> Path:
        """What was staged is of another history: keep it as evidence, and what is here as it was."""
        staged.write_checkpoint(note)
        return staged.folder.replace(self.folder / name)

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _forget_others(path: Path) -> None:
    """A tile or bundle only grows: what is narrower than the one at ``path`` is in it."""
    full = path.parent.with_suffix("") if path.parent.suffix == ".p" else path
    partial = full.with_name(f"{full.name}.p")
    for old in partial.iterdir() if partial.is_dir() else ():
        if old != path:
            old.unlink()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
