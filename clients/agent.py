"""``unlock``: a process of its own that holds an opened keyring behind a socket of mode 0600, for a while.

The socket lies in the home. Only the same user may speak to it, and what it holds counts only as long as the keyring's
file is the one that was opened. It never learns the passphrase, so what changes the keyring still asks for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from keys.keyring import Keyring
from keys.secret import Secret
from protocol import canonical
from protocol.canonical import Fields
from protocol.errors import ProtocolError

SOCKET = "agent.sock"
ANSWER_SECONDS = 2
_ANSWER_BYTES_MAX = 1024 * 1024
_SECRETS_MAX = 4096
_GET, _LOCK = b"get\n", b"lock\n"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def ask(folder: Path) -> Keyring | None:
    """The opened keyring, if an agent holds the one that is on the disk; None for whatever else is the case."""
    answer = _say(folder, _GET)
    if not answer:
        return None
    try:
        f = Fields(canonical.decode(answer, bytes_max=_ANSWER_BYTES_MAX, array_max=_SECRETS_MAX), "agent", 2)
        digest = f.hash("keyring")
        secrets = dict(f.array("secrets", _SECRETS_MAX, _pair))
        return Keyring(secrets) if digest == _digest(folder) else None
    except (ProtocolError, OSError):
        return None


def lock(folder: Path) -> bool:
    """End the agent. Whether there was one."""
    return _say(folder, _LOCK) is not None


def start(folder: Path, keyring: Keyring, seconds: int) -> None:
    """Begin to hold a keyring, in a child of this process; when this returns, it answers."""
    lock(folder)
    answer = canonical.encode([_digest(folder), [[name, s.reveal()] for name, s in sorted(keyring.secrets.items())]])
    with _address(folder) as address:
        Path(address).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listener.bind(address)
        finally:
            os.umask(before)
        listener.listen(8)
    if os.fork():
        listener.close()
        return
    status = 1
    try:
        _become_daemon()
        _serve(listener, answer, time.monotonic() + seconds)
        status = 0
    finally:
        (folder / SOCKET).unlink(missing_ok=True)
        os._exit(status)


def _become_daemon() -> None:
    """No terminal, no output, no core dump with keys in it."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _serve(listener: socket.socket, answer: bytes, deadline: float) -> None:
    """Answer whoever is the same user, until the time is up or somebody locks."""
    while (left := deadline - time.monotonic()) > 0:
        listener.settimeout(left)
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(ANSWER_SECONDS)
            if _user_of(connection) != os.getuid():
                continue
            command = connection.recv(16)
            if command == _LOCK:
                connection.sendall(b"locked")
                return
            if command == _GET:
                connection.sendall(answer)


def _user_of(connection: socket.socket) -> int:
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


def _say(folder: Path, command: bytes) -> bytes | None:
    """What the agent answers; None where there is none, or none of this user's."""
    if not (folder / SOCKET).exists():
        return None
    try:
        with _address(folder) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(address)
            if _user_of(connection) != os.getuid():
                return None
            connection.sendall(command)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts)
    except OSError:
        return None


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's address: through a descriptor, as a path to it may be longer than an address can be."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def _digest(folder: Path) -> bytes:
    return hashlib.sha256((folder / "keyring").read_bytes()).digest()


def _pair(value: object) -> tuple[str, Secret]:
    f = Fields(value, "secret", 2)
    return f.text("name", 200), Secret(f.bytes("secret", 1024))
