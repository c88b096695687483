"""A part of a node that dies takes the whole node with it, with status 1; it is never half alive."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from broker.home import NodeHome
from broker.node import Node
from broker.publisher import Publisher
from clients.errors import ClientError
from khunjerab.serving import run_node
from protocol.treehead import TreeHead
from tests.support.live import PASSPHRASE, world_of_today
from tests.support.process import make_home


@pytest.fixture
def own_process() -> Iterator[None]:
    """``run_node`` sets log and signals of its process up, which here is that of all tests."""
    asked_to_end = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, asked_to_end)  # uvloop leaves it with a loop that is closed
    structlog.reset_defaults()
    for name in ("aiohttp.server", "aiohttp.web", "aiohttp.websocket", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True


@pytest.mark.usefixtures("own_process")
@pytest.mark.parametrize("part", ["publisher", "sweeper", "wal"])
def test_it_goes_down_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    """The log names the part; the last checkpoint is signed all the same where it can be; the home is free again."""
    home = NodeHome(make_home(tmp_path / "node", world_of_today()))
    derive, calls = Publisher.derive, iter(range(9))

    def dies_later(publisher: Publisher) -> TreeHead:
        if next(calls) == 1:
            raise ZeroDivisionError
        return derive(publisher)

    async def dies(node: Node) -> None:
        raise ZeroDivisionError

    for name in ("PUBLISH_SECONDS", "SWEEP_SECONDS", "WAL_SECONDS"):
        monkeypatch.setattr(f"broker.node.{name}", 0.05)
    if part == "publisher":
        monkeypatch.setattr(Publisher, "is_due", lambda *_: True)
        monkeypatch.setattr(Publisher, "derive", dies_later)
    else:
        monkeypatch.setattr(Node, {"sweeper": "_sweep", "wal": "_checkpoint_wal"}[part], dies)
    with pytest.raises(ClientError) as died:
        run_node(home, PASSPHRASE, log_json=True)
    assert died.value.status == 1
    logged = capsys.readouterr().err
    assert f'"task": "{part}"' in logged
    assert '"event": "task-died"' in logged
    with home.locked():
        pass
