"""What ``pouw preflight`` says of TLS, keys, settings, secrets and databases that are not as they should be."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from pouw.cli import main
from pouw.preflight.lines import Outcome
from tests.alerting import listens
from tests.integration.test_preflight import node as node  # noqa: PLC0414 - a fixture
from tests.integration.test_tls import TlsNode, issue
from tests.ports import free_port
from tests.preflights import TOKEN, given, look, tls_server
from tests.support import node_key
from tools.schema import FILE, describe

if TYPE_CHECKING:
    from pathlib import Path

    from pouw.local.servers import LocalServers

PASSED, FAILED = Outcome.PASSED, Outcome.FAILED


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
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid::regclass::text ~ '^receipts_first_client_did'",
            "index.receipts.client_did",
            "receipts_client_did_batch_id_idx is invalid",
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
