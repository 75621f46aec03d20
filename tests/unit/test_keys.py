"""Node keys as text and files: rings, permissions, and files that are replaced as a whole."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from nacl.signing import SigningKey, VerifyKey

from pouw.errors import KeyMaterialError, SettingsError
from pouw.keys import NodeKey, append_new, format_secret_key, parse_ring, read_ring
from pouw.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = [format_secret_key(SigningKey(bytes([number + 1]) * 32)) for number in range(3)]


@pytest.mark.parametrize("separator", ["\n", " ", ",", ",\n ", "\t"])
def test_a_ring_holds_several_keys_in_order(separator: str) -> None:
    ring = parse_ring(separator.join(SEEDS) + "\n")
    assert [key.public_key for key in ring] == [bytes(SigningKey(base64.b64decode(seed)).verify_key) for seed in SEEDS]


def test_a_key_signs_and_does_not_show() -> None:
    [key] = parse_ring(SEEDS[0])
    VerifyKey(key.public_key).verify(b"message", key.sign(b"message"))
    assert SEEDS[0] not in repr(key)
    assert repr(key) == f"NodeKey({key.public_key.hex()})"


@pytest.mark.parametrize("text", ["", " ", f"{SEEDS[0]} nonsense", f"{SEEDS[0]} {SEEDS[0]}", f"{SEEDS[0]}; {SEEDS[1]}"])
def test_a_bad_ring_is_refused_as_a_whole(text: str) -> None:
    with pytest.raises(KeyMaterialError) as caught:
        parse_ring(text)
    assert SEEDS[0] not in str(caught.value)


CLOSED, OPEN = (0o600, 0o400, 0o440, 0o640), (0o644, 0o604, 0o620, 0o606, 0o777)


@pytest.mark.parametrize(("mode", "taken"), [(mode, True) for mode in CLOSED] + [(mode, False) for mode in OPEN])
def test_a_key_file_has_to_be_closed_to_others(tmp_path: Path, mode: int, taken: bool) -> None:
    path = tmp_path / "node.key"
    path.write_text(SEEDS[0])
    path.chmod(mode)
    environ = {"POUW_NODE_SECRET_KEY_FILE": str(path), "POUW_DATABASE_URL": "postgresql://h/d"}
    if taken:
        assert len(read_ring(path)) == 1
        assert Settings.from_env(environ).node_key_file == path
    else:
        with pytest.raises(KeyMaterialError, match=f"mode {mode:03o}"):
            read_ring(path)
        with pytest.raises(SettingsError, match="POUW_NODE_SECRET_KEY_FILE"):
            Settings.from_env(environ)


def test_a_systemd_credential_is_read(tmp_path: Path) -> None:
    for name, text in {"POUW_NODE_SECRET_KEY": "\n".join(SEEDS), "POUW_DATABASE_URL": "postgresql://h/d"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o400)
    settings = Settings.from_env({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert len(settings.node_keys) == 3
    assert settings.node_key_file == tmp_path / "POUW_NODE_SECRET_KEY"
    assert settings.database_url.reveal() == "postgresql://h/d"


def test_a_new_key_comes_to_the_end_of_the_ring(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    first = append_new(path)
    path.chmod(0o640)
    second = append_new(path)
    assert [key.public_key for key in read_ring(path)] == [first, second]
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["node.key"]


def test_a_ring_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    path.write_text("no key")
    path.chmod(0o600)
    with pytest.raises(KeyMaterialError):
        append_new(path)
    assert path.read_text() == "no key"
    with pytest.raises(KeyMaterialError):
        append_new(tmp_path / "missing" / "node.key")


def test_node_keys_are_signers() -> None:
    key = NodeKey(SigningKey(bytes(32)))
    assert key.sign(b"") == SigningKey(bytes(32)).sign(b"").signature
