"""``pouw console``: a link that signs an operator in to a node's console."""

from __future__ import annotations

import base64
import json
import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

import click

from pouw.cli.urls import http_url
from pouw.client.keys import load
from pouw.client.signing import sign_request
from pouw.protocol.dids import did_from_key

_SESSION = "/api/v1/pouw/console/session"


@click.command("console")
@click.option("--url", required=True, callback=http_url, help="The node, as the browser reaches it.")
@click.option(
    "--key", "file", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The key file of an operator: a DID of the node's POUW_OPERATOR_DIDS.",
)  # fmt: skip
@click.option("--did", help="The operator's DID, where it is not the key's own did:key.")
@click.option(
    "--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), help="What the key is encrypted with."
)
def command(url: str, file: Path, did: str | None, passphrase_file: Path | None) -> None:
    """Print a link that signs in to the console at --url. It works once, within a minute.

    The link holds one signed request in its fragment, which browsers send to nobody; the page makes that request.
    """
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query:
        raise click.BadParameter("Write the node's address alone, such as https://node.example.", param_hint="--url")
    passphrase = None if passphrase_file is None else passphrase_file.read_text().rstrip("\n")
    key = load(file, passphrase)
    base = f"{parts.scheme}://{parts.netloc}"
    operator = did or did_from_key(bytes(key.verify_key))
    created, nonce = int(time.time()), secrets.token_hex(16)
    headers = sign_request(key, operator, "POST", base + _SESSION, None, created=created, nonce=nonce)
    link = base64.urlsafe_b64encode(json.dumps(headers).encode()).decode()
    click.echo(f"{base}/console#{link}")
