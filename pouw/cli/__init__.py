"""The command ``pouw``."""

from __future__ import annotations

import sys

import click

from pouw import __version__
from pouw.errors import PouwError, SettingsError


class _Group(click.Group):
    """Imports a command when it is used, and says each of our errors in one line."""

    commands_in = {  # noqa: RUF012 - read only
        "up": "pouw.cli.up",
        "serve": "pouw.cli.serve",
        "migrate": "pouw.cli.migrate",
        "rollback": "pouw.cli.rollback",
        "key": "pouw.cli.key",
        "block": "pouw.cli.block",
        "quota": "pouw.cli.quota",
        "maintenance": "pouw.cli.maintenance",
        "nonces": "pouw.cli.nonces",
        "worker": "pouw.cli.worker",
        "backup": "pouw.cli.backup",
        "console": "pouw.cli.console",
        "payout": "pouw.cli.payout",
        "dispute": "pouw.cli.dispute",
        "rejection": "pouw.cli.rejection",
        "anomaly": "pouw.cli.anomaly",
        "epoch": "pouw.cli.epoch",
        "audit": "pouw.cli.audit",
        "work": "pouw.cli.work",
        "smoke": "pouw.cli.smoke",
        "preflight": "pouw.cli.preflight",
        "verify-verdict": "pouw.cli.verdict",
        "identity": "pouw.cli.identity",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands_in)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in self.commands_in:
            return None
        module = __import__(self.commands_in[cmd_name], fromlist=["command"])
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            for fault in error.faults:
                click.echo(f"pouw: {fault}", err=True)
        except PouwError as error:
            click.echo(f"pouw: {error}", err=True)
        sys.exit(2)


@click.group(cls=_Group)
@click.version_option(__version__, prog_name="pouw")
def main() -> None:
    """A Proof-of-Useful-Work node and its client."""
