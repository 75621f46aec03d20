"""The threat model names tests: each of them exists, and no file of attacks is forgotten."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
MODEL = TESTS.parent / "docs" / "THREAT_MODEL.md"
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def names_in(file: Path) -> set[str]:
    return {
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_named_test_exists() -> None:
    named = NAMED.findall(MODEL.read_text())
    assert len(named) > 50
    files = {file.name: file for file in TESTS.glob("*/test_*.py")}
    missing = [f"{file}::{name}" for file, name in named if file not in files or name not in names_in(files[file])]
    assert missing == []


def test_nothing_is_named_in_another_way() -> None:
    text = MODEL.read_text()
    assert text.count("::") == len(NAMED.findall(text))


def test_every_file_of_attacks_is_named() -> None:
    named = {file for file, _name in NAMED.findall(MODEL.read_text())}
    assert {file.name for file in TESTS.glob("integration/test_attack_*.py")} <= named
