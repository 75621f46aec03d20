"""The arrows between the rooms: which module may import which."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pouw

ROOT = Path(pouw.__file__).parent

# What each room may import of this package. `errors` is below everything.
ALLOWED = {
    "errors": set(),
    "keys": {"errors"},
    "environment": {"errors"},
    "production": set(),
    "settings": {"environment", "errors", "keys", "production", "protocol"},
    "tls": {"logs"},
    "hsm": {"errors"},
    "metrics": set(),
    "tracing": set(),
    "stages": {"metrics", "tracing"},
    "exposition": set(),
    "logs": {"tracing"},
    "gather": set(),
    "balance": set(),
    "answers": set(),
    "heads": {"answers"},
    "protocol": {"errors"},
    "verify": {"_fastverify", "errors", "logs", "metrics", "protocol"},
    "limits": {"errors"},
    "store": {"_fastverify", "errors", "gather", "protocol", "metrics"},
    "service": {
        "errors",
        "hsm",
        "keys",
        "protocol",
        "verify",
        "_fastverify",
        "store",
        "limits",
        "metrics",
        "logs",
        "stages",
        "tracing",
    },
    "web": {
        "errors",
        "protocol",
        "service",
        "limits",
        "metrics",
        "logs",
        "settings",
        "_fastverify",
        "gather",
        "stages",
        "tracing",
    },
    "client": {"errors", "protocol", "keys"},
    "local": {"errors"},
    "app": {
        "exposition",
        "settings",
        "service",
        "store",
        "verify",
        "web",
        "logs",
        "metrics",
        "errors",
        "tls",
        "tracing",
        "stopping",
    },
    "stopping": set(),
    "serving": {"settings", "app", "exposition", "logs", "stopping", "tls", "worker"},
    "preflight": {"errors", "settings", "store"},
    "cli": {
        "preflight",
        "production",
        "exposition",
        "logs",
        "metrics",
        "hsm",
        "environment",
        "errors",
        "keys",
        "settings",
        "local",
        "store",
        "service",
        "client",
        "protocol",
    },
    "worker": {"balance", "heads", "stopping"},
    "__main__": {"cli"},
}
FLASK_ROOMS = {"web", "app", "serving"}


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports at run time; imports for types alone are free."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "pouw"}
    return found


def rooms() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        if relative.name != "__init__.py" or len(relative.parts) > 1:
            found.append((relative.parts[0].removesuffix(".py"), path))
    return found


@pytest.mark.parametrize(("room", "path"), rooms(), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_imports_follow_the_arrows(room: str, path: Path) -> None:
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("pouw.")}
    assert ours - {room, "__version__"} <= ALLOWED[room]


@pytest.mark.parametrize(("room", "path"), rooms(), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_only_the_web_knows_flask(room: str, path: Path) -> None:
    packages = {name.split(".")[0] for name in imports(path)}
    assert room in FLASK_ROOMS or not packages & {"flask", "werkzeug", "flask_smorest", "flask_limiter"}


@pytest.mark.parametrize(("room", "path"), rooms(), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_files_stay_readable(room: str, path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350, room


def test_the_client_needs_none_of_the_servers_packages() -> None:
    packages = {
        name.split(".")[0] for room, path in rooms() if room in ("client", "protocol") for name in imports(path)
    }
    servers = {
        "flask",
        "gunicorn",
        "gevent",
        "psycopg",
        "redis",
        "marshmallow",
        "prometheus_client",
        "orjson",
        "limits",
    }
    assert not packages & servers


def test_no_sql_outside_the_store() -> None:
    words = ("SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM")
    for room, path in rooms():
        if room not in ("store", "local") and path.name != "outbox.py":  # the client has a store of its own
            assert not any(word in path.read_text() for word in words), path
