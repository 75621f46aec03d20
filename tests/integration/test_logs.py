"""The log: one line for a batch, known events only, traces taken over, and spans that reach a real receiver."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pouw
from pouw.logs import Often
from tests.support import API, Identity, metric, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode
    from tests.support import Node

ROOT = Path(__file__).parents[2]
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CALL = re.compile(r"\blog\.(?:info|warning|error|exception)\(\s*(.)([a-z_]*)")


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    own = start_node(new_database(), workers=1, env="production", operator_dids=Identity().did)
    yield own
    own.stop()


def lines(node: Node, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, node.log.read_text().splitlines()) if line["event"] == event]


def test_the_list_of_events_is_the_codes() -> None:
    """Every event has a static name and stands in docs/logs.md, and nothing else does."""
    calls = [call for path in Path(pouw.__file__).parent.rglob("*.py") for call in CALL.findall(path.read_text())]
    assert {quote for quote, _event in calls} == {'"'}
    table = (ROOT / "docs" / "logs.md").read_text().split("## Events")[1].split("## Traces")[0]
    documented = {
        event
        for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
        for event in re.findall(r"`([a-z_]+)`", row)
    }
    assert documented == {event for _quote, event in calls}


def test_a_batch_is_one_line_that_says_whose_what_and_how_long(node: Node, client: Identity) -> None:
    token = node.http.challenge()
    body = client.batch([*client.items(token, 3), client.item(token, bytes_verified=1)])
    for _ in range(2):
        request_id = secrets.token_hex(8)
        answer = node.http.request(
            "POST", f"{API}/submit", body, Content_Type="application/json", X_Request_Id=request_id, Traceparent=PARENT
        )
        [line] = [line for line in lines(node, "batch_settled") if line["request_id"] == request_id]
        assert line["did"] == client.did
        assert line["batch_digest"] == answer.json["verdict"]["batch_digest"]
        assert (line["receipts"], line["trace_id"]) == (4, PARENT.split("-")[1])
        assert answer.headers["traceparent"] == f"00-{line['trace_id']}-{line['span_id']}-01"
        if line["decision"] == "settled":
            assert (line["accepted"], line["rejected"]) == (3, {"too_few_bytes": 1})
            assert set(line["ms"]) == {"decode", "look_up", "verify", "commit"}
    assert [line["decision"] for line in lines(node, "batch_settled")][-2:] == ["settled", "replayed"]


def test_a_request_without_a_valid_traceparent_has_no_trace(node: Node) -> None:
    for headers in ({}, {"Traceparent": PARENT + "-x"}, {"Traceparent": "nonsense"}):
        answer = node.http.request("GET", f"{API}/nothing", None, **headers)
        assert "traceparent" not in answer.headers
        line = lines(node, "request_refused")[-1]
        assert (line["request_id"], line["status"]) == (answer.headers["X-Request-Id"], 404)
        assert (line["route"], line["method"]) == ("unknown", "GET")
        assert "trace_id" not in line


def test_what_is_hot_is_sampled_and_counted(node: Node) -> None:
    """Hundreds of refusals in some seconds: ten lines a second, and all others are counted."""
    before, start = len(lines(node, "request_refused")), time.monotonic()
    left_out = metric(node.metrics_port, "pouw_log_lines_left_out_total", event="request_refused")
    for _ in range(300):
        node.http.get(f"{API}/nothing")
    seconds = int(time.monotonic() - start) + 2
    logged = len(lines(node, "request_refused")) - before
    assert logged <= 10 * seconds
    left_out = metric(node.metrics_port, "pouw_log_lines_left_out_total", event="request_refused") - left_out
    assert logged + left_out == 300


def test_a_level_above_info_leaves_batches_out(
    start_node: StartNode, new_database: Callable[[], str], client: Identity
) -> None:
    quiet = start_node(new_database(), workers=1, log_level="warning")
    quiet.http.accepted(client.batch(client.items(quiet.http.challenge(), 2)))
    quiet.http.get(f"{API}/nothing")
    quiet.stop()
    assert quiet.log.read_text() == ""


def test_a_second_is_the_limit() -> None:
    now = [5.0]
    told: list[str] = []
    often = Often("event", 2, told.append, timer=lambda: now[0])
    assert [often.due() for _ in range(4)] == [True, True, False, False]
    assert told == ["event"] * 2
    now[0] = 6.0
    assert often.due()


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A receiver of OTLP over HTTP on this machine: its address, and the bodies that it got."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def spans(bodies: list[bytes]) -> list[Any]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_spans_reach_a_collector_from_every_worker(
    start_node: StartNode,
    new_database: Callable[[], str],
    client: Identity,
    collector: tuple[str, list[bytes]],
) -> None:
    url, bodies = collector
    traced = start_node(new_database(), workers=2, otlp_url=url, trace_percent=0)
    token = traced.http.challenge()  # not sampled
    for _ in range(8):  # each on a connection of its own, so that both workers have their share
        traced.http.request(
            "POST", f"{API}/submit", client.batch(client.items(token, 2)), Content_Type="application/json",
            Traceparent=PARENT, Connection="close",
        )  # fmt: skip
    wait_for(lambda: len(spans(bodies)) == 8 * 5, timeout=30)
    found = spans(bodies)
    requests = {span.span_id: span for span in found if span.parent_span_id.hex() == PARENT.split("-")[2]}
    assert len(requests) == 8
    assert {span.trace_id.hex() for span in found} == {PARENT.split("-")[1]}
    stages = [span for span in found if span.span_id not in requests]
    assert {span.name for span in stages} == {"decode", "look_up", "verify", "commit"}
    assert {span.parent_span_id for span in stages} == set(requests)
    for span in requests.values():
        attributes = {each.key: each.value.string_value or each.value.int_value for each in span.attributes}
        assert attributes == {
            "http.request.method": "POST",
            "http.route": f"{API}/submit",
            "http.response.status_code": 200,
        }
    traced.stop()


def test_a_collector_that_is_away_costs_nothing(
    start_node: StartNode, new_database: Callable[[], str], client: Identity
) -> None:
    traced = start_node(new_database(), workers=1, otlp_url="http://127.0.0.1:9/v1/traces", trace_percent=100)
    start = time.monotonic()
    for _ in range(20):
        traced.http.accepted(client.batch(client.items(traced.http.challenge(), 2)))
    assert time.monotonic() - start < 10
    start = time.monotonic()
    traced.stop()
    assert time.monotonic() - start < 20
