"""What a node refuses to run with in production: everything that is only meant for trying it out."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from nacl.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pouw.settings import Settings

_OTHERS = 0o007
_ENCRYPTED = {"require", "verify-ca", "verify-full"}
_USUAL_PASSWORDS = frozenset(
    ("", "password", "postgres", "pouw", "secret", "changeme", "change-me", "admin", "root", "redis", "test", "pass"),
)
_PUBLISHED_SEEDS = (
    # RFC 8032, section 7.1, and this project's test vectors
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
    "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    "696d1c45e2f653f92cb196a200fbadbc2d708cb46c1dfa7b21cf69b3a22a1a33",
    "523d979b65364765803059dd508c71e7ae9815d34ea5c4bfe1f962c7666f0f66",
)


def faults_in_production(settings: Settings, secret_files: Mapping[str, Path]) -> list[str]:
    """Return one sentence for each thing that must not be in production."""
    urls = {
        "POUW_DATABASE_URL": settings.database_url,
        "POUW_READ_DATABASE_URL": settings.read_database_url,
        "POUW_REDIS_URL": settings.redis_url,
    }
    return [
        *_key_faults(settings),
        *_file_faults(settings, secret_files),
        *(fault for name, url in urls.items() if url is not None for fault in _url_faults(name, url.reveal())),
        *_mode_faults(settings),
    ]


def _key_faults(settings: Settings) -> Iterator[str]:
    seeds = [bytes.fromhex(seed) for seed in _PUBLISHED_SEEDS] + [bytes([value]) * 32 for value in range(256)]
    published = {bytes(SigningKey(seed).verify_key) for seed in seeds}
    if any(key.public_key in published for key in settings.node_keys):
        yield "POUW_NODE_SECRET_KEY: this key is published or a pattern; make one with `pouw key create`"


def _file_faults(settings: Settings, secret_files: Mapping[str, Path]) -> Iterator[str]:
    files = {f"{name}_FILE": path for name, path in secret_files.items()}
    if settings.tls_key_file is not None:
        files["POUW_TLS_KEY_FILE"] = settings.tls_key_file
    for name, path in files.items():
        if path.stat().st_mode & _OTHERS:
            yield f"{name}: {path} is open to everybody on this machine: chmod o= it"


def _url_faults(name: str, url: str) -> Iterator[str]:
    """Find default passwords, and passwords and data that would cross a network in plain text."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    hosts = query.get("host", [parts.hostname or ""])[-1].split(",")
    by_socket = parts.scheme == "redis+unix" or all(host == "" or host.startswith("/") for host in hosts)
    password = unquote(parts.password or query.get("password", [""])[-1])
    user = unquote(parts.username or query.get("user", [""])[-1])
    without_password = not password and (parts.scheme.startswith("redis") or "passfile" in query or "sslcert" in query)
    if not by_socket and not without_password and password.lower() in _USUAL_PASSWORDS | {user.lower()}:
        yield f"{name}: the password is missing or a usual one"
    if by_socket or all(_is_here(host) for host in hosts):
        return
    if parts.scheme == "redis" or (
        parts.scheme.startswith("postgres") and query.get("sslmode", ["prefer"])[-1] not in _ENCRYPTED
    ):
        cure = "rediss://" if parts.scheme == "redis" else "sslmode=verify-full"
        yield f"{name}: it would go to another host in plain text: use {cure}"


def _mode_faults(settings: Settings) -> Iterator[str]:
    if settings.log_level == "debug":
        yield "POUW_LOG_LEVEL: debug is for development"
    if not settings.operator_dids:
        yield "POUW_OPERATOR_DIDS: name at least one operator"
    if settings.redis_url is None:
        yield "POUW_REDIS_URL: without it every worker counts its own quotas"
    if settings.tls_cert_file is None and not settings.trusted_proxies and not _is_here(settings.host):
        yield "POUW_HOST: it listens to the network without TLS: set POUW_TLS_CERT_FILE, or POUW_TRUSTED_PROXIES"
    if settings.metrics_token is None and not _is_here(settings.metrics_host):
        yield "POUW_METRICS_HOST: it shows the metrics to the network: set POUW_METRICS_TOKEN"


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
