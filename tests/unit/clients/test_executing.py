"""clients/executing.py: how a command ends decides, not what it reads."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from clients import executing
from clients.executing import execute
from clients.following import HandOverFailed

MORE_THAN_A_PIPE_HOLDS = {"text": "a" * 1_000_000}


@pytest.mark.parametrize("value", [{}, MORE_THAN_A_PIPE_HOLDS], ids=["little", "much"])
async def test_a_command_need_not_read_what_it_is_given(value: dict[str, Any]) -> None:
    """And nothing is said of it: a trace of a broken pipe helps nobody."""
    said: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    for _ in range(20):
        await execute(["true"], "pk-liaison/1", value)
    gc.collect()
    assert said == []


async def test_what_it_is_given_is_there_for_it() -> None:
    program = "import json, os, sys; sys.exit(json.load(sys.stdin) != {'id': os.environ['KHUNJERAB_ID']})"
    await execute(["python3", "-I", "-c", program], "pk-liaison/1", {"id": "pk-liaison/1"})


@pytest.mark.parametrize("words, said", [
    (["sh", "-c", "exit 3"], "it ended with status 3"),
    (["sh", "-c", "kill -9 $$"], "it ended with status -9"),
    (["./nothing-here"], "./nothing-here: No such file or directory"),
])  # fmt: skip
async def test_it_failed_unless_it_ends_with_status_0(words: list[str], said: str) -> None:
    with pytest.raises(HandOverFailed) as caught:
        await execute(words, "pk-liaison/1", MORE_THAN_A_PIPE_HOLDS)
    assert str(caught.value) == said


async def test_one_that_runs_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a child of its own holds the pipe and reads nothing."""
    monkeypatch.setattr(executing, "EXEC_SECONDS_MAX", 0.2)
    with pytest.raises(HandOverFailed, match="longer than"):
        await execute(["sh", "-c", "sleep 60 & wait"], "pk-liaison/1", MORE_THAN_A_PIPE_HOLDS)


async def test_what_its_own_child_does_not_read_is_not_waited_for() -> None:
    some = {"text": "a" * 100_000}  # more than a pipe holds, and less than is waited for before the end of input
    async with asyncio.timeout(30):
        await execute(["sh", "-c", "sleep 60 <&0 & exit 0"], "pk-liaison/1", some)
