"""The composition root: the only place that wires settings, stores, services and views together."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import redis
from flask_smorest import Api
from flask_swagger_ui import get_swaggerui_blueprint

from pouw import __version__, exposition, logs, tracing
from pouw.service.access import Access
from pouw.service.board import Board
from pouw.service.challenges import ChallengeLimits, Challenges
from pouw.service.closed import ClosedEpochs
from pouw.service.disputes import Disputes
from pouw.service.epochs import Epochs
from pouw.service.health import Health
from pouw.service.history import History
from pouw.service.identities import Identities
from pouw.service.keyring import KeyRing, open_signers
from pouw.service.maintenance import Maintenance
from pouw.service.readers import Readers
from pouw.service.sessions import Sessions
from pouw.service.stats import Stats
from pouw.service.submissions import Submissions
from pouw.service.watch import Watch, default_places
from pouw.stopping import STOPPING
from pouw.store.challenges import Register
from pouw.store.ledger import Ledger
from pouw.store.pool import Pool, open_pool
from pouw.tls import expiry
from pouw.verify import Verifier
from pouw.web import access as access_views
from pouw.web import console as console_views
from pouw.web import disputes as dispute_views
from pouw.web import epochs as epoch_views
from pouw.web import health as health_views
from pouw.web import hooks, lookout, mining, node, pages, problems, reading, registry
from pouw.web.intake import Intake
from pouw.web.proxies import TrustedProxies
from pouw.web.quotas import Quotas
from pouw.web.routing import App
from pouw.web.signatures import Signatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from pouw.settings import Settings

BASE_PATH = "/api/v1/pouw"
_STANDBY_SECS = 1.0  # then the primary is asked


class _Api(Api):  # type: ignore[misc]  # flask-smorest has no types
    DEFAULT_ERROR_RESPONSE_NAME = None  # each operation names every answer that it gives


@dataclass(frozen=True, slots=True)
class Parts:
    """What has to be closed when the process ends."""

    pools: tuple[Pool, ...]
    readers: Readers
    verifier: Verifier
    watch: Watch
    end_traces: Callable[[], None]

    def close(self) -> None:
        """Close the pools and the threads."""
        self.watch.stop()
        self.readers.stop()
        self.end_traces()
        for pool in self.pools:
            pool.close()
        self.verifier.close()


def create_app(settings: Settings, *, clock: Callable[[], float] = time.time) -> Flask:
    """Build the WSGI application; ``app.extensions["pouw"]`` holds the :class:`Parts` to close.

    Call it after the worker has forked and gevent has patched: pools and threads do not survive a fork.
    """
    logs.configure(settings.log_level, as_json=settings.env == "production")
    # Before anything that would have to be closed: a token may refuse.
    signers = open_signers(settings.node_keys, settings.node_key_pkcs11, settings.pkcs11_pin)
    pool = open_pool(settings.database_url.reveal(), size=settings.db_pool_size, timeout=settings.db_timeout_secs)
    standby = _open_standby(settings)
    readers = Readers(pool, standby, most_lag=settings.read_lag_secs)
    verifier = Verifier(settings.verify_threads, settings.verify_engine, settings.verify_check_one_in)
    access = Access(pool)
    quotas = Quotas(settings, access)
    ring = KeyRing(pool, signers, settings.node_key_file)
    challenges = Challenges(
        Register(pool),
        ring,
        ChallengeLimits(
            ttl=settings.challenge_ttl_secs,
            max_receipts=settings.challenge_max_receipts,
            max_bytes_total=settings.challenge_max_bytes,
            min_bytes_per_receipt=settings.min_bytes_per_receipt,
        ),
        clock=clock,
        random=secrets.token_bytes,
    )
    epochs = Epochs(pool, settings.epoch_terms, signer=ring.current)
    submissions = Submissions(
        Ledger(pool, epochs.calendar),
        verifier,
        ring,
        clock=clock,
        spend_did_quota=quotas.spend_did,
        skew=settings.clock_skew_secs,
        identity_min_age=settings.identity_min_age_secs,
    )
    maintenance = Maintenance(pool, clock=clock)
    history = History(readers)
    identities = Identities(pool)
    sessions = Sessions(pool, settings.operator_dids)
    console = console_views.Console(sessions)
    signatures = Signatures(
        identities, settings.operator_dids, settings.public_hosts, quotas.spend_did, console.operator
    )
    intake = Intake(
        memory=settings.body_memory_bytes, submits=settings.max_submits, timeout=settings.request_timeout_secs
    )
    health = Health(
        pool,
        ring.current,
        _redis_ping(settings),
        None if standby is None else readers.check,
        timer=time.monotonic,
        stopping=STOPPING.begun,
    )
    watch = Watch(
        health, pool, epochs, default_places(settings.data_dir, settings.archive_dir), _certificate_expiry(settings)
    )

    stats = Stats(pool, epochs, settings.epoch_terms.rules, clock=clock)
    board = Board(pool, health, ring, stats, exposition.totals, quotas.refused_most, clock)

    app = App("pouw", static_folder=None)
    app.config.update(
        API_TITLE="pouw",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={"info": {"description": "A Proof-of-Useful-Work node. See docs/protocol.md."}},
    )
    hooks.register(app, settings.hsts_secs)
    quotas.register(app)
    api = _Api(app)
    problems.register(app)
    api.register_blueprint(health_views.blueprint(health, maintenance))
    for blueprint in (
        mining.blueprint(challenges, submissions, maintenance, signatures, intake, settings, clock=clock),
        reading.blueprint(history, signatures),
        registry.blueprint(identities, signatures, intake, settings),
        epoch_views.blueprint(ClosedEpochs(readers), stats),
        dispute_views.blueprint(Disputes(pool, budget=settings.reward_budget_atoms), signatures, intake),
        lookout.blueprint(history, signatures),
        access_views.blueprint(access, quotas, signatures, intake),
        node.blueprint(ring, settings),
        console_views.blueprint(console, sessions, signatures, board.show),
    ):
        api.register_blueprint(blueprint, url_prefix=BASE_PATH)
    app.register_blueprint(pages.blueprint(health, ring, settings))
    app.register_blueprint(get_swaggerui_blueprint("/docs", "/openapi.json", config={"validatorUrl": None}))
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]  # as Flask says
    pools = (pool,) if standby is None else (pool, standby)
    app.extensions["pouw"] = Parts(pools, readers, verifier, watch, _open_traces(settings))
    watch.start()
    readers.start()
    return app


def _open_standby(settings: Settings) -> Pool | None:
    """Open the pool for reads; its connections do not have to be there."""
    if settings.read_database_url is None:
        return None
    url = settings.read_database_url.reveal()
    return open_pool(url, size=settings.db_pool_size, timeout=_STANDBY_SECS)


def _open_traces(settings: Settings) -> Callable[[], None]:
    if not settings.otlp_url:
        return lambda: None
    return tracing.open_traces(settings.otlp_url, settings.trace_percent, __version__)


def _certificate_expiry(settings: Settings) -> Callable[[], float] | None:
    if settings.tls_cert_file is None:
        return None
    return partial(expiry, settings.tls_cert_file)


def _redis_ping(settings: Settings) -> Callable[[], None] | None:
    if settings.redis_url is None:
        return None
    url = settings.redis_url.reveal().replace("redis+unix://", "unix://", 1)
    client = redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5)

    def ping() -> None:
        try:
            client.ping()
        except redis.RedisError as error:
            raise OSError(f"Redis does not answer: {type(error).__name__}") from error

    return ping
