"""Paying rewards out: to a webhook that does it, or to a file that a human signs."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3

from pouw.errors import PayoutError
from pouw.logs import log
from pouw.protocol.dids import did_from_key
from pouw.protocol.manifests import canonical
from pouw.protocol.signing import request_headers
from pouw.store import payouts as store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pouw.keys import Signer
    from pouw.store.payouts import Payout
    from pouw.store.pool import Pool

_AT_ONCE = 100
_TIMEOUT_SECS = 10
_LEASE_SECS = 120
_MOST_ATTEMPTS = 12
_AGAIN = {408, 409, 425, 429}
_ERROR_CHARACTERS = 200
_FIELDS = ("key", "client_did", "atoms", "epoch", "dispute")


class Webhook:
    """Sends payouts to a URL: each as a POST that the node signed (RFC 9421), under an idempotency key of its own.

    The receiver has to pay a key once, however often it is sent. 2xx means paid; 408, 409, 425, 429, 5xx, a time-out or
    a lost connection mean that nothing is known, and it is sent again later; any other answer is a refusal.
    """

    def __init__(self, url: str, signer: Callable[[], Signer]) -> None:
        self._url = url
        self._signer = signer
        timeout = urllib3.Timeout(total=_TIMEOUT_SECS)
        self._http = urllib3.PoolManager(retries=False, timeout=timeout, maxsize=4)

    def pay(self, payout: Payout) -> str | None:
        """Send one payout; return the receiver's reference.

        Raises :class:`PayoutError` for a refusal, and :class:`Unknown` where nobody knows whether it was made.
        """
        body = canonical(as_json(payout))
        signer = self._signer()
        headers = request_headers(
            signer.sign, did_from_key(signer.public_key), "POST", self._url, body,
            created=int(time.time()), nonce=secrets.token_hex(16),
        )  # fmt: skip
        headers |= {"Content-Type": "application/json", "Idempotency-Key": f'"{payout.key}"'}
        try:
            answer = self._http.request("POST", self._url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise Unknown(type(error).__name__) from error
        if 200 <= answer.status < 300:  # noqa: PLR2004 - the class of success
            return _reference(answer.data)
        if answer.status in _AGAIN or answer.status >= 500:  # noqa: PLR2004 - the class of server errors
            raise Unknown(f"HTTP {answer.status}")
        raise PayoutError(f"the receiver refuses with HTTP {answer.status}")


class Unknown(PayoutError):
    """Whether a payout was made is not known: it has to be sent again under its key."""


def as_json(payout: Payout) -> dict[str, Any]:
    """Return a payout as receivers and exports have it."""
    return {
        "key": payout.key,
        "client_did": payout.client_did,
        "atoms": str(payout.atoms),
        "epoch": payout.epoch,
        "dispute": payout.dispute_id,
    }


def send_due(pool: Pool, sink: Webhook) -> int:
    """Send the payouts that are due; return how many were made."""
    made = 0
    while claimed := store.claim(pool, _AT_ONCE, _LEASE_SECS):
        for payout in claimed:
            made += _send(pool, sink, payout)
    return made


def _send(pool: Pool, sink: Webhook, payout: Payout) -> bool:
    try:
        reference = sink.pay(payout)
    except Unknown as error:
        if payout.attempts >= _MOST_ATTEMPTS:
            log.warning("payout_given_up", payout=payout.id, attempts=payout.attempts, error=str(error))
            store.give_up(pool, payout.id, f"given up after {payout.attempts} attempts: {error}")
        else:
            store.try_again(pool, payout.id, str(error), 2.0**payout.attempts)
        return False
    except PayoutError as error:
        log.warning("payout_refused", payout=payout.id, error=str(error))
        store.give_up(pool, payout.id, str(error))
        return False
    store.paid(pool, payout.id, reference)
    return True


def export(pool: Pool, out: Path, actor: str, *, limit: int, again: int | None = None) -> tuple[int, list[Payout]]:
    """Write pending payouts to a new file for a human to pay: CSV by its suffix, JSON Lines otherwise.

    They stay apart under the export's number, which is returned with them, until it is confirmed; ``again`` writes
    an earlier export's once more. Raises :class:`PayoutError` where there is nothing to write, or no place to write it.
    """
    if out.exists():
        raise PayoutError(f"{out} exists: an export is never overwritten.")
    number = store.claim_export(pool, limit, actor) if again is None else again
    payouts = [] if number is None else store.exported(pool, number)
    if number is None or not payouts:
        raise PayoutError("There is no pending payout." if again is None else f"There is no export {again}.")
    try:
        _write_new(out, _as_csv(payouts) if out.suffix == ".csv" else _as_lines(payouts))
    except OSError as error:
        raise PayoutError(
            f"{out} cannot be written: {error.strerror}. The payouts are apart now:"
            f" pouw payout export --again {number} --out FILE"
        ) from error
    return number, payouts


def _as_lines(payouts: Sequence[Payout]) -> str:
    return "".join(json.dumps({"id": payout.id} | as_json(payout)) + "\n" for payout in payouts)


def _as_csv(payouts: Sequence[Payout]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ("id", *_FIELDS), lineterminator="\n")
    writer.writeheader()
    writer.writerows({"id": payout.id} | as_json(payout) for payout in payouts)
    return text.getvalue()


def _write_new(out: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, out)
    finally:
        Path(name).unlink()


def _reference(body: bytes) -> str | None:
    try:
        reference = json.loads(body)["reference"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return reference[:_ERROR_CHARACTERS] if isinstance(reference, str) and reference.isprintable() else None
