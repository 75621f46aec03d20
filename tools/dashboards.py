"""Grafana's dashboards, made out of :mod:`tools.boards`: ``python -m tools.dashboards`` writes deploy/grafana."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.boards import BOARDS, Board, Panel

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana"
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH = {"stat": 4, "timeseries": 12, "heatmap": 12, "bargauge": 12, "table": 12}
_HEIGHT = {"stat": 4, "timeseries": 8, "heatmap": 9, "bargauge": 8, "table": 8}
_COLUMNS = 24
_CHOICES = [
    {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
    {
        "name": "instance",
        "label": "Node",
        "type": "query",
        "datasource": _SOURCE,
        "query": 'label_values(pouw_ready{job="pouw"}, instance)',
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
]


def render(board: Board) -> str:
    """Return a dashboard's JSON."""
    dashboard = {
        "uid": board.name,
        "title": board.title,
        "tags": ["pouw"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "utc",
        "links": [
            {
                "title": other.title.removeprefix("pouw: "),
                "type": "link",
                "url": f"/d/{other.name}",
                "keepTime": True,
                "includeVars": True,
            }
            for other in BOARDS
            if other != board
        ],
        "templating": {"list": _CHOICES},
        "panels": _panels(board),
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _panels(board: Board) -> list[dict[str, Any]]:
    made = []
    left = top = height = 0
    for number, panel in enumerate(board.panels, 1):
        width = _WIDTH[panel.kind]
        if left + width > _COLUMNS:
            left, top, height = 0, top + height, 0
        place = {"x": left, "y": top, "w": width, "h": _HEIGHT[panel.kind]}
        made.append(_panel(panel, number, place))
        left, height = left + width, max(height, _HEIGHT[panel.kind])
    return made


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0} if panel.kind == "timeseries" else {"unit": panel.unit}
    if panel.red_above is not None:
        defaults["thresholds"] = _thresholds(("green", None), ("red", panel.red_above))
    elif panel.red_below is not None:
        defaults["thresholds"] = _thresholds(("red", None), ("green", panel.red_below))
    instant = panel.kind in ("stat", "table", "bargauge")
    return {
        "id": number,
        "title": panel.title,
        "description": panel.text,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + place_of),
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend or "__auto",
                "instant": instant,
                "range": not instant,
                "format": "table" if panel.kind == "table" else "heatmap" if panel.kind == "heatmap" else "time_series",
            }
            for place_of, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "heatmap":
        return {"calculate": False, "yAxis": {"unit": panel.unit}, "color": {"scheme": "Oranges"}}
    if panel.kind in ("stat", "bargauge"):
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background"}
    return {}


def _thresholds(*steps: tuple[str, float | None]) -> dict[str, Any]:
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}


def main() -> None:
    for board in BOARDS:
        (FOLDER / f"{board.name}.json").write_text(render(board))


if __name__ == "__main__":
    main()
