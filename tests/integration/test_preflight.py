"""``pouw preflight`` against a real node with real TLS: what passes, and what each kind of fault looks like."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pouw.cli import main
from pouw.preflight.lines import Section
from pouw.preflight.report import markdown
from pouw.preflight.walk import walk
from tests.ports import free_port
from tests.preflights import ITEMS, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pouw.local.servers import LocalServers
    from tests.integration.test_tls import TlsNode

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def node(servers: LocalServers, new_database: Callable[[], str], open_tmp: Path) -> Iterator[TlsNode]:
    """A node as production has it."""
    folder = open_tmp / f"preflight-{secrets.token_hex(4)}"
    folder.mkdir()
    started = start(servers, new_database(), folder)
    yield started
    started.stop()


def preflight(node: TlsNode, *arguments: str, **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pouw", "preflight", *arguments],
        env=node.environ | environ, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def urls(node: TlsNode) -> tuple[str, ...]:
    return ("--url", f"https://127.0.0.1:{node.port}", "--ca", str(node.log.parent / "cert.pem"))


def test_the_page_is_the_checklist_of_the_program() -> None:
    assert (ROOT / "docs" / "PRODUCTION_CHECKLIST.md").read_text() == markdown(), "pouw preflight --blank > it"


def test_every_line_of_the_page_is_a_line_of_the_walk_and_the_other_way_round(node: TlsNode) -> None:
    page = re.findall(
        r"^- \[ \] .* \(`([\w.]+)`\)$", (ROOT / "docs" / "PRODUCTION_CHECKLIST.md").read_text(), re.MULTILINE
    )
    document = json.loads(preflight(node, "--json")[1])
    assert [line["id"] for line in document["lines"]] == page
    assert len(set(page)) == len(page) == len(ITEMS)


def test_a_walk_over_a_real_node(node: TlsNode, tmp_path: Path) -> None:
    """What is as it should be passed with its evidence; what was not given failed; the rest is for a human."""
    (tmp_path / "pouw.env").write_text("POUW_ENV=production\n")
    code, said, _error = preflight(node, *urls(node), "--config", str(tmp_path), "--json")
    document = json.loads(said)
    lines = {line["id"]: line for line in document["lines"]}
    assert (code, document["passed"]) == (1, False)
    expected = [
        "software.python",
        "software.postgresql",
        "software.redis",
        "tls.certificate",
        "tls.version",
        "tls.hsts",
        "keys.generated",
        "keys.kept",
        "keys.age",
        "limits.ip",
        "limits.did",
        "limits.batch",
        "limits.timeout",
        "secrets.kept",
        "secrets.elsewhere",
        "settings.read",
        "flags.production",
        "flags.development",
        "flags.debug",
        "database.migrations",
        "database.schema",
        "index.challenges.task_id",
        "index.challenges.expires_at",
        "index.receipts.client_did",
        "index.receipts.submitted_at",
        "index.rewards.epoch",
        "index.nonces.nonce",
        "metrics.exposed",
        "deploy.version",
        "deploy.smoke",
        "deploy.open",
        "verify.health",
        "verify.metrics",
        "verify.challenge",
        "verify.submit",
    ]
    assert [name for name in expected if lines[name]["outcome"] != "passed"] == []
    for line in lines.values():
        assert line["evidence"], line
        assert bool(line["looked_at"]) is (ITEMS[line["id"]].look is not None)
        assert bool(line["what_to_do"]) is (line["outcome"] != "passed")
        if ITEMS[line["id"]].look is None:
            assert line["outcome"] == "for a human"
    for name in ("metrics.scraped", "alert.health", "software.prometheus", "load.soak", "baseline.throughput"):
        assert lines[name]["outcome"] == "failed"
        assert "give --" in lines[name]["evidence"]
    assert lines["backup.made"]["outcome"] == lines["backup.restored"]["outcome"] == "failed"
    assert "TLS 1.3 is spoken, and a client of TLS 1.2 is refused" in lines["tls.version"]["evidence"]
    assert lines["tls.renewal"]["outcome"] == "for a human"


def test_nothing_that_was_not_looked_at_has_passed(node: TlsNode) -> None:
    """Without a URL, with a database that is away: whatever passed needs neither."""
    nowhere = f"postgresql://x:y@127.0.0.1:{free_port()}/x"
    code, said, _error = preflight(node, "--json", POUW_DATABASE_URL=nowhere, POUW_DB_TIMEOUT_SECS="1")
    lines = json.loads(said)["lines"]
    assert code == 1
    by_itself = ("hardware.", "software.python", "software.redis", "keys.kept", "limits.timeout", "secrets.kept",
                 "settings.", "flags.", "metrics.exposed", "verify.metrics")  # fmt: skip
    assert [each["id"] for each in lines if each["outcome"] == "passed" and not each["id"].startswith(by_itself)] == []


def test_the_filled_in_page_has_the_lines_and_room_for_signatures(node: TlsNode) -> None:
    code, said, _error = preflight(node, *urls(node), "--markdown")
    assert code == 1
    assert re.search(r"^- \[x\] TLS 1.3 and nothing older \(`tls.version`\)$", said, re.MULTILINE)
    assert re.search(r"^- \[ \] Code reviewed and approved \(`before.review`\)$", said, re.MULTILINE)
    assert re.search(
        r"^  - \*\*passed\*\*: TLS 1.3 is spoken.*, 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$", said, re.MULTILINE
    )
    assert said.endswith("| Product Owner | | | |\n")


def test_it_ends_with_0_where_nothing_failed(node: TlsNode, monkeypatch: pytest.MonkeyPatch) -> None:
    human = tuple(item for section in ITEMS.values() for item in [section] if item.look is None)
    monkeypatch.setattr("pouw.cli.preflight.walk", lambda deployment: _only_people(deployment, human))
    for name, value in node.environ.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(main, ["preflight"])
    assert done.exit_code == 0, done.output
    assert done.output.endswith(f"0 passed, 0 failed, {len(human)} for a human\n")


def _only_people(deployment: Any, items: Any) -> Any:
    return walk(deployment, [Section("People", items)])


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"POUW_DATABASE_URL": ""}, "POUW_DATABASE_URL is not set"),
        ({"POUW_ENV": "staging"}, "POUW_ENV: expected one of"),
        ({"POUW_REDIS_URL_FILE": "/nowhere"}, "POUW_REDIS_URL and POUW_REDIS_URL_FILE are both set"),
    ],
)
def test_settings_that_cannot_be_read_end_it(node: TlsNode, environ: dict[str, str], said: str) -> None:
    code, output, error = preflight(node, **environ)
    assert (code, output) == (2, "")
    assert said in error


def test_a_url_that_is_none_is_usage(node: TlsNode) -> None:
    assert preflight(node, "--url", "node.example")[0] == 2


# TLS
