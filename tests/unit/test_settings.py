"""Settings: every mistake at once, by name, and no secret in sight."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from nacl.signing import SigningKey

from pouw.environment import Secret
from pouw.errors import SettingsError
from pouw.settings import Settings, read_database_url

if TYPE_CHECKING:
    from pathlib import Path

KEY = SigningKey(b"s" * 32)
SEED = base64.b64encode(bytes(KEY)).decode()
MINIMAL = {"POUW_NODE_SECRET_KEY": SEED, "POUW_DATABASE_URL": "postgres://u:hunter2@h:5432/pouw"}


def test_the_checklists_defaults() -> None:
    settings = Settings.from_env(MINIMAL)
    assert settings.rate_limit_ip == 100
    assert settings.rate_limit_did == 50
    assert settings.batch_size_max == 100
    assert settings.challenge_ttl_secs == 300
    assert settings.metrics_port == 9090
    assert settings.request_timeout_secs == 30
    assert settings.log_level == "info"
    assert settings.env == "development"
    assert settings.redis_url is None


def test_the_key_may_be_libsodiums_secret_key() -> None:
    long = base64.b64encode(bytes(KEY) + bytes(KEY.verify_key)).decode()
    settings = Settings.from_env(MINIMAL | {"POUW_NODE_SECRET_KEY": long})
    assert settings.node_keys[0].public_key == bytes(KEY.verify_key)


def test_all_mistakes_are_reported_at_once_by_name() -> None:
    environ = {
        "POUW_NODE_SECRET_KEY": "c2hvcnQ=",
        "POUW_DATABASE_URL": "mysql://root:hunter2@h/pouw",
        "POUW_REDIS_URL": "http://h",
        "POUW_ENV": "staging",
        "POUW_LOG_LEVEL": "loud",
        "POUW_PORT": "70000",
        "POUW_WORKERS": "0",
        "POUW_BATCH_SIZE_MAX": "many",
        "POUW_RATE_LIMIT_IP": "-1",
        "POUW_RATE_LIMIT_DID": "٣",
        "POUW_CHALLENGE_TTL_SECS": "1.5",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    assert sorted(fault.partition(":")[0] for fault in caught.value.faults) == sorted(environ)
    assert len(caught.value.faults) == len(environ)
    assert all("expected" in fault for fault in caught.value.faults)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({})
    assert caught.value.faults == [
        "POUW_NODE_SECRET_KEY is not set (nor POUW_NODE_SECRET_KEY_FILE)",
        "POUW_DATABASE_URL is not set (nor POUW_DATABASE_URL_FILE)",
    ]


@pytest.mark.parametrize(
    "key", ["not base64!", base64.b64encode(b"x" * 31).decode(), base64.b64encode(b"hunter2" + b"x" * 57).decode()]
)
def test_a_bad_key_does_not_show(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(MINIMAL | {"POUW_NODE_SECRET_KEY": key})
    assert key not in str(caught.value)
    assert caught.value.faults[0].startswith("POUW_NODE_SECRET_KEY: expected") or "public half" in str(caught.value)


def test_secrets_do_not_show() -> None:
    settings = Settings.from_env(MINIMAL | {"POUW_REDIS_URL": "redis://:hunter2@h:6379/0"})
    for shown in (repr(settings), str(settings), repr(settings.database_url), str(settings.node_keys)):
        assert "hunter2" not in shown
        assert SEED not in shown
    assert settings.redis_url == Secret("redis://:hunter2@h:6379/0")


def test_every_secret_can_come_as_a_file(tmp_path: Path) -> None:
    for name, value in MINIMAL.items():
        (tmp_path / name).write_text(f"{value}\n")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "redis").write_text("redis://h")
    environ = {f"{name}_FILE": str(tmp_path / name) for name in MINIMAL}
    settings = Settings.from_env(environ | {"POUW_REDIS_URL_FILE": str(tmp_path / "redis")})
    assert settings.database_url.reveal() == MINIMAL["POUW_DATABASE_URL"]
    assert settings.redis_url is not None
    assert settings.node_keys[0].public_key == bytes(KEY.verify_key)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    environ = {
        "POUW_NODE_SECRET_KEY_FILE": str(tmp_path / "missing"),
        "POUW_DATABASE_URL_FILE": str(tmp_path / "binary"),
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    assert [fault.split(":")[0] for fault in caught.value.faults] == list(environ)


def test_a_secret_in_both_places_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgres://h/pouw")
    with pytest.raises(SettingsError, match="both set"):
        Settings.from_env(MINIMAL | {"POUW_DATABASE_URL_FILE": str(tmp_path / "url")})


def test_a_metrics_token_is_long_enough_and_does_not_show() -> None:
    settings = Settings.from_env(MINIMAL | {"POUW_METRICS_TOKEN": "abcdefgh01234567"})
    assert settings.metrics_token == Secret("abcdefgh01234567")
    assert "abcdefgh01234567" not in repr(settings)
    for wrong in ("short", "with a space in it", "x" * 513, "ünïcödé-ünïcödé-ünïcödé"):
        with pytest.raises(SettingsError, match="POUW_METRICS_TOKEN: expected 16 to 512") as caught:
            Settings.from_env(MINIMAL | {"POUW_METRICS_TOKEN": wrong})
        assert wrong not in str(caught.value)


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_env(MINIMAL | {"POUW_PORT": "", "POUW_REDIS_URL": ""}).port == 8080


def test_the_database_url_alone() -> None:
    assert read_database_url(MINIMAL).reveal() == MINIMAL["POUW_DATABASE_URL"]
    with pytest.raises(SettingsError, match="POUW_DATABASE_URL"):
        read_database_url({})
