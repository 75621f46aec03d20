"""What grows while a node works: resident memory, connections, tables and indexes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

import psycopg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.site import Site

_RELATIONS = """
    SELECT coalesce(pg_partition_root(oid), oid)::regclass::text, sum(pg_table_size(oid))::bigint,
           sum(pg_indexes_size(oid))::bigint
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace GROUP BY 1
"""
_CONNECTIONS = """
    SELECT count(*) - 1 FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND datname = current_database()
"""
_MEGABYTE = 2**20


class Sampler:
    """Takes a sample every ``every`` seconds on a thread of its own, until the end of the block."""

    def __init__(self, site: Site, every: float) -> None:
        self._site = site
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._start = time.monotonic()
        self.samples: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self.samples.append(self._sample())

    def _run(self) -> None:
        while True:
            self.samples.append(self._sample())
            if self._ended.wait(self._every):
                return

    def _sample(self) -> dict[str, Any]:
        processes = self._site.processes()
        found: dict[str, Any] = {
            "secs": time.monotonic() - self._start,
            "memory_bytes": sum(each.memory_info().rss for each in processes),
            "largest_bytes": max((each.memory_info().rss for each in processes), default=0),
            "open_files": sum(each.num_fds() for each in processes),
        }
        if self._site.database is not None:
            with psycopg.connect(self._site.database) as connection:
                [[found["database_connections"]]] = connection.execute(_CONNECTIONS).fetchall()
                rows = connection.execute(_RELATIONS).fetchall()
            found["tables"] = {name: {"table_bytes": table, "index_bytes": index} for name, table, index in rows}
        return found


def growth(samples: Sequence[dict[str, Any]], accepted: int) -> dict[str, Any]:
    """Return what grew between the first and the last sample, and how fast memory grew in the second half.

    The first half is left out there: a process that warms up grows, and one that leaks does not stop.
    """
    first, middle, last = samples[0], samples[len(samples) // 2], samples[-1]
    hours = max(1e-9, last["secs"] - middle["secs"]) / 3600
    found: dict[str, Any] = {
        name: {"first": first[name], "last": last[name], "most": max(each[name] for each in samples)}
        for name in ("memory_bytes", "largest_bytes", "open_files", "database_connections")
        if name in first
    }
    tables = {
        name: {kind: size - first.get("tables", {}).get(name, {}).get(kind, 0) for kind, size in sizes.items()}
        for name, sizes in last.get("tables", {}).items()
    }
    grown = sum(sum(sizes.values()) for sizes in tables.values())
    return {
        **found,
        "memory_mb_per_hour": (last["memory_bytes"] - middle["memory_bytes"]) / _MEGABYTE / hours,
        "tables": {name: sizes for name, sizes in tables.items() if any(sizes.values())},
        "database_bytes_per_receipt": grown / accepted if accepted else None,
    }


def lines(grown: dict[str, Any]) -> list[str]:
    """Return what :func:`growth` found as text."""
    memory, files = grown["memory_bytes"], grown["open_files"]
    found = [
        f"resident memory {memory['first'] / _MEGABYTE:.0f} MB, later {memory['last'] / _MEGABYTE:.0f} MB",
        f"in the second half memory grew by {grown['memory_mb_per_hour']:.1f} MB an hour",
        f"open files {files['first']}, later {files['last']}",
    ]
    if "database_connections" in grown:
        connections = grown["database_connections"]
        found.append(f"database connections {connections['first']}, later {connections['last']}")
    if grown["database_bytes_per_receipt"] is not None:
        found.append(f"the database grew by {grown['database_bytes_per_receipt']:.0f} bytes for each accepted receipt")
    for name, sizes in sorted(grown["tables"].items()):
        found.append(f"{name}: table +{sizes['table_bytes']:,} bytes, indexes +{sizes['index_bytes']:,} bytes")
    return found
