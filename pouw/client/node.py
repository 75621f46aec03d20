"""Talking to nodes over HTTP: one request at a time, retried with the same bytes until a node answers."""

from __future__ import annotations

import json
import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import urllib3

from pouw.client.signing import sign_request
from pouw.client.verdicts import verify_answer, whole
from pouw.errors import NodeError, NodeRefused, TokenError, VerdictError
from pouw.protocol.dids import did_from_key
from pouw.protocol.tokens import decode_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nacl.signing import SigningKey

    from pouw.protocol.types import ChallengeToken
    from pouw.protocol.verdicts import Verdict

_BASE_PATH = "/api/v1/pouw"
_CONNECT_SECS = 10.0
_READ_SECS = 60.0
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_OK = 200
_PROBLEM = "urn:pouw:problem:"
_FIRST_DELAY_SECS = 1.0
_LONGEST_DELAY_SECS = 60.0
_FAILURES_BEFORE_ROTATION = 2


T = TypeVar("T")


class _NotNow(NodeError):
    """A node asks to come back, after ``retry_after`` seconds where it says so."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A verified challenge token, and how far the node's clock is ahead of ours, in seconds."""

    token: ChallengeToken
    clock_offset: float


class Nodes:
    """One node, or several on one database. ``patience`` is how long a request is retried, in seconds.

    A request is retried with exponential back-off and jitter from 1 to 60 seconds, or as long as the node's
    Retry-After says; after two failures in a row the next node is asked. ``node_ids`` pins the public keys whose
    tokens and verdicts are taken; without it any key is taken that signed for itself. ``timeout`` is how long a node
    may be silent, in seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        node_ids: frozenset[bytes] | None = None,
        patience: float = 300,
        timeout: float = _READ_SECS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not urls:
            raise NodeError("There is no node to talk to.")
        self._bases = [url.rstrip("/") + _BASE_PATH for url in urls]
        self._node_ids = node_ids
        self._patience = patience
        self._sleep = sleep
        self._clock = clock
        self._failures = 0
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=min(_CONNECT_SECS, timeout), read=timeout), retries=False
        )

    def challenge(
        self,
        cap: str = "",
        *,
        max_receipts: int | None = None,
        max_bytes: int | None = None,
        key: SigningKey | None = None,
    ) -> Challenge:
        """Ask for a challenge and verify its signature; with a ``key`` it is bound to that key's did:key."""
        wishes = {"cap": cap, "max_receipts": max_receipts, "max_bytes": max_bytes}
        query = urlencode({name: value for name, value in wishes.items() if value})

        def read(answer: Any) -> Challenge:
            try:
                challenge = Challenge(decode_wire(answer["token"]), whole(answer["server_time"]) - self._clock())
            except (KeyError, TypeError, ValueError, TokenError) as error:
                raise NodeError(f"The node's challenge cannot be used: {error}") from error
            self._check_node(challenge.token.node_id)
            return challenge

        return self._insist("GET", f"/challenge?{query}" if query else "/challenge", None, key, read)

    def submit(self, body: bytes) -> Verdict:
        """Submit the bytes of a batch and verify the verdict; on a retry the node knows them by their batch nonce.

        Raises :class:`NodeRefused` where a node will never take these bytes, and :class:`NodeError` where none
        answered in time.
        """

        def read(answer: Any) -> Verdict:
            try:
                verdict = verify_answer(answer, body=body)
            except VerdictError as error:
                raise NodeError(f"The node's verdict cannot be used: {error}") from error
            self._check_node(verdict.node_id)
            return verdict

        return self._insist("POST", "/submit", body, None, read)

    def get(self, path: str, key: SigningKey | None = None) -> Any:
        """Read a path below the API's base, signed where a ``key`` is given; return the decoded JSON."""
        return self._insist("GET", path, None, key, lambda answer: answer)

    def close(self) -> None:
        """Close the connections."""
        for key in self._http.pools.keys():  # noqa: SIM118 - no mapping
            self._http.pools[key].close()
        self._http.clear()

    def _check_node(self, node_id: bytes) -> None:
        if self._node_ids is not None and node_id not in self._node_ids:
            raise NodeError(f"The node's key {node_id.hex()} is not one that is trusted here.")

    def _insist(
        self, method: str, path: str, body: bytes | None, key: SigningKey | None, read: Callable[[Any], T]
    ) -> T:
        """Ask until a node answers something that ``read`` understands."""
        deadline = self._clock() + self._patience
        delay = _FIRST_DELAY_SECS
        while True:
            base = self._bases[self._failures // _FAILURES_BEFORE_ROTATION % len(self._bases)]
            try:
                result = self._ask(method, base + path, body, key, read)
            except NodeRefused:
                raise
            except NodeError as error:
                pause = getattr(error, "retry_after", None)
                if pause is None:
                    pause = delay * random.uniform(0.5, 1)  # noqa: S311 - jitter
                if self._clock() + pause > deadline:
                    raise
                self._failures += 1
                self._sleep(pause)
                delay = min(2 * delay, _LONGEST_DELAY_SECS)
            else:
                self._failures -= self._failures % _FAILURES_BEFORE_ROTATION
                return result

    def _ask(self, method: str, url: str, body: bytes | None, key: SigningKey | None, read: Callable[[Any], T]) -> T:
        """Ask once; raise :class:`NodeRefused` for an answer that will stay, else :class:`NodeError`."""
        try:
            response = self._request(method, url, body, key)
        except urllib3.exceptions.HTTPError as error:
            raise NodeError(f"{url} cannot be reached: {error}") from error
        if response.status == _OK:
            return read(_decode(response.data))
        kind, text = _explain(response)
        explained = f"{url} answered {response.status}: {text}"
        # Only a node's own word is final: a proxy may answer anything while its node is away.
        if kind.startswith(_PROBLEM) and response.status not in _RETRIED:
            raise NodeRefused(explained)
        raise _NotNow(explained, _retry_after(response))

    def _request(self, method: str, url: str, body: bytes | None, key: SigningKey | None) -> urllib3.BaseHTTPResponse:
        headers = {} if body is None else {"Content-Type": "application/json"}
        if key is not None:
            did = did_from_key(bytes(key.verify_key))
            created, nonce = int(self._clock()), secrets.token_hex(16)
            headers |= sign_request(key, did, method, url, body, created=created, nonce=nonce)
        return self._http.request(method, url, body=body, headers=headers)


def _decode(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NodeError("The node's answer is not JSON.") from error


def _explain(response: urllib3.BaseHTTPResponse) -> tuple[str, str]:
    """Return the type of the problem document in a response, or nothing, and what it says to a person."""
    try:
        problem = json.loads(response.data)
        return str(problem["type"]), f"{problem['title']} {problem.get('detail', '')}".strip()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", response.reason or ""


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
