"""Talking to one node over HTTP, with retries that send the same bytes."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3

from pouw.errors import NodeError, TokenError
from pouw.protocol.tokens import decode_wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.protocol.types import ChallengeToken

_BASE_PATH = "/api/v1/pouw"
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_RETRIED = (408, 425, 429, 502, 503, 504)
_FIRST_DELAY_SECS = 1.0
_LONGEST_DELAY_SECS = 60.0


@dataclass(frozen=True, slots=True)
class Challenge:
    """A verified challenge token, and how far the node's clock is ahead of ours, in seconds."""

    token: ChallengeToken
    clock_offset: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """One receipt that the node did not accept."""

    index: int
    receipt_nonce: bytes | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """What became of a batch."""

    accepted: tuple[bytes, ...]
    rejected: tuple[Rejected, ...]


class Node:
    """One node. ``patience`` is how long a request is retried, in seconds, before :class:`NodeError`."""

    def __init__(
        self,
        url: str,
        *,
        patience: float = 300,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base = url.rstrip("/") + _BASE_PATH
        self._patience = patience
        self._sleep = sleep
        self._clock = clock
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    def challenge(self, cap: str = "", *, max_receipts: int | None = None, max_bytes: int | None = None) -> Challenge:
        """Ask for a challenge and verify its signature."""
        wishes = {"cap": cap, "max_receipts": max_receipts, "max_bytes": max_bytes}
        query = urlencode({name: value for name, value in wishes.items() if value})
        answer = self._call("GET", f"/challenge?{query}" if query else "/challenge")
        try:
            return Challenge(decode_wire(answer["token"]), answer["server_time"] - self._clock())
        except (KeyError, TypeError, TokenError) as error:
            raise NodeError(f"The node's challenge cannot be used: {error}") from error

    def submit(self, body: bytes) -> SubmitResult:
        """Submit the bytes of a batch; on a retry the node recognises them by their batch nonce."""
        answer = self._call("POST", "/submit", body)
        try:
            return SubmitResult(
                accepted=tuple(bytes.fromhex(nonce) for nonce in answer["accepted"]),
                rejected=tuple(
                    Rejected(
                        item["index"],
                        None if item["receipt_nonce"] is None else bytes.fromhex(item["receipt_nonce"]),
                        item["reason"],
                        item["detail"],
                    )
                    for item in answer["rejected"]
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise NodeError(f"The node's verdict cannot be read: {error!r}") from error

    def close(self) -> None:
        """Close the connections."""
        for key in self._http.pools.keys():  # noqa: SIM118 - no mapping
            self._http.pools[key].close()

    def _call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        deadline = self._clock() + self._patience
        delay = _FIRST_DELAY_SECS
        while True:
            wait: float | None
            try:
                response = self._http.request(
                    method,
                    self._base + path,
                    body=body,
                    headers={"Content-Type": "application/json"} if body is not None else {},
                )
            except urllib3.exceptions.HTTPError as error:
                failure, wait = NodeError(f"{self._base} cannot be reached: {error}"), None
            else:
                if response.status == 200:  # noqa: PLR2004 - HTTP's OK
                    return _decode(response.data)
                failure, wait = NodeError(_explain(response)), _retry_after(response)
                if response.status not in _RETRIED:
                    raise failure
            pause = wait if wait is not None else delay * random.uniform(0.5, 1)  # noqa: S311 - jitter
            if self._clock() + pause > deadline:
                raise failure
            self._sleep(pause)
            delay = min(2 * delay, _LONGEST_DELAY_SECS)


def _decode(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NodeError("The node's answer is not JSON.") from error
    if not isinstance(value, dict):
        raise NodeError("The node's answer is not a JSON object.")
    return value


def _explain(response: urllib3.BaseHTTPResponse) -> str:
    try:
        problem = json.loads(response.data)
        text = f"{problem['title']} {problem.get('detail', '')}".strip()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        text = response.reason or ""
    return f"The node answered {response.status}: {text}"


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
