"""``pouw worker``: epochs, payouts and housekeeping in the background."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
from typing import TYPE_CHECKING

import click
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from prometheus_client import PlatformCollector, ProcessCollector

from pouw import exposition, logs, metrics
from pouw.cli.serve import check_port
from pouw.service import jobs
from pouw.service.epochs import Epochs
from pouw.service.keyring import KeyRing, open_signers
from pouw.service.payouts import Webhook
from pouw.service.retention import Periods
from pouw.settings import Settings
from pouw.store.pool import Pool, open_pool

if TYPE_CHECKING:
    from types import FrameType

_POOL_SIZE = 16
_CONNECT_SECS = 10
_STATEMENT_SECS = 3_600  # an epoch of millions of receipts


@click.command("worker")
@click.option("--once", is_flag=True, help="Run every job once and end.")
def command(*, once: bool) -> None:
    """Close epochs, send payouts, flag anomalies, drop what is old. Reads the node's environment.

    Run as many as you like, on any machine: each job is done by one of them at a time, and another one takes over where
    it ends, however it ends.
    """
    settings = Settings.from_env()
    logs.configure(settings.log_level, as_json=settings.env == "production")
    if not once:
        check_port("POUW_WORKER_METRICS_PORT", settings.metrics_host, settings.worker_metrics_port)
    pool = open_pool(
        settings.database_url.reveal(),
        size=_POOL_SIZE,
        timeout=_CONNECT_SECS,
        statement_secs=_STATEMENT_SECS,
        min_size=2,
    )
    try:
        all_jobs = _jobs(settings, pool)
        if once:
            for job in all_jobs:
                jobs.run(pool, job)
        else:
            ProcessCollector(registry=metrics.JOBS)
            PlatformCollector(registry=metrics.JOBS)
            exposition.serve(settings.metrics_host, settings.worker_metrics_port, metrics.JOBS, settings.metrics_token)
            _run_until_told(pool, all_jobs)
    finally:
        pool.close(timeout=1)


def _jobs(settings: Settings, pool: Pool) -> tuple[jobs.Job, ...]:
    ring = KeyRing(
        pool, open_signers(settings.node_keys, settings.node_key_pkcs11, settings.pkcs11_pin), settings.node_key_file
    )
    epochs = Epochs(pool, settings.epoch_terms, signer=ring.current_now)
    periods = Periods(
        settings.verdict_retention_secs, settings.challenge_retention_secs, settings.receipt_retention_days
    )
    url = settings.payout_webhook_url
    sink = Webhook(url.reveal(), ring.current_now) if settings.payout_sink == "webhook" and url is not None else None
    return jobs.build(
        pool, epochs, periods, archive=settings.archive_dir, sink=sink, budget=settings.reward_budget_atoms
    )


def _run_until_told(pool: Pool, all_jobs: tuple[jobs.Job, ...]) -> None:
    told = threading.Event()

    def tell(_number: int, _frame: FrameType | None) -> None:
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(len(all_jobs))}, timezone="UTC")
    now = dt.datetime.now(dt.UTC)
    for job in all_jobs:
        scheduler.add_job(
            jobs.run, "interval", args=(pool, job), seconds=job.every_secs, id=job.name, next_run_time=now,
            coalesce=True, max_instances=1, misfire_grace_time=None,
        )  # fmt: skip
    scheduler.start()
    logs.log.info("worker_started", jobs=[job.name for job in all_jobs], pid=os.getpid())
    told.wait()
    scheduler.shutdown(wait=False)  # every job can be cut anywhere: its transaction is undone, and it is run again
    logs.log.info("worker_stopped", pid=os.getpid())
    os._exit(0)
