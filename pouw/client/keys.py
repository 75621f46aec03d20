"""The client's identity key: made, kept in a file, and encrypted there where a passphrase is given."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from nacl import pwhash, secret, utils
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey

from pouw.errors import KeyMaterialError
from pouw.keys import load_or_create, parse_secret_key, write_new

if TYPE_CHECKING:
    from pathlib import Path

_KDF = "argon2id"


def generate() -> SigningKey:
    """Make a new Ed25519 key from the system's random generator."""
    return SigningKey.generate()


def save(path: Path, key: SigningKey, passphrase: str | None = None) -> None:
    """Write a key to a new file that only its owner can read, encrypted where a passphrase is given.

    The encryption is XSalsa20-Poly1305 under a key that Argon2id derives with libsodium's moderate limits.
    Raises :class:`KeyMaterialError` where the file exists or cannot be written.
    """
    if passphrase is None:
        text = base64.b64encode(bytes(key)).decode()
    else:
        salt = utils.random(pwhash.argon2id.SALTBYTES)
        text = json.dumps(
            {
                "kdf": _KDF,
                "salt": base64.b64encode(salt).decode(),
                "box": base64.b64encode(_box(passphrase, salt).encrypt(bytes(key))).decode(),
            }
        )
    try:
        if not write_new(path, text + "\n"):
            raise KeyMaterialError(f"{path} exists: a key is never overwritten")
    except OSError as error:
        raise KeyMaterialError(f"{path} cannot be written: {error}") from error


def load(path: Path, passphrase: str | None = None) -> SigningKey:
    """Read a key file; raise :class:`KeyMaterialError` where that fails or the passphrase is wrong or missing."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyMaterialError(f"{path} cannot be read: {error}") from error
    if not text.startswith("{"):
        return parse_secret_key(text)
    if passphrase is None:
        raise KeyMaterialError(f"{path} is encrypted: it needs its passphrase")
    try:
        value = json.loads(text)
        if value["kdf"] != _KDF:
            raise KeyMaterialError(f"{path}: the key derivation {value['kdf']!r} is not known")
        box = _box(passphrase, base64.b64decode(value["salt"]))
        return SigningKey(box.decrypt(base64.b64decode(value["box"])))
    except CryptoError:
        raise KeyMaterialError(f"{path}: the passphrase is wrong, or the file is damaged") from None
    except (KeyError, TypeError, ValueError) as error:
        raise KeyMaterialError(f"{path} is not a key file") from error


def _box(passphrase: str, salt: bytes) -> secret.SecretBox:
    derived = pwhash.argon2id.kdf(
        secret.SecretBox.KEY_SIZE,
        passphrase.encode(),
        salt,
        opslimit=pwhash.argon2id.OPSLIMIT_MODERATE,
        memlimit=pwhash.argon2id.MEMLIMIT_MODERATE,
    )
    return secret.SecretBox(derived)


__all__ = ["generate", "load", "load_or_create", "save"]
