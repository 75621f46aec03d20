"""Routes, each found once: clients ask for the same few paths again and again."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flask import Request
    from werkzeug.routing import MapAdapter

_MOST_TARGETS = 512
_MOST_CHARACTERS = 1_024
_ROUTED_BY = (
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "HTTP_HOST",
    "SERVER_NAME",
    "SERVER_PORT",
    "wsgi.url_scheme",
    "HTTP_CONNECTION",
    "HTTP_UPGRADE",
)
"""All that Werkzeug looks at to find a route. What one of these requests came to, the next comes to as well."""


class App(Flask):
    """Flask without coroutines and without hosts to choose from, which remembers where requests go."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._adapter = lru_cache(_MOST_TARGETS)(self._find_adapter)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function: Flask would look at it, whenever it calls it, for being a coroutine."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what tells a request's route; raise Werkzeug's SecurityError for a host that is none."""
        if request is None:
            return super().create_url_adapter(request)
        given = tuple(map(request.environ.get, _ROUTED_BY))
        if sum(map(len, filter(None, given))) > _MOST_CHARACTERS:  # what strangers make up is not worth its memory
            return self._find_adapter(given)
        return self._adapter(given)

    def _find_adapter(self, given: tuple[str | None, ...]) -> MapAdapter:
        environ = {name: value for name, value in zip(_ROUTED_BY, given, strict=True) if value is not None}
        adapter = self.url_map.bind_to_environ(environ, subdomain="")
        find = lru_cache(maxsize=1)(adapter.match)

        def match(*target: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
            rule, arguments = find(*target, **options)
            return rule, dict(arguments)  # the request's own, to do with as it likes

        adapter.match = match  # type: ignore[method-assign]
        return adapter
