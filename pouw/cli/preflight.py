"""``pouw preflight``: the production checklist, walked against a live deployment."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from pouw.cli.urls import http_url
from pouw.environment import Reader
from pouw.errors import SettingsError
from pouw.preflight import report
from pouw.preflight.deployment import Deployment, Given
from pouw.preflight.lines import Outcome
from pouw.preflight.walk import walk
from pouw.production import faults_in_production
from pouw.settings import Settings

_SECRETS = (
    "POUW_NODE_SECRET_KEY", "POUW_PKCS11_PIN", "POUW_DATABASE_URL", "POUW_READ_DATABASE_URL",
    "POUW_REDIS_URL", "POUW_METRICS_TOKEN", "POUW_PAYOUT_WEBHOOK_URL",
)  # fmt: skip
_THERE = click.Path(path_type=Path, exists=True)


@click.command("preflight")
@click.option("--url", callback=http_url, help="The node as clients reach it, such as https://node.example.")
@click.option("--metrics", callback=http_url, help="Its metrics.  [default: as POUW_METRICS_HOST and _PORT say]")
@click.option("--prometheus", callback=http_url, help="Prometheus, such as http://127.0.0.1:9090.")
@click.option("--alertmanager", callback=http_url, help="Alertmanager, such as http://127.0.0.1:9093.")
@click.option("--bench", multiple=True, type=_THERE, help="A result file of `python -m bench`, or a folder of them.")
@click.option("--ca", type=_THERE, help="Certificates to believe instead of the system's.")
@click.option("--disk", type=_THERE, help="A folder on the disk to look at.  [default: POUW_DATA_DIR]")
@click.option("--config", "configs", multiple=True, type=_THERE, help="Configuration in which no secret may stand.")
@click.option("--json", "form", flag_value="json", help="Print the lines as JSON.")
@click.option("--markdown", "form", flag_value="markdown", help="Print the checklist, filled in, to be signed.")
@click.option("--blank", "form", flag_value="blank", help="Print the checklist as it is, and look at nothing.")
def command(
    form: str | None, *, configs: tuple[Path, ...], bench: tuple[Path, ...], **given: str | Path | None
) -> None:
    """Walk the production checklist: say of every line whether it passed, failed, or is for a human, and why.

    Reads the node's environment, on the node's machine. What could have been looked at and was not has failed. Submits
    what `pouw smoke` does, which pays nothing. Exit code 0 where no line failed, 1 where one did, 2 where the settings
    cannot be read.
    """
    if form == "blank":
        click.echo(report.markdown(), nl=False)
        return
    deployment = deployment_of(Given(bench=bench, configs=configs, **given))  # type: ignore[arg-type]  # named alike
    try:
        lines = list(walk(deployment))
    finally:
        deployment.close()
    shown = {"json": report.as_json, "markdown": report.markdown}.get(form or "", report.text)
    click.echo(shown(lines).rstrip())
    sys.exit(1 if any(line.outcome is Outcome.FAILED for line in lines) else 0)


def deployment_of(given: Given) -> Deployment:
    """Read the settings as a node does that refuses nothing, and what production would refuse beside them."""
    env = Reader(os.environ)
    files = {name: path for name in _SECRETS if (path := env.secret_file(name)) is not None}
    if env.faults:
        raise SettingsError(env.faults)
    lenient = Settings.from_env(os.environ | {"POUW_ENV": "development"})
    faults = tuple(faults_in_production(lenient, files))
    mode = env.choice("POUW_ENV", "development", ("development", "production"))
    if env.faults:
        raise SettingsError(env.faults)
    settings = lenient if mode == "development" else replace(lenient, env="production")
    return Deployment(settings, faults, files, given)
