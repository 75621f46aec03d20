"""The report's plots, each an SVG to stand in a page."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench import latency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    Runs = Sequence[dict[str, Any]]

_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_SIZE = (9.0, 4.2)
_STYLE: Any = {"svg.fonttype": "none", "font.size": 9.0, "axes.grid": True, "grid.alpha": 0.3}


def throughput(runs: Runs) -> str:
    """Draw how much was answered in each second of each run; the last second is cut, because it is not whole."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure("second", "answered per second")
        for run in runs:
            whole = run["per_second"][:-1] or run["per_second"]
            axes.plot(range(len(whole)), whole, label=run["title"], marker="." if len(whole) < 3 else "")  # noqa: PLR2004
        axes.set_ylim(bottom=0)
        return _svg(figure, axes)


def percentiles(runs: Runs) -> str:
    """Draw latency by percentile, from the raw histograms."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure("percentile", "ms")
        for run in runs:
            points = latency.curve(run["histogram"])
            axes.plot([100 / (100 - each) for each, _ in points], [each for _, each in points], label=run["title"])
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = {1: "0", 2: "50", 10: "90", 100: "99", 1_000: "99.9", 10_000: "99.99"}
        axes.set_xticks(list(ticks), list(ticks.values()))
        return _svg(figure, axes)


def workers(rows: Runs) -> str:
    """Draw the throughput of each choice of workers and threads."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure("workers", "receipts/s")
        for threads in sorted({row["verify_threads"] for row in rows}):
            own = sorted((row for row in rows if row["verify_threads"] == threads), key=lambda row: row["workers"])
            points = [row["workers"] for row in own], [row["receipts_per_sec"] for row in own]
            axes.plot(*points, marker="o", label=f"{threads} verify threads")
        axes.set_xticks(sorted({row["workers"] for row in rows}))
        axes.set_ylim(bottom=0)
        return _svg(figure, axes)


def engines(rows: Runs) -> str:
    """Draw the cost of a signature by batch size, engine and threads."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure("batch size", "µs per signature")
        for engine, threads in sorted({(row["engine"], row["threads"]) for row in rows}):
            own = [row for row in rows if (row["engine"], row["threads"]) == (engine, threads)]
            points = [row["batch_size"] for row in own], [row["us_per_signature"] for row in own]
            axes.plot(*points, marker="o", label=f"{engine}, {threads} threads")
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        return _svg(figure, axes)


def _figure(across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=mpl.colormaps["tab20"](range(20)))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes


def _svg(figure: Figure, axes: Axes) -> str:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return _METADATA.sub("", text[text.index("<svg") :])
