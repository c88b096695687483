"""A process that verifies signatures and does nothing else, so that a replay can go on on its own core.

Threads do not do: PyNaCl gives the interpreter's lock away for one signature at a time, and a replay that never pauses
is slow to give it back. The process is asked over a socket, a chunk at a time, and answers a byte for each entry.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from keys.errors import BadSignature
from keys.signing import SignatureCheck, verify_all

_CHUNKS_AHEAD = 2  # one is being verified while the next lies ready
_LENGTH_BYTES = 4
_HOLDS = 1

Checks = Sequence[Sequence[SignatureCheck]]  # by the entry that owes them


def verified(checks: Checks) -> bytes:
    """A byte for each entry: 1 where every one of its signatures holds, else 0."""
    return bytes(_holds(owed) for owed in checks)


def _holds(owed: Sequence[SignatureCheck]) -> bool:
    try:
        verify_all(owed)
    except BadSignature:
        return False
    return True


class Chunk:
    """Some entries' checks, and what came of them once it is known."""

    def __init__(self, indexes: Sequence[int], checks: Checks) -> None:
        self.indexes, self.checks = indexes, checks
        self.answer: bytes | None = None

    def failing(self) -> Iterator[int]:
        """Entries that do not hold. One that was denied is verified once more: a broken process accuses nobody."""
        told = zip(self.indexes, self.checks, self.answer or b"", strict=True)
        return (index for index, owed, byte in told if byte != _HOLDS and not _holds(owed))


class Verifier:
    """The process, and what it was asked. One that dies has asked nothing of anyone: its chunks are verified here."""

    def __init__(self) -> None:
        """Raises OSError where it cannot be started."""
        self._asked = deque[Chunk]()
        self._socket, there = socket.socketpair()
        with there, contextlib.ExitStack() as failed:
            failed.callback(self._socket.close)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", __name__],
                stdin=there.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # ^C is for the one who asks; this ends with its socket
            )
            failed.pop_all()

    @property
    def pid(self) -> int:
        """Of the process."""
        return int(self._process.pid)

    def is_free(self) -> bool:
        """Whether another chunk would not wait for long."""
        while self._asked and self._has_answered():
            self._take_answer()
        return len(self._asked) < _CHUNKS_AHEAD

    def ask(self, chunk: Chunk) -> None:
        """To be answered after what was asked before."""
        self._asked.append(chunk)
        data = msgspec.msgpack.encode(chunk.checks)
        with contextlib.suppress(OSError):  # which the answer shows, as there is none
            self._socket.sendall(len(data).to_bytes(_LENGTH_BYTES, "big") + data)

    def wait_for(self, chunk: Chunk) -> None:
        """Return when it is answered."""
        while chunk.answer is None:
            self._take_answer()

    def _has_answered(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:  # it died with what it was asked
            pass
        return True

    def _take_answer(self) -> None:
        chunk = self._asked.popleft()
        try:
            answer = self._socket.recv(len(chunk.indexes), socket.MSG_WAITALL)
        except OSError:
            answer = b""
        chunk.answer = answer if len(answer) == len(chunk.indexes) else verified(chunk.checks)

    def close(self) -> None:
        """Nothing is left running, not even one that was stopped; it has nothing that could be lost."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Answer until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decoder = msgspec.msgpack.Decoder(list[list[SignatureCheck]])
    with socket.socket(fileno=sys.stdin.fileno()) as asking:
        while length := asking.recv(_LENGTH_BYTES, socket.MSG_WAITALL):
            data = asking.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
            asking.sendall(verified(decoder.decode(data)))


if __name__ == "__main__":
    main()
