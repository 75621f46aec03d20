"""The small rooms: keys, limits, reasons, logs, metrics' names."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nacl.signing import SigningKey

from pouw import logs
from pouw.errors import KeyMaterialError
from pouw.keys import format_secret_key, load_or_create, parse_secret_key
from pouw.limits import ip_key, per_minute
from pouw.protocol.reasons import Detail, Reason

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    made = load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(path) == made
    assert parse_secret_key(format_secret_key(made)) == made


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff\xfe\xfd"])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(content)
    with pytest.raises(KeyMaterialError, match=r"node\.key"):
        load_or_create(path)
    assert path.read_bytes() == content


def test_a_key_cannot_be_made_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyMaterialError, match="cannot be read or written"):
        load_or_create(tmp_path / "missing" / "node.key")


def test_halves_that_do_not_belong_together_are_no_key() -> None:
    import base64

    wrong = bytes(SigningKey(b"a" * 32)) + bytes(SigningKey(b"b" * 32).verify_key)
    with pytest.raises(KeyMaterialError, match="public half"):
        parse_secret_key(base64.b64encode(wrong).decode())


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "local"),
        (None, "local"),
        ("nonsense", "local"),
    ],
)
def test_what_a_client_counts_on(address: str | None, key: str) -> None:
    assert ip_key(address) == key


def test_a_rule_says_itself() -> None:
    assert str(per_minute(50)) == "50 per 1 minute"


def test_every_detail_has_its_reason() -> None:
    assert {detail.reason for detail in Detail} == set(Reason)
    assert Detail.UNKNOWN_CHALLENGE.reason is Reason.EXPIRED
    assert len(Detail) == 15


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str]) -> Callable[[bool], list[str]]:
    def read(as_json: bool) -> list[str]:
        before = logging.getLogger().handlers[:]
        logs.configure("info", as_json=as_json)
        try:
            logs.log.info("tested", text="a\nb", number=1, path=Path("/x"))
            logging.getLogger("foreign").warning("broken\nline %s", "\x1b[31m")
            logs.log.exception("failed", ValueError("inside\nit"))
            logs.log.warning("warned")
        finally:
            logging.getLogger().handlers = before
        return capsys.readouterr().err.splitlines()

    return read


def test_json_logs_are_one_object_a_line(log_lines: Callable[[bool], list[str]]) -> None:
    tested, foreign, failed, warned = map(json.loads, log_lines(True))
    assert (tested["event"], tested["text"], tested["number"], tested["path"]) == ("tested", "a\nb", 1, "/x")
    assert foreign["level"] == "warning"
    assert "ValueError: inside" in failed["traceback"]
    assert warned["event"] == "warned"


def test_readable_logs_cannot_be_forged_by_what_they_hold(log_lines: Callable[[bool], list[str]]) -> None:
    lines = log_lines(False)
    assert 'tested text="a\\nb" number=1 path="/x"' in lines[0]
    assert "'broken\\nline \\x1b[31m'" in lines[1]
