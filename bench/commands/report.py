"""One HTML page of everything that was measured: plots, the checklist's baselines, the targets."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import plots, results
from bench.options import OUT
from bench.targets import GOALS
from pouw.preflight.baselines import BASELINES, errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pouw.preflight.baselines import Goal

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .5em 0 1.5em } th, td { border: 1px solid #ccc; padding: .25em .6em }
th { background: #f3f3f3; text-align: left } td.number { text-align: right } .pass { color: #06701f }
.fail { color: #b00020; font-weight: bold } .unknown { color: #777 } svg { max-width: 100%; height: auto }
"""
_WORDS = {True: "pass", False: "fail", None: "too short to tell"}
_COLUMNS = ("Run", "receipts/s", "requests/s", "P50 ms", "P99 ms", "max ms", "errors", "µs CPU", "generator", "audit")


def render(found: Sequence[dict[str, Any]]) -> str:
    """Return the page for these results, oldest first; of runs with the same name the newest is shown."""
    runs = latest(found)
    parts = ["<h1>Measurements of the node</h1>", _origin(found)]
    parts += ["<h2>Performance Baselines</h2>", _baselines(found)]
    parts += ["<h2>Targets</h2>", _goals(found)]
    parts += _figures(found, runs)
    parts += ["<h2>Runs</h2>", _runs(runs), "<h2>Versions and settings</h2>", _settings(found)]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Bench</title><style>{_STYLE}</style>'
    return f"{head}<body>{''.join(parts)}</body></html>\n"


def latest(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest of the runs that have the same command, site and label, each with a title."""
    kept: dict[str, dict[str, Any]] = {}
    for result in found:
        for run in result["runs"]:
            title = f"{result['name']}: {run['label']}" + (" (peer)" if run["site"] == "peer" else "")
            kept.pop(title, None)
            kept[title] = run | {"title": title}
    return list(kept.values())


def _figures(found: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> list[str]:
    parts = []
    shown = [run for run in runs if run["latency_ms"] and not run["label"].startswith(("probe", "round"))]
    shown = [run for run in shown if "verify_threads" not in run]  # the sweep has a plot of its own
    receipts = [run for run in shown if run["kind"] == "submit"]
    if receipts:
        parts += ["<h2>Receipts over time</h2>", plots.throughput(receipts)]
    if shown:
        parts += ["<h2>Latency percentiles</h2>", plots.percentiles(shown)]
    sweep, verify = _newest(found, "workers"), _newest(found, "verify")
    if sweep:
        best = sweep["recommended"]
        advice = f"POUW_WORKERS={best['workers']} and POUW_VERIFY_THREADS={best['verify_threads']}"
        parts += ["<h2>Worker sweep</h2>", plots.workers(sweep["rows"]), f"<p>For this machine: {advice}.</p>"]
    if verify:
        parts += ["<h2>Verify engines</h2>", plots.engines(verify["rows"])]
    return parts


def _newest(found: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((result for result in reversed(found) if result["name"] == name), None)


def _baselines(found: Sequence[dict[str, Any]]) -> str:
    rows = []
    for goal in BASELINES:
        finding = goal.judge(found)
        rows.append([_text(goal.measure), _text(goal.asked), _text(finding.text if finding else "___")])
    return _table(("Metric", "Target", "Measured"), rows)


def _goals(found: Sequence[dict[str, Any]]) -> str:
    return _table(("Measure", "Target", "Measured", ""), [_goal(goal, found) for goal in GOALS])


def _goal(goal: Goal, found: Sequence[dict[str, Any]]) -> list[str]:
    finding = goal.judge(found)
    word = "not measured" if finding is None else _WORDS[finding.passed]
    style = word if finding is not None and finding.passed is not None else "unknown"
    mark = f'<td class="{style}">{word}</td>'
    return [_text(goal.measure), _text(goal.asked), _text(finding.text if finding else ""), mark]


def _runs(runs: Iterable[dict[str, Any]]) -> str:
    rows = []
    for run in runs:
        times, audit = run["latency_ms"], run["audit"]
        amounts = [run.get("receipts_per_sec"), run["requests_per_sec"], times.get("p50"), times.get("p99")]
        amounts += [times.get("max"), errors(run), run.get("cpu_us_per_receipt")]
        generator = f"{run['generator']['cpu_share']:.0%} of a core"
        warned = "; ".join(run["generator"]["warnings"])
        verdict = "" if audit is None else "agrees" if audit["ok"] else "; ".join(audit["faults"])
        cells = [_text(run["title"]), *(_number(amount) for amount in amounts)]
        rows.append([*cells, _text(f"{generator} {warned}"), _text(verdict)])
    return _table(_COLUMNS, rows)


def _origin(found: Sequence[dict[str, Any]]) -> str:
    last = found[-1]
    box, git = last["machine"], last["git"]
    memory = f"{box['memory_bytes'] / 2**30:.0f} GB"
    changed = " with changes" if git["changed"] else ""
    where = f"{box['cpu']}, {box['cores']} cores, {memory}, {box['system']}"
    return f"<p>{_escape(where)}. Revision {_escape(git['revision'] or 'unknown')}{changed}, {last['written_at']}.</p>"


def _settings(found: Sequence[dict[str, Any]]) -> str:
    last = found[-1]
    rows = [[_text(name), _text(version)] for name, version in last["versions"].items()]
    with_settings: dict[str, Any] = next((result["settings"] for result in reversed(found) if "settings" in result), {})
    rows += [[_text(name), _text(value)] for name, value in sorted(_flat(with_settings).items())]
    return _table(("Name", "Value"), rows)


def _flat(settings: dict[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in settings.items():
        flat |= (
            {f"{name} {key}": text for key, text in _flat(value).items()} if isinstance(value, dict) else {name: value}
        )
    return flat


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{_escape(each)}</th>" for each in head)
    lines = "".join("<tr>" + "".join(row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"


def _text(value: object) -> str:
    return f"<td>{_escape(value)}</td>"


def _number(value: float | None) -> str:
    return f'<td class="number">{"" if value is None else f"{value:,.1f}"}</td>'


def _escape(value: object) -> str:
    return html.escape(str(value))


@click.command("report")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="The page; report.html beside the results.")
def command(paths: tuple[Path, ...], to: Path | None) -> None:
    """Write one HTML page from result files or folders of them; var/bench without any."""
    paths = paths or (OUT,)
    found = results.read(paths)
    if not found:
        raise click.UsageError("There is no result file.")
    page = to or (paths[0] if paths[0].is_dir() else paths[0].parent) / "report.html"
    page.write_text(render(found))
    for goal in GOALS:
        finding = goal.judge(found)
        word = "not measured" if finding is None else f"{finding.text}: {_WORDS[finding.passed]}"
        click.echo(f"{goal.measure} ({goal.asked}): {word}")
    click.echo(f"written to {page}")
