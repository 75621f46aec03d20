"""``pouw preflight`` against a real node with real TLS: what passes, and what each kind of fault looks like."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from pouw import __version__
from pouw.cli import main
from pouw.local.ports import free_port
from pouw.preflight import hardware, monitoring
from pouw.preflight.baselines import FORMAT
from pouw.preflight.lines import Outcome, Section
from pouw.preflight.report import markdown
from pouw.preflight.walk import walk
from tests.alerting import listens
from tests.integration.test_tls import TlsNode, issue
from tests.preflights import ITEMS, TOKEN, given, look, start, tls_server
from tests.support import node_key
from tools.schema import FILE, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pouw.local.servers import LocalServers

ROOT = Path(__file__).parents[2]
PASSED, FAILED, HUMAN = Outcome.PASSED, Outcome.FAILED, Outcome.HUMAN


@pytest.fixture(scope="module")
def node(servers: LocalServers, new_database: Callable[[], str], open_tmp: Path) -> Iterator[TlsNode]:
    """A node as production has it."""
    folder = open_tmp / "preflight"
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


def test_an_expired_certificate_and_one_near_its_end_fail(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days, said in ((-0.5, "the certificate does not verify: certificate has expired"), (5, "for 5 more days")):
        with tls_server(tmp_path, days=days) as url:
            told = given(node, url=url, ca=tmp_path / "cert.pem")
            line = look(monkeypatch, node, "tls.certificate", told=told)["tls.certificate"]
        assert line.outcome is FAILED
        assert said in line.evidence


def test_a_certificate_of_an_unknown_authority_fails(node: TlsNode, monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(monkeypatch, node, "tls.certificate", "verify.health", told=given(node, ca=None))
    assert "does not verify: self-signed certificate" in found["tls.certificate"].evidence
    assert {line.outcome for line in found.values()} == {FAILED}


def test_tls_1_2_fails_and_so_does_a_server_without_hsts(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_server(tmp_path) as url:
        told = given(node, url=url, ca=tmp_path / "cert.pem")
        found = look(monkeypatch, node, "tls.version", "tls.hsts", told=told)
        assert (found["tls.version"].outcome, found["tls.version"].evidence) == (FAILED, "TLSv1.2 is accepted")
        assert (found["tls.hsts"].outcome, found["tls.hsts"].evidence) == (
            FAILED,
            "there is no Strict-Transport-Security",
        )
    with tls_server(tmp_path, newest=ssl.TLSVersion.TLSv1_2) as url:
        assert look(monkeypatch, node, "tls.version", told=given(node, url=url))["tls.version"].outcome is FAILED


def test_plain_http_fails_everything_about_tls(node: TlsNode, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("tls.certificate", "tls.version", "tls.renewal", "tls.hsts")
    found = look(monkeypatch, node, *names, told=given(node, url=f"http://127.0.0.1:{node.port}"))
    assert {(line.outcome, line.evidence.rpartition(" is ")[2]) for line in found.values()} == {(FAILED, "not https")}


def test_a_renewal_that_did_not_arrive_fails(node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issue(tmp_path, 9)
    environ: dict[str, Any] = {
        f"POUW_TLS_{name.upper()}_FILE": str(tmp_path / f"{name}.pem") for name in ("cert", "key")
    }
    line = look(monkeypatch, node, "tls.renewal", **environ)["tls.renewal"]
    assert line.outcome is FAILED
    assert line.what_to_do == "Look in the node's log for certificate_not_loaded."


def test_a_server_that_is_no_node_fails_with_what_it_said(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("verify.health", "limits.ip", "deploy.version", "keys.generated", "verify.submit", "metrics.exposed")
    with tls_server(tmp_path) as url:
        told = given(node, url=url, metrics=url, ca=tmp_path / "cert.pem")
        found = look(monkeypatch, node, *names, told=told)
    assert {line.outcome for line in found.values()} == {FAILED}
    assert "KeyError" in found["limits.ip"].evidence


# Keys, limits, flags, secrets


def test_a_key_that_is_too_old_or_gone_fails(node: TlsNode, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(node.environ["POUW_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("UPDATE node_keys SET valid_from = now() - interval '400 days'")
        line = look(monkeypatch, node, "keys.age")["keys.age"]
        assert (line.outcome, line.evidence) == (FAILED, "1 active, the oldest for 400 days of 365")
        connection.execute("UPDATE node_keys SET valid_from = now()")


def test_a_key_in_the_environment_another_ring_and_a_published_key_fail(
    node: TlsNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = look(monkeypatch, node, "keys.kept", "keys.generated", POUW_NODE_SECRET_KEY=node_key(),
                 POUW_NODE_SECRET_KEY_FILE="")  # fmt: skip
    assert "is not in the ring here" in found["keys.generated"].evidence
    assert "in the environment" in found["keys.kept"].evidence
    assert {line.outcome for line in found.values()} == {FAILED}
    pattern = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    found = look(monkeypatch, node, "keys.generated", POUW_NODE_SECRET_KEY=pattern, POUW_NODE_SECRET_KEY_FILE="")
    assert "published or a pattern" in found["keys.generated"].evidence


def test_development_flags_a_debug_log_and_other_limits_than_the_nodes_fail(
    node: TlsNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = look(
        monkeypatch, node, "flags.production", "flags.development", "flags.debug", "limits.ip", "limits.timeout",
        POUW_ENV="development", POUW_LOG_LEVEL="debug", POUW_OPERATOR_DIDS="", POUW_RATE_LIMIT_IP="7",
        POUW_REQUEST_TIMEOUT_SECS="600",
    )  # fmt: skip
    assert {line.outcome for line in found.values()} == {FAILED}
    assert found["flags.production"].evidence == "POUW_ENV is development"
    assert "POUW_LOG_LEVEL: debug" in found["flags.development"].evidence
    assert "POUW_OPERATOR_DIDS: name at least one" in found["flags.development"].evidence
    assert found["flags.debug"].evidence == "POUW_LOG_LEVEL is debug"
    assert found["limits.ip"].evidence == "the node says 10000, the settings here 7"


def test_what_production_refuses_is_a_line_and_no_end(node: TlsNode, monkeypatch: pytest.MonkeyPatch) -> None:
    line = look(monkeypatch, node, "flags.development", POUW_LOG_LEVEL="debug")["flags.development"]
    assert (line.outcome, line.evidence) == (FAILED, "POUW_LOG_LEVEL: debug is for development")


def test_limits_that_were_lifted_fail(
    servers: LocalServers, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert servers.valkey is not None
    node = TlsNode(tmp_path / "node.log", {
        "POUW_DATABASE_URL": database_url, "POUW_NODE_SECRET_KEY": node_key(), "POUW_WORKERS": "1",
        "POUW_RATE_LIMIT_IP": "1000000", "POUW_RATE_LIMIT_DID": "1000000", "POUW_BATCH_SIZE_MAX": "10000",
    })  # fmt: skip
    monkeypatch.setattr(
        node, "_ready", lambda: node.http.get("/health/ready").status == 200 if listens(node.port) else False
    )
    node.start()
    told = given(node, url=node.http.base, ca=None)
    found = look(monkeypatch, node, "limits.ip", "limits.did", "limits.batch", "software.redis", told=told)
    assert {line.outcome for line in found.values()} == {FAILED}
    assert found["limits.ip"].evidence == "the node says 1000000; up to 10,000 count as a limit"
    assert "POUW_REDIS_URL is not set" in found["software.redis"].evidence
    node.stop()


def test_a_secret_in_configuration_and_an_open_secret_file_fail(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "pouw.env").write_text(f"POUW_METRICS_TOKEN={TOKEN}\n")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o644)
    environ: dict[str, Any] = {"POUW_METRICS_TOKEN": "", "POUW_METRICS_TOKEN_FILE": str(token)}
    told = given(node, configs=(tmp_path,))
    found = look(monkeypatch, node, "secrets.kept", "secrets.elsewhere", told=told, **environ)
    assert {line.outcome for line in found.values()} == {FAILED}
    assert found["secrets.elsewhere"].evidence == f"a secret stands in {tmp_path}/deeper/pouw.env"
    assert "is open to everybody" in found["secrets.kept"].evidence
    line = look(monkeypatch, node, "secrets.elsewhere")["secrets.elsewhere"]
    assert (line.outcome, line.evidence.partition(":")[0]) == (FAILED, "not looked at")


# The database


def test_the_file_of_the_schema_is_that_of_the_migrations(database_url: str) -> None:
    assert FILE.read_text() == describe(database_url), "run python -m tools.schema"


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        ("DROP INDEX challenges_task_id_idx", "index.challenges.task_id", "no index of challenges begins with task_id"),
        ("DROP INDEX receipts_submitted_at_idx", "index.receipts.submitted_at", "no index of receipts begins"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'rewards_epoch_idx'::regclass",
            "index.rewards.epoch",
            "rewards_epoch_idx is invalid",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'rewards_epoch_idx'::regclass",
            "database.schema",
            "invalid indexes: rewards_epoch_idx",
        ),
        (
            """
            UPDATE pg_index SET indisvalid = false WHERE indexrelid =
            (SELECT relid FROM pg_partition_tree('receipts_client_did_idx') WHERE isleaf LIMIT 1)
            """,
            "index.receipts.client_did",
            "receipts_client_did_idx is invalid",
        ),
        (
            "DROP INDEX nonces_nonce_key; CREATE INDEX again ON nonces (nonce)",
            "index.nonces.nonce",
            "again is not unique",
        ),
        (
            "ALTER TABLE batches ALTER COLUMN accepted TYPE bigint",
            "database.schema",
            "missing: column batches.accepted",
        ),
        ("DROP FUNCTION make_partitions", "database.schema", "missing: function make_partitions"),
        (
            "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)",
            "database.migrations",
            "not applied: 2026",
        ),
        ("DROP TABLE schema_migrations", "database.migrations", "not applied: 2026"),
        ("INSERT INTO schema_migrations VALUES ('99990101000001')", "database.migrations", "does not know: 9999"),
        ("UPDATE node_keys SET state = 'retired', valid_until = now()", "keys.age", "no key is active"),
    ],
)
def test_a_database_that_is_not_as_the_migrations_make_it_fails(
    node: TlsNode, database_url: str, monkeypatch: pytest.MonkeyPatch, change: str, name: str, said: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(change)
    line = look(monkeypatch, node, name, POUW_DATABASE_URL=database_url)[name]
    assert line.outcome is FAILED
    assert said in line.evidence


def test_more_than_the_migrations_make_passes_and_is_named(
    node: TlsNode, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE INDEX of_the_operator ON receipts (proof_type)")
    line = look(monkeypatch, node, "database.schema", POUW_DATABASE_URL=database_url)["database.schema"]
    assert line.outcome is PASSED
    assert "of_the_operator" in line.evidence


@pytest.mark.parametrize(
    ("name", "command", "job", "old"),
    [
        ("backup.made", ("backup", "note", "--reason", "to the other room"), "backup", "27 hours"),
        ("backup.restored", ("backup", "restored", "--reason", "to the other room"), "restore", "91 days"),
    ],
)
def test_a_backup_and_a_restore_pass_where_they_were_noted_in_time(
    node: TlsNode,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    command: tuple[str, ...],
    job: str,
    old: str,
) -> None:
    environ: dict[str, Any] = {"POUW_DATABASE_URL": database_url}
    assert "never noted" in look(monkeypatch, node, name, **environ)[name].evidence
    assert CliRunner().invoke(main, command, env=environ).exit_code == 0
    line = look(monkeypatch, node, name, **environ)[name]
    assert line.outcome is PASSED
    assert "noted 0.0 hours ago, to the other room" in line.evidence
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE job_state SET finished_at = now() - %s::interval WHERE job = %s", (old, job))
    assert look(monkeypatch, node, name, **environ)[name].outcome is FAILED


def test_a_maintenance_a_standby_redis_and_a_database_that_are_away_fail(
    node: TlsNode, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    CliRunner().invoke(main, ["maintenance", "on", "--reason", "a new disk"], env={"POUW_DATABASE_URL": database_url})
    away = f"redis://127.0.0.1:{free_port()}/0"
    found = look(
        monkeypatch, node, "deploy.open", "software.redis", POUW_DATABASE_URL=database_url, POUW_REDIS_URL=away
    )
    assert found["deploy.open"].evidence.endswith(": a new disk")
    assert found["software.redis"].evidence == "Redis does not answer: ConnectionError"
    assert {line.outcome for line in found.values()} == {FAILED}


# The machine


def test_the_machine_is_measured_and_not_guessed(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("hardware.cores", "hardware.memory", "hardware.disk", "hardware.network")
    found = look(monkeypatch, node, *names, told=given(node, disk=tmp_path))
    assert re.fullmatch(r"\d+ cores.*", found["hardware.cores"].evidence)
    assert re.fullmatch(r"[\d.]+ GB.*", found["hardware.memory"].evidence)
    assert f"GB free at {tmp_path}" in found["hardware.disk"].evidence
    monkeypatch.setattr(hardware, "_CORES", 10**6)
    monkeypatch.setattr(hardware, "_MEMORY", 10**18)
    monkeypatch.setattr(hardware, "_DISK", 10**18)
    found = look(monkeypatch, node, *names[:3], told=given(node, disk=tmp_path))
    assert {line.outcome for line in found.values()} == {FAILED}
    monkeypatch.setattr(hardware, "_DISK", 0)
    for turns, outcome in ((True, FAILED), (False, PASSED), (None, HUMAN)):
        monkeypatch.setattr(hardware, "rotates", lambda _place, turns=turns: turns)
        assert (
            look(monkeypatch, node, "hardware.disk", told=given(node, disk=tmp_path))["hardware.disk"].outcome
            is outcome
        )


def test_interfaces_and_disks_are_asked_through_linux(tmp_path: Path) -> None:
    for name, speed in (("lo", "10000"), ("eth0", "1000"), ("virtual", "-1"), ("down", "")):
        (tmp_path / "class" / "net" / name).mkdir(parents=True)
        (tmp_path / "class" / "net" / name / "speed").write_text(speed)
    assert hardware.speeds(tmp_path) == {"eth0": 1000}
    assert hardware.judge_speeds({"eth0": 1000}).outcome is PASSED
    assert hardware.judge_speeds({"eth0": 100}).outcome is FAILED
    assert hardware.judge_speeds({}).outcome is HUMAN
    device = tmp_path.stat().st_dev
    block = tmp_path / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    assert hardware.rotates(tmp_path, tmp_path) is None
    (block / "queue").mkdir(parents=True)
    for text, turns in (("1\n", True), ("0\n", False)):
        (block / "queue" / "rotational").write_text(text)
        assert hardware.rotates(tmp_path, tmp_path) is turns


# The bench


def result(name: str, *runs: dict[str, Any], version: str = __version__, **more: Any) -> dict[str, Any]:
    base = {"format": FORMAT, "name": name, "written_at": "2026-11-01T00:00:00+00:00", "options": {},
            "machine": {"cores": 8}, "versions": {"pouw": version}, "runs": list(runs)}  # fmt: skip
    return base | more


def run(**changes: Any) -> dict[str, Any]:
    base = {"site": "node", "loop": "open", "rate": 10.0, "connections": 1000, "batch_size": 100, "encoding": "json",
            "requests": 1000, "statuses": {"200": 1000}, "audit": {"ok": True}, "receipts_per_sec": 1000.0,
            "latency_ms": {"p50": 5.0, "p99": 20.0}}  # fmt: skip
    return base | changes


def good_results() -> list[dict[str, Any]]:
    return [
        result("challenge", run(rate=1000.0), run(loop="at once")),
        result("submit", run()),
        result("submit", max_receipts_per_sec=15_000.0, options={"batch_size": 100, "seconds": 60}),
        result("peak", run(receipts_per_sec=5000.0)),
        result("soak", run(), options={"hours": 24, "rate": 1000}),
    ]


LOADS = tuple(name for name in ITEMS if name.startswith(("load.", "baseline.")))


def write(folder: Path, results: list[dict[str, Any]]) -> tuple[Path, ...]:
    for number, each in enumerate(results):
        (folder / f"{number}.json").write_text(json.dumps(each))
    return (folder,)


def test_good_results_of_the_bench_pass_every_load_line(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = given(node, bench=write(tmp_path, good_results()))
    found = look(monkeypatch, node, *LOADS, told=told)
    assert {name: line.evidence for name, line in found.items() if line.outcome is not PASSED} == {}


@pytest.mark.parametrize(
    ("results", "failing"),
    [
        ([result("challenge", run(rate=1000.0, latency_ms={"p50": 11.0, "p99": 101.0}), run(loop="at once"))],
         {"baseline.challenge_p50", "baseline.challenge_p99"}),
        ([result("submit", run(latency_ms={"p50": 60.0, "p99": 501.0}))],
         {"baseline.submit_p50", "baseline.submit_p99"}),
        ([result("submit", max_receipts_per_sec=900.0, options={"batch_size": 100, "seconds": 60})],
         {"baseline.throughput"}),
        ([result("challenge", run(rate=1000.0), run(loop="at once", statuses={"200": 999, "503": 1}))],
         {"load.challenge"}),
        ([result("submit", run(receipts_per_sec=900.0))], {"load.submit"}),
        ([result("submit", run(audit={"ok": False}))], {"load.submit", "baseline.submit_p50", "baseline.submit_p99"}),
        ([result("peak", run(receipts_per_sec=4000.0))], {"load.peak"}),
        ([result("soak", run(), options={"hours": 1, "rate": 1000})], {"load.soak"}),
        ([result("soak", run(), version="0.0.1", options={"hours": 24, "rate": 1000})], set(LOADS)),
    ],
)  # fmt: skip
def test_results_below_their_targets_fail_their_lines(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: list[dict[str, Any]], failing: set[str]
) -> None:
    told = given(node, bench=write(tmp_path, good_results() + results))
    found = look(monkeypatch, node, *LOADS, told=told)
    assert {name for name, line in found.items() if line.outcome is FAILED} == failing


def test_results_that_are_none_or_do_not_have_it_fail(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = given(node, bench=write(tmp_path, [result("verify")]))
    found = look(monkeypatch, node, *LOADS, told=told)
    assert {line.evidence for line in found.values()} == {"none of the 1 results given has it"}
    (tmp_path / "0.json").write_text("{}")
    found = look(monkeypatch, node, *LOADS, told=told)
    assert {line.outcome for line in found.values()} == {FAILED}
    assert found["load.soak"].evidence.endswith("is not a result file of this bench.")


def test_the_names_of_the_recording_rules_are_those_that_are_delivered() -> None:
    delivered = (ROOT / "deploy" / "prometheus" / "recording.yml").read_text()
    assert tuple(re.findall(r"- record: (\S+)", delivered)) == monitoring.RECORDED
