"""The node's keys and the other secrets: where they are kept, how old they are, and whether they lie elsewhere too."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pouw
from pouw.preflight.lines import Finding, failed, human, judge, passed
from pouw.store import inspection
from pouw.store.keys import all_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pouw.preflight.deployment import Deployment
    from pouw.settings import Settings

_KEY_DAYS = 365
_MOST_BYTES = 4 * 2**20
_SHORT = 8  # a password of fewer characters would be found everywhere
_KEY_NAME = "POUW_NODE_SECRET_KEY"


def generated(deployment: Deployment) -> Finding:
    """Look that the key that the live node signs with is in this environment's ring, and not a published one."""
    faults = [fault for fault in deployment.faults if fault.startswith(_KEY_NAME + ":")]
    if faults:
        return failed(faults[0])
    live = str(deployment.node()["node_id"])
    held = {key.public_key.hex() for key in deployment.settings.node_keys}
    if live in held:
        return passed(f"the node signs with {live}, which is in the ring here and not among published ones")
    if deployment.settings.node_key_pkcs11:
        return human(f"the node signs with {live}; the keys are in a PKCS#11 token", "Compare it with the token's.")
    return failed(f"the node at {deployment.url} signs with {live}, which is not in the ring here")


def kept(deployment: Deployment) -> Finding:
    """Look where the keys are kept."""
    settings = deployment.settings
    if settings.node_key_pkcs11 and not settings.node_keys:
        return passed(f"{len(settings.node_key_pkcs11)} in PKCS#11 tokens")
    file = settings.node_key_file
    if file is None:
        return failed("it is in the environment, which every process of that account can read")
    faults = [fault for fault in deployment.faults if fault.startswith(f"{_KEY_NAME}_FILE:")]
    mode = f"{file.stat().st_mode & 0o777:03o}"
    return failed(faults[0]) if faults else passed(f"{file}, mode {mode}: closed to others")


def age(deployment: Deployment) -> Finding:
    """Look since when the active keys are active."""
    active = [key for key in all_keys(deployment.database) if key.state == "active"]
    if not active:
        return failed("no key is active")
    days = max(time.time() - key.valid_from.timestamp() for key in active) / 86_400
    return judge(days <= _KEY_DAYS, f"{len(active)} active, the oldest for {days:.0f} days of {_KEY_DAYS}")


def rotation(deployment: Deployment) -> Finding:
    """Show when a key was last rotated."""
    last = inspection.last_key_change(deployment.database)
    if last is None:
        return human("no key was ever activated by hand")
    at, key, actor = last
    return human(f"the last one to {key[:16]}… on {at:%Y-%m-%d} by {actor}")


def secrets(deployment: Deployment) -> Finding:
    """Look where the secrets come from, and that those in files are closed to others."""
    faults = [fault for fault in deployment.faults if "open to everybody" in fault or "password" in fault]
    if faults:
        return failed("; ".join(faults))
    files = ", ".join(f"{name} ({path.stat().st_mode & 0o777:03o})" for name, path in deployment.secret_files.items())
    return passed(f"in files closed to others: {files or 'none'}; any others in environment variables")


def elsewhere(deployment: Deployment) -> Finding:
    """Look for the secrets' own texts in this package and in the folders of configuration that were named."""
    if not deployment.given.configs:
        return failed("not looked at: give --config with each file or folder of configuration")
    values = {text.encode() for text in _texts(deployment.settings)}
    allowed = {path.resolve() for path in deployment.secret_files.values()}
    places = (Path(pouw.__file__).parent, *deployment.given.configs)
    files = [file for place in places for file in _files(place) if file.resolve() not in allowed]
    found = sorted({str(file) for file in files if _holds(file, values)})
    if found:
        return failed(f"a secret stands in {', '.join(found[:5])}")
    return judge(bool(values), f"{len(values)} secrets stand in none of {len(files)} files")


def _texts(settings: Settings) -> Iterator[str]:
    """Give the texts of secrets: passwords alone, and keys, whether they came by variable or by file."""
    for url in (settings.database_url, settings.read_database_url, settings.redis_url, settings.payout_webhook_url):
        password = unquote(urlsplit(url.reveal()).password or "") if url is not None else ""
        if len(password) >= _SHORT:
            yield password
    for secret in (settings.metrics_token, settings.pkcs11_pin):
        if secret is not None and len(secret.reveal()) >= _SHORT:
            yield secret.reveal()
    ring = settings.node_key_file
    text = ring.read_text() if ring is not None else os.environ.get(_KEY_NAME, "")
    yield from text.replace(",", " ").split()


def _files(place: Path) -> list[Path]:
    found = [place] if place.is_file() else sorted(place.rglob("*"))
    return [file for file in found if file.is_file() and file.stat().st_size <= _MOST_BYTES]


def _holds(file: Path, values: set[bytes]) -> bool:
    content = file.read_bytes()
    return any(value in content for value in values)
