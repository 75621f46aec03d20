"""The node's settings: read once from the environment, frozen, with secrets that do not show."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit

from pouw.errors import KeyMaterialError, SettingsError
from pouw.keys import parse_secret_key
from pouw.protocol.dids import is_did

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nacl.signing import SigningKey

T = TypeVar("T")

_MAX_SECRET_FILE_BYTES = 65_536


class Secret:
    """A text that is shown only by :meth:`reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class NodeKey:
    """The node's signing key; its repr shows the public half only."""

    __slots__ = ("signing_key",)

    def __init__(self, signing_key: SigningKey) -> None:
        self.signing_key = signing_key

    @property
    def node_id(self) -> bytes:
        """The 32-byte public key."""
        return bytes(self.signing_key.verify_key)

    def __repr__(self) -> str:
        return f"NodeKey({self.node_id.hex()})"


_KEEPALIVE_ROOM_SECS = 30


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that an operator can choose. Times are seconds, sizes are bytes."""

    node_key: NodeKey
    database_url: Secret
    redis_url: Secret | None
    env: Literal["development", "production"]
    log_level: Literal["debug", "info", "warning", "error"]
    host: str
    port: int
    metrics_host: str
    metrics_port: int
    workers: int
    rate_limit_ip: int
    rate_limit_did: int
    batch_size_max: int
    challenge_ttl_secs: int
    challenge_max_receipts: int
    challenge_max_bytes: int
    min_bytes_per_receipt: int
    clock_skew_secs: int
    identity_min_age_secs: int
    registration: Literal["closed", "open"]
    operator_dids: frozenset[str]
    request_timeout_secs: int
    body_max_bytes: int
    db_pool_size: int
    db_timeout_secs: int
    verify_threads: int

    @property
    def graceful_timeout_secs(self) -> int:
        """How long a stopping worker waits for what is in flight: any request, and idle connections."""
        return max(self.request_timeout_secs, _KEEPALIVE_ROOM_SECS)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; raise :class:`SettingsError` with every mistake at once."""
        env = _Reader(os.environ if environ is None else environ)
        batch_size_max = env.integer("POUW_BATCH_SIZE_MAX", 100, 1, 10_000)
        built = {
            "node_key": env.parsed("POUW_NODE_SECRET_KEY", lambda text: NodeKey(parse_secret_key(text))),
            "database_url": env.parsed("POUW_DATABASE_URL", _database_url),
            "redis_url": env.parsed("POUW_REDIS_URL", _redis_url, required=False),
            "env": env.choice("POUW_ENV", "development", ("development", "production")),
            "log_level": env.choice("POUW_LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
            "host": env.text("POUW_HOST", "127.0.0.1"),
            "port": env.integer("POUW_PORT", 8080, 1, 65_535),
            "metrics_host": env.text("POUW_METRICS_HOST", "127.0.0.1"),
            "metrics_port": env.integer("POUW_METRICS_PORT", 9090, 1, 65_535),
            "workers": env.integer("POUW_WORKERS", os.cpu_count() or 1, 1, 1_024),
            "rate_limit_ip": env.integer("POUW_RATE_LIMIT_IP", 100, 1, 10**9),
            "rate_limit_did": env.integer("POUW_RATE_LIMIT_DID", 50, 1, 10**9),
            "batch_size_max": batch_size_max,
            "challenge_ttl_secs": env.integer("POUW_CHALLENGE_TTL_SECS", 300, 1, 86_400),
            "challenge_max_receipts": env.integer("POUW_CHALLENGE_MAX_RECEIPTS", 10_000, 1, 10**9),
            "challenge_max_bytes": env.integer("POUW_CHALLENGE_MAX_BYTES", 2**40, 1, 2**53),
            "min_bytes_per_receipt": env.integer("POUW_MIN_BYTES_PER_RECEIPT", 1_024, 0, 2**53),
            "clock_skew_secs": env.integer("POUW_CLOCK_SKEW_SECS", 30, 0, 3_600),
            "identity_min_age_secs": env.integer("POUW_IDENTITY_MIN_AGE_SECS", 0, 0, 10**9),
            "registration": env.choice("POUW_REGISTRATION", "closed", ("closed", "open")),
            "operator_dids": env.parsed("POUW_OPERATOR_DIDS", _dids, required=False) or frozenset(),
            "request_timeout_secs": env.integer("POUW_REQUEST_TIMEOUT_SECS", 30, 1, 3_600),
            # The longest legal receipt has some 33,000 characters of JSON, every one of them escaped.
            "body_max_bytes": env.integer("POUW_BODY_MAX_BYTES", 65_536 + 40_960 * (batch_size_max or 0), 1_024, 2**31),
            "db_pool_size": env.integer("POUW_DB_POOL_SIZE", 8, 1, 1_000),
            "db_timeout_secs": env.integer("POUW_DB_TIMEOUT_SECS", 5, 1, 600),
            "verify_threads": env.integer("POUW_VERIFY_THREADS", os.cpu_count() or 1, 1, 256),
        }
        if env.faults:
            raise SettingsError(env.faults)
        return cls(**built)  # type: ignore[arg-type]  # no value is None where there is no fault


class _Reader:
    """Reads one variable at a time and collects what is wrong instead of stopping."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []

    def _get(self, name: str) -> str | None:
        """Return the variable, or the content of the file that ``NAME_FILE`` names; empty counts as unset."""
        value, path = self._environ.get(name) or None, self._environ.get(f"{name}_FILE") or None
        if path is None:
            return value
        if value is not None:
            self.faults.append(f"{name} and {name}_FILE are both set: set one of them")
            return None
        try:
            with Path(path).open(encoding="utf-8") as file:
                return file.read(_MAX_SECRET_FILE_BYTES).strip()
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "not UTF-8"
            self.faults.append(f"{name}_FILE: {path} cannot be read: {cause}")
            return None

    def parsed(self, name: str, parse: Callable[[str], T], *, required: bool = True) -> T | None:
        before = len(self.faults)
        value = self._get(name)
        if value is None:
            if required and len(self.faults) == before:
                self.faults.append(f"{name} is not set (nor {name}_FILE)")
            return None
        try:
            return parse(value)
        except (KeyMaterialError, ValueError) as error:
            self.faults.append(f"{name}: {error}")
            return None

    def text(self, name: str, default: str) -> str:
        return self._environ.get(name) or default

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default).lower()
        if value not in allowed:
            self.faults.append(f"{name}: expected one of {', '.join(allowed)}, got {value[:40]!r}")
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int | None:
        value = self.text(name, str(default))
        if not re.fullmatch(r"[0-9]{1,18}", value, re.ASCII) or not low <= int(value) <= high:
            self.faults.append(f"{name}: expected a whole number from {low} to {high}, got {value[:40]!r}")
            return None
        return int(value)


def _dids(text: str) -> frozenset[str]:
    dids = frozenset(did.strip() for did in text.split(",") if did.strip())
    wrong = sorted(did for did in dids if not is_did(did))
    if wrong:
        raise ValueError(f"expected DIDs separated by commas, got {wrong[0][:60]!r}")
    return dids


def _database_url(text: str) -> Secret:
    if urlsplit(text).scheme not in ("postgres", "postgresql"):
        raise ValueError("expected postgresql://user:password@host:port/database")
    return Secret(text)


def _redis_url(text: str) -> Secret:
    if urlsplit(text).scheme not in ("redis", "rediss", "redis+unix"):
        raise ValueError("expected redis://, rediss:// or redis+unix://")
    return Secret(text)


def read_database_url(environ: Mapping[str, str]) -> Secret:
    """Read POUW_DATABASE_URL alone, for commands that need no more; raise :class:`SettingsError` without it."""
    env = _Reader(environ)
    url = env.parsed("POUW_DATABASE_URL", _database_url)
    if url is None:
        raise SettingsError(env.faults)
    return url
