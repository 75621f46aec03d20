"""Production mode: what is for development only is refused, all of it at once."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

import pytest

from pouw.errors import SettingsError
from pouw.settings import Settings
from tests.support import Identity, node_key

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {
    "POUW_ENV": "production",
    "POUW_NODE_SECRET_KEY": node_key(),
    "POUW_DATABASE_URL": f"postgresql://pouw:{secrets.token_hex(8)}@db.example/pouw?sslmode=verify-full",
    "POUW_REDIS_URL": f"rediss://:{secrets.token_hex(8)}@redis.example:6379/0",
    "POUW_OPERATOR_DIDS": Identity().did,
}


def faults(**changes: str) -> list[str]:
    """Return what is wrong with good settings after these changes."""
    try:
        Settings.from_env(GOOD | {f"POUW_{name}": value for name, value in changes.items()})
    except SettingsError as error:
        return [fault.partition(":")[0] for fault in error.faults]
    return []


def test_good_settings_are_taken() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NODE_SECRET_KEY", base64.b64encode(bytes(32)).decode()),
        ("NODE_SECRET_KEY", base64.b64encode(b"s" * 32).decode()),
        ("NODE_SECRET_KEY", "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="),  # RFC 8032, section 7.1, test 1
        ("NODE_SECRET_KEY", "aW0cReL2U/kssZaiAPutvC1wjLRsHfp7Ic9ps6IqGjM="),  # docs/protocol.md
        ("LOG_LEVEL", "debug"),
        ("OPERATOR_DIDS", ""),
        ("METRICS_HOST", "0.0.0.0"),
        ("READ_DATABASE_URL", "postgresql://pouw:b7d988c416d5522a@standby.example/pouw"),
        ("REDIS_URL", ""),
        ("REDIS_URL", "redis://:b7d988c416d5522a@redis.example:6379/0"),
        ("REDIS_URL", "rediss://:redis@redis.example:6379/0"),
        ("DATABASE_URL", "postgresql://pouw:b7d988c416d5522a@db.example/pouw"),
        ("DATABASE_URL", "postgresql://pouw:b7d988c416d5522a@db.example/pouw?sslmode=disable"),
        ("DATABASE_URL", "postgresql://pouw:b7d988c416d5522a@db.example/pouw?sslmode=prefer"),
        ("DATABASE_URL", "postgresql:///pouw?host=db.example&password=b7d988c416d5522a"),
        ("DATABASE_URL", "postgresql://pouw:b7d988c416d5522a@127.0.0.1,db.example/pouw"),
        ("DATABASE_URL", "postgresql://pouw:pouw@db.example/pouw?sslmode=require"),
        ("DATABASE_URL", "postgresql://pouw:Postgres@127.0.0.1/pouw"),
        ("DATABASE_URL", "postgresql://somebody:somebody@127.0.0.1/pouw"),
        ("DATABASE_URL", "postgresql://pouw@127.0.0.1/pouw"),
        ("HOST", "0.0.0.0"),
        ("HOST", "::"),
    ],
)
def test_each_thing_for_development_is_refused_by_name(name: str, value: str) -> None:
    assert faults(**{name: value}) == [f"POUW_{name}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql:///pouw?host=/run/postgresql"),
        ("DATABASE_URL", "postgresql://pouw:b7d988c416d5522a@127.0.0.1/pouw"),
        ("DATABASE_URL", "postgresql://pouw:b7d988c416d5522a@[::1]/pouw"),
        ("DATABASE_URL", "postgresql://pouw@db.example/pouw?sslmode=verify-full&sslcert=client.crt&sslkey=client.key"),
        ("REDIS_URL", "redis+unix:///run/redis.sock"),
        ("REDIS_URL", "redis://127.0.0.1:6379/0"),
        ("HOST", "127.0.0.1"),
        ("METRICS_HOST", "::1"),
    ],
)
def test_what_stays_on_this_machine_is_taken(name: str, value: str) -> None:
    assert faults(**{name: value}) == []


def test_an_open_host_is_taken_with_tls_or_behind_a_proxy(tmp_path: Path) -> None:
    assert faults(HOST="0.0.0.0", TRUSTED_PROXIES="10.0.0.0/8") == []
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o600)
    pair = {"TLS_CERT_FILE": str(tmp_path / "cert.pem"), "TLS_KEY_FILE": str(tmp_path / "key.pem")}
    assert faults(HOST="0.0.0.0", **pair) == []
    (tmp_path / "key.pem").chmod(0o604)
    assert faults(HOST="0.0.0.0", **pair) == ["POUW_TLS_KEY_FILE"]


def test_open_metrics_are_taken_with_a_token() -> None:
    assert faults(METRICS_HOST="0.0.0.0", METRICS_TOKEN=secrets.token_hex(8)) == []


def test_secrets_in_open_files_are_refused(tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "REDIS_URL"):
        (tmp_path / name).write_text(GOOD[f"POUW_{name}"])
        (tmp_path / name).chmod(0o644)
    found = faults(
        DATABASE_URL="", DATABASE_URL_FILE=str(tmp_path / "DATABASE_URL"),
        REDIS_URL="", REDIS_URL_FILE=str(tmp_path / "REDIS_URL"),
    )  # fmt: skip
    assert found == ["POUW_DATABASE_URL_FILE", "POUW_REDIS_URL_FILE"]


def test_everything_is_said_at_once_and_no_secret() -> None:
    environ = {
        "POUW_ENV": "production",
        "POUW_NODE_SECRET_KEY": base64.b64encode(bytes(32)).decode(),
        "POUW_DATABASE_URL": "postgresql://pouw:changeme@db.example/pouw",
        "POUW_REDIS_URL": "redis://:changeme@redis.example",
        "POUW_LOG_LEVEL": "debug",
        "POUW_HOST": "0.0.0.0",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    names = [fault.partition(":")[0] for fault in caught.value.faults]
    assert sorted(names) == sorted(
        ["POUW_NODE_SECRET_KEY", *["POUW_DATABASE_URL"] * 2, *["POUW_REDIS_URL"] * 2, "POUW_LOG_LEVEL", "POUW_HOST",
         "POUW_OPERATOR_DIDS"]
    )  # fmt: skip
    assert "changeme" not in str(caught.value)
