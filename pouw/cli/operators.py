"""What the operators' commands have in common: the database of POUW_DATABASE_URL, and who types."""

from __future__ import annotations

import getpass
import os

import click

from pouw.settings import read_database_url
from pouw.store.pool import Pool, open_pool

_CONNECT_SECS = 10
_STATEMENT_SECS = 3_600  # an epoch's export reads millions of rows


def open_database() -> Pool:
    """Open the database until the present command ends."""
    pool = open_pool(
        read_database_url(os.environ).reveal(), size=1, timeout=_CONNECT_SECS, statement_secs=_STATEMENT_SECS
    )
    click.get_current_context().call_on_close(pool.close)
    return pool


def actor() -> str:
    """Return who the audit log names for what this command does."""
    return f"cli:{getpass.getuser()}"
