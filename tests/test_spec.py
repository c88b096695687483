"""protocol/SPEC.md: every clause is named by a test, and its tables and its example are true."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from broker.http import evidence, exchange, log, witness
from protocol import canonical, limits
from protocol.canonical import HASH_BYTES
from protocol.entry import Entry
from protocol.header import Header
from protocol.pae import Domain
from protocol.problem import CODES
from protocol.statements import Bulletin
from protocol.treehead import Receipt

ROOT = Path(__file__).resolve().parent.parent
SPEC = (ROOT / "protocol" / "SPEC.md").read_text("utf-8")
CLAUSE = re.compile(r"^\*\*(\d+\.\d+\.\d+)\*\*", re.MULTILINE)
NAMED = re.compile(r"(?:SPEC |\()(\d+\.\d+\.\d+(?:(?:, | and )\d+\.\d+\.\d+)*)")
CLAUSES = CLAUSE.findall(SPEC)
CLAUSES_MIN = 130


def _named_by_tests() -> Counter[str]:
    """The clauses named in docstrings of test functions."""
    named: Counter[str] = Counter()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for several in NAMED.findall(" ".join((ast.get_docstring(node) or "").split())):
                    named.update(re.findall(r"[\d.]+\d", several))
    return named


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first row begins so."""
    table = SPEC[SPEC.index(heading) :].split("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


def test_every_clause_is_named_by_a_test() -> None:
    """A rule that no test knows is a wish."""
    assert len(CLAUSES) >= CLAUSES_MIN
    assert len(set(CLAUSES)) == len(CLAUSES)
    named = _named_by_tests()
    assert [clause for clause in CLAUSES if clause not in named] == []
    assert sorted(set(named) - set(CLAUSES)) == []


def _flat(value: Any) -> Iterator[Any]:
    for item in value:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield item


def test_the_example_is_a_real_bulletin() -> None:
    """What stands on the first screen is what these bytes decode to, in its order, and they hang together."""
    given = json.loads((ROOT / "tests/vectors/example/bulletin.json").read_text())["given"]
    raw = {name: bytes.fromhex(data) for name, data in given.items()}
    screen = SPEC.split("```")[1]
    at = 0
    for name in ("header", "statement", "signatures", "entry", "receipt"):
        at = screen.index(f"\n{name}", at)
        for item in _flat(canonical.decode(raw[name], bytes_max=9_999)):
            if isinstance(item, bytes) and len(item) > HASH_BYTES * 2:
                word = f"bin({len(item)})"
            elif isinstance(item, bytes):
                word = item.hex() if len(item) < HASH_BYTES else f"{item.hex()[:8]}…"
            else:
                word = "nil" if item is None else json.dumps(item)
            at = screen.index(word, at) + len(word)
    entry, receipt = Entry.decode(raw["entry"]), Receipt.decode(raw["receipt"])
    assert Bulletin.decode(entry.statement).header == Header.decode(raw["header"])
    assert (entry.statement, entry.signatures) == (raw["statement"], raw["signatures"])
    assert receipt.leaf_of(entry) == raw["leaf"]


def test_clauses_stand_in_order() -> None:
    """So that they are found."""
    numbers = [tuple(int(part) for part in clause.split(".")) for clause in CLAUSES]
    assert numbers == sorted(numbers)


def test_the_code_cites_sections_that_exist() -> None:
    """``SPEC §8.2`` is a heading, or has clauses."""
    sections = {clause.rpartition(".")[0] for clause in CLAUSES} | set(
        re.findall(r"^##+ ([\d.]+?)\.? ", SPEC, re.MULTILINE)
    )
    cited = {
        (section, path.name)
        for package in ("protocol", "keys", "broker", "clients", "khunjerab")
        for path in (ROOT / package).rglob("*.py")
        for section in re.findall(r"SPEC(?:\.md)? §(\d+(?:\.\d+)*)", path.read_text("utf-8"))
    }
    assert len(cited) > 30
    assert sorted((section, name) for section, name in cited if section not in sections | set(CLAUSES)) == []


def test_the_table_of_limits_is_the_code_s() -> None:
    """Name for name, value for value. SPEC 2.1.1."""
    table = {name.strip("`"): int(value) for name, value, _ in _rows("| bound | value |")}
    assert table == {name: value for name, value in vars(limits).items() if name.isupper()}


def test_the_table_of_domains_is_the_code_s() -> None:
    """SPEC 3.5.2."""
    assert [name.strip("`") for name, _ in _rows("| domain string |")] == [domain.value.decode() for domain in Domain]


def test_the_table_of_problems_is_the_code_s() -> None:
    """Each code with its status. SPEC 13.1.2."""
    assert {code.strip("`"): int(status) for code, status, _ in _rows("| code | status |")} == {
        code: status for code, (status, _) in CODES.items()
    }


def test_the_table_of_routes_is_the_node_s() -> None:
    """SPEC 11.0.1."""
    served = {
        f"{route.method} {re.sub(':[^}]*', '', route.path)}"  # type: ignore[attr-defined]
        for routes in (exchange.routes, log.routes, witness.routes, evidence.routes)
        for route in routes
    }
    assert {route.strip("`") for route, _, _ in _rows("| route | session |")} == served
