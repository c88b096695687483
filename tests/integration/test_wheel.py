"""The wheel alone is the program: built, installed beside its dependencies, and run where a stranger left a trap.

The environment sees the packages that ours depends on, and of ours nothing but what is in the wheel. It runs in a
folder with a ``keys.py`` that must not be imported: our own child processes start with ``-I``. This is also where the
whole story of ``khunjerab demo`` is run.
"""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("protocol", "keys", "broker", "clients", "khunjerab")
DATA = ("protocol/SPEC.md", "broker/storage/schema.sql", "clients/schema.sql", "clients/template.toml")
AGENCIES = ("pk-liaison", "pk-site-security", "cn-liaison", "cn-embassy", "pk-auditor", "cn-auditor")
COMMAND_SECONDS_MAX = 1200
pytestmark = pytest.mark.timeout(1800)  # the demo is a hundred processes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the folder as it is, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=COMMAND_SECONDS_MAX)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with the wheel in it; the dependencies are linked in, ours is not."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    ours = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    sources = {Path(path) for path in site.getsitepackages()}
    for source in filter(Path.is_dir, sources):  # Debian names some that are not there
        for path in source.iterdir():
            if path.suffix != ".pth" and "khunjerab" not in path.name and not (ours / path.name).exists():
                (ours / path.name).symlink_to(path)
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "-q"]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=COMMAND_SECONDS_MAX)
    return python


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder where every one of our names is taken by a file that must not be imported."""
    for name in OURS:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the current folder was imported')\n")
    return tmp_path


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command, as it is typed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KHUNJERAB_", "PYTHON"))}
    return subprocess.run(
        [str(python.with_name("khunjerab")), *arguments],
        cwd=folder,
        env={**kept, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )


def test_a_wheel_holds_the_five_packages_and_no_tests(wheel: Path) -> None:
    """With what is no Python: the specification, the schemas, the template."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(OURS)
    assert set(DATA) <= set(names)
    assert not [name for name in names if "/test" in name or "__pycache__" in name]


def test_only_the_wheel_is_imported(python: Path, trap: Path) -> None:
    """Each package comes from the environment, none from the checkout or the folder."""
    code = f"import json, importlib; print(json.dumps([importlib.import_module(n).__file__ for n in {OURS!r}]))"
    done = subprocess.run([str(python), "-I", "-c", code], cwd=trap, check=True, capture_output=True, text=True)
    assert [Path(path).is_relative_to(python.parents[1]) for path in json.loads(done.stdout)] == [True] * len(OURS)


def test_a_home_is_made_and_examined(python: Path, trap: Path) -> None:
    """``keys new`` and ``doctor`` in a folder with a trap in it."""
    (trap / "passphrase").write_text("a passphrase of nobody\n")
    given = ("--home", "desk", "--passphrase-file", "passphrase")
    assert run(python, trap, *given, "keys", "new", "--kind", "seat", "desk").returncode == 0
    done = run(python, trap, *given, "doctor", "--json")
    verdicts = {one["check"]: one["verdict"] for one in map(json.loads, done.stdout.splitlines())}
    assert (verdicts["home"], verdicts["keyring"]) == ("ok", "ok"), done.stderr
    assert run(python, trap, "post", "--template").stdout.startswith("# A threat bulletin.")


def test_the_whole_story_is_told(python: Path, trap: Path) -> None:
    """From empty homes over a cut line to a past that is rewritten, and found out, each command with its status."""
    done = run(python, trap, "demo", "--dir", "D")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    told = json.loads((trap / "D" / "demo.json").read_text())
    assert {name: one["origin"][:2] for name, one in told["nodes"].items()} == {"pk-node": "pk", "cn-node": "cn"}
    assert {name: one["node"][:2] for name, one in told["agencies"].items()} == {name: name[:2] for name in AGENCIES}
    for auditor in ("pk-auditor", "cn-auditor"):
        assert f"{auditor} found at pk.khunjerab.example/ledger#" in done.stdout
    assert [path.name for path in (trap / "D" / "what-if").iterdir()] == ["evidence"]
