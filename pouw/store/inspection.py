"""What a checklist asks a database: its version, its migrations, its schema, and who noted what when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.store.pool import session

if TYPE_CHECKING:
    from datetime import datetime

    from pouw.store.pool import Pool


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a table; ``unique`` says that its first column alone is."""

    name: str
    unique: bool
    valid: bool


def server(pool: Pool) -> tuple[int, bool]:
    """Return the server's version as a number (180006) and whether it is a standby."""
    with session(pool) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version_num')::integer, pg_is_in_recovery()"
        ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has a row
    return int(row[0]), bool(row[1])


def applied(pool: Pool) -> set[str]:
    """Return the versions of the migrations that were applied; none where the database was never migrated."""
    with session(pool) as connection:
        row = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
        if row is None or not row[0]:
            return set()
        return {str(row[0]) for row in connection.execute("SELECT version FROM schema_migrations").fetchall()}


def schema(pool: Pool) -> set[str]:
    """Return a line for each column, constraint, index and function; partitions and dbmate's table are left out."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            WITH ours AS (
                SELECT oid, relname FROM pg_class
                WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v')
                  AND NOT relispartition AND relname <> 'schema_migrations'
            )
            SELECT format('column %s.%s %s%s', ours.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                          CASE WHEN a.attnotnull THEN ' not null' ELSE '' END)
            FROM ours JOIN pg_attribute AS a ON a.attrelid = ours.oid AND a.attnum > 0 AND NOT a.attisdropped
            UNION ALL
            SELECT format('constraint %s %s', ours.relname, pg_get_constraintdef(c.oid))
            FROM ours JOIN pg_constraint AS c ON c.conrelid = ours.oid AND c.contype IN ('c', 'f', 'p', 'u', 'x')
            UNION ALL
            SELECT format('index %s%s on %s using %s (%s)%s', CASE WHEN i.indisunique THEN 'unique ' ELSE '' END,
                          k.relname, ours.relname, (SELECT amname FROM pg_am WHERE pg_am.oid = k.relam),
                          (SELECT string_agg(pg_get_indexdef(i.indexrelid, place, true), ', ' ORDER BY place)
                           FROM generate_series(1, i.indnatts) AS place),
                          coalesce(' where ' || pg_get_expr(i.indpred, i.indrelid, true), ''))
            FROM ours JOIN pg_index AS i ON i.indrelid = ours.oid JOIN pg_class AS k ON k.oid = i.indexrelid
            UNION ALL
            SELECT format('function %s(%s) %s', p.proname, pg_get_function_identity_arguments(p.oid), md5(p.prosrc))
            FROM pg_proc AS p WHERE p.pronamespace = current_schema()::regnamespace
            """
        ).fetchall()
    return {str(row[0]) for row in rows}


def invalid_indexes(pool: Pool) -> list[str]:
    """Return the indexes, of partitions too, that queries do not use or writes do not keep."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT k.relname FROM pg_index AS i JOIN pg_class AS k ON k.oid = i.indexrelid
            WHERE k.relnamespace = current_schema()::regnamespace AND NOT (i.indisvalid AND i.indisready)
            ORDER BY k.relname
            """
        ).fetchall()
    return [str(row[0]) for row in rows]


def indexes(pool: Pool, table: str, column: str) -> list[Index]:
    """Return the indexes without a condition of a table that begin with a column.

    One of a partitioned table is valid where each partition has its part of it, and that part is valid.
    """
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT k.relname, i.indisunique AND i.indnkeyatts = 1, i.indisvalid AND i.indisready AND NOT EXISTS (
                SELECT FROM pg_partition_tree(i.indexrelid) AS part JOIN pg_index AS p ON p.indexrelid = part.relid
                WHERE NOT (p.indisvalid AND p.indisready)
            )
            FROM pg_index AS i
            JOIN pg_class AS k ON k.oid = i.indexrelid
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = to_regclass(%s) AND a.attname = %s AND i.indpred IS NULL
            """,
            (table, column),
        ).fetchall()
    return [Index(str(name), bool(unique), bool(valid)) for name, unique, valid in rows]


def archiving(pool: Pool) -> tuple[str, str]:
    """Return archive_mode, and in words what the archiver did last."""
    with session(pool) as connection:
        row = connection.execute(
            """
            SELECT current_setting('archive_mode'), archived_count, failed_count, last_archived_time
            FROM pg_stat_archiver
            """
        ).fetchone()
    assert row is not None  # noqa: S101 - the view has one row
    mode, done, failures, last = row
    when = "never" if last is None else f"{last:%Y-%m-%d %H:%M}Z"
    return str(mode), f"{done} segments archived, {failures} failures, the last one {when}"


def last_reason(pool: Pool, action: str) -> str:
    """Return the reason of the newest line of the audit log with an action; empty where there is none."""
    with session(pool) as connection:
        row = connection.execute(
            "SELECT note->>'reason' FROM audit_log WHERE action = %s ORDER BY id DESC LIMIT 1", (action,)
        ).fetchone()
    return "" if row is None or row[0] is None else str(row[0])


def last_key_change(pool: Pool) -> tuple[datetime, str, str] | None:
    """Return when a key was last activated by hand, whose it is and by whom; None where none ever was."""
    with session(pool) as connection:
        row = connection.execute(
            "SELECT at, subject, actor FROM audit_log WHERE action = 'key.activate' ORDER BY id DESC LIMIT 1"
        ).fetchone()
    return None if row is None else (row[0], str(row[1]), str(row[2]))
