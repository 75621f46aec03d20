"""A route that is remembered is the one that Flask would find anew, for every target, host and method."""

from __future__ import annotations

import itertools

import pytest
from flask import Flask, request

from pouw.web.routing import App


def _views(app: Flask) -> Flask:
    @app.route("/plain")
    @app.route("/of/<name>")
    @app.route("/number/<int:name>")
    @app.route("/folder/")
    def view(name: object = None) -> str:
        return f"{request.method} {request.path} {request.args.get('q')} {name!r} {request.host} {request.scheme}"

    @app.post("/plain")
    def post() -> str:
        return f"posted to {request.url}"

    return app


_PATHS = ("/plain", "/of/a", "/of/b", "/number/1", "/number/x", "/folder/", "/folder", "/none", "//plain", "/of/%C3%A9")
_QUERIES = ("", "?q=1", "?q=2")
_METHODS = ("GET", "POST", "HEAD", "OPTIONS", "DELETE")
_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Host": "other.example:81"},
    {"Host": "bad host"},
    {"Host": ""},
    {"Connection": "upgrade", "Upgrade": "websocket"},
)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_request_goes_where_flask_sends_it_however_often_it_comes(scheme: str) -> None:
    ours, flask = _views(App("ours")).test_client(), _views(Flask("flask")).test_client()
    for path, query, method, headers in itertools.product(_PATHS, _QUERIES, _METHODS, _HEADERS):
        options = {"headers": headers, "base_url": f"{scheme}://localhost"}
        wanted = flask.open(path + query, method=method, **options)  # type: ignore[arg-type]
        for _ in range(2):
            found = ours.open(path + query, method=method, **options)  # type: ignore[arg-type]
            assert (found.status, found.data) == (wanted.status, wanted.data), (path, query, method, headers)
            assert found.headers.get("Location") == wanted.headers.get("Location")
            assert sorted(found.headers.get("Allow", "").split(", ")) == sorted(
                wanted.headers.get("Allow", "").split(", ")
            )


def test_what_a_view_does_to_its_arguments_stays_with_its_request() -> None:
    app = App("ours")

    @app.before_request
    def spoil() -> None:
        if request.view_args is not None:
            request.view_args["extra"] = len(request.view_args)

    @app.route("/of/<name>")
    def view(**arguments: object) -> str:
        return repr(arguments)

    client = app.test_client()
    answers = {client.get("/of/a").data for _ in range(3)}
    assert answers == {b"{'name': 'a', 'extra': 1}"}
    assert app.url_map.bind("localhost").match("/of/a") == ("view", {"name": "a"})


def test_strangers_cannot_fill_the_memory() -> None:
    app = App("ours")
    client = _views(app).test_client()
    for number in range(2_000):
        client.get(f"/of/{number}?q={number}")
    assert app._adapter.cache_info().currsize == 512
    app._adapter.cache_clear()
    for number in range(10):
        headers = {"Host": f"{number}.{'a.' * 500}example"}
        assert client.get(f"/of/{number}", headers=headers).data.startswith(b"GET /of/")
        assert client.get(f"/of/{number}?q={'q' * 1_000}").status_code == 200
    assert app._adapter.cache_info().currsize == 0
