"""Style rules as tests: what must hold for every file, and what must stand in the documentation."""

import ast
import importlib
import importlib.util
import io
import re
import shutil
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocol", "keys", "broker", "clients", "khunjerab")
CODE_FOLDERS = (*PACKAGES, "tests", "bench")
PACKAGE_LINES_MAX = 400
TEST_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
NAMES_THAT_SAY_NOTHING = {"utils.py", "util.py", "helpers.py", "helper.py", "manager.py", "common.py", "misc.py"}
MADE_BY_TOOLS = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "build",
    "dist",
}
# In pieces, so that this file does not name them either.
REGISTRY_HOSTS = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "yarn" + "pkg.com",
    "crates" + ".io",
    "proxy" + ".golang.org",
    "ruby" + "gems.org",
)
OPTIONS_MIN = 120  # a walk that finds nothing would pass
METRIC = re.compile(r"""["'](khunjerab_[a-z_]+)["']""")
CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def _python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=_name(path))


def _repository_files() -> list[Path]:
    """What git tracks or would; of an unpacked archive, all that no tool has made."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
        files = [ROOT / name for name in listing.split("\0") if name]
    else:
        files = [path for path in ROOT.rglob("*") if not MADE_BY_TOOLS.intersection(path.relative_to(ROOT).parts)]
    return sorted(path for path in files if path.is_file() and not path.is_symlink())


def _fail_if(faults: list[str], rule: str) -> None:
    if faults:
        pytest.fail(f"{rule}:\n  " + "\n  ".join(faults), pytrace=False)


# Every file


def test_every_module_says_what_it_is() -> None:
    """A module begins with a docstring."""
    faults = [_name(path) for path in _python_files(*CODE_FOLDERS) if not ast.get_docstring(_tree(path))]
    _fail_if(faults, "no module docstring")


def test_files_are_short() -> None:
    """A file fits in one reading: 400 lines, a test file 600."""
    limits = [(path, PACKAGE_LINES_MAX) for path in _python_files(*PACKAGES, "bench")]
    limits += [(path, TEST_LINES_MAX) for path in _python_files("tests")]
    faults = [
        f"{_name(path)}: {lines} lines, at most {limit}"
        for path, limit in limits
        if (lines := len(path.read_text("utf-8").splitlines())) > limit
    ]
    _fail_if(faults, "too long a file")


def test_functions_are_short() -> None:
    """A function fits on a screen: 70 lines with its signature and docstring."""
    faults = [
        f"{_name(path)}:{node.lineno}: {node.name} has {lines} lines"
        for path in _python_files(*CODE_FOLDERS)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    _fail_if(faults, f"a function over {FUNCTION_LINES_MAX} lines")


def test_files_are_named_for_what_they_hold() -> None:
    """No utils, no helpers, no manager."""
    faults = [_name(path) for path in _python_files(*CODE_FOLDERS) if path.name in NAMES_THAT_SAY_NOTHING]
    _fail_if(faults, "a name that says nothing")


def test_no_file_names_a_registry_or_this_checkout() -> None:
    """A lock that names a host installs from nowhere else; a path of one machine works on no other."""
    words = [re.escape(host) for host in REGISTRY_HOSTS]
    if len(ROOT.parts) > 2:  # a checkout at /app would forbid that word everywhere
        words.append(re.escape(ROOT.as_posix()) + r"(?![\w-])")
    forbidden = re.compile("|".join(words).encode(), re.IGNORECASE)
    faults = [
        f"{_name(path)}: {found.group().decode()}"
        for path in _repository_files()
        if (found := forbidden.search(path.read_bytes()))
    ]
    _fail_if(faults, "a host or a path of one machine")


# Nothing unreferenced


def _public_definitions(path: Path) -> Iterator[str]:
    """Top-level functions and classes; a decorated function may be registered by its decorator (a command, a route)."""
    for node in _tree(path).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef) or not node.decorator_list:
            yield node.name


def _names_in(path: Path) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.NAME)


def test_nothing_is_unreferenced() -> None:
    """A public function or class is named somewhere besides its definition, in the code or as an entry point."""
    uses: Counter[str] = Counter()
    for path in _python_files(*CODE_FOLDERS):
        uses.update(_names_in(path))
    entry_points = (ROOT / "pyproject.toml").read_text("utf-8")
    uses.update(re.findall(r'^\w+ = "[\w.]+:(\w+)"$', entry_points, re.MULTILINE))
    definitions = [(path, name) for path in _python_files(*PACKAGES) for name in _public_definitions(path)]
    defined = Counter(name for _, name in definitions)
    faults = [f"{_name(path)}: {name}" for path, name in definitions if uses[name] <= defined[name]]
    _fail_if(faults, "named nowhere else")


# What must stand in the documentation


@cache
def _documentation() -> str:
    pages = [ROOT / "README.md", ROOT / "protocol" / "SPEC.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(page.read_text("utf-8") for page in pages if page.exists())


def _documented(word: str) -> bool:
    """The word stands there whole: `--to` is not documented by `--token`."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", _documentation()) is not None


def _documented_code(code: str) -> bool:
    """Prose may say "expired" without meaning the code: one that is a plain word must stand there as `expired`."""
    return _documented(code) if "-" in code else f"`{code}`" in _documentation()


def _options(command: Any, path: str) -> Iterator[tuple[str, str]]:
    """The long options of a command and of all commands under it, hidden ones left out."""
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--") and option != "--help":
                    yield path, option
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from _options(child, f"{path} {name}")


def test_every_option_is_documented() -> None:
    """Each long option of each command stands in README.md or docs/."""
    if importlib.util.find_spec("khunjerab.cli") is None:
        assert not (ROOT / "khunjerab" / "cli.py").exists()
        return
    command = importlib.import_module("typer.main").get_command(importlib.import_module("khunjerab.cli").app)
    for name in command.places:  # commands are imported when they run
        command.load(name)
    options = list(_options(command, "khunjerab"))
    assert len(options) >= OPTIONS_MIN, "the walk over the commands found few options"
    _fail_if([f"{path} {option}" for path, option in options if not _documented(option)], "an undocumented option")


def test_every_metric_is_documented() -> None:
    """Each metric that the node exports stands in the documentation."""
    metrics = {name for path in _python_files("broker") for name in METRIC.findall(path.read_text("utf-8"))}
    _fail_if(sorted(name for name in metrics if not _documented(name)), "an undocumented metric")


def _codes(tree: ast.Module) -> Iterator[str]:
    """Stable codes: `code = "…"` in a class, `code="…"` in a call, words given to Refused, Problem or refuse."""
    for node in ast.walk(tree):
        candidates: list[ast.expr | None] = []
        if isinstance(node, ast.ClassDef):
            assignments = [item for item in node.body if isinstance(item, ast.Assign | ast.AnnAssign)]
            candidates += [item.value for item in assignments if _assigns_code(item)]
        elif isinstance(node, ast.Call):
            candidates += [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            if _callee(node).strip("_") in {"Refused", "Problem", "refuse", "problem"}:
                candidates += node.args
        for value in candidates:
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and CODE.fullmatch(value.value):
                yield value.value


def _assigns_code(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(target, ast.Name) and target.id == "code" for target in targets)


def _callee(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def test_every_problem_code_is_documented() -> None:
    """Each code that a program may branch on stands in SPEC.md, README.md or docs/."""
    found = {code: _name(path) for path in _python_files(*PACKAGES) for code in _codes(_tree(path))}
    faults = [f"{name}: {code}" for code, name in sorted(found.items()) if not _documented_code(code)]
    _fail_if(faults, "an undocumented problem code")
