"""The deployment that is looked at: its settings, its database, and its answers, each asked for once."""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import urllib3

from pouw.errors import PreflightError
from pouw.store.pool import open_pool, ping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pouw.settings import Settings
    from pouw.store.pool import Pool

_SILENCE_SECS = 5.0
_STATEMENT_SECS = 30.0
OK = 200


@dataclass(frozen=True, slots=True)
class Given:
    """What the command was told beside the environment: addresses, files and folders."""

    url: str | None = None
    metrics: str | None = None
    prometheus: str | None = None
    alertmanager: str | None = None
    bench: tuple[Path, ...] = ()
    ca: Path | None = None
    disk: Path | None = None
    configs: tuple[Path, ...] = ()


@dataclass
class Deployment:
    """Answers are kept, errors too: a server that is away is waited for once and not by every line."""

    settings: Settings
    faults: tuple[str, ...]
    """What production refuses in these settings."""
    secret_files: Mapping[str, Path]
    given: Given
    clock: Callable[[], float] = time.time
    _known: dict[str, Any] = field(default_factory=dict)

    def once(self, what: str, ask: Callable[[], Any]) -> Any:
        """Return what ``ask`` returned or raise what it raised when it was first asked for."""
        if what not in self._known:
            try:
                self._known[what] = ask()
            except Exception as error:  # noqa: BLE001 - it is raised below, now and whenever it is asked for again
                self._known[what] = error
        found = self._known[what]
        if isinstance(found, Exception):
            raise found
        return found

    @property
    def url(self) -> str:
        """The public URL, without a slash at its end."""
        return _wanted(self.given.url, "--url").rstrip("/")

    @property
    def database(self) -> Pool:
        """The database, where it answers; raises :class:`pouw.errors.StoreUnavailable` otherwise."""
        pool: Pool = self.once("database", self._open)
        return pool

    def close(self) -> None:
        """Close the database."""
        pool = self._known.get("pool")
        if pool is not None:
            pool.close()

    def context(self) -> ssl.SSLContext:
        """Return a context that believes the certificates that the command was told to believe."""
        return ssl.create_default_context(cafile=self.given.ca)

    def get(self, url: str, token: str = "") -> urllib3.BaseHTTPResponse:
        """Ask a URL."""
        http = urllib3.PoolManager(timeout=_SILENCE_SECS, retries=False, ssl_context=self.context())
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return http.request("GET", url, headers=headers)

    def document(self, url: str) -> Any:
        """Return the JSON that a URL answers with; anything but 200 is an error."""

        def ask() -> Any:
            answer = self.get(url)
            if answer.status != OK:
                raise PreflightError(f"{url} answered {answer.status}")
            return json.loads(answer.data)

        return self.once(url, ask)

    def node(self) -> dict[str, Any]:
        """Return what the node says about itself."""
        return dict(self.document(f"{self.url}/api/v1/pouw/node"))

    def prometheus(self, path: str) -> Any:
        """Return what Prometheus's API answers."""
        return self.document(f"{_wanted(self.given.prometheus, '--prometheus').rstrip('/')}{path}")["data"]

    def alertmanager(self, path: str) -> Any:
        """Return what Alertmanager's API answers."""
        return self.document(f"{_wanted(self.given.alertmanager, '--alertmanager').rstrip('/')}{path}")

    def _open(self) -> Pool:
        timeout = self.settings.db_timeout_secs
        self._known["pool"] = pool = open_pool(
            self.settings.database_url.reveal(), size=1, timeout=timeout, statement_secs=_STATEMENT_SECS
        )
        ping(pool, timeout)
        return pool


def _wanted(value: str | None, option: str) -> str:
    if value is None:
        raise PreflightError(f"not looked at: give {option}")
    return value
