"""Commands that are imported when they are run: help answers at once, and no command pays for another's imports."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


class Place(NamedTuple):
    """Where a command or a group of commands is, and the line that help shows of it."""

    module: str
    name: str
    help: str
    opens: bool = False  # it works with the home's keyring


class LazyGroup(TyperGroup):
    """A group whose members are found through ``places``, which a subclass gives."""

    places: ClassVar[Mapping[str, Place]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, place in self.places.items():
            self.commands[name] = _Unloaded(name, place)

    def load(self, name: str) -> Any:
        """The command itself, with its options."""
        self.commands[name] = _load(name, self.places[name])
        return self.commands[name]


class _Unloaded(TyperCommand):
    """What help shows of a command. When it is to run the command itself takes its place, after the group's options."""

    def __init__(self, name: str, place: Place) -> None:
        super().__init__(name, help=place.help)
        self._place = place

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        if self._place.opens and "--help" not in args:
            parent.obj.open_ahead()
        command = _load(self.name or "", self._place)
        if not gc.isenabled():  # at the start of a process, see khunjerab/cli.py
            gc.freeze()  # what was imported stays: it is not looked through for garbage
            gc.enable()
        return command.make_context(info_name, args, parent, **extra)


def _load(name: str, place: Place) -> Any:
    found = getattr(importlib.import_module(place.module), place.name)
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)  # without the options for completion, which get_command would add
    else:
        app = typer.Typer(add_completion=False)
        app.command(name)(found)
        command = get_command(app)
    command.name = name
    return command
