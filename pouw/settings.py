"""The node's settings: read once from the environment, frozen, with secrets that do not show."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pouw.environment import Reader, Secret
from pouw.errors import SettingsError
from pouw.keys import NodeKey, parse_ring, read_ring
from pouw.production import faults_in_production
from pouw.protocol.dids import is_did
from pouw.protocol.rewards import Rules, Terms
from pouw.protocol.types import PROOF_TYPE_NAMES, ProofType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network

_KEEPALIVE_ROOM_SECS = 30
_DRAIN_SECS = 5  # two failed health checks of deploy/haproxy, and as long again
WORKER_METRICS_PORT = 9_091
DEFAULT_BUDGET_ATOMS = 2_100_000 * 10**18
MOST_BUDGET_ATOMS = 10**38
_WEIGHTS = (1, 2, 3, 2, 3)  # by proof type
_HOST = re.compile(r"(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that an operator can choose. Times are seconds, sizes are bytes."""

    node_keys: tuple[NodeKey, ...]
    node_key_file: Path | None
    node_key_pkcs11: tuple[str, ...]
    pkcs11_pin: Secret | None
    database_url: Secret
    read_database_url: Secret | None
    read_lag_secs: int
    redis_url: Secret | None
    env: Literal["development", "production"]
    log_level: Literal["debug", "info", "warning", "error"]
    host: str
    port: int
    tls_cert_file: Path | None
    tls_key_file: Path | None
    hsts_secs: int
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    public_hosts: frozenset[str]
    metrics_host: str
    metrics_port: int
    metrics_token: Secret | None
    workers: int
    worker_connections: int
    redis_timeout_ms: int
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
    drain_secs: int
    body_max_bytes: int
    body_memory_bytes: int
    max_submits: int
    epoch_secs: int
    epoch_genesis: int | None
    reward_weights: tuple[int, ...]
    reward_unit_atoms: int
    reward_budget_atoms: int
    reward_epochs: int
    reward_cap_divisor: int
    payout_sink: Literal["none", "webhook"]
    payout_webhook_url: Secret | None
    verdict_retention_secs: int
    challenge_retention_secs: int
    receipt_retention_days: int
    archive_dir: Path | None
    otlp_url: str
    trace_percent: int
    data_dir: Path | None
    worker_metrics_port: int
    db_pool_size: int
    db_timeout_secs: int
    verify_threads: int
    verify_engine: Literal["batch", "libsodium"]
    verify_check_one_in: int

    @property
    def graceful_timeout_secs(self) -> int:
        """How long a stopping worker waits for what is in flight: any request, and idle connections."""
        return max(self.request_timeout_secs, _KEEPALIVE_ROOM_SECS)

    @property
    def epoch_terms(self) -> Terms:
        """What work is worth, and when epochs begin."""
        pool = self.reward_budget_atoms // self.reward_epochs
        rules = Rules(
            weights=self.reward_weights,
            unit=self.reward_unit_atoms,
            budget=self.reward_budget_atoms,
            pool=pool,
            cap=pool // self.reward_cap_divisor,
        )
        return Terms(rules, self.epoch_genesis, self.epoch_secs, self.min_bytes_per_receipt)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; raise :class:`SettingsError` with every mistake at once."""
        env = Reader(os.environ if environ is None else environ)
        batch_size_max = env.integer("POUW_BATCH_SIZE_MAX", 100, 1, 10_000)
        production = env.text("POUW_ENV", "").lower() == "production"
        built = _keys(env) | {
            "database_url": env.parsed("POUW_DATABASE_URL", _database_url),
            "read_database_url": env.parsed("POUW_READ_DATABASE_URL", _database_url, required=False),
            "read_lag_secs": env.integer("POUW_READ_LAG_SECS", 5, 1, 3_600),
            "redis_url": env.parsed("POUW_REDIS_URL", _redis_url, required=False),
            "env": env.choice("POUW_ENV", "development", ("development", "production")),
            "log_level": env.choice("POUW_LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
            "host": env.text("POUW_HOST", "127.0.0.1"),
            "port": env.integer("POUW_PORT", 8080, 1, 65_535),
            "tls_cert_file": env.path("POUW_TLS_CERT_FILE"),
            "tls_key_file": env.path("POUW_TLS_KEY_FILE"),
            "hsts_secs": env.integer("POUW_HSTS_SECS", 31_536_000, 0, 10**9),
            "trusted_proxies": env.parsed("POUW_TRUSTED_PROXIES", _networks, required=False) or (),
            "public_hosts": env.parsed("POUW_PUBLIC_HOSTS", _hosts, required=False) or frozenset(),
            "metrics_host": env.text("POUW_METRICS_HOST", "127.0.0.1"),
            "metrics_port": env.integer("POUW_METRICS_PORT", 9090, 1, 65_535),
            "metrics_token": env.parsed("POUW_METRICS_TOKEN", _token, required=False),
            "workers": env.integer("POUW_WORKERS", os.cpu_count() or 1, 1, 1_024),
            "worker_connections": env.integer("POUW_WORKER_CONNECTIONS", 1_000, 1, 100_000),
            "redis_timeout_ms": env.integer("POUW_REDIS_TIMEOUT_MS", 100, 1, 60_000),
            "rate_limit_ip": env.integer("POUW_RATE_LIMIT_IP", 100, 1, 10**9),
            "rate_limit_did": env.integer("POUW_RATE_LIMIT_DID", 50, 1, 10**9),
            "batch_size_max": batch_size_max,
            "challenge_ttl_secs": env.integer("POUW_CHALLENGE_TTL_SECS", 300, 1, 86_400),
            "challenge_max_receipts": env.integer("POUW_CHALLENGE_MAX_RECEIPTS", 10_000, 1, 2**31),
            "challenge_max_bytes": env.integer("POUW_CHALLENGE_MAX_BYTES", 2**40, 1, 2**53),
            "min_bytes_per_receipt": env.integer("POUW_MIN_BYTES_PER_RECEIPT", 1_024, 0, 2**53),
            "clock_skew_secs": env.integer("POUW_CLOCK_SKEW_SECS", 30, 0, 3_600),
            "identity_min_age_secs": env.integer("POUW_IDENTITY_MIN_AGE_SECS", 0, 0, 10**9),
            "registration": env.choice("POUW_REGISTRATION", "closed", ("closed", "open")),
            "operator_dids": env.parsed("POUW_OPERATOR_DIDS", _dids, required=False) or frozenset(),
            "request_timeout_secs": env.integer("POUW_REQUEST_TIMEOUT_SECS", 30, 1, 3_600),
            "drain_secs": env.integer("POUW_DRAIN_SECS", _DRAIN_SECS if production else 0, 0, 600),
            # The longest legal receipt has some 33,000 characters of JSON, every one of them escaped.
            "body_max_bytes": env.integer("POUW_BODY_MAX_BYTES", 65_536 + 40_960 * (batch_size_max or 0), 1_024, 2**31),
            "body_memory_bytes": env.integer("POUW_BODY_MEMORY_BYTES", 2**26, 2**20, 2**40),
            "max_submits": env.integer("POUW_MAX_SUBMITS", 128, 1, 100_000),
            "epoch_secs": env.integer("POUW_EPOCH_SECS", 3_600, 1, 86_400 * 366),
            "epoch_genesis": env.integer("POUW_EPOCH_GENESIS", None, 0, 2**40),
            "reward_weights": env.parsed("POUW_REWARD_WEIGHTS", _weights, required=False) or _WEIGHTS,
            "reward_unit_atoms": env.integer("POUW_REWARD_UNIT_ATOMS", 10**12, 0, 10**30),
            "reward_budget_atoms": env.integer("POUW_REWARD_BUDGET_ATOMS", DEFAULT_BUDGET_ATOMS, 0, MOST_BUDGET_ATOMS),
            "reward_epochs": env.integer("POUW_REWARD_EPOCHS", 4 * 8_760, 1, 10**9),
            "reward_cap_divisor": env.integer("POUW_REWARD_CAP_DIVISOR", 100, 1, 10**9),
            "payout_sink": env.choice("POUW_PAYOUT_SINK", "none", ("none", "webhook")),
            "payout_webhook_url": env.parsed("POUW_PAYOUT_WEBHOOK_URL", _webhook_url, required=False),
            "verdict_retention_secs": env.integer("POUW_VERDICT_RETENTION_SECS", 86_400, 60, 10**9),
            "challenge_retention_secs": env.integer("POUW_CHALLENGE_RETENTION_SECS", 7 * 86_400, 3_600, 10**9),
            "receipt_retention_days": env.integer("POUW_RECEIPT_RETENTION_DAYS", 90, 1, 36_500),
            "archive_dir": Path(env.text("POUW_ARCHIVE_DIR", "")) if env.text("POUW_ARCHIVE_DIR", "") else None,
            "otlp_url": env.parsed("POUW_OTLP_URL", _otlp_url, required=False) or "",
            "trace_percent": env.integer("POUW_TRACE_PERCENT", 10, 0, 100),
            "data_dir": Path(env.text("POUW_DATA_DIR", "")) if env.text("POUW_DATA_DIR", "") else None,
            "worker_metrics_port": env.integer("POUW_WORKER_METRICS_PORT", WORKER_METRICS_PORT, 1, 65_535),
            "db_pool_size": env.integer("POUW_DB_POOL_SIZE", 8, 1, 1_000),
            "db_timeout_secs": env.integer("POUW_DB_TIMEOUT_SECS", 5, 1, 600),
            "verify_threads": env.integer("POUW_VERIFY_THREADS", os.cpu_count() or 1, 1, 256),
            "verify_engine": env.choice("POUW_VERIFY_ENGINE", "batch", ("batch", "libsodium")),
            "verify_check_one_in": env.integer("POUW_VERIFY_CHECK_ONE_IN", 1_000, 0, 2**31),
        }
        if built["payout_sink"] == "webhook" and built["payout_webhook_url"] is None:
            env.faults.append("POUW_PAYOUT_WEBHOOK_URL: the sink webhook needs it")
        if (built["tls_cert_file"] is None) != (built["tls_key_file"] is None):
            env.faults.append("POUW_TLS_CERT_FILE and POUW_TLS_KEY_FILE are set together or not at all")
        if env.faults:
            raise SettingsError(env.faults)
        settings = cls(**built)  # type: ignore[arg-type]  # no value is None where there is no fault
        if settings.env == "production":
            faults = faults_in_production(settings, env.secret_files)
            if faults:
                raise SettingsError(faults)
        return settings


def _keys(env: Reader) -> dict[str, object]:
    """Read the node's key ring: text, a file that may grow while the node runs, or the URIs of PKCS#11 keys."""
    uris = tuple(env.text("POUW_NODE_KEY_PKCS11", "").split())
    file = env.secret_file("POUW_NODE_SECRET_KEY")
    if file is not None:
        keys = env.checked("POUW_NODE_SECRET_KEY_FILE", lambda: read_ring(file))
    else:
        keys = env.parsed("POUW_NODE_SECRET_KEY", parse_ring, required=not uris)
    pin = env.parsed("POUW_PKCS11_PIN", Secret, required=bool(uris))
    return {"node_keys": keys or (), "node_key_file": file, "node_key_pkcs11": uris, "pkcs11_pin": pin}


def _dids(text: str) -> frozenset[str]:
    dids = frozenset(did.strip() for did in text.split(",") if did.strip())
    wrong = sorted(did for did in dids if not is_did(did))
    if wrong:
        raise ValueError(f"expected DIDs separated by commas, got {wrong[0][:60]!r}")
    return dids


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"expected networks such as 10.0.0.0/8, separated by commas: {error}") from None


def _hosts(text: str) -> frozenset[str]:
    hosts = frozenset(host.strip().lower() for host in text.split(",") if host.strip())
    wrong = sorted(host for host in hosts if not _HOST.match(host))
    if wrong:
        raise ValueError(f"expected hosts such as node.example or node.example:8443, got {wrong[0][:60]!r}")
    return hosts


def _weights(text: str) -> tuple[int, ...]:
    weights = dict(zip(ProofType, _WEIGHTS, strict=True))
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in PROOF_TYPE_NAMES or not re.fullmatch(r"[0-9]{1,6}", value, re.ASCII):
            raise ValueError(f"expected weights such as hash=1,merkle=2, got {part.strip()[:40]!r}")
        weights[PROOF_TYPE_NAMES[name]] = int(value)
    return tuple(weights.values())


def _otlp_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a collector such as http://127.0.0.1:4318/v1/traces")
    try:
        found = importlib.util.find_spec("opentelemetry.sdk")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ValueError("it needs the extra: pip install 'pouw[otel]'")
    return text


def _token(text: str) -> Secret:
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{16,512}", text, re.ASCII):
        raise ValueError("expected 16 to 512 letters, digits and -._~+/= (RFC 6750, section 2.1)")
    return Secret(text)


def _webhook_url(text: str) -> Secret:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected https://host/path")
    return Secret(text)


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
    env = Reader(environ)
    url = env.parsed("POUW_DATABASE_URL", _database_url)
    if url is None:
        raise SettingsError(env.faults)
    return url
