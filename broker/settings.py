"""Settings of a home: a TOML file of strings, read into a frozen dataclass whose comments are the reference."""

from __future__ import annotations

import contextlib
import fcntl
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TypeVar

import tomli_w

from broker.errors import NodeHomeError

T = TypeVar("T")


def load(cls: type[T], path: Path, kind: str) -> T:
    """Raises NodeHomeError for a file that is missing, broken, or has a key that means nothing."""
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise NodeHomeError(f"no {kind} here: {path} does not exist; `khunjerab {kind} init` makes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NodeHomeError(f"{path}: {error}") from None
    strange = [name for name in values if name not in known or not isinstance(values[name], str)]
    if strange:
        raise NodeHomeError(f"{path}: {strange[0]!r} means nothing here; known are {', '.join(known)}")
    try:
        return cls(**values)
    except TypeError:
        needed = [field.name for field in fields(cls) if field.default is MISSING]  # type: ignore[arg-type]
        raise NodeHomeError(f"{path} lacks {', '.join(name for name in needed if name not in values)}") from None


def dump(config: object) -> bytes:
    """The file."""
    return tomli_w.dumps({field.name: getattr(config, field.name) for field in fields(config)}).encode()  # type: ignore[arg-type]


@contextlib.contextmanager
def locked(folder: Path, kind: str) -> Iterator[None]:
    """Held by the one process that may write what is in this home. Raises NodeHomeError where another holds it."""
    with (folder / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NodeHomeError(f"the {kind} of {folder} is running: stop it first") from None
        yield
