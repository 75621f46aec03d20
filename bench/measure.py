"""One run of the generator against a site, audited, as a result file keeps it."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from bench import audit, latency
from bench.corpus import CHALLENGE, sign
from bench.load import OK, Generator
from pouw.preflight.baselines import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.corpus import Client, Corpus, Mix
    from bench.load import Run
    from bench.site import Site

_GUESS_SECS = 2.0
_GUESS_PER_SEC = 15_000
_SPARE = 1.5
_WARM_REQUESTS = 50


@dataclass(frozen=True, slots=True)
class Load:
    """How requests are sent: ``rate`` in requests a second, infinite for all at once, None for a closed loop."""

    label: str
    connections: int
    rate: float | None = None
    seconds: float = math.inf
    site: str = "node"

    @property
    def loop(self) -> str:
        """The kind of loop."""
        if self.rate is None:
            return "closed"
        return "open" if math.isfinite(self.rate) else "at once"


@contextmanager
def connected(site: Site, connections: int) -> Iterator[Generator]:
    """Connect a generator and close it at the end."""
    with Generator(site.base, connections) as generator:
        yield generator


def submit(site: Site, load: Load, corpus: Corpus) -> dict[str, Any]:
    """Send a corpus and audit the database afterwards, where it can be reached."""
    site.checkpoint()
    since = audit.mark(site.database) if site.database is not None else None
    with connected(site, load.connections) as generator:
        cpu = site.cpu_secs()
        run = generator.run(corpus, rate=load.rate, seconds=load.seconds)
        cpu = site.cpu_secs() - cpu
    found = _describe(load, run, corpus.mix.batch_size)
    expected = sum(corpus.expected[answer.index].accepted for answer in run.answers if answer.status == OK)
    found |= _mix(corpus.mix) | {
        "kind": "submit",
        "receipts_per_sec": found["requests_per_sec"] * corpus.mix.batch_size,
        "node_cpu_secs": cpu,
        "cpu_us_per_receipt": cpu / expected * 1e6 if site.own and expected else None,
        "audit": None,
    }
    if site.database is not None and since is not None:
        found["audit"] = audit.audit(site.database, since, corpus, run.answers, batches=load.site == "node")
    _tell(found)
    return found


def challenges(site: Site, load: Load, count: int) -> dict[str, Any]:
    """Ask for as many challenges."""
    site.checkpoint()
    with connected(site, load.connections) as generator:
        cpu = site.cpu_secs()
        run = generator.run([CHALLENGE] * count, rate=load.rate, seconds=load.seconds)
        cpu = site.cpu_secs() - cpu
    found = _describe(load, run, 1)
    found |= {"kind": "challenge", "node_cpu_secs": cpu, "audit": None}
    _tell(found)
    return found


def warm_challenges(site: Site) -> None:
    """Ask for some challenges, so that connections to the database are open before anything counts."""
    with connected(site, _WARM_REQUESTS) as generator:
        generator.run([CHALLENGE] * _WARM_REQUESTS * 10, rate=None, seconds=_GUESS_SECS, progress=False)


def warm(site: Site, clients: Sequence[Client], mix: Mix, load: Load) -> float:
    """Send batches in a closed loop, for two seconds or as long as ``load``; return how many a second were answered.

    So caches are filled and connections to the database open before anything counts.
    """
    secs = min(_GUESS_SECS, load.seconds)
    count = _WARM_REQUESTS + math.ceil(secs * _GUESS_PER_SEC / mix.batch_size)
    corpus = sign(clients, replace(mix, batches=count))
    with connected(site, load.connections) as generator:
        generator.run(corpus[:_WARM_REQUESTS], rate=None, seconds=secs, progress=False)
        run = generator.run(corpus[_WARM_REQUESTS:], rate=None, seconds=secs, progress=False)
    return max(1.0, len(run.answers) / run.seconds)


def closed(site: Site, clients: Sequence[Client], mix: Mix, load: Load) -> dict[str, Any]:
    """Run a closed loop for ``load.seconds``, with as many batches as that takes."""
    guess = warm(site, clients, mix, load)
    corpus = sign(clients, replace(mix, batches=math.ceil(guess * load.seconds * _SPARE) + load.connections))
    return submit(site, load, corpus)


def open_loop(site: Site, clients: Sequence[Client], mix: Mix, load: Load) -> dict[str, Any]:
    """Run an open loop for ``load.seconds`` at ``load.rate`` batches a second."""
    assert load.rate is not None
    corpus = sign(clients, replace(mix, batches=max(1, math.ceil(load.rate * load.seconds))))
    return submit(site, load, corpus)


def failed(runs: Sequence[dict[str, Any]]) -> bool:
    """Whether the audit of any run found a fault."""
    return any(run.get("audit") and not run["audit"]["ok"] for run in runs)


def _mix(mix: Mix) -> dict[str, Any]:
    return {
        "batch_size": mix.batch_size,
        "dids": mix.dids,
        "encoding": "protobuf" if mix.compact else "json",
        "invalid": mix.invalid,
        "replayed": mix.replayed,
    }


def noted(runs: Sequence[dict[str, Any]], **marks: Any) -> list[dict[str, Any]]:
    """Return the runs with marks that tell a reader of the result file which they are."""
    return [run | marks for run in runs]


def _describe(load: Load, run: Run, each: int) -> dict[str, Any]:
    answers = run.answers
    right = [answer for answer in answers if answer.status == OK]
    bad = next((answer for answer in answers if answer.status != OK), None)
    span = min(load.seconds, run.seconds) if load.loop == "closed" else run.seconds
    if load.loop == "open":
        span = max(span, len(answers) / (load.rate or 1.0))  # the last request has its share of time too
    counted = sum(answer.done <= span for answer in right)
    return {
        "label": load.label,
        "site": load.site,
        "loop": load.loop,
        "rate": load.rate if load.loop == "open" else None,
        "connections": load.connections,
        "seconds": run.seconds,
        "requests": len(answers),
        "requests_per_sec": counted / span,
        "statuses": {str(status): count for status, count in Counter(a.status for a in answers).items()},
        "first_error": bad.body[:300].decode(errors="replace") if bad is not None else None,
        "generator": {
            "cpu_share": run.cpu_share,
            "late_p99_ms": run.late_p99 * 1000,
            "warnings": run.warnings,
        },
        **latency.summary(right, each),
    }


def _tell(run: dict[str, Any]) -> None:
    amount = f"{run['receipts_per_sec']:,.0f} receipts/s" if run["kind"] == "submit" else ""
    times = ", ".join(f"{name} {value:.1f}" for name, value in run["latency_ms"].items())
    parts = [amount, f"{run['requests_per_sec']:,.0f} requests/s", f"{times} ms", f"{errors(run)} errors"]
    if run.get("cpu_us_per_receipt"):
        parts.append(f"{run['cpu_us_per_receipt']:.0f} µs CPU per receipt")
    click.echo(f"{run['site']}, {run['label']}: " + ", ".join(part for part in parts if part))
    for warning in run["generator"]["warnings"]:
        click.echo(f"  warning: {warning}")
    if run["audit"] is not None:
        faults = "; ".join(run["audit"]["faults"])
        verdict = f"{run['audit']['rows']:,} rows agree with the answers" if run["audit"]["ok"] else f"FAILED: {faults}"
        click.echo(f"  audit: {verdict}")
