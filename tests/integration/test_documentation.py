"""What README and the documentation show is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pouw.settings import Settings
from tests.support import Node, node_key

if TYPE_CHECKING:
    from tests.support import Http

ROOT = Path(__file__).parents[2]


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL)


def test_readmes_first_batch_is_accepted_and_replayed(shared_node: Node, tmp_path: Path) -> None:
    script = next(block for block in blocks("README.md", "sh") if "batch.json" in block)
    script = script.replace("http://127.0.0.1:8080", shared_node.http.base).replace(".venv/bin/python", sys.executable)
    *write, send = script.rstrip().rsplit("\n", 1)
    program = "\n".join(["set -e", *write, send, "echo", send.replace("curl", "curl -i", 1)])
    done = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert '"rejected":[]' in done.stdout.splitlines()[0]
    assert "Idempotent-Replayed: true" in done.stdout


def test_the_clients_example_runs(shared_node: Node, tmp_path: Path) -> None:
    [program] = blocks("docs/client.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", program.replace("http://127.0.0.1:8080", shared_node.http.base)],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Verdict(" in done.stdout
    assert "rejected=()" in done.stdout


def test_readmes_table_has_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (`POUW_[^|]*) \| ([^|]*) \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    documented = {name for cell in rows for name in re.findall(r"`(POUW_[A-Z_]+)`", cell)}
    read = set(re.findall(r'"(POUW_[A-Z_]+)"', (ROOT / "pouw" / "settings.py").read_text()))
    read -= {f"{name}_FILE" for name in read}  # the file of a secret
    assert documented == read
    settings = Settings.from_env({"POUW_NODE_SECRET_KEY": node_key(), "POUW_DATABASE_URL": "postgresql://h/d"})
    for cell, default in rows.items():
        for name, value in zip(re.findall(r"`POUW_([A-Z_]+)`", cell), re.findall(r"`([^`]+)`", default), strict=False):
            if name != "DATA_DIR":  # the Makefile's default
                assert str(getattr(settings, name.lower())) == value, name


@pytest.mark.parametrize("path", sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")))
def test_links_lead_somewhere(path: str) -> None:
    for page in (path, "README.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
            assert link.startswith("http") or ((ROOT / page).parent / link).exists(), (page, link)


def test_the_description_is_where_readme_says(http: Http) -> None:
    assert http.get("/openapi.json").json["openapi"].startswith("3.1")
    assert http.get("/docs/").status == 200
