"""The parts that the migrations' schema has, which `pouw preflight` compares a database with.

    python -m tools.schema

migrates a database of its own and writes pouw/preflight/schema.json; run it after every change of a migration.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from pouw.local.servers import LocalServers
from pouw.store import inspection, migrations
from pouw.store.pool import open_pool

FILE = Path(__file__).parents[1] / "pouw" / "preflight" / "schema.json"


def describe(url: str) -> str:
    """Return the file's content for a migrated database."""
    pool = open_pool(url, size=1, timeout=30)
    try:
        return json.dumps(sorted(inspection.schema(pool)), indent=1) + "\n"
    finally:
        pool.close()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pouw-schema-") as folder:
        Path(folder).chmod(0o711)
        with LocalServers(Path(folder) / "servers", valkey=False) as servers:
            assert servers.postgres is not None  # noqa: S101 - it was asked for
            migrations.run(servers.postgres.url(), "up")
            FILE.write_text(describe(servers.postgres.url()))


if __name__ == "__main__":
    main()
