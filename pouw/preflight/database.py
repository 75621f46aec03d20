"""PostgreSQL and Redis: versions, migrations, the schema and its indexes, backups."""

from __future__ import annotations

import importlib.resources
import json
from typing import TYPE_CHECKING

import redis

from pouw.preflight.lines import Finding, failed, human, judge, passed
from pouw.store import figures, inspection
from pouw.store import migrations as known

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.preflight.deployment import Deployment

_OLDEST = 150_000
_BACKUP_SECS = 26 * 3_600
_RESTORED_SECS = 90 * 86_400
_SHOWN = 5
_NOTES = {"backup": "pouw backup note", "restore": "pouw backup restored"}


def version(deployment: Deployment) -> Finding:
    """Ask PostgreSQL for its version, and whether it takes writes."""
    number, standby = inspection.server(deployment.database)
    if standby:
        return failed("the server is a standby: it takes no writes", "Point POUW_DATABASE_URL to the primary.")
    return judge(number >= _OLDEST, f"PostgreSQL {number // 10_000}.{number % 10_000}")


def cache(deployment: Deployment) -> Finding:
    """Ask Redis for an answer."""
    url = deployment.settings.redis_url
    if url is None:
        return failed("POUW_REDIS_URL is not set: every worker counts quotas by itself")
    seconds = max(1.0, deployment.settings.redis_timeout_ms / 1000)
    client = redis.Redis.from_url(
        url.reveal().replace("redis+unix://", "unix://", 1), socket_timeout=seconds, socket_connect_timeout=seconds
    )
    try:
        client.ping()
        found = client.info("server")
    except redis.RedisError as error:
        return failed(f"Redis does not answer: {type(error).__name__}")
    finally:
        client.close()
    return passed(f"it answers: {found.get('server_name', 'redis')} {found.get('redis_version', '')}".rstrip())


def migrations(deployment: Deployment) -> Finding:
    """Compare what was applied with what this package brings along."""
    brought = known.brought()
    applied = inspection.applied(deployment.database)
    missing = [brought[version] for version in sorted(brought.keys() - applied)]
    unknown = sorted(applied - brought.keys())
    if missing:
        return failed(f"not applied: {', '.join(missing)}")
    if unknown:
        return failed(
            f"the database has migrations that this version does not know: {', '.join(unknown)}",
            "Run the preflight of the version that is deployed.",
        )
    return passed(f"{len(brought)} of {len(brought)} applied, the last is {max(brought.values())}")


def schema(deployment: Deployment) -> Finding:
    """Compare the tables, columns, constraints, indexes and functions with those that the migrations make."""
    wanted = set(json.loads(importlib.resources.files("pouw.preflight").joinpath("schema.json").read_text()))
    found = inspection.schema(deployment.database)
    invalid = inspection.invalid_indexes(deployment.database)
    if invalid:
        return failed(f"invalid indexes: {_some(invalid)}", "REINDEX INDEX CONCURRENTLY each of them.")
    missing, more = sorted(wanted - found), sorted(found - wanted)
    if missing:
        return failed(f"missing: {_some(missing)}" + (f"; and more than wanted: {_some(more)}" if more else ""))
    return passed(f"{len(wanted)} of {len(wanted)} parts are as wanted" + (f"; also {_some(more)}" if more else ""))


def index(table: str, column: str, *, unique: bool = False) -> Callable[[Deployment], Finding]:
    """Make the check of an index that begins with a column, on the table and on each of its partitions."""

    def look(deployment: Deployment) -> Finding:
        found = inspection.indexes(deployment.database, table, column)
        good = sorted(each.name for each in found if each.valid and (each.unique or not unique))
        if good:
            return passed(f"{', '.join(good)}: valid{', unique' if unique else ''}")
        seen = ", ".join(f"{each.name} is {'not unique' if each.valid else 'invalid'}" for each in found)
        return failed(seen or f"no index of {table} begins with {column}")

    return look


def backup(deployment: Deployment) -> Finding:
    """Look when a backup was last noted."""
    return _noted(deployment, "backup", _BACKUP_SECS)


def restore(deployment: Deployment) -> Finding:
    """Look when a restore was last noted to have worked."""
    return _noted(deployment, "restore", _RESTORED_SECS)


def retention(deployment: Deployment) -> Finding:
    """Show what the database says about its archive; how long files are kept, only their keeper knows."""
    mode, status = inspection.archiving(deployment.database)
    return human(f"archive_mode is {mode}; {status}")


def _noted(deployment: Deployment, what: str, most_secs: float) -> Finding:
    board = figures.board(deployment.database)
    at = board.finished.get(what, 0.0)
    if at == 0:
        return failed(f"never noted with `{_NOTES[what]}`")
    hours = (board.now - at) / 3_600
    ago = f"{hours:.1f} hours ago" if hours < 2 * 24 else f"{hours / 24:.0f} days ago"
    reason = inspection.last_reason(deployment.database, f"backup.{'note' if what == 'backup' else 'restored'}")
    said = f", {reason}" if reason else ""
    return judge(board.now - at <= most_secs, f"noted {ago}{said}; at most {most_secs / 3_600:.0f} hours are allowed")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
