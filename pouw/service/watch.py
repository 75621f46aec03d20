"""What each worker looks at by itself every few seconds: its parts, clock, pool, disks and certificate."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import gevent

from pouw import __version__, metrics
from pouw.errors import EpochError, StoreError
from pouw.logs import log
from pouw.protocol.reasons import Detail
from pouw.service import figures
from pouw.store import figures as store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.service.epochs import Epochs
    from pouw.service.health import Health, Report
    from pouw.store.pool import Pool

EVERY_SECS = 5.0


@dataclass
class Watch:
    """Looks around and sets the metrics; ``places`` are the folders whose file systems may fill up."""

    health: Health
    pool: Pool
    epochs: Epochs
    places: dict[str, Path]
    certificate_expiry: Callable[[], float] | None
    clock: Callable[[], float] = time.time
    _greenlet: gevent.Greenlet[[], None] | None = field(default=None, init=False)

    def start(self) -> None:
        """Look at once, and then every :data:`EVERY_SECS` until :meth:`stop`."""
        introduce()
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Look no more."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - a bug here must not leave an operator without eyes
                log.exception("watch_failed", error)
            gevent.sleep(EVERY_SECS)

    def look(self) -> None:
        """Look at everything once."""
        report = self.health.check()
        _show_parts(report)
        _show_pool(self.pool)
        for name, place in self.places.items():
            _show_disk(name, place)
        if self.certificate_expiry is not None:
            metrics.CERTIFICATE_EXPIRES.set(self.certificate_expiry())
        if report.ready:
            try:
                self._read_board()
            except (StoreError, EpochError) as error:
                log.warning("figures_not_read", error=str(error))
        metrics.WATCHED_AT.set(self.clock())

    def _read_board(self) -> None:
        asked = self.clock()
        board = store.board(self.pool)
        metrics.CLOCK_OFFSET.set(board.now - (asked + self.clock()) / 2)  # right to half of the round trip
        figures.show(board, self.epochs.calendar())


def introduce() -> None:
    """Say which worker this is, and show what it has not counted yet as 0."""
    metrics.WORKERS.set(1)
    packages = [version(package) for package in ("pynacl", "gunicorn", "psycopg")]  # PyNaCl carries libsodium
    metrics.BUILD_INFO.labels(__version__, platform.python_version(), *packages).set(1)
    metrics.expect({detail.value: detail.reason.value for detail in Detail})


def default_places(data: Path | None, archive: Path | None) -> dict[str, Path]:
    """Return the folders to watch by the name that their metric has."""
    places = {"temporary": Path(tempfile.gettempdir())}
    return places | {name: path for name, path in (("data", data), ("archive", archive)) if path is not None}


def _show_parts(report: Report) -> None:
    metrics.READY.set(report.ready)
    for part in report.parts:
        metrics.PART_UP.labels(part.name).set(part.fault is None)


def _show_pool(pool: Pool) -> None:
    stats = pool.pop_stats()
    metrics.DB_POOL.labels("most").set(stats.get("pool_max", 0))
    metrics.DB_POOL.labels("open").set(stats.get("pool_size", 0))
    metrics.DB_POOL.labels("idle").set(stats.get("pool_available", 0))
    metrics.DB_POOL_WAITING.set(stats.get("requests_waiting", 0))
    metrics.DB_POOL_REQUESTS.inc(stats.get("requests_num", 0))
    metrics.DB_POOL_QUEUED.inc(stats.get("requests_queued", 0))
    metrics.DB_POOL_WAIT.inc(stats.get("requests_wait_ms", 0) / 1000)
    metrics.DB_POOL_TIMEOUTS.inc(stats.get("requests_errors", 0))
    metrics.DB_POOL_LOST.inc(stats.get("connections_lost", 0) + stats.get("connections_errors", 0))


def _show_disk(name: str, place: Path) -> None:
    try:
        found = os.statvfs(place)
    except OSError:
        return  # an archive folder is made with the first epoch
    metrics.DISK.labels(name, "size").set(found.f_blocks * found.f_frsize)
    metrics.DISK.labels(name, "free").set(found.f_bavail * found.f_frsize)
