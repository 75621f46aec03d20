"""The API description: complete, true, and browsable without the internet."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pouw.client.signing import sign_request
from tests.integration.test_signed_requests import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from tests.conftest import StartNode
    from tests.support import Http, Node


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    """A node on a database of its own: an operator who tries everything also blocks addresses."""
    started = start_node(new_database(), operator_dids=OPERATOR.did, registration="open")
    yield started
    started.stop()


class OperatorSigns(AuthBase):
    """Signs each request as it is sent, as an operator."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body.encode() if isinstance(request.body, str) else request.body
        made: dict[str, Any] = {"created": int(time.time()), "nonce": secrets.token_hex(16)}
        assert request.method is not None
        assert request.url is not None
        headers = sign_request(OPERATOR.key, OPERATOR.did, request.method, request.url, body, **made)
        request.headers.update(headers)
        return request


EXAMPLES = 15
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.mark.parametrize("auth", [None, OperatorSigns()], ids=["stranger", "operator"])
def test_every_answer_is_one_that_the_description_allows(node: Node, auth: AuthBase | None) -> None:
    schema = schemathesis.openapi.from_url(f"{node.http.base}/openapi.json")
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) >= 16

    @hypothesis.settings(max_examples=EXAMPLES * len(operations), suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=st.one_of([operation.as_strategy() for operation in operations]))
    def check(case: Any) -> None:
        case.call_and_validate(auth=auth, checks=CHECKS)

    check()


def test_every_endpoint_has_examples_and_errors(http: Http) -> None:
    paths = http.get("/openapi.json").json["paths"]
    assert len(paths) >= 14
    for path, item in paths.items():
        for method in {"get", "post"} & item.keys():
            responses = item[method]["responses"]
            assert "default" not in responses, path
            for status, response in responses.items():
                for media, body in response.get("content", {}).items():
                    if media in ("application/json", "application/problem+json"):
                        assert "example" in body, (path, method, status)
            if path.startswith("/api/"):
                assert "429" in responses, path


def test_the_page_needs_no_other_host(http: Http) -> None:
    page = http.get("/docs/")
    assert page.status == 200
    text = page.body.decode()
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert links
    for link in links:
        assert "//" not in link, link
        assert http.get(f"/docs/{link.removeprefix('./')}" if not link.startswith("/") else link).status == 200
