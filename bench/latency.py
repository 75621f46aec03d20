"""Latencies in HdrHistograms: recorded in microseconds, kept to three significant digits, up to ten minutes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from hdrh.histogram import HdrHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.load import Answer

_MOST_US = 600_000_000
_DIGITS = 3
_WINDOWS = 10
_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}
_CURVE = [0.0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999]


def record(answers: Iterable[Answer]) -> HdrHistogram:
    """Return the histogram of how long these answers took from when their requests were due."""
    histogram = HdrHistogram(1, _MOST_US, _DIGITS)
    for answer in answers:
        histogram.record_value(min(_MOST_US, max(1, int((answer.done - answer.due) * 1_000_000))))
    return histogram


def percentiles(histogram: HdrHistogram) -> dict[str, float]:
    """Return the usual percentiles in milliseconds."""
    return {name: histogram.get_value_at_percentile(each) / 1000 for name, each in _PERCENTILES.items()}


def encode(histogram: HdrHistogram) -> str:
    """Return HdrHistogram's own encoded form, which any of its implementations reads."""
    return str(histogram.encode().decode())


def curve(encoded: str) -> list[tuple[float, float]]:
    """Return percentiles and their milliseconds from an encoded histogram, as many as its count can tell."""
    histogram = HdrHistogram.decode(encoded)
    finest = 100 - 100 / max(1, histogram.get_total_count())
    return [(each, histogram.get_value_at_percentile(each) / 1000) for each in _CURVE if each <= finest]


def windows(answers: Sequence[Answer], each: int) -> list[dict[str, float]]:
    """Cut a run into equal parts by when the answers came; ``each`` is how much one answer counts for.

    What differs between the parts is the noise within the run.
    """
    done = sorted(answers, key=lambda answer: answer.done)
    bounds = [len(done) * part // _WINDOWS for part in range(_WINDOWS + 1)]
    found = []
    for first, last in itertools.pairwise(bounds):
        part = done[first:last]
        took = part[-1].done - (done[first - 1].done if first else 0.0) if part else 0.0
        if took > 0:
            shares = percentiles(record(part))
            found.append({"per_sec": len(part) * each / took, "p50_ms": shares["p50"], "p99_ms": shares["p99"]})
    return found


def per_second(answers: Iterable[Answer], each: int) -> list[int]:
    """Return how much was answered in each second of the run."""
    counts: list[int] = []
    for answer in answers:
        second = int(answer.done)
        counts.extend([0] * (second + 1 - len(counts)))
        counts[second] += each
    return counts


def summary(answers: Sequence[Answer], each: int) -> dict[str, Any]:
    """Return everything about the latencies of a run that a result file keeps."""
    histogram = record(answers)
    return {
        "latency_ms": percentiles(histogram) if answers else {},
        "histogram": encode(histogram),
        "windows": windows(answers, each),
        "per_second": per_second(answers, each),
    }
