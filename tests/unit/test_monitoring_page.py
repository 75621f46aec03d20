"""docs/monitoring.md: its table is the code's, and so are its promises."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from pouw import metrics

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()


def rows(section: str) -> list[tuple[str, ...]]:
    part = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    found = [tuple(cell.strip() for cell in row.split("|")[1:-1]) for row in part.splitlines() if row.startswith("|")]
    return found[2:]


def in_code() -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for each in [*vars(metrics).values(), *vars(metrics.jobs()).values()]:
        if isinstance(each, MetricWrapperBase):
            counted = each._name.endswith("_counted")
            kind = "counter" if counted else each._type
            name = each._name.removesuffix("_counted") + ("_total" if kind == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in each._labelnames) or "-"
            found.add((f"`{name}`", str(kind), labels, str(each._documentation)))
    return found


def test_the_table_of_metrics_is_what_the_code_has() -> None:
    assert len(in_code()) > 40
    assert set(rows("Metrics")) == in_code()


def test_the_promises_are_what_the_code_looks_at() -> None:
    assert [row[0].strip("`") for row in rows("Promises")] == list(metrics.PROMISES)
