"""The drills in their short form: two of them whole, and that they would notice what they look for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from deploy.drills.__main__ import DRILLS
from deploy.drills.load import Load
from deploy.drills.outcome import keep, lines, outcome, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import StartNode

ROOT = Path(__file__).parents[2]


@pytest.mark.debian
@pytest.mark.parametrize("drill", ["node-lost", "pitr"])
def test_a_drill_is_passed_and_kept(drill: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.drills", drill, "--out", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((tmp_path / f"{drill}.json").read_text())
    assert kept["passed"]
    assert kept["acknowledged"] > 0
    assert (kept["rpo_receipts"], kept["doubled"]) == (0, 0)


def test_what_is_lost_or_doubled_is_found(
    start_node: StartNode, new_database: Callable[[], str], tmp_path: Path
) -> None:
    node = start_node(new_database(), workers=1)
    url = node.environ["POUW_DATABASE_URL"]
    began = time.monotonic()
    with Load([node.http.base], clients=2, receipts=3) as load:
        load.wait_answers(30)
    away = load.away_secs(began)
    good = load.check(url)
    assert (good.lost, good.doubled, good.faults) == (0, 0, [])
    assert outcome("node-lost", "nothing happened", away, 60, good).passed
    assert not outcome("node-lost", "it took too long", 61, 60, good).passed
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM receipts WHERE id = (SELECT min(id) FROM receipts)")
        connection.execute("INSERT INTO receipts SELECT * FROM receipts WHERE id = (SELECT max(id) FROM receipts)")
        connection.execute("TRUNCATE nonces")
    bad = load.check(url)
    assert (bad.lost, bad.doubled) == (1, 1)
    assert len(bad.faults) == 2, "both clients were credited a second time"
    result = outcome("node-lost", "everything at once", away, 60, bad, told="so")
    assert not result.passed
    said = "\n".join(lines(result))
    assert "FAILED" in said
    assert "1 lost, 1 doubled" in said
    keep(result, tmp_path)
    assert "| `node-lost` |" in table(tmp_path)
    node.stop()


def test_every_drill_is_described_and_has_its_figures() -> None:
    page = (ROOT / "docs" / "FAILOVER_SCENARIOS.md").read_text()
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == set(DRILLS)
    assert set(re.findall(r"^python -m deploy\.drills ([a-z-]+)$", page, re.MULTILINE)) - {"all", "table"} == set(
        DRILLS
    )
