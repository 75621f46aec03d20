"""``pouw serve``: the node in production, on servers that exist already."""

from __future__ import annotations

import errno
import os
import socket
import sys

import click

from pouw.errors import LocalServerError
from pouw.settings import Settings


@click.command("serve")
def command() -> None:
    """Serve with Gunicorn on the settings in the environment; run `pouw migrate up` before."""
    settings = Settings.from_env()
    if os.environ.get("LISTEN_PID") != str(os.getpid()):  # a service manager listens already, and hands it over
        check_port("POUW_PORT", settings.host, settings.port)
    check_port("POUW_METRICS_PORT", settings.metrics_host, settings.metrics_port)
    os.execv(sys.executable, gunicorn_command())  # noqa: S606 - this process becomes Gunicorn's master


def gunicorn_command() -> list[str]:
    """Return the command that starts Gunicorn with this package's configuration."""
    return [sys.executable, "-m", "gunicorn", "--config", "python:pouw.serving"]


def check_port(name: str, host: str, port: int) -> None:
    """Raise :class:`LocalServerError` unless the port can be listened on."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        cause = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror}"
        raise LocalServerError(f"Port {port} on {host} {cause}; choose another with {name}") from error
