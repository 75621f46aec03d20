"""The node's Ed25519 signing key as text and as a file."""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.signing import SigningKey

from pouw.errors import KeyMaterialError

_SEED_BYTES = 32
_SECRET_KEY_BYTES = 64  # libsodium's form: the seed and then the public key


def parse_secret_key(text: str) -> SigningKey:
    """Read a signing key from base64 of its 32-byte seed or of libsodium's 64-byte secret key.

    Raises :class:`KeyMaterialError`, whose message never holds the text.
    """
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise KeyMaterialError("expected base64 of a 32-byte seed or a 64-byte libsodium secret key") from None
    if len(raw) not in (_SEED_BYTES, _SECRET_KEY_BYTES):
        raise KeyMaterialError(f"expected 32 or 64 bytes in base64, got {len(raw)}")
    try:
        key = SigningKey(raw[:_SEED_BYTES])
    except CryptoError:  # pragma: no cover - a seed of the right length is always a key
        raise KeyMaterialError("expected an Ed25519 seed") from None
    if raw[_SEED_BYTES:] not in (b"", bytes(key.verify_key)):
        raise KeyMaterialError("the public half of the 64-byte secret key does not belong to its seed")
    return key


def format_secret_key(key: SigningKey) -> str:
    """Return base64 of the key's 32-byte seed."""
    return base64.b64encode(bytes(key)).decode()


def load_or_create(path: Path) -> SigningKey:
    """Read the signing key in ``path``, or make one there that only its owner can read.

    Raises :class:`KeyMaterialError` where the file cannot be read, written or understood.
    """
    try:
        if not path.exists():
            write_new(path, format_secret_key(SigningKey.generate()) + "\n")  # another process may be faster
        return parse_secret_key(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise KeyMaterialError(f"{path} cannot be read or written: {error}") from error
    except KeyMaterialError as error:
        raise KeyMaterialError(f"{path}: {error}") from error


def write_new(path: Path, text: str) -> bool:
    """Write a file for its owner only; False where it exists.

    It is written beside its place and linked there, so that no crash leaves half of it. Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    except FileExistsError:
        return False
    finally:
        Path(name).unlink()
    return True
