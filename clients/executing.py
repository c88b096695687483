"""A command that is given a bulletin on its stdin, as ``follow --exec`` has it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import Any

from clients.following import HandOverFailed

EXEC_SECONDS_MAX = 300


async def execute(words: list[str], name: str, value: dict[str, Any]) -> None:
    """Run the command with the bulletin on its stdin. Raises HandOverFailed unless it ends with status 0."""
    try:
        child = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, env={**os.environ, "KHUNJERAB_ID": name}
        )
    except OSError as error:
        raise HandOverFailed(f"{words[0]}: {error.strerror}") from None
    try:
        async with asyncio.timeout(EXEC_SECONDS_MAX):
            await child.communicate(json.dumps(value, ensure_ascii=False).encode() + b"\n")
    except TimeoutError:
        raise HandOverFailed(f"it ran longer than {EXEC_SECONDS_MAX} s") from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        await _let_go(child.stdin)
    if child.returncode:
        raise HandOverFailed(f"it ended with status {child.returncode}")


async def _let_go(stdin: asyncio.StreamWriter | None) -> None:
    """A command need not read all that it is given. Python before 3.12 prints a trace of it, unless it is awaited."""
    if stdin is not None:
        if not stdin.is_closing() or stdin.transport.get_write_buffer_size():  # a child of its own may hold the pipe
            stdin.transport.abort()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await stdin.wait_closed()
