"""Addresses on the command line."""

from __future__ import annotations

from urllib.parse import urlsplit

import click


def http_url(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Take what is an http or https URL with a host, or nothing; raise :class:`click.BadParameter` for others."""
    try:
        if value is None or (urlsplit(value).scheme in ("http", "https") and urlsplit(value).hostname):
            return value
    except ValueError:
        pass
    raise click.BadParameter("Write it as https://node.example or http://127.0.0.1:8080.")
