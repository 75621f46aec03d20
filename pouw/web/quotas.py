"""Quotas of requests: flask-limiter over Redis, and what happens while Redis is away."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import redis
from flask import request
from flask_limiter import Limiter
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from pouw import metrics
from pouw.errors import QuotaExceeded
from pouw.limits import DID_SCOPE, IP_SCOPE, ip_key, per_minute
from pouw.logs import log

if TYPE_CHECKING:
    from flask import Flask
    from limits import RateLimitItem

    from pouw.settings import Settings

_BASE_PATH = "/api/"
_SOCKET_SECS = 0.1
_AWAY_SECS = 1.0


class Quotas:
    """Counts requests per IP and per DID in Redis; in this worker's memory while Redis does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._ip_rule = per_minute(settings.rate_limit_ip)
        self._did_rule = per_minute(settings.rate_limit_did)
        uri = settings.redis_url.reveal() if settings.redis_url else "memory://"
        options = {"socket_timeout": _SOCKET_SECS, "socket_connect_timeout": _SOCKET_SECS}
        self._limiter = Limiter(
            lambda: ip_key(request.remote_addr),
            storage_uri=uri,
            storage_options=options if settings.redis_url else {},  # type: ignore[arg-type]  # a time-out may be a float
            strategy="sliding-window-counter",
        )
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._away_until = 0.0

    def register(self, app: Flask) -> None:
        """Spend an IP's quota before any request under the API's base path does any work."""
        self._limiter.init_app(app)
        app.before_request(self._spend_ip)

    def _spend_ip(self) -> None:
        if request.path.startswith(_BASE_PATH):
            self._spend(self._ip_rule, IP_SCOPE, ip_key(request.remote_addr))

    def spend_did(self, did: str) -> None:
        """Spend one request of a proven DID; raise :class:`QuotaExceeded` where none is left."""
        self._spend(self._did_rule, DID_SCOPE, did)

    def _spend(self, rule: RateLimitItem, scope: str, key: str) -> None:
        strategy = self._limiter.limiter
        if time.monotonic() >= self._away_until:
            try:
                allowed = strategy.hit(rule, scope, key)
                if not allowed:
                    raise self._exceeded(rule, scope, strategy.get_window_stats(rule, scope, key).reset_time)
            except redis.RedisError as error:
                self._note_absence(error)
            else:
                return
        if not self._local.hit(rule, scope, key):
            raise self._exceeded(rule, scope, self._local.get_window_stats(rule, scope, key).reset_time)

    def _note_absence(self, error: redis.RedisError) -> None:
        self._away_until = time.monotonic() + _AWAY_SECS
        metrics.RATE_LIMIT_BACKEND_ERRORS.inc()
        log.warning("limiter_away", error=type(error).__name__)

    @staticmethod
    def _exceeded(rule: RateLimitItem, scope: str, reset_time: float) -> QuotaExceeded:
        return QuotaExceeded(scope, str(rule), max(1, math.ceil(reset_time - time.time())))
