"""Pages written from the program itself, by ``make docs``: docs/commands.md, and the codes in docs/errors.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from khunjerab.cli import app
from protocol.problem import CODES

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMANDS, ERRORS = DOCS / "commands.md", DOCS / "errors.md"
CODES_BEGIN, CODES_END = "| code | HTTP | what to do |\n|---|---|---|\n", "\n\n"
HEAD = """# Every command and option

Written by `make docs` from the program's own help; `tests/test_docs.py` fails where the two differ.
[errors.md](errors.md) has the exit statuses, [officer.md](officer.md) the officer's day.

Data goes to stdout, talk to stderr. `--json` prints an object a line. `--home` and `--passphrase-file` stand before the
command. Where an option may be repeated it says so. A passphrase comes from `--passphrase-file`, the file that
`KHUNJERAB_PASSPHRASE_FILE` names, `khunjerab unlock`, or a prompt; never from an argument. `KHUNJERAB_HOME` names the
home where `--home` does not; else it is `khunjerab` under `XDG_DATA_HOME`. `KHUNJERAB_TRACE=1` shows where an internal
error came from.
"""


def whole_command() -> Any:
    """The program with every lazy command loaded."""
    command: Any = get_command(app)
    for name in command.places:
        command.load(name)
    return command


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A command and all under it, in the order of its help; hidden ones left out."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from commands(child, f"{path} {name}")


def commands_page() -> str:
    """docs/commands.md."""
    return "\n".join([HEAD, *(_section(path, command) for path, command in commands(whole_command(), "khunjerab"))])


def _section(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden and p.name != "help"]
    words = [path, *(["[OPTIONS]"] if options else []), *map(_argument, arguments)]
    if getattr(command, "commands", {}):
        words.append("COMMAND")
    lines = [f"## {path}", "", f"`{' '.join(words)}`", "", _prose(command.help or "")]
    rows = [f"| `{_argument(p)}` | {_cell(p.help)} |" for p in arguments if p.help]
    rows += [f"| {', '.join(f'`{name}`' for name in _names(p))} | {_cell(p.help)}{_default(p)} |" for p in options]
    if rows:
        lines += ["", "| | |", "|---|---|", *rows]
    return "\n".join([*lines, ""])


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper().rstrip("_")
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _names(parameter: Any) -> list[str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.is_flag:
        return names
    value = parameter.metavar or {"path": "PATH", "int": "N", "int range": "N"}.get(parameter.type.name, "TEXT")
    return [*names[:-1], f"{names[-1]} {value}"]


def _default(parameter: Any) -> str:
    value = parameter.default
    shown = isinstance(value, str | int | Path) and not isinstance(value, bool) and str(value)
    return f" By default `{value}`." if shown and getattr(parameter, "show_default", True) else ""


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.replace("\b", "").split("\n\n")).strip()


def _cell(text: str | None) -> str:
    """One line; brackets that were escaped for the screen, and bars, as a table of Markdown wants them."""
    return re.sub(r"\\(?=\[)", "", " ".join((text or "").split())).replace("|", "\\|")


def errors_page() -> str:
    """docs/errors.md with the table of codes as it is now."""
    before, table, rest = ERRORS.read_text("utf-8").partition(CODES_BEGIN)
    rows = "\n".join(f"| `{code}` | {status} | {hint} |" for code, (status, hint) in CODES.items())
    return before + table + rows + CODES_END + rest.partition(CODES_END)[2]


if __name__ == "__main__":
    COMMANDS.write_text(commands_page(), "utf-8")
    ERRORS.write_text(errors_page(), "utf-8")
