"""The search for the highest rate that holds: a closed loop guesses, short probes narrow, full-length runs confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench import measure
from bench.measure import Load
from pouw.preflight.baselines import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.corpus import Client, Mix
    from bench.site import Site

P99_MS = 500.0
_PROBE_SECS = 10.0
_PROBES = 4
_STEP_UP = 1.1
_STEP_DOWN = 0.85
_RETREAT = 0.96
_CONFIRMATIONS = 5
_NEAR = 0.03


def holds(run: dict[str, Any]) -> bool:
    """Whether a run kept its rate: no error, no fault of the audit, P99 below the bound."""
    audited = run["audit"] is None or run["audit"]["ok"]
    return audited and errors(run) == 0 and run["latency_ms"]["p99"] < P99_MS


def find_max(
    site: Site, clients: Sequence[Client], mix: Mix, connections: int, seconds: float
) -> tuple[list[dict[str, Any]], float]:
    """Return every run of the search, and the highest rate of receipts that held for ``seconds``; 0 if none did."""
    length = min(_PROBE_SECS, seconds)
    guess = measure.closed(site, clients, mix, Load("closed loop for a first guess", connections, None, length))
    runs = [guess]

    def attempt(rate: float, secs: float, what: str) -> bool:
        load = Load(f"{what} at {rate:,.0f} receipts/s", connections, rate / mix.batch_size, secs)
        runs.append(measure.open_loop(site, clients, mix, load))
        click.echo(f"  {rate:,.0f} receipts/s {'holds' if holds(runs[-1]) else 'does not hold'}")
        return holds(runs[-1])

    at_least = mix.batch_size / length  # where the guess was too short for a single answer
    rate = _narrow(max(guess["receipts_per_sec"], at_least), lambda each: attempt(each, length, "probe"))
    for _ in range(_CONFIRMATIONS):
        if attempt(rate, seconds, "confirmation"):
            return runs, rate
        rate = _retreat(rate, runs[-1]["receipts_per_sec"])
    return runs, 0.0


def _retreat(rate: float, answered: float) -> float:
    """Return the next rate to try: below the one that did not hold, and below what was answered, by half at most."""
    return max(min(rate, answered) * _RETREAT, rate / 2)


def _narrow(guess: float, attempt: Callable[[float], bool]) -> float:
    """Bracket the highest rate that holds for a probe, then halve the bracket."""
    low, high, rate = 0.0, float("inf"), guess * 0.95
    for _ in range(_PROBES):
        if attempt(rate):
            low = rate
        else:
            high = rate
        if high - low < _NEAR * low:
            break
        if low == 0.0:
            rate = high * _STEP_DOWN
        elif high == float("inf"):
            rate = low * _STEP_UP
        else:
            rate = (low + high) / 2
    return low or rate
