"""The wheel and the sdist hold what a user needs, and the client stands alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BUILD = "import setuptools.build_meta as b; print(b.build_wheel({0!r})); print(b.build_sdist({0!r}))"

CLIENT_ONLY = """
import sys
class Refuse:
    names = {names!r}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ImportError(f"the client imported {{name}}")
sys.meta_path.insert(0, Refuse())
import pouw
assert pouw.__file__.startswith({where!r}), pouw.__file__
import pouw.client.client, pouw.client.files, pouw.client.keys, pouw.client.content, pouw.client.verdicts
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist of this tree."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    names = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in names:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-c", BUILD.format(str(folder))], cwd=source, check=True, capture_output=True, timeout=120
    )
    return folder


def test_the_wheel_holds_the_extension_its_types_and_the_migrations(built: Path) -> None:
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    assert any(name.startswith("pouw/_fastverify.") and name.endswith(".so") for name in names)
    assert {"pouw/_fastverify.pyi", "pouw/py.typed", "pouw/serving.py", "pouw/preflight/schema.json"} <= set(names)
    migrations = {path.name for path in (ROOT / "migrations").glob("*.sql")}
    assert {
        Path(name).name for name in names if name.startswith("pouw/migrations/") and name.endswith(".sql")
    } == migrations
    assert not any(name.startswith(("tests", "bench")) for name in names)


def test_the_sdist_can_be_built_from(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "pouw/_fastverify.pyx"} <= names
    assert {f"migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql")} <= names


def test_the_client_imports_without_the_servers_packages(built: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(tmp_path)
    servers = ("flask", "gunicorn", "gevent", "psycopg", "redis", "marshmallow", "orjson", "limits", "click")
    program = CLIENT_ONLY.format(names=servers, where=str(tmp_path))
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=True)
