"""``khunjerab demo``: a whole exchange in a folder, told in about a minute, and left running if asked."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from clients.errors import ClientError, UsageError
from khunjerab.demo.founding import Founding, describe, write_passphrase
from khunjerab.demo.rewriting import Rewriting
from khunjerab.demo.shell import DemoFailed, Shell
from khunjerab.demo.story import Story


def demo(
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where: absent or empty. A passing folder without.")
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Leave the nodes running until SIGTERM or SIGINT.")] = False,
) -> None:
    """Tell the story of an exchange on real nodes, with the public commands."""
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", "name a folder that is absent or empty")
    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="khunjerab-demo-"))
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: _interrupt(stop))
    shell = Shell(place, write_passphrase(place))
    founding = Founding(shell)
    story, rewriting = Story(shell, founding), Rewriting(shell, founding)
    try:
        founding.make_keys()
        founding.sign_directory()
        founding.start_nodes()
        founding.join()
        story.tell()
        rewriting.tell()
        rewriting.stop()
        describe(place, founding)
        if hold:
            shell.tell(f"Both nodes run on; the homes are in {place}, demo.json tells them. End with Ctrl-C.")
            shell.tell(f"In another terminal: cd {place}; export KHUNJERAB_PASSPHRASE_FILE=$PWD/passphrase")
            shell.tell("khunjerab --home pk-liaison inbox    # or cn-liaison, pk-custodian-1, cn-auditor, …")
            with contextlib.suppress(KeyboardInterrupt):
                stop.wait()
        else:
            shell.tell("That is the story. `khunjerab demo --dir D --hold` leaves it running to play with.")
    except DemoFailed as error:
        raise ClientError(str(error), f"the homes are in {place}") from None
    finally:
        story.stop()
        rewriting.stop()
        founding.stop()
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


def _interrupt(stop: threading.Event) -> None:
    """While the story is told a signal ends it; while it holds, the wait."""
    if stop.is_set():
        return
    stop.set()
    raise KeyboardInterrupt
