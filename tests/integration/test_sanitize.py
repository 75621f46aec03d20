"""The C extension under AddressSanitizer and UBSan, by a harness that has shown that it reports what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pouw import _fastverify
from tools import sanitize
from tools.instrumented import build, default_compiler

ROOT = Path(__file__).parents[2]
PLANTED = """
# cython: language_level=3
from cpython.bytes cimport PyBytes_AS_STRING

def read(bytes body, Py_ssize_t at):
    return PyBytes_AS_STRING(body)[at]

def multiply(int a, int b):
    return a * b
"""
TESTS = """
from pouw import _fastverify

def test_good():
    assert _fastverify.read(b"body", 4) == 0
    assert _fastverify.multiply(2, 3) == 6

def test_read():
    _fastverify.read(b"body", 5)

def test_overflow():
    _fastverify.multiply(65536, 65536)
"""
REPORTS = {
    "read": "ERROR: AddressSanitizer: heap-buffer-overflow",
    "overflow": "runtime error: signed integer overflow",
}


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    subprocess.run([ROOT / "tools" / "debian.sh", "libasan8", "libubsan1"], check=True, timeout=300)


@pytest.fixture(scope="module")
def planted(runtime: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tests, and a module with faults that takes the extension's place."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "_fastverify.pyx").write_text(PLANTED)
    (folder / "test_planted.py").write_text(TESTS)
    build(folder, default_compiler(), folder / "_fastverify.pyx")
    return folder


@pytest.mark.debian
@pytest.mark.parametrize("fault", REPORTS)
def test_a_planted_fault_is_reported(planted: Path, fault: str) -> None:
    tests = planted / "test_planted.py"
    reported = sanitize.run(planted / "_fastverify.so", [f"{tests}::test_good", f"{tests}::test_{fault}"])
    assert reported.returncode != 0
    assert "test_planted.py ." in reported.stdout  # the good one came first
    assert REPORTS[fault] in reported.stdout


@pytest.mark.debian
def test_the_extension_has_nothing_to_report() -> None:
    before = Path(_fastverify.__file__).stat()
    done = subprocess.run(
        [sys.executable, "-m", "tools.sanitize"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert " passed" in done.stdout
    after = Path(_fastverify.__file__).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # the normal build is untouched
