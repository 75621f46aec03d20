"""The dashboards: what is checked in is what the description makes, and every query finds something to show."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.alerting import background, monitoring
from tests.support import Identity, wait_for
from tools.boards import BOARDS
from tools.dashboards import FOLDER, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.alerting import Monitoring
    from tests.conftest import StartNode
    from tools.boards import Board

QUERIES = [(board, expression) for board in BOARDS for panel in board.panels for expression, _legend in panel.queries]
ABSENT = {"pouw_tls_certificate_expiry_timestamp_seconds"}
"""What a node without TLS does not have; ``test_tls`` looks at it."""


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_what_is_checked_in_is_what_the_description_makes(board: Board) -> None:
    assert (FOLDER / f"{board.name}.json").read_text() == render(board), "run python -m tools.dashboards"


def test_no_other_dashboard_lies_there_and_each_links_to_all_others() -> None:
    names = {board.name for board in BOARDS}
    assert {path.stem for path in FOLDER.glob("*.json")} == names
    assert len(names) == 6
    for board in BOARDS:
        made: dict[str, Any] = json.loads(render(board))
        assert {link["url"] for link in made["links"]} == {f"/d/{name}" for name in names - {board.name}}
        assert made["uid"] == board.name
        places = [panel["gridPos"] for panel in made["panels"]]
        assert all(place["x"] + place["w"] <= 24 for place in places)
        cells = [
            (x, y)
            for place in places
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells)), "no panel lies over another"
    assert any(panel.kind == "heatmap" for board in BOARDS for panel in board.panels)


@pytest.fixture(scope="module")
def watched(
    start_node: StartNode, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitoring]:
    """A Prometheus that has seen a node at work."""
    folder: Path = tmp_path_factory.mktemp("dashboards")
    node, client = start_node(new_database()), Identity()
    with background(node) as port, monitoring(folder, node, port) as found:

        def seen() -> bool:
            token = node.http.challenge()
            node.http.accepted(client.batch([*client.items(token, 3), client.item(token, bytes_verified=1)]))
            asked = ("pouw_rewards_atoms_total", "job:pouw_http_errors:ratio5m", "rate(pouw_job_runs_total[10s]) > 0")
            return all(found.query(expression) for expression in asked)

        wait_for(seen, timeout=60)
        yield found
    node.stop()


@pytest.mark.debian
@pytest.mark.parametrize(("board", "expression"), QUERIES, ids=lambda value: getattr(value, "name", "")[:20])
def test_every_query_finds_something_and_names_only_what_exists(
    watched: Monitoring, board: Board, expression: str
) -> None:
    asked = expression.replace("$__rate_interval", "10s").replace("$instance", ".*")
    assert "$" not in asked
    names = set(re.findall(r"\b(?:job\w*:)?pouw_\w+(?::\w+)?", asked))
    assert names or "ALERTS" in asked
    for name in names - ABSENT:
        assert watched.query(f'count({{__name__="{name}"}})'), name
    assert watched.query(asked) or names & ABSENT, asked
