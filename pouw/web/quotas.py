"""Quotas of requests: flask-limiter over Redis, and what happens while Redis is away."""

from __future__ import annotations

import importlib.resources
import struct
from typing import TYPE_CHECKING, cast

import gevent
import redis
from flask import g, request
from flask_limiter import Limiter
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from pouw import metrics
from pouw.errors import QuotaExceeded
from pouw.gather import Gather
from pouw.limits import DID_SCOPE, IP_SCOPE, WINDOW_SECS, Standing, Window, ip_key, per_minute, standing
from pouw.limits.script import Script
from pouw.logs import limiter_away_line, log
from pouw.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask, Response

    from pouw.service.access import Access
    from pouw.settings import Settings

_BASE_PATH = "/api/"
_AWAY_SECS = 1.0
_PREFIX = "pouw:quota"
_STATE = struct.Struct(">BIII")
"""What ``spend.lua`` says of a window: allowed, the requests of two minutes, the milliseconds left of the second."""

_AT_ONCE = 64
_LANES = 2


class Quotas:
    """Counts requests per IP and per DID in Redis; in this worker's memory while Redis does not answer."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._ip_limit = settings.rate_limit_ip
        self._did_limit = settings.rate_limit_did
        self._access = access
        patience = settings.redis_timeout_ms / 1000
        options = {
            "socket_timeout": patience,
            "socket_connect_timeout": patience,
            "retry": Retry(NoBackoff(), 0),  # the worker's own quotas are faster than a second try
        }
        self._limiter = Limiter(
            lambda: ip_key(request.remote_addr),
            storage_uri=settings.redis_url.reveal() if settings.redis_url else "memory://",
            storage_options=options if settings.redis_url else {},  # type: ignore[arg-type]  # more types than it says
            strategy="sliding-window-counter",
        )
        self._memory = MemoryStorage()
        self._local = SlidingWindowCounterRateLimiter(self._memory)
        self._away = settings.redis_url is None
        self._shared = Gather(self._spend_together, most=_AT_ONCE, lanes=_LANES)
        self._source = importlib.resources.files("pouw.limits").joinpath("spend.lua").read_text()

    def register(self, app: Flask) -> None:
        """Spend an IP's quota before any request under the API's base path does any work."""
        # As if it were registered already: its own hooks look for decorators on every request, 150 µs each time.
        app.extensions.setdefault("limiter", set()).add(self._limiter)
        self._limiter.init_app(app)
        if not self._away:
            storage = cast("RedisStorage", self._limiter.storage)
            self._redis = cast("redis.Redis", storage.get_connection())
            self._script = Script(self._redis.connection_pool, self._source)
        app.before_request(self._admit)
        app.after_request(_show)

    def _admit(self) -> None:
        g.standings = []
        if not request.path.startswith(_BASE_PATH):
            return
        address = request.remote_addr
        if self._access.blocks_address(address):
            raise Problem(403, "blocked-address", "This address is blocked.", "The node's operator can lift it.")
        limit = self._access.ip_quota(address)
        self._spend(IP_SCOPE, ip_key(address), self._ip_limit if limit is None else limit)

    def spend_did(self, did: str) -> None:
        """Spend one request of a proven DID; raise :class:`QuotaExceeded` where none is left."""
        limit = self._access.did_quota(did)
        self._spend(DID_SCOPE, did, self._did_limit if limit is None else limit)

    def standings(self) -> Sequence[Standing]:
        """Return where the client of the present request stands with each limit that it counted on."""
        return cast("list[Standing]", g.standings)

    @property
    def local(self) -> bool:
        """Whether the quotas are this worker's own at the moment."""
        return self._away

    def refused_most(self) -> list[dict[str, str | int]]:
        """Return whom quotas refused most in this hour on all nodes: scope, name, times. Empty without Redis."""
        if self._away:
            return []
        try:
            seconds, _micros = self._redis.time()
            name = f"pouw:refused:{seconds // 3600}"
            found = cast("list[tuple[bytes, float]]", self._redis.zrevrange(name, 0, 9, withscores=True))
        except redis.RedisError as error:
            self._note_absence(error)
            return []
        refused = [(key.decode().removeprefix(f"{_PREFIX}:").partition(":"), int(times)) for key, times in found]
        return [{"scope": scope, "name": name, "times": times} for (scope, _, name), times in refused]

    def _spend(self, scope: str, key: str, limit: int) -> None:
        allowed, window = self._spend_shared(scope, key, limit) or self._spend_here(scope, key, limit)
        standing_now = standing(scope, limit, window)
        g.standings.append(standing_now)
        if not allowed:
            raise QuotaExceeded(scope, limit, max(1, standing_now.reset))

    def _spend_shared(self, scope: str, key: str, limit: int) -> tuple[bool, Window] | None:
        """Spend in Redis; None where it does not answer."""
        if self._away:
            return None
        try:
            return self._shared.ask((f"{_PREFIX}:{scope}:{key}", limit))
        except redis.RedisError as error:
            self._note_absence(error)
            return None

    def _spend_together(self, wishes: list[tuple[str, int]]) -> list[tuple[bool, Window]]:
        """Spend one request of each of several windows, in one round trip."""
        limits = [limit for _name, limit in wishes]
        states = self._script.run([name for name, _limit in wishes], [WINDOW_SECS * 1000, 1, *limits])
        return [
            (allowed == 1, Window(previous, current, left / 1000))
            for allowed, previous, current, left in _STATE.iter_unpack(states)
        ]

    def _spend_here(self, scope: str, key: str, limit: int) -> tuple[bool, Window]:
        rule = per_minute(limit)
        allowed = self._local.hit(rule, scope, key)
        previous, previous_ttl, current, current_ttl = self._memory.get_sliding_window(
            rule.key_for(scope, key), WINDOW_SECS
        )
        return allowed, Window(previous, current, previous_ttl if previous else max(0.0, current_ttl - WINDOW_SECS))

    def _note_absence(self, error: redis.RedisError) -> None:
        metrics.RATE_LIMIT_BACKEND_ERRORS.inc()
        if not self._away:
            self._away = True
            gevent.spawn(self._wait_for_redis)
        if limiter_away_line.due():
            log.warning("limiter_away", error=type(error).__name__)

    def _wait_for_redis(self) -> None:
        """Ask Redis now and then, so that no request has to wait for it meanwhile."""
        while True:
            gevent.sleep(_AWAY_SECS)
            try:
                self._redis.ping()
            except redis.RedisError as error:
                self._note_absence(error)
            else:
                self._away = False
                return


def _show(response: Response) -> Response:
    """Tell the client where it stands (draft-ietf-httpapi-ratelimit-headers, sections 3 and 4)."""
    standings: list[Standing] = g.get("standings", [])
    if standings:
        names = [(each.scope.lower(), each) for each in standings]
        response.headers.add(
            "RateLimit-Policy", ", ".join([f'"{name}";q={each.limit};w={WINDOW_SECS}' for name, each in names])
        )
        response.headers.add(
            "RateLimit", ", ".join([f'"{name}";r={each.remaining};t={each.reset}' for name, each in names])
        )
    return response
