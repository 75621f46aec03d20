"""The background jobs: what each does, how often, and that only one process at a time does it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw import metrics
from pouw.errors import PouwError
from pouw.logs import log
from pouw.service import figures, payouts, promises, retention
from pouw.store import anomalies, jobs, partitions
from pouw.store.epochs import last_closed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pouw.service.epochs import Epochs
    from pouw.service.payouts import Webhook
    from pouw.service.retention import Periods
    from pouw.store.pool import Pool

_HOUR_SECS = 3_600
_PURGE_REST_SECS = 0.02


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of background work: ``run`` returns how many rows it moved, and may be called again at any time."""

    name: str
    every_secs: float
    run: Callable[[], int]
    notes: bool = False
    """Whether ``run`` writes the job's note itself."""


def build(
    pool: Pool, epochs: Epochs, periods: Periods, *, archive: Path | None, sink: Webhook | None, budget: int
) -> tuple[Job, ...]:
    """Return all jobs of a network."""
    often = min(5.0, epochs.calendar().epoch_secs / 2)

    def flag_anomalies() -> int:
        flags = 0
        for epoch in range(jobs.state(pool, "anomalies").get("epoch", -1) + 1, last_closed(pool) + 1):
            flags += anomalies.flag(pool, epoch)
            jobs.note(pool, "anomalies", {"epoch": epoch})
        return flags

    def tally() -> int:
        counts = jobs.tally(pool, epochs.calendar().starts_at(epochs.due()[0]))
        jobs.note(pool, "tally", dict(counts))
        return counts["batches"]

    return (
        Job("partitions", _HOUR_SECS, lambda: partitions.make_partitions(pool)),
        Job("epochs", often, epochs.close_due),
        Job("anomalies", often, flag_anomalies, notes=True),
        Job("tally", 15, tally, notes=True),
        Job(figures.JOB, 15, lambda: figures.find_out(pool), notes=True),
        Job(figures.CHALLENGES, 15, lambda: figures.count_challenges(pool), notes=True),
        Job(promises.JOB, 60, lambda: promises.look(pool, budget), notes=True),
        Job("purge", 10, lambda: retention.purge(pool, periods, lambda: time.sleep(_PURGE_REST_SECS))),
        Job("archive", _HOUR_SECS, lambda: retention.archive_and_drop(pool, periods, archive)),
        *(() if sink is None else (Job("payouts", 5, lambda: payouts.send_due(pool, sink)),)),
    )


def run(pool: Pool, job: Job) -> None:
    """Run a job once, unless another process does; a fault is logged and counted, and the next time comes."""
    counted = metrics.jobs()
    try:
        with jobs.only_one(pool, job.name) as ours:
            if not ours:
                counted.runs.labels(job.name, "elsewhere").inc()
                return
            with counted.duration.labels(job.name).time():
                rows = job.run()
            if not job.notes:
                jobs.note(pool, job.name, {"rows": rows})
    except PouwError as error:
        counted.runs.labels(job.name, "failed").inc()
        log.warning("job_failed", job=job.name, error=str(error))
    except Exception as error:  # noqa: BLE001 - a bug in one job must not end the others
        counted.runs.labels(job.name, "failed").inc()
        log.exception("job_failed", error, job=job.name)
    else:
        counted.runs.labels(job.name, "done").inc()
        counted.rows.labels(job.name).inc(rows)
        counted.last_success.labels(job.name).set_to_current_time()
