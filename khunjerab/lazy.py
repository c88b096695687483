"""Commands that are imported when they are run: help answers at once, and no command pays for another's imports."""

from __future__ import annotations

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


class LazyGroup(TyperGroup):
    """A group whose members are found through ``places``, which a subclass gives."""

    places: ClassVar[Mapping[str, Place]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, place in self.places.items():
            self.commands[name] = TyperCommand(name, help=place.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the command that is about to run."""
        if args and args[0] in self.places:
            self.load(args[0])
        return super().resolve_command(ctx, args)

    def load(self, name: str) -> Any:
        """The command itself, with its options."""
        place = self.places[name]
        found = getattr(importlib.import_module(place.module), place.name)
        if isinstance(found, typer.Typer):
            command: Any = get_group(found)  # without the options for completion, which get_command would add
        else:
            app = typer.Typer(add_completion=False)
            app.command(name)(found)
            command = get_command(app)
        command.name = name
        self.commands[name] = command
        return command
