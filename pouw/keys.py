"""The node's Ed25519 signing keys: as text, as files, and as what signs."""

from __future__ import annotations

import base64
import binascii
import os
import re
import tempfile
from pathlib import Path
from typing import Protocol

from nacl.bindings import crypto_sign
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey

from pouw.errors import KeyMaterialError

_MAX_FILE_BYTES = 65_536
_TOO_OPEN = 0o027  # a group may read a key, where the orchestrator hands it over so; nobody else may
_SEED_BYTES = 32
_SECRET_KEY_BYTES = 64  # libsodium's form: the seed and then the public key
_SIGNATURE_BYTES = 64


class Signer(Protocol):
    """An Ed25519 key that signs, wherever it is kept."""

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over a message."""


class NodeKey:
    """A signing key in this process's memory; its repr shows the public half only."""

    __slots__ = ("_public_key", "_secret")

    def __init__(self, signing_key: SigningKey) -> None:
        self._public_key = bytes(signing_key.verify_key)
        self._secret = bytes(signing_key) + self._public_key  # libsodium's form

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over a message (RFC 8032, section 5.1.6)."""
        return crypto_sign(message, self._secret)[:_SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"NodeKey({self.public_key.hex()})"


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


def parse_ring(text: str) -> tuple[NodeKey, ...]:
    """Read one or several keys, separated by white space or commas, the oldest first.

    Raises :class:`KeyMaterialError` where one of them is no key or stands twice.
    """
    keys = tuple(NodeKey(parse_secret_key(part)) for part in re.split(r"[\s,]+", text.strip()))
    if len({key.public_key for key in keys}) < len(keys):
        raise KeyMaterialError("a key stands twice")
    return keys


def read_ring(path: Path) -> tuple[NodeKey, ...]:
    """Read the keys in a file that is closed to others.

    Raises :class:`KeyMaterialError` where it cannot be read, is open to others, or holds something else.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _TOO_OPEN:
                raise KeyMaterialError(f"{path} is open to others (mode {mode & 0o777:03o}): chmod 600 it")
            return parse_ring(file.read(_MAX_FILE_BYTES))
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise KeyMaterialError(f"{path} cannot be read: {cause}") from None


def append_new(path: Path) -> bytes:
    """Make a new key at the end of the ring in ``path`` and return its public key.

    The file is replaced as a whole, so that a node that reads it meanwhile sees the old ring or the new one. Raises
    :class:`KeyMaterialError` where it cannot be read or written.
    """
    key = SigningKey.generate()
    try:
        old = path.read_text() if path.exists() else ""
        if old:
            read_ring(path)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            if old:
                owner = path.stat()
                os.fchmod(descriptor, owner.st_mode & 0o777)
                if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write((old.rstrip() + "\n" if old.strip() else "") + format_secret_key(key) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        raise KeyMaterialError(f"{path} cannot be read or written: {error.strerror}") from error
    return bytes(key.verify_key)


def format_secret_key(key: SigningKey) -> str:
    """Return base64 of the key's 32-byte seed."""
    return base64.b64encode(bytes(key)).decode()


def load_or_create(path: Path) -> SigningKey:
    """Read the signing key in ``path``, the first of a ring, or make one there that only its owner can read.

    Raises :class:`KeyMaterialError` where the file cannot be read, written or understood.
    """
    try:
        if not path.exists():
            write_new(path, format_secret_key(SigningKey.generate()) + "\n")  # another process may be faster
        return parse_secret_key((path.read_text().split(maxsplit=1) or [""])[0])
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
