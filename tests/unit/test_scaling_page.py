"""docs/scaling.md says of every function that asks the database whose rows it needs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
STORE = ROOT / "pouw" / "store"
OWN_CONNECTION = {"pool.py", "migrations.py", "arrays.py"}


def functions() -> set[str]:
    """Return ``module.function`` of what takes a pool or a connection, or belongs to an object that was given one."""
    found = set()
    for path in sorted(STORE.glob("*.py")):
        if path.name in OWN_CONNECTION:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and asks(node):
                found.add(f"{path.stem}.{node.name}")
            elif isinstance(node, ast.ClassDef):
                methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
                if any(each.name == "__init__" and asks(each) for each in methods):
                    found |= {f"{path.stem}.{each.name}" for each in methods}
    return {name for name in found if not name.partition(".")[2].startswith("_")}


def asks(function: ast.FunctionDef) -> bool:
    kinds = {ast.unparse(each.annotation) for each in function.args.args if each.annotation is not None}
    return bool(kinds & {"Pool", "Connection[TupleRow]"})


def test_every_function_of_the_store_is_in_one_row_of_the_page() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    section = page.split("## Statement by statement", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| **")]
    named = [name for row in rows for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", row.split("|")[2])]
    assert len(rows) == 4
    assert len(named) == len(set(named)), "one stands twice"
    assert set(named) == functions()
